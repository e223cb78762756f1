"""The demo's stage: one running portal with a real worker, and people who act on it through the verbs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import click
from dbos import DBOS
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts import service as accounts
from portal.accounts.actors import MACHINE, Actor, actor_of
from portal.accounts.models import RoleName, User
from portal.adapters.blobs import LocalBlobStore
from portal.app import create_app
from portal.clock import SystemClock, today
from portal.db import open_session, reading
from portal.errors import LotgateError
from portal.evidence import service as evidence
from portal.jobs.queue import DurableQueue
from portal.jobs.tasks import TASKS
from portal.jobs.worker import Worker
from portal.policy.questionnaire import EvidenceRule, QuestionType
from portal.review import service as review
from portal.review.models import Case, CaseState, DecisionKind
from portal.review.rules import Condition
from portal.settings import Settings
from portal.submissions import service as submissions
from portal.submissions.attestations.service import start_attestations
from portal.submissions.firmware.service import start_firmware
from portal.submissions.lots.service import lot_of, start_lot
from portal.submissions.models import AttachmentRole, Submission
from portal.submissions.questionnaires import service as questionnaires
from portal.suppliers import service as suppliers
from portal.suppliers.models import EntityRole, Product, SigningKey

FILE_LIMIT = 64 << 20
IDLE_SECONDS = 300.0
BUYER = "Meridian Data Centres"
PEOPLE = (
    ("Rana Okafor", "rana.okafor@meridian.example", RoleName.REVIEWER),
    ("Anselm Vries", "anselm.vries@meridian.example", RoleName.APPROVER),
    ("Bea Lindqvist", "bea.lindqvist@meridian.example", RoleName.APPROVER),
    ("Aurelio Pace", "aurelio.pace@meridian.example", RoleName.AUDITOR),
    ("Noor Haddad", "noor.haddad@meridian.example", RoleName.ADMINISTRATOR),
)


@dataclass(frozen=True, slots=True)
class Login:
    """How someone signs in; `secret` is the TOTP secret in base32, empty where no second factor is needed."""

    name: str
    organisation: str
    role: str
    email: str
    password: str
    secret: str


@dataclass
class Stage:
    """Everything the stories need. Use `open_stage`."""

    settings: Settings
    app: Flask
    worker: Worker
    clock: SystemClock = field(default_factory=SystemClock)
    logins: list[Login] = field(default_factory=list)
    steps: list[tuple[str, float]] = field(default_factory=list)
    people: dict[str, Actor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = self.worker.engine
        self.jobs = DurableQueue(self.engine)
        self.store = LocalBlobStore(self.settings.store)
        self.spool = self.settings.store / "spool"
        self.spool.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Tells what is going on, and how long it took."""
        began = time.monotonic()
        click.echo(f"  {name} … ", err=True, nl=False)
        yield
        seconds = time.monotonic() - began
        self.steps.append((name, round(seconds, 2)))
        click.echo(f"{seconds:.1f} s", err=True)

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[Session]:
        """One transaction by one person, bound to what they may see."""
        with self.app.app_context(), open_session(self.engine, actor.scope) as session:
            yield session
            session.commit()

    @contextmanager
    def looking(self) -> Iterator[Session]:
        """A snapshot of everything, to read from without holding up the worker."""
        with self.app.app_context(), reading(self.engine) as session:
            yield session

    def wait(self) -> None:
        """Until the worker has nothing left to do. Raises LotgateError when that takes too long."""
        end = time.monotonic() + IDLE_SECONDS
        while DBOS.list_workflows(
            status=["ENQUEUED", "PENDING"], name=list(TASKS), load_input=False, load_output=False, limit=1
        ):
            if time.monotonic() > end:
                raise LotgateError(f"the worker was still busy after {IDLE_SECONDS:.0f} s")
            time.sleep(0.02)

    # --- people -----------------------------------------------------------------------------------

    def hire_buyer(self) -> None:
        """The buying organisation with one person in each role, and two approvers."""
        with self.acting(MACHINE) as session:
            buyer = accounts.create_buyer(session, self.clock, BUYER)
            for name, email, role in PEOPLE:
                self._hire(session, buyer.id, BUYER, name, email, role)

    def _hire(
        self, session: Session, organisation_id: str, organisation: str, name: str, email: str, role: RoleName
    ) -> User:
        user, password = accounts.create_user(
            session, self.clock, organisation_id=organisation_id, email=email, name=name, role=role
        )
        buyer_side = role not in (RoleName.SUPPLIER_ADMIN, RoleName.SUPPLIER_CONTRIBUTOR)
        secret = accounts.enrol_totp(session, user) if buyer_side else ""
        self.logins.append(Login(name, organisation, role.value, email, password, secret))
        return user

    def new_secrets(self) -> None:
        """Fresh passwords and second factors for everyone in an existing demo: none is ever kept in clear."""
        with self.acting(MACHINE) as session:
            for user in session.scalars(select(User).order_by(User.created_at, User.email)):
                password = accounts.renew_password(session, self.clock, user)
                secret = accounts.enrol_totp(session, user) if user.tf_totp_secret else ""
                self.logins.append(
                    Login(user.name, user.organisation.name, user.role.value, user.email, password, secret)
                )

    def person(self, email: str) -> Actor:
        if email not in self.people:
            with self.looking() as session:
                found = session.scalars(select(User).where(User.email == email)).one()
                self.people[email] = actor_of(found)
        return self.people[email]

    @property
    def reviewer(self) -> Actor:
        return self.person(PEOPLE[0][1])

    @property
    def approvers(self) -> tuple[Actor, Actor]:
        return self.person(PEOPLE[1][1]), self.person(PEOPLE[2][1])

    # --- a supplier's own acts ----------------------------------------------------------------------

    def company(self, name: str, country: str, *, admin: str, maker: str | None = None) -> "Company":
        """A supplier with its administrator, and its maker named in the chain (itself unless given)."""
        with self.acting(self.person(PEOPLE[4][1])) as session:
            supplier = suppliers.create_supplier(
                session, self.person(PEOPLE[4][1]), self.clock, name=name, country=country
            )
            domain = name.lower().replace(" ", "-")
            email = f"{admin.split(maxsplit=1)[0].lower()}@{domain}.example"
            user = self._hire(session, supplier.id, name, admin, email, RoleName.SUPPLIER_ADMIN)
            session.flush()
            actor = actor_of(session.get_one(User, user.id))
        with self.acting(actor) as session:
            suppliers.add_entity(
                session,
                actor,
                self.clock,
                role=EntityRole.MANUFACTURER,
                name=maker or name,
                country=country,
            )
        return Company(self, actor, name, country, maker or name)


