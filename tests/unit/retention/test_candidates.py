"""What the database finds that may go is what the judge of files lets go, over vaults made by chance."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence.models import Evidence
from portal.retention import service
from portal.retention.candidates import free
from portal.retention.holds import frozen
from portal.retention.preview import OLD, Goes, Preview, _Judge, _old, preview
from portal.retention.rules import OF_PRODUCT, Anchor, Kind, Rule, Rules, too_late
from portal.review.assessing import open_case
from portal.review.models import Assessment, Case, CaseCause, CaseState, Decision, DecisionKind
from portal.review.service import assess
from portal.submissions.models import Attachment, AttachmentRole, Submission, SubmissionKind, SubmissionState
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.suppliers.models import Product
from portal.verification import Outcome
from tests.factories import Make
from tests.factories.databases import ON_BOTH

FILES, PRODUCTS = 300, 25


class Chance:
    """A vault full of edges: days before, at and after the ends of periods, every state, every use."""

    def __init__(self, seed: int, session: TenantSession, clock: FixedClock, make: Make) -> None:
        self.random, self.session, self.clock, self.make = random.Random(seed), session, clock, make
        self.reviewer: Actor = make.actor(RoleName.REVIEWER)
        self.suppliers = [make.supplier() for _ in range(4)]
        self.products = [self._product() for _ in range(PRODUCTS)]
        self.submissions = [self._submission() for _ in range(FILES // 2)]
        self.files = [self._file() for _ in range(FILES)]
        self._hold()
        session.commit()

    def rules(self) -> Rules:
        by_kind = {}
        for kind in Kind:
            anchors = [one for one in Anchor if kind is not Kind.UNUSED or one not in OF_PRODUCT]
            by_kind[kind] = Rule(self.random.choice(anchors), self.random.choice((1, 2, 3)))
        return Rules(1, by_kind, "0" * 64)

    def _day(self) -> date:
        today = self.clock.now().date()
        near = timedelta(days=self.random.choice((-200, -1, 0, 1)))
        return today.replace(year=today.year - self.random.choice((1, 2, 3, 4))) + near

    def _moment(self) -> datetime:
        of_day = self.random.choice((time(), time(12), time.max))
        return datetime.combine(self._day(), of_day, UTC)

    def _product(self) -> Product:
        product = self.make.product(
            self.random.choice(self.suppliers),
            end_of_sale=self.random.choice((None, self._day())),
            end_of_support=self.random.choice((None, self._day())),
        )
        if self.random.random() < 0.6:
            assess(self.session, self.clock, product.id, cause="chance", case_cause=CaseCause.SUBMISSION)
            case = open_case(self.session, product.id)
            if case is not None and self.random.random() < 0.8:
                self._decide(product, case)
        self.session.commit()
        return product

    def _decide(self, product: Product, case: Case) -> None:
        """Decisions by chance, some of which settled the case; the case is closed."""
        settled = self.session.scalars(
            select(Assessment.id).where(Assessment.product_id == product.id)
        ).first()
        self.session.add_all(
            Decision(
                supplier_id=product.supplier_id,
                case_id=case.id,
                product_id=product.id,
                assessment_id=settled,
                settled_id=self.random.choice((settled, settled, None)),
                kind=DecisionKind.REJECT,
                reason="chance",
                decided_by=self.reviewer.user_id,
                decided_at=self._moment(),
                effective=True,
            )
            for _ in range(self.random.choice((1, 2)))
        )
        self.session.flush()
        closed = {"state": CaseState.CLOSED, "closed_at": self.clock.now()}
        self.session.execute(update(Case).where(Case.id == case.id).values(**closed))

    def _submission(self) -> Submission:
        product = self.random.choice(self.products)
        states = [SubmissionState.ACCEPTED] * 12 + list(SubmissionState)
        state = self.random.choice(states)
        draft = state is SubmissionState.DRAFT
        row = Submission(
            supplier_id=product.supplier_id,
            kind=self.random.choice(list(SubmissionKind)),
            state=state,
            outcome=None if draft else Outcome.PASS,
            product_id=product.id,
            title="chance",
            created_at=self.clock.now(),
            submitted_at=None if draft else self.clock.now(),
            verified_at=None if draft else self.clock.now(),
            run=0 if draft else 1,
        )
        self.session.add(row)
        self.session.flush()
        return row

    def _file(self) -> Evidence:
        uses = self.random.choices(self.submissions, k=self.random.choice((0, 1, 1, 1, 2)))
        owner = uses[0].supplier_id if uses else self.random.choice(self.suppliers).id
        file = Evidence(
            supplier_id=owner,
            sha256=f"{self.random.getrandbits(256):064x}",
            blake3="0" * 64,
            size=1,
            filename="chance.bin",
            received_at=self._moment(),
        )
        self.session.add(file)
        self.session.flush()
        for use in uses:
            common: dict[str, Any] = {"supplier_id": owner, "submission_id": use.id, "evidence_id": file.id}
            common["attached_at"] = self.clock.now()
            if self.random.random() < 0.7:
                self.session.add(Attachment(role=AttachmentRole.DOCUMENT, **common))
            else:
                removed = self.random.choice((None, self.clock.now()))
                self.session.add(
                    AnswerEvidence(question_id="q", valid_until=None, removed_at=removed, **common)
                )
        return file

    def _hold(self) -> None:
        """On a supplier, on products, on files; some were released again."""
        product, other = self.random.sample(self.products, 2)
        file, freed = self.random.sample(self.files, 2)
        about: list[dict[str, str]] = [
            {"supplier_id": self.suppliers[0].id},
            {"supplier_id": product.supplier_id, "product_id": product.id},
            {"supplier_id": other.supplier_id, "product_id": other.id},
            {"supplier_id": file.supplier_id, "evidence_id": file.id},
            {"supplier_id": freed.supplier_id, "evidence_id": freed.id},
            {"supplier_id": self.suppliers[1].id},
        ]
        one, two = self.make.actor(RoleName.APPROVER), self.make.actor(RoleName.APPROVER)
        for number, values in enumerate(about):
            hold = service.place(self.session, one, self.clock, **values, reference="1", why="chance")
            if number in (2, 4, 5):
                service.ask_release(self.session, one, self.clock, hold.id, why="over")
                service.release(self.session, two, self.clock, hold.id, why="over")


@ON_BOTH
@pytest.mark.parametrize("seed", [1, 2])
def test_what_the_database_finds_is_what_the_judge_lets_go(
    session: TenantSession, clock: FixedClock, make: Make, seed: int
) -> None:
    chance = Chance(seed, session, clock, make)
    day, went = clock.now().date(), 0
    for _ in range(12):
        rules = chance.rules()
        judged = _Judge(session, rules, frozen(session), day).each(_old(clock.now() - OLD))
        by_judge = {one.file.id for one in judged if isinstance(one, Goes)}
        found = {row.id for row in session.execute(_old(clock.now() - OLD).where(free(rules, day)))}
        assert found == by_judge, rules
        kept = {row.id for row in session.execute(_old(clock.now() - OLD).where(~free(rules, day)))}
        everything = {row.id for row in session.execute(_old(clock.now() - OLD))}
        assert (kept | found, kept & found) == (everything, set())
        went += len(found)
    assert went > 100


@ON_BOTH
def test_files_beyond_the_most_that_go_are_counted(
    session: TenantSession, clock: FixedClock, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.retention.preview.MOST", 2)
    monkeypatch.setattr("portal.retention.preview.KEPT_SHOWN", 3)
    supplier = make.supplier()
    for number in range(10):
        received = clock.now() - timedelta(days=800 - number)
        session.add(
            Evidence(
                supplier_id=supplier.id,
                sha256=f"{number:064x}",
                blake3="0" * 64,
                size=1,
                filename=f"{number}",
                received_at=received,
            )
        )
    session.commit()
    found: Preview = preview(session, clock)
    assert ([item.file.filename for item in found.goes], found.more) == (["0", "1"], 8)
    assert (found.stays, found.stays_total) == ((), 0)
    held = session.scalars(select(Evidence).where(Evidence.filename.in_(["0", "3", "5", "7", "9"]))).all()
    approver = make.actor(RoleName.APPROVER)
    for row in held:
        service.place(
            session, approver, clock, supplier_id=supplier.id, evidence_id=row.id, reference="1", why="x"
        )
    session.commit()
    found = preview(session, clock)
    assert ([item.file.filename for item in found.goes], found.more) == (["1", "2"], 3)
    assert ([item.file.filename for item in found.stays], found.stays_total) == (["0", "3", "5"], 5)


@pytest.mark.parametrize(
    ("day", "years", "first"),
    [
        (date(2026, 11, 21), 1, date(2025, 11, 21)),
        (date(2028, 2, 29), 1, date(2027, 3, 1)),  # there was no 29 February
        (date(2027, 3, 1), 3, date(2024, 2, 29)),  # whose period ends on 1 March
        (date(2027, 2, 28), 3, date(2024, 2, 28)),
        (date(2026, 1, 1), 99, date(1927, 1, 1)),
        (date(2026, 12, 31), 10, date(2016, 12, 31)),
    ],
)
def test_the_first_day_that_is_too_late_is_the_first_whose_period_is_not_over(
    day: date, years: int, first: date
) -> None:
    assert too_late(day, years) == first
    rule = Rule(Anchor.RECEIVED, years)
    lasts: Sequence[date | None] = [
        rule.last_day(None, first - timedelta(days=1)),
        rule.last_day(None, first),
    ]
    assert lasts[0] is not None
    assert lasts[1] is not None
    assert lasts[0] < day <= lasts[1]
