"""Whatever is changed, taken out or put in past the triggers, in what people judge and in what is retained,
is named: every column of every table, but for those in EXEMPT.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select, text

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock, today
from portal.db import Base, open_engine, open_session
from portal.evidence.models import Tombstone
from portal.ledger.models import Entry
from portal.ledger.service import append
from portal.models import metadata
from portal.reassessment.models import ChangeKind, ChangeNotice, Reassessment
from portal.reassessment.service import file_notice, handle
from portal.retention import accesses, exporting
from portal.retention import service as retention
from portal.retention.models import Access, Export, ExportItem, Hold, HoldAct, RetentionRules
from portal.retention.preview import preview
from portal.retention.rules import DEFAULTS, Anchor, Kind, Rule
from portal.review.models import (
    Assessment,
    Case,
    CaseState,
    ChangeRequest,
    Comment,
    Decision,
    DecisionKind,
    Finding,
    GrantedException,
    PolicyVersion,
)
from portal.review.rules import Condition, foreseen, must_be_named
from portal.review.service import answer_change_request, claim, close_exception, comment
from portal.settings import Settings
from portal.suppliers.models import Supplier
from tests.factories import Make, RecordingQueue
from tests.factories.kept import Kept
from tests.factories.offered import Offered
from tests.unit.reports.recorded.tampering import Tampering, World
from tests.unit.review.conftest import Desk

K = DecisionKind
TABLES: tuple[type[Base], ...] = (
    Assessment,
    PolicyVersion,
    Case,
    Finding,
    Decision,
    ChangeRequest,
    GrantedException,
    Comment,
    ChangeNotice,
    Reassessment,
    RetentionRules,
    Hold,
    HoldAct,
    Access,
    Export,
    ExportItem,
    Tombstone,
)
EXEMPT = {
    "findings.id": "nothing refers to it",
    "export_items.id": "nothing refers to it",
    "cases.claimed_at": "since when somebody holds a case is no judgement",
    "cases.claimed_by": "nor who holds one that is open; who closed one: below",
    "cases.state": "nor whether one that is open is held or waits for the supplier; the others: below",
    "cases.why": "a help for the reader, proven until the next assessment: below",
    "tombstones.removed_at": "whether the bytes are gone is read from the store",
}
OF_CASES = (
    ("UPDATE cases SET state = 'claimed', closed_at = NULL WHERE number = 4", "closes it"),
    ("UPDATE cases SET state = 'closed' WHERE state = 'claimed'", "and no decision closes it"),
    ("UPDATE cases SET state = 'claimed' WHERE state = 'second'", "and it waits for a second approval"),
    ("UPDATE cases SET state = 'second' WHERE state = 'claimed'", "and it does not wait for a second"),
    ("UPDATE cases SET state = 'waiting' WHERE state = 'claimed'", "and nothing is asked of the supplier"),
    ("UPDATE cases SET state = 'open' WHERE state = 'claimed'", "state: the database says open, claimed by"),
    ("UPDATE cases SET claimed_by = NULL WHERE state = 'closed'", "claimed by: the database says None"),
    ("UPDATE cases SET why = 'because' WHERE number = 4", "why: the database says sha256:"),
    ("UPDATE tombstones SET removed_at = '1999-01-01 00:00:00.000000'", "removed before it was deleted"),
    ("UPDATE change_requests SET answer = 'Yes.' WHERE answered_at IS NULL", "and was not answered"),
    ("UPDATE assessments SET result = 'x'", "its result cannot be read"),
    ("UPDATE assessments SET facts = 'x'", "its findings cannot be made again"),
    ("UPDATE exports SET manifest = '[]'", "its manifest cannot be read"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("judged")
    settings = Settings(var_dir=folder / "var", database_url=f"sqlite:///{folder / 'test.db'}")
    engine = open_engine(settings.database)
    metadata.create_all(engine)
    (settings.store / "spool").mkdir(parents=True)
    session, clock = open_session(engine), FixedClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    store = LocalBlobStore(settings.store)
    make = Make(session, clock, Flask("judged"))
    desk = Desk(session, clock, make, Offered(session, clock))
    _judge(desk, store, RecordingQueue(engine, clock, store, settings))
    _retain(Kept(session, clock, make, store, settings.store / "spool"), desk)
    yield World(session, clock)
    session.close()
    engine.dispose()


def _judge(desk: Desk, store: LocalBlobStore, jobs: RecordingQueue) -> None:
    """Cases in each state; a change; a gap that is accepted, and another whose end came early."""
    session, clock = desk.session, desk.clock
    case = desk.case(inc_contact_hours="unknown", fw_disclosure="no")
    supplier = desk.make.supplier_actor(session.get_one(Supplier, case.supplier_id))
    reviewer = desk.reviewer()
    desk.decide(case, K.REQUEST_CHANGES, reviewer, items=("Name the algorithm.", "Send a photo."))
    first, second = session.scalars(select(ChangeRequest).order_by(ChangeRequest.position)).all()
    for words, internal in (("Wait for the photo.", True), ("Thank you.", False)):
        clock.advance(timedelta(hours=1))
        comment(session, reviewer, clock, case.id, text=words, internal=internal)
    answer_change_request(session, supplier, clock, first.id, answer="Ed25519.")
    desk.offered.questionnaire(case.product, {"inc_contact_hours": "unknown"})
    desk.assessed(case.product)
    clock.advance(timedelta(days=1))
    answer_change_request(session, supplier, clock, second.id, answer="Attached.")
    gaps = must_be_named(foreseen(case.assessment, (), today(clock)))
    named = [Condition(gap.control_id, "Only in hall 3.", "Facilities", date(2027, 6, 30)) for gap in gaps]
    desk.decide(case, K.APPROVE_WITH_CONDITIONS, reviewer, conditions=named)
    clock.advance(timedelta(days=1))
    notice = file_notice(
        *(session, supplier, clock, jobs),
        kind=ChangeKind.SITE,
        title="A second factory",
        description="In Narvik.",
        product_id=case.product_id,
        effective_on=date(2027, 1, 1),
    )
    handle(session, clock, store, notice.id)
    file_notice(session, supplier, clock, jobs, kind=ChangeKind.OTHER, title="Another name")
    granted = session.scalars(select(GrantedException).order_by(GrantedException.id)).first()
    assert granted is not None
    close_exception(session, reviewer, clock, granted.id)
    desk.decide(desk.case(inc_contact_hours="unknown"), K.REQUEST_CHANGES, items=("Boot securely.",))
    clock.advance(timedelta(hours=1))
    desk.decide(desk.case(inc_contact_hours="unknown"), K.REJECT)
    desk.decide(desk.case(tier=1), K.APPROVE, desk.approver())
    whole = desk.case(tier=1)
    desk.decide(whole, K.APPROVE, desk.approver())
    desk.decide(whole, K.APPROVE, desk.approver())
    claim(session, desk.reviewer(), clock, desk.case().id)
    session.commit()


def _retain(kept: Kept, desk: Desk) -> None:
    session, clock, make = kept.session, kept.clock, kept.make
    administrator, approver, reviewer = (
        make.actor(role) for role in (RoleName.ADMINISTRATOR, RoleName.APPROVER, RoleName.REVIEWER)
    )
    one, other = kept.delivered(kept.ended(), b"one"), kept.delivered(kept.ended(), b"other")
    rules = dict(DEFAULTS) | {Kind.LOT: Rule(Anchor.NEVER, 99)}
    retention.set_rules(session, administrator, clock, by_kind=rules, why="Lots stay.", version=0)
    held = retention.place(
        *(session, approver, clock),
        supplier_id=other.supplier_id,
        evidence_id=other.id,
        reference="INC-7",
        why="A fire.",
    )
    retention.place(session, approver, clock, supplier_id=one.supplier_id, reference="INC-8", why="A trial.")
    accesses.record(session, reviewer, clock, other.id)
    case = session.scalars(select(Case).where(Case.state == CaseState.CLOSED)).first()
    what = {"reference": "INC-7", "purpose": "A claim.", "recipient": "The insurer"}
    assert case is not None
    files = exporting.of_case(session, case)
    exporting.export(session, reviewer, clock, evidence_ids=files, case=case, **what)
    exporting.export(session, reviewer, clock, evidence_ids=[one.id], **what)
    clock.advance(timedelta(days=1))
    retention.ask_release(session, approver, clock, held.id, why="It is settled.")
    retention.release(session, make.actor(RoleName.APPROVER), clock, held.id, why="So it is.")
    retention.delete(session, administrator, clock, digest=preview(session, clock).digest)
    session.commit()
    clock.advance(timedelta(hours=1))
    retention.remove_bytes(session, clock, kept.store)
    session.commit()


class TestJudging(Tampering):
    tables = TABLES
    exempt = EXEMPT


def test_there_is_a_case_in_every_state(world: World) -> None:
    assert set(world.session.scalars(select(Case.state))) == set(CaseState)


@pytest.mark.parametrize(("tamper", "said"), OF_CASES)
def test_what_cannot_be_is_named(world: World, tamper: str, said: str) -> None:
    with world.past_the_triggers():
        assert world.session.execute(text(tamper)).rowcount > 0  # type: ignore[attr-defined]
        assert [fault for fault in world.faults() if said in fault]


def test_rows_of_newer_kinds_are_let_be_only_of_suppliers_from_before(world: World) -> None:
    session = world.session
    with world.past_the_triggers():
        comment_id, supplier_id = session.execute(select(Comment.id, Comment.supplier_id)).first() or ("", "")
        session.execute(delete(Entry).where(Entry.subject_id == comment_id))
        missing = f"comments {comment_id}: has no entry comment.made in the ledger"
        assert missing in world.faults()
        append(session, world.clock, "supplier.created", supplier_id, {"name": "x"}, supplier_id)
        assert missing not in world.faults()
        session.execute(delete(Entry).where(Entry.kind == "supplier.created"))
        body: dict[str, Any] = {"name": "x", "country": None}
        append(session, world.clock, "supplier.created", supplier_id, body, supplier_id)
        assert missing in world.faults()