@dataclass(frozen=True)
class Company:
    """One supplier on the stage."""

    stage: Stage
    actor: Actor
    name: str
    country: str
    maker: str

    def product(
        self, model: str, name: str, *, components: tuple[str, ...], tier: int = 2, chemistry: str = "LFP"
    ) -> Product:
        stage = self.stage
        day = today(stage.clock)
        with stage.acting(self.actor) as session:
            product = suppliers.create_product(
                session,
                self.actor,
                stage.clock,
                model=model,
                name=name,
                chemistry=chemistry,
                components=components,
                end_of_sale=day + timedelta(days=5 * 365),
                end_of_support=day + timedelta(days=12 * 365),
            )
        with stage.acting(stage.reviewer) as session:
            suppliers.update_product(
                session,
                stage.reviewer,
                stage.clock,
                product.id,
                tier=tier,
                limits={
                    "capacity_ah": {"min": 98.0, "max": 108.0},
                    "resistance_mohm": {"max": 0.75},
                    "ocv_v": {"min": 3.2, "max": 3.4},
                },
            )
        with stage.acting(self.actor) as session:
            found = session.get_one(Product, product.id)
            _ = [component.name for component in found.components]
            return found

    def approved_key(self, label: str, pem: str, *purposes: str) -> SigningKey:
        """Registered here, its fingerprint told by telephone, approved by the reviewer."""
        stage = self.stage
        with stage.acting(self.actor) as session:
            key = suppliers.register_key(
                session, self.actor, stage.clock, label=label, pem=pem, purposes=purposes
            )
        with stage.acting(stage.reviewer) as session:
            return suppliers.decide_key(
                session,
                stage.reviewer,
                stage.clock,
                key.id,
                approve=True,
                fingerprint_typed=key.fingerprint[-8:],
                note=f"Read out by {self.actor.name} on the number in the contract",
            )

    def deliver(self, session: Session, path: Path) -> str:
        stage = self.stage
        with path.open("rb") as file:
            return evidence.receive_bytes(
                session,
                self.actor,
                stage.clock,
                stage.store,
                stage.spool,
                file,
                filename=path.name,
                limit=FILE_LIMIT,
            ).id

    def firmware(self, product: Product, component: str, version: str, image: Path) -> Submission:
        stage = self.stage
        with stage.acting(self.actor) as session:
            part = next(row for row in product.components if row.name == component)
            submission = start_firmware(
                session, self.actor, stage.clock, component_id=part.id, version=version
            )
            self._offer(session, submission, AttachmentRole.IMAGE, image)
        stage.wait()
        return self._again(submission)

    def lot(self, product: Product, number: str, manifest: Path) -> Submission:
        stage = self.stage
        with stage.acting(self.actor) as session:
            submission = start_lot(session, self.actor, stage.clock, product_id=product.id, lot_number=number)
            self._offer(session, submission, AttachmentRole.MANIFEST, manifest)
        stage.wait()
        return self._again(submission)

    def attest(self, lot_submission: Submission, file: Path) -> Submission:
        stage = self.stage
        with stage.acting(self.actor) as session:
            lot = lot_of(session, lot_submission.id)
            if lot is None:
                raise LotgateError("the lot could not be read")
            submission = start_attestations(session, self.actor, stage.clock, lot_id=lot.id)
            self._offer(session, submission, AttachmentRole.ATTESTATIONS, file)
        stage.wait()
        return self._again(submission)

    def _offer(self, session: Session, submission: Submission, role: AttachmentRole, path: Path) -> None:
        stage = self.stage
        evidence_id = self.deliver(session, path)
        submissions.attach(session, self.actor, stage.clock, submission.id, evidence_id, role)
        submissions.submit(session, self.actor, stage.clock, stage.jobs, submission.id)

    def _again(self, submission: Submission) -> Submission:
        with self.stage.acting(self.actor) as session:
            return session.get_one(Submission, submission.id)

    def questionnaire(self, product: Product, document: Path, **different: str) -> Submission:
        """Every question answered well, each claim backed by a file, except what is `different`."""
        stage = self.stage
        asked = questionnaires.builtin()
        with stage.acting(self.actor) as session:
            submission = questionnaires.start_questionnaire(
                session, self.actor, stage.clock, product_id=product.id
            )
            backing = self.deliver(session, document)
            answers: dict[str, str] = {}
            for question in asked.questions:
                condition = question.visible_if
                if condition is not None and answers.get(condition.question) not in condition.answers:
                    continue
                value = different.get(question.id, self._good_answer(question.id, question.type))
                if not value:
                    continue
                answers[question.id] = value
                questionnaires.save_answer(
                    session, self.actor, stage.clock, submission.id, question.id, value
                )
                if question.evidence is not EvidenceRule.NONE and value != "no":
                    questionnaires.attach_file(
                        session, self.actor, stage.clock, submission.id, question.id, backing
                    )
            submissions.submit(session, self.actor, stage.clock, stage.jobs, submission.id)
        stage.wait()
        return self._again(submission)

    def _good_answer(self, question_id: str, kind: QuestionType) -> str:
        day = today(self.stage.clock)
        special = {
            "sup_maker_name": self.maker,
            "sup_maker_country": self.country,
            "sup_maker_address": "1 Works Road",
            "sup_factory_cert_expiry": str(day + timedelta(days=500)),
            "fw_algorithm": "ecdsa_p256",
            "fw_secure_boot": "hardware_root",
            "upd_channels": "Signed image by the vendor portal; USB by a technician with a work order",
            "acc_remote_access": "per_session",
            "qa_test_report_date": str(day - timedelta(days=120)),
            "res_end_of_sale": str(day + timedelta(days=5 * 365)),
            "res_end_of_support": str(day + timedelta(days=12 * 365)),
            "inc_contact": f"psirt@{self.name.lower().replace(' ', '-')}.example",
            "inc_contact_hours": "always",
        }
        if question_id in special:
            return special[question_id]
        return "yes" if kind is QuestionType.YES_NO else ""

    # --- what the buyer decides on it -----------------------------------------------------------------

    def case(self, product: Product) -> Case | None:
        with self.stage.acting(self.stage.reviewer) as session:
            return session.scalars(
                select(Case).where(Case.product_id == product.id, Case.state != CaseState.CLOSED)
            ).first()

    def decide(
        self,
        product: Product,
        kind: DecisionKind,
        reason: str,
        *,
        by: Actor | None = None,
        conditions: tuple[Condition, ...] = (),
        items: tuple[str, ...] = (),
    ) -> None:
        """Claim the open case of the product and decide it."""
        stage, person = self.stage, by or self.stage.reviewer
        with stage.acting(person) as session:
            case = session.scalars(
                select(Case).where(Case.product_id == product.id, Case.state != CaseState.CLOSED)
            ).one()
            review.claim(session, person, stage.clock, case.id)
            review.decide(
                session,
                person,
                stage.clock,
                case.id,
                assessment_id=case.assessment_id,
                kind=kind,
                reason=reason,
                conditions=conditions,
                items=items,
            )
        stage.wait()


@contextmanager
def open_stage(settings: Settings) -> Iterator[Stage]:
    """The portal with a worker that looks for jobs every few milliseconds."""
    quick = replace(settings, worker_poll_seconds=0.02, worker_concurrency=2)
    worker = Worker(quick)
    worker.start()
    try:
        app = create_app(quick)
        yield Stage(quick, app, worker)
    finally:
        worker.stop()
