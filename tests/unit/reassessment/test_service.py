"""Changes: who tells them, what they touch, what they do; and what time does."""

import json
from datetime import date, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import RoleName
from portal.errors import InvalidInput, NotAllowed, NotFound
from portal.ledger.models import Entry
from portal.policy.facts import Facts
from portal.policy.model import Rating
from portal.reassessment.models import ChangeKind, ChangeNotice, ChangeSource, Reassessment
from portal.reassessment.read import change_page, change_row, changes_of, effects_of, newest_effects
from portal.reassessment.service import (
    TOLD_KINDS,
    difference_of,
    due,
    fall_due,
    file_notice,
    firmware_arrived,
    handle,
    notice_from_machine,
    verified,
)
from portal.review.assessing import newest_assessment, open_case
from portal.review.models import Case, CaseCause, CaseState, DecisionKind
from portal.review.service import Condition
from portal.submissions.models import Submission, SubmissionState
from portal.submissions.service import withdraw
from portal.suppliers.models import Product, Supplier
from portal.verification import Outcome
from tests.factories import RecordingQueue
from tests.unit.review.conftest import Desk

K = ChangeKind


def told(desk: Desk, jobs: RecordingQueue, product: Product, **values: object) -> ChangeNotice:
    """A change that a reviewer tells."""
    values = {"kind": K.BOM, "title": "Cells by another maker", "product_id": product.id} | values
    notice = file_notice(desk.session, desk.reviewer(), desk.clock, jobs, **values)
    desk.session.commit()
    return notice


# --- Telling -------------------------------------------------------------------------------------


def test_a_supplier_tells_about_itself_and_a_job_is_enqueued(
    desk: Desk, jobs: RecordingQueue, approved: Product
) -> None:
    supplier = desk.session.get_one(Supplier, approved.supplier_id)
    actor = desk.make.supplier_actor(supplier)
    notice = file_notice(
        desk.session,
        actor,
        desk.clock,
        jobs,
        kind=K.SITE,
        title=" A second factory ",
        effective_on=date(2027, 1, 1),
    )
    assert (notice.supplier_id, notice.source, notice.filed_by) == (
        supplier.id,
        ChangeSource.SUPPLIER,
        actor.user_id,
    )
    assert (notice.title, notice.product_id, notice.handled_at) == ("A second factory", None, None)
    assert jobs.waiting == [("reassess", (notice.id,))]
    entry = desk.session.scalars(select(Entry).where(Entry.kind == "change.filed")).one()
    assert json.loads(entry.body)["change"] == "site"


def test_telling_about_another_suppliers_product_is_refused_as_if_it_were_not_there(
    desk: Desk, jobs: RecordingQueue, approved: Product
) -> None:
    with pytest.raises(NotFound):
        file_notice(
            desk.session,
            desk.make.supplier_actor(),
            desk.clock,
            jobs,
            kind=K.BOM,
            title="x",
            product_id=approved.id,
        )
    assert jobs.waiting == []


@pytest.mark.parametrize("role", [RoleName.AUDITOR, RoleName.ADMINISTRATOR])
def test_roles_that_may_not_tell_are_refused(
    desk: Desk, jobs: RecordingQueue, approved: Product, role: RoleName
) -> None:
    with pytest.raises(NotAllowed):
        file_notice(
            desk.session,
            desk.make.actor(role),
            desk.clock,
            jobs,
            kind=K.BOM,
            title="x",
            product_id=approved.id,
        )


