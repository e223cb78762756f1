"""A product with everything that a report can tell, as rows; judged by the real policy."""

import hashlib
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy.orm import Session

from portal.accounts.models import RoleName
from portal.clock import FixedClock
from portal.evidence.models import Evidence
from portal.ledger import service as ledger
from portal.policy.evaluate import evaluate
from portal.policy.facts import AnswerFact, CheckFact, EvidenceFact, ExceptionFact, Facts
from portal.policy.model import builtin
from portal.policy.questionnaire import QuestionType, apply_answers
from portal.policy.result import Result
from portal.review.assessing import keep
from portal.review.facts import subject
from portal.review.models import (
    Assessment,
    Case,
    CaseCause,
    CaseState,
    ChangeRequest,
    Comment,
    Decision,
    DecisionKind,
    GrantedException,
)
from portal.submissions.attestations.models import AttestationBatch, AttestationFailure
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.models import (
    Attachment,
    AttachmentRole,
    CheckRecord,
    Submission,
    SubmissionKind,
    SubmissionState,
)
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.submissions.questionnaires.service import builtin as questionnaire
from portal.suppliers.models import Entity, EntityRole, KeyState, SigningKey
from portal.verification import Outcome, worst
from tests.factories import Make

PLAIN = {
    QuestionType.YES_NO: "yes",
    QuestionType.DATE: "2031-06-30",
    QuestionType.EMAIL: "security@nordhaven.example",
}
ATTESTED = ("attestations.readable", "attestations.signature", "attestations.subject")


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Scene:
    """One supplier, one product; `submit_…` adds submissions, `assess` judges what was submitted so far."""

    def __init__(self, make: Make, session: Session, clock: FixedClock, **product: Any) -> None:
        self.make, self.session, self.clock = make, session, clock
        self.supplier = make.supplier(product.pop("supplier", "Nordhaven Cells"), country="NO")
        self.author = make.user(RoleName.SUPPLIER_ADMIN, self.supplier)
        self.product = make.product(
            self.supplier,
            **{
                "model": "NH-48-100",
                "name": "Rack battery 48 V 100 Ah",
                "tier": 1,
                "chemistry": "LFP",
                "end_of_support": date(2036, 12, 31),
                "components": ("BMS controller", "Gateway"),
            }
            | product,
        )
        self.facts = Facts(dates={"end_of_support": date(2036, 12, 31)})
        self.own = {"supplier_id": self.supplier.id}

    # --- What the supplier sends ------------------------------------------------------------------

    def evidence(self, name: str, size: int = 184_320) -> Evidence:
        row = Evidence(
            **self.own,
            sha256=digest_of(name),
            blake3=digest_of(f"blake3 {name}"),
            size=size,
            filename=name,
            received_by=self.author.id,
            received_at=self.clock.now(),
        )
        self._add(row)
        ledger.append(
            self.session, self.clock, "evidence.accepted", row.id, {"sha256": row.sha256}, self.supplier.id
        )
        return row

    def submission(
        self,
        kind: SubmissionKind,
        title: str,
        files: dict[AttachmentRole, str],
        checks: dict[str, tuple[str, str]],
    ) -> Submission:
        now = self.clock.now()
        row = Submission(
            **self.own,
            kind=kind,
            state=SubmissionState.VERIFIED,
            outcome=worst(Outcome(outcome) for outcome, _ in checks.values()),
            product_id=self.product.id,
            title=title,
            created_by=self.author.id,
            created_at=now,
            submitted_by=self.author.id,
            submitted_at=now,
            verified_at=now,
            run=1,
        )
        self._add(row)
        for role, name in files.items():
            self._add(
                Attachment(
                    **self.own,
                    submission_id=row.id,
                    evidence_id=self.evidence(name).id,
                    role=role,
                    attached_at=now,
                )
            )
        facts = []
        for position, (check_id, (outcome, reason)) in enumerate(checks.items()):
            self._add(
                CheckRecord(
                    **self.own,
                    submission_id=row.id,
                    run=1,
                    position=position,
                    check_id=check_id,
                    outcome=Outcome(outcome),
                    reason=reason,
                    at=now,
                )
            )
            facts.append(CheckFact(check_id, outcome, reason, row.id, subject(row), kind.value))
        self.facts = replace(self.facts, checks=(*self.facts.checks, *facts))
        return row

    def answer_all(self, **given: str) -> Submission:
        """Answers to every question, with a file where one may be attached. `given` overrides."""
        row = self.submission(
            SubmissionKind.QUESTIONNAIRE,
            "OT baseline questionnaire",
            {},
            {"questionnaire.complete": ("pass", "every required question is answered, every file is there")},
        )
        answers = {}
        for question in questionnaire().questions:
            value = PLAIN.get(question.type) or (question.options[0].value if question.options else "")
            value = given.get(question.id, value or ("NO" if question.pattern else "Nordhaven Cells AS"))
            files = []
            if question.needs_file(value):
                evidence = self.evidence(f"{question.id}.pdf")
                self._add(
                    AnswerEvidence(
                        **self.own,
                        submission_id=row.id,
                        question_id=question.id,
                        evidence_id=evidence.id,
                        attached_at=self.clock.now(),
                    )
                )
                files.append(EvidenceFact(f"sha256:{evidence.sha256}", evidence.filename))
            answers[question.id] = AnswerFact(value, tuple(files))
        self.facts = apply_answers(questionnaire(), replace(self.facts, answers=answers))
        return row

    def entity(self, role: EntityRole, name: str, country: str) -> None:
        self._add(Entity(**self.own, role=role, name=name, country=country, created_at=self.clock.now()))

    def key(self) -> SigningKey:
        now = self.clock.now()
        approver = self.make.user(RoleName.REVIEWER)
        return self._add(
            SigningKey(
                **self.own,
                label="Release key 2026",
                purposes=["firmware"],
                pem="-----BEGIN PUBLIC KEY-----",
                kind="public_key",
                algorithm="ECDSA P-256",
                fingerprint=f"sha256:{digest_of('release key')}",
                state=KeyState.APPROVED,
                registered_by=self.author.id,
                registered_at=now,
                decided_by=approver.id,
                decided_at=now,
                decision_note="read out by telephone, number from the contract",
            )
        )

    def firmware(
        self, version: str, *, signed_with: SigningKey | None, **outcomes: tuple[str, str]
    ) -> FirmwareRelease:
        checks = {
            "firmware.digest": ("pass", "the bytes are those that were declared"),
            "firmware.format": ("pass", "MCUboot image, header and trailer read in full"),
            "firmware.signed": ("pass", "one signature, ECDSA P-256"),
            "firmware.signature": ("pass", "the signature is valid for the whole image"),
            "firmware.key": ("pass", "Release key 2026 is approved for firmware"),
            "firmware.algorithm": ("pass", "ECDSA P-256 with SHA-256 is strong enough"),
            "firmware.version": ("pass", f"image and declaration both say {version}"),
            "firmware.rollback": ("pass", "newer than 2.0.4, security counter 7 after 6"),
            "firmware.lineage": ("pass", "this version was never seen with other bytes"),
        } | {f"firmware.{name}": found for name, found in outcomes.items()}
        row = self.submission(
            SubmissionKind.FIRMWARE,
            f"BMS controller {version}",
            {AttachmentRole.IMAGE: f"bms-{version}.bin"},
            checks,
        )
        return self._add(
            FirmwareRelease(
                **self.own,
                submission_id=row.id,
                component_id=self.product.components[0].id,
                declared_version=version,
                sha256=digest_of(f"bms-{version}.bin"),
                format="mcuboot",
                image_version=version,
                security_counter=7,
                signing_key_id=signed_with.id if signed_with else None,
            )
        )

    def lot(self, units: int, *, unattested: int = 0, failures: int = 0) -> Lot:
        every = "every unit is covered by a valid statement"
        some = f"{unattested} of {units:,} units are not covered by a valid statement: NH26117-00001, …"
        submission = self.submission(
            SubmissionKind.LOT,
            "NH-2026-117",
            {AttachmentRole.MANIFEST: "lot-NH-2026-117.json"},
            {
                "lot.manifest": ("pass", f"{units:,} units, every required field is there"),
                "lot.count": ("pass", f"{units:,} units, as declared"),
                "lot.serials_unique": ("pass", "no serial twice in the lot"),
                "lot.serials_new": ("pass", "no serial was ever delivered before"),
                "lot.limits": ("pass", "all values are inside the limits of the product"),
                "lot.firmware": ("pass", "every unit runs an accepted version"),
                "lot.custody": ("pass", "4 hand-offs without a gap, in time order"),
                "lot.dates": ("pass", "no date lies in the future"),
                "lot.attested": ("fail", some) if unattested else ("pass", every),
            },
        )
        lot = self._add(
            Lot(
                **self.own,
                submission_id=submission.id,
                lot_number="NH-2026-117",
                maker="Nordhaven Cells AS",
                site="Mo i Rana, hall 3",
                manufactured_on=date(2026, 9, 14),
                declared_count=units,
                unit_count=units,
            )
        )
        told = (
            f"{failures} of {units:,} statements did not verify"
            if failures
            else f"{units:,} statements verified"
        )
        batch = self.submission(
            SubmissionKind.ATTESTATIONS,
            "attestations for NH-2026-117",
            {AttachmentRole.ATTESTATIONS: "NH-2026-117.dsse.jsonl"},
            {
                name: ("fail", told) if failures and "signature" in name else ("pass", told)
                for name in ATTESTED
            },
        )
        self._add(
            AttestationBatch(
                **self.own,
                submission_id=batch.id,
                lot_id=lot.id,
                total=units,
                passed=units - failures,
                failed=failures,
            )
        )
        self.session.add_all(
            AttestationFailure(
                **self.own,
                submission_id=batch.id,
                run=1,
                line=7 * line + 1,
                outcome=Outcome.FAIL,
                reason="the signature does not fit the statement: the payload was altered after signing",
                subject=f"NH26117-{7 * line + 1:05d}",
            )
            for line in range(failures)
        )
        self.session.add_all(
            Unit(
                **self.own,
                lot_id=lot.id,
                position=number,
                serial=f"NH26117-{number + 1:05d}",
                serial_key=f"NH26117-{number + 1:05d}",
                digest=digest_of(f"unit {number}"),
                firmware={"BMS controller": "2.1.0", "Gateway": "1.4.2"},
                capacity_ah=100.4 + number % 9 / 10,
                resistance_mohm=1.21,
                ocv_v=52.8,
                attested_by=None if number < unattested else batch.id,
                attested_line=number + 1,
            )
            for number in range(units)
        )
        holders = [
            "Nordhaven Cells AS",
            "Fjell Frakt AS",
            "Customs warehouse Gothenburg",
            "Baltic Road",
            "Meridian",
        ]
        for position in range(4):
            self._add(
                CustodyEvent(
                    **self.own,
                    lot_id=lot.id,
                    position=position,
                    kind="handover",
                    from_holder=holders[position],
                    to_holder=holders[position + 1],
                    location="Gothenburg, quay 7",
                    at=self.clock.now() - timedelta(days=20 - position),
                    seal=f"S-{4711 + position}",
                )
            )
        return lot

    # --- What the buyer does ----------------------------------------------------------------------

    def assess(self, cause: str = "firmware: BMS controller 2.1.0") -> Assessment:
        self.clock.advance(timedelta(minutes=5))
        result = evaluate(builtin(), self.facts, self.product.tier, self.clock.now().date())
        row = keep(self.session, self.clock, self.product, self.facts, result, cause=cause)
        self.session.commit()
        return row

    def case(self, assessment: Assessment, state: CaseState = CaseState.OPEN, number: int = 41) -> Case:
        closed = self.clock.now() if state is CaseState.CLOSED else None
        row = self._add(
            Case(
                **self.own,
                number=number,
                product_id=self.product.id,
                state=state,
                cause=CaseCause.FIRST,
                title="Nordhaven Cells: Rack battery",
                why="nobody has decided on this product yet",
                tier=assessment.tier,
                rating=assessment.rating,
                assessment_id=assessment.id,
                opened_at=self.clock.now(),
                due_on=self.clock.now().date() + timedelta(days=5),
                closed_at=closed,
            )
        )
        self.session.commit()
        return row

    def decide(
        self,
        case: Case,
        assessment: Assessment,
        kind: DecisionKind,
        *,
        by: str,
        reason: str,
        settled: Assessment | None = None,
        effective: bool = True,
        seconds: Decision | None = None,
        role: RoleName = RoleName.APPROVER,
        items: tuple[str, ...] = (),
    ) -> Decision:
        self.clock.advance(timedelta(hours=3))
        person = self.make.user(role, name=by)
        decision = self._add(
            Decision(
                **self.own,
                case_id=case.id,
                product_id=self.product.id,
                assessment_id=assessment.id,
                settled_id=settled.id if settled else None,
                kind=kind,
                reason=reason,
                decided_by=person.id,
                decided_at=self.clock.now(),
                seconds_id=seconds.id if seconds else None,
                effective=effective,
            )
        )
        for position, item in enumerate(items):
            self._add(
                ChangeRequest(
                    **self.own, case_id=case.id, decision_id=decision.id, position=position, text=item
                )
            )
        ledger.append(
            self.session, self.clock, "decision.made", decision.id, {"decision": kind.value}, self.supplier.id
        )
        self.session.commit()
        return decision

    def grant(self, decision: Decision, control_id: str, condition: str, owner: str, expires: date) -> None:
        """An exception by `decision`; counts in every assessment from now on."""
        self._add(
            GrantedException(
                **self.own,
                product_id=self.product.id,
                decision_id=decision.id,
                control_id=control_id,
                condition=condition,
                owner=owner,
                expires_on=expires,
                created_at=self.clock.now(),
            )
        )
        self.facts = replace(
            self.facts, exceptions=(*self.facts.exceptions, ExceptionFact(control_id, expires))
        )

    def comment(self, case: Case, text: str, *, internal: bool, by: str = "Ida Sørli") -> None:
        author = self.make.user(RoleName.REVIEWER, name=by)
        self._add(
            Comment(
                **self.own,
                case_id=case.id,
                internal=internal,
                text=text,
                author_id=author.id,
                at=self.clock.now(),
            )
        )
        self.session.commit()

    def _add(self, row: Any) -> Any:
        self.session.add(row)
        self.session.flush()
        return row