@pytest.mark.parametrize("kind", sorted(set(K) - set(TOLD_KINDS)))
def test_kinds_that_only_the_machine_sees_are_refused(
    desk: Desk, jobs: RecordingQueue, approved: Product, kind: ChangeKind
) -> None:
    with pytest.raises(InvalidInput) as error:
        told(desk, jobs, approved, kind=kind)
    assert [problem.where for problem in error.value.problems] == ["kind"]


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"description": "x" * 10_001}, "description"),
        ({"product_id": None}, "product_id"),
    ],
)
def test_a_notice_that_says_too_little_or_too_much_is_refused(
    desk: Desk, jobs: RecordingQueue, approved: Product, values: dict[str, object], where: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        told(desk, jobs, approved, **values)
    assert [problem.where for problem in error.value.problems] == [where]


@pytest.mark.parametrize(
    "values",
    [
        {"source": ChangeSource.MACHINE, "filed_by": "somebody"},
        {"source": ChangeSource.BUYER, "filed_by": None},
        {"source": ChangeSource.MACHINE, "filed_by": None, "kind": K.KEY},
    ],
    ids=["the machine has no name", "a person has one", "a key notice names its key"],
)
def test_notices_that_do_not_hold_are_refused_by_the_database(
    desk: Desk, approved: Product, values: dict[str, object]
) -> None:
    if values["filed_by"]:
        values = values | {"filed_by": desk.reviewer().user_id}
    row = {"kind": K.BOM, "title": "x", "filed_at": desk.clock.now()} | values
    desk.session.add(ChangeNotice(supplier_id=approved.supplier_id, **row))
    with pytest.raises(IntegrityError, match="CHECK constraint"):
        desk.session.flush()


# --- What a change does --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TOLD_KINDS)
def test_a_change_that_a_person_told_re_opens_an_approved_product(
    desk: Desk, jobs: RecordingQueue, approved: Product, kind: ChangeKind
) -> None:
    assert open_case(desk.session, approved.id) is None
    before = newest_assessment(desk.session, approved.id)
    notice = told(desk, jobs, approved, kind=kind)
    (done,) = handle(desk.session, desk.clock, None, notice.id)
    case = open_case(desk.session, approved.id)
    assert before is not None and case is not None
    assert (done.before_id, done.material, done.case_id) == (before.id, True, case.id)
    assert (case.cause, case.state, case.rating) == (CaseCause.CHANGE, CaseState.OPEN, Rating.CONDITIONAL)
    changed = difference_of(done)
    assert (changed.rating_was, changed.rating_now) == (Rating.APPROVABLE, Rating.CONDITIONAL)
    assert [change.control_id for change in changed.controls] == ["CMP-04"]
    assert notice.handled_at == desk.clock.now()


def test_handling_a_change_twice_does_nothing_the_second_time(
    desk: Desk, jobs: RecordingQueue, approved: Product
) -> None:
    notice = told(desk, jobs, approved)
    first = handle(desk.session, desk.clock, None, notice.id)
    assert handle(desk.session, desk.clock, None, notice.id) == first
    assert len(desk.session.scalars(select(Case)).all()) == 2


def test_a_change_of_one_product_touches_no_other(
    desk: Desk, jobs: RecordingQueue, approved: Product
) -> None:
    supplier = desk.session.get_one(Supplier, approved.supplier_id)
    sibling = desk.make.product(supplier)
    desk.offered.everything(sibling)
    desk.decide(desk.assessed(sibling), DecisionKind.APPROVE)
    handle(desk.session, desk.clock, None, told(desk, jobs, approved).id)
    assert open_case(desk.session, sibling.id) is None
    everywhere = told(desk, jobs, approved, product_id=None, supplier_id=supplier.id, kind=K.OWNERSHIP)
    assert {row.product_id for row in handle(desk.session, desk.clock, None, everywhere.id)} == {
        approved.id,
        sibling.id,
    }
    assert open_case(desk.session, sibling.id) is not None


def test_a_change_of_another_supplier_touches_nothing_here(
    desk: Desk, jobs: RecordingQueue, approved: Product
) -> None:
    stranger = desk.make.product()
    notice = told(desk, jobs, stranger)
    assert handle(desk.session, desk.clock, None, notice.id) == []  # never assessed: nothing to do again
    assert open_case(desk.session, approved.id) is None


def test_deciding_closes_the_change(desk: Desk, jobs: RecordingQueue, approved: Product) -> None:
    handle(desk.session, desk.clock, None, told(desk, jobs, approved).id)
    case = open_case(desk.session, approved.id)
    assert case is not None
    desk.clock.advance(timedelta(days=1))
    desk.decide(case, DecisionKind.APPROVE)
    newest = newest_assessment(desk.session, approved.id)
    assert newest is not None and newest.rating == Rating.APPROVABLE
    assert Facts.from_json(newest.facts).changes == ()


def test_an_unknown_notice_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound):
        handle(desk.session, desk.clock, None, "0" * 32)


# --- New firmware --------------------------------------------------------------------------------


def test_good_firmware_of_a_decided_product_is_a_change_that_needs_nobody(
    desk: Desk, approved: Product
) -> None:
    arrived = desk.offered.firmware(approved, "1.1.0")
    done = firmware_arrived(desk.session, desk.clock, arrived)
    notice = desk.session.get_one(ChangeNotice, done.change_notice_id)
    assert (notice.kind, notice.source, notice.submission_id) == (
        K.FIRMWARE,
        ChangeSource.MACHINE,
        arrived.id,
    )
    assert (done.material, done.case_id) == (False, None)
    assert open_case(desk.session, approved.id) is None


def test_unsigned_firmware_of_a_decided_product_opens_a_case(desk: Desk, approved: Product) -> None:
    arrived = desk.offered.firmware(approved, "1.1.0", {"firmware.signed": Outcome.FAIL})
    done = firmware_arrived(desk.session, desk.clock, arrived)
    case = open_case(desk.session, approved.id)
    assert case is not None and (done.material, done.case_id) == (True, case.id)
    changed = difference_of(done)
    assert changed.knock_outs_added == ("FW-01",)
    assert (changed.rating_was, changed.rating_now) == (Rating.APPROVABLE, Rating.HIGH_RISK)


def test_what_follows_a_verification(desk: Desk, approved: Product) -> None:
    """Firmware of a decided product is a change; a lot, or a product's first evidence, is just assessed."""
    assert verified(desk.session, desk.clock, desk.offered.firmware(approved, "1.1.0").id).number == 3
    assert verified(desk.session, desk.clock, desk.offered.lot(approved).id).number == 4
    fresh = desk.make.product()
    assert verified(desk.session, desk.clock, desk.offered.firmware(fresh).id).number == 1
    kinds = desk.session.scalars(select(ChangeNotice.kind)).all()
    assert kinds == [K.FIRMWARE]


def test_a_submission_that_failed_to_be_verified_opens_a_case(desk: Desk, approved: Product) -> None:
    failed = desk.offered.failed(approved)
    verified(desk.session, desk.clock, failed.id)
    case = open_case(desk.session, approved.id)
    assert case is not None and case.cause is CaseCause.FAILURE


def daily(desk: Desk) -> int:
    """What the daily job does; how many products were due."""
    found = due(desk.session, desk.clock, 365)
    for product_id, reason in found:
        fall_due(desk.session, desk.clock, product_id, reason)
    desk.session.commit()
    return len(found)


# --- Time ----------------------------------------------------------------------------------------


def test_a_decision_falls_due_after_a_year_and_only_once(desk: Desk, approved: Product) -> None:
    desk.clock.advance(timedelta(days=364))
    assert daily(desk) == 0
    desk.clock.advance(timedelta(days=1))
    assert daily(desk) == 1
    assert daily(desk) == 0
    case = open_case(desk.session, approved.id)
    assert case is not None and case.cause is CaseCause.DUE
    notice = desk.session.scalars(select(ChangeNotice)).one()
    assert (notice.kind, notice.source) == (K.DUE, ChangeSource.MACHINE)
    desk.decide(case, DecisionKind.APPROVE)
    desk.clock.advance(timedelta(days=30))
    assert daily(desk) == 0


@pytest.mark.parametrize("kind", [DecisionKind.REJECT, DecisionKind.QUARANTINE])
def test_what_was_not_approved_does_not_fall_due(desk: Desk, kind: DecisionKind) -> None:
    desk.decide(desk.case(), kind)
    desk.clock.advance(timedelta(days=365))
    assert daily(desk) == 0


def test_an_end_of_support_that_passes_opens_a_case(desk: Desk) -> None:
    case = desk.case(res_end_of_support="2027-02-28")
    desk.decide(case, DecisionKind.APPROVE)
    desk.clock.at = desk.clock.at.replace(year=2027, month=2, day=27)
    assert daily(desk) == 0
    desk.clock.advance(timedelta(days=1))
    assert daily(desk) == 1
    again = open_case(desk.session, case.product_id)
    assert again is not None and "new knock-outs: RES-01" in again.why
    notice = desk.session.scalars(select(ChangeNotice)).one()
    assert notice.kind is K.DATE and "RES-01" in notice.title
    assert daily(desk) == 0


def test_an_exception_that_expires_brings_the_gap_back(desk: Desk) -> None:
    case = desk.case(inc_contact_hours="unknown")
    until = date(2027, 1, 31)
    desk.decide(
        case,
        DecisionKind.APPROVE_WITH_CONDITIONS,
        conditions=[Condition("INC-01", "Our desk forwards calls.", "OT security", until)],
    )
    desk.clock.at = desk.clock.at.replace(year=2027, month=1, day=31)
    assert daily(desk) == 0
    desk.clock.advance(timedelta(days=1))
    assert daily(desk) == 1
    again = open_case(desk.session, case.product_id)
    assert again is not None and again.rating == Rating.HIGH_RISK