def rich(scene: Scene) -> Assessment:
    """Approved with a condition by two people; then came a lot with bad statements: decided on again."""
    scene.entity(EntityRole.MANUFACTURER, "Nordhaven Cells AS", "NO")
    scene.entity(EntityRole.CARRIER, "Fjell Frakt AS", "NO")
    scene.answer_all(qa_test_report_date="2026-02-02", res_spares="no")
    key = scene.key()
    scene.firmware("2.1.0", signed_with=key)
    first = scene.assess()
    case = scene.case(first, CaseState.CLOSED)
    one = scene.decide(
        case,
        first,
        DecisionKind.APPROVE_WITH_CONDITIONS,
        by="Ida Sørli",
        reason="The key was confirmed by telephone. Custody can only be judged with the first lot.",
        effective=False,
    )
    open_gap = first_open_gap(first)
    scene.grant(
        one, open_gap, "Send the missing record with the first lot.", "Mikkel Dahl", date(2027, 3, 31)
    )
    settled = scene.assess("Decision on case 41")
    scene.decide(
        case,
        first,
        DecisionKind.APPROVE_WITH_CONDITIONS,
        by="Jon Vik",
        reason="Agreed. The condition is short enough to be watched.",
        settled=settled,
        seconds=one,
    )
    scene.clock.advance(timedelta(days=30))
    scene.firmware("2.2.0-rc1", signed_with=None, signed=("fail", "the image carries no signature at all"),
                   signature=("fail", "there is no signature to verify"),
                   key=("not_run", "without a signature there is no key"))  # fmt: skip
    scene.lot(2000, unattested=62, failures=61)
    again = scene.assess("lot: NH-2026-117")
    second = scene.case(again, CaseState.CLOSED, number=57)
    scene.comment(second, "Internal remark: compare with the Tamar incident before we answer.", internal=True)
    scene.comment(second, "We have asked for a new batch of statements.", internal=False)
    scene.decide(
        second,
        again,
        DecisionKind.REQUEST_CHANGES,
        by="Ida Sørli",
        role=RoleName.REVIEWER,
        reason="61 statements do not verify, and the gateway firmware is unsigned.",
        items=("Sign the statements of the 61 units again.", "Withdraw or sign firmware 2.2.0-rc1."),
    )
    scene.decide(
        second,
        again,
        DecisionKind.QUARANTINE,
        by="Jon Vik",
        reason="No answer in time. The lot stays out of all halls until the statements verify.",
        settled=again,
    )
    return again


def first_open_gap(assessment: Assessment) -> str:
    return Result.from_json(assessment.result).gaps[0].control_id