def test_a_key_that_runs_out_is_told_once_and_needs_nobody(desk: Desk, approved: Product) -> None:
    registrar = desk.make.user(RoleName.SUPPLIER_ADMIN, desk.session.get_one(Supplier, approved.supplier_id))
    key = desk.offered.key(
        approved.supplier_id, registrar, not_after=desk.clock.now() + timedelta(days=10), label="Release key"
    )
    verified(desk.session, desk.clock, desk.offered.firmware(approved, "1.1.0", key=key).id)
    desk.clock.advance(timedelta(days=9))
    assert daily(desk) == 0
    desk.clock.advance(timedelta(days=2))
    assert daily(desk) == 1
    assert daily(desk) == 0
    notice = desk.session.scalars(select(ChangeNotice).where(ChangeNotice.kind == K.DATE)).one()
    assert notice.title == "Key no longer valid: Release key"
    assert open_case(desk.session, approved.id) is None


def test_a_newer_policy_assesses_what_was_decided_by_the_older(desk: Desk, approved: Product) -> None:
    newest = newest_assessment(desk.session, approved.id)
    assert newest is not None
    result = json.loads(newest.result) | {"policy_digest": "sha256:" + "0" * 64}
    newest.result = json.dumps(result)
    newest.policy_digest = result["policy_digest"]
    desk.session.commit()
    assert daily(desk) == 1
    notice = desk.session.scalars(select(ChangeNotice)).one()
    assert notice.title.startswith("Policy lotgate-baseline")
    assert open_case(desk.session, approved.id) is None


def test_evidence_that_was_withdrawn_is_missed_by_the_next_day(desk: Desk, approved: Product) -> None:
    for row in desk.session.scalars(select(Submission).where(Submission.kind == "questionnaire")):
        row.state = SubmissionState.WITHDRAWN
    desk.session.commit()
    assert daily(desk) == 1
    notice = desk.session.scalars(select(ChangeNotice)).one()
    assert notice.kind is K.OTHER and notice.title.startswith("Evidence is otherwise: ")
    assert "SUP-01" in notice.title
    case = open_case(desk.session, approved.id)
    assert case is not None and case.rating == Rating.REJECT
    assert daily(desk) == 0


# --- What pages see ------------------------------------------------------------------------------


def test_read_models_of_changes(desk: Desk, jobs: RecordingQueue, approved: Product) -> None:
    notice = told(desk, jobs, approved)
    machine = notice_from_machine(
        desk.session,
        desk.clock,
        supplier_id=approved.supplier_id,
        kind=K.OTHER,
        title="Seen",
        product_id=approved.id,
    )
    handle(desk.session, desk.clock, None, notice.id)
    found = change_page(desk.session)
    assert {row.notice.id: (row.touched, row.material) for row in found.rows} == {
        notice.id: (1, 1),
        machine.id: (0, 0),
    }
    assert change_page(desk.session, kind=K.BOM).total == 1
    assert change_page(desk.session, text="by another").total == 1
    assert change_page(desk.session, text="%").total == 0
    assert change_page(desk.session, supplier_id="0" * 32).total == 0
    row = change_row(desk.session, notice.id)
    assert row is not None and row.filed_by is not None and row.product == approved.name
    assert change_row(desk.session, "0" * 32) is None
    assert len(changes_of(desk.session, approved.id)) == 2
    (effect,) = effects_of(desk.session, notice.id)
    assert (effect.before, effect.after, effect.case_number) == (2, 3, 2)
    assert newest_effects(desk.session, material=True) == (effect,)
    assert len(desk.session.scalars(select(Reassessment)).all()) == 1
    assert desk.session.scalars(select(Submission)).first() is not None


def test_evidence_that_is_withdrawn_is_missed_at_once(
    desk: Desk, jobs: RecordingQueue, approved: Product
) -> None:
    lot = desk.offered.lot(approved, {"lot.serials_new": Outcome.FAIL})
    verified(desk.session, desk.clock, lot.id)
    case = open_case(desk.session, approved.id)
    assert case is not None and case.rating == Rating.HIGH_RISK
    actor = desk.make.supplier_actor(desk.session.get_one(Supplier, approved.supplier_id))
    withdraw(desk.session, actor, desk.clock, jobs, lot.id)
    desk.session.commit()
    assert [job for job, _ in jobs.run_all()] == ["assess"]
    desk.session.refresh(case)
    assert (case.rating, case.assessment.number) == (Rating.APPROVABLE, 4)
