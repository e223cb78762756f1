"""Decisions: what is refused and why, four eyes, and what a decision does."""

import json
from datetime import date, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import RoleName
from portal.clock import today
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.ledger.models import Entry
from portal.notices.models import Message
from portal.policy.model import Rating
from portal.review import rules
from portal.review.assessing import newest_assessment, open_case
from portal.review.facts import last_settled
from portal.review.models import (
    Assessment,
    Case,
    CaseCause,
    CaseState,
    ChangeRequest,
    Decision,
    DecisionKind,
    GrantedException,
)
from portal.review.service import (
    Condition,
    answer_change_request,
    assess,
    claim,
    close_exception,
    decide,
)
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import Lot
from portal.submissions.models import Submission, SubmissionState
from portal.suppliers.models import Standing, Supplier
from portal.verification import Outcome
from tests.unit.review.conftest import Desk

K = DecisionKind
NEXT_YEAR = date(2027, 10, 1)


def condition(control_id: str, expires_on: date = NEXT_YEAR, **values: str) -> Condition:
    words = {"text": "Only behind the site's one-way gateway.", "owner": "Facilities, hall 3"} | values
    return Condition(control_id=control_id, expires_on=expires_on, **words)


def refused(error: pytest.ExceptionInfo[InvalidInput]) -> set[str]:
    return {problem.where for problem in error.value.problems}


# --- Who may -------------------------------------------------------------------------------------


def test_a_case_that_is_not_there_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound):
        decide(
            desk.session, desk.reviewer(), desk.clock, "0" * 32, assessment_id="", kind=K.APPROVE, reason="x"
        )


def test_deciding_without_the_claim_is_refused(desk: Desk) -> None:
    case = desk.case()
    with pytest.raises(NotAllowed, match="claim it first"):
        decide(
            desk.session,
            desk.reviewer(),
            desk.clock,
            case.id,
            assessment_id=case.assessment_id,
            kind=K.APPROVE,
            reason="x",
        )


def test_deciding_what_somebody_else_holds_is_refused(desk: Desk) -> None:
    case = desk.case()
    claim(desk.session, desk.reviewer(), desk.clock, case.id)
    with pytest.raises(NotAllowed, match="only who holds case 1"):
        decide(
            desk.session,
            desk.reviewer(),
            desk.clock,
            case.id,
            assessment_id=case.assessment_id,
            kind=K.REJECT,
            reason="x",
        )


@pytest.mark.parametrize("role", [RoleName.AUDITOR, RoleName.ADMINISTRATOR])
def test_roles_that_only_read_are_refused(desk: Desk, role: RoleName) -> None:
    case = desk.case()
    actor = desk.make.actor(role)
    with pytest.raises(NotAllowed, match="review:case:claim"):
        claim(desk.session, actor, desk.clock, case.id)
    with pytest.raises(NotAllowed, match="review:case:decide"):
        decide(
            desk.session,
            actor,
            desk.clock,
            case.id,
            assessment_id=case.assessment_id,
            kind=K.REJECT,
            reason="x",
        )


@pytest.mark.parametrize("kind", list(K))
def test_nobody_decides_on_what_they_submitted(desk: Desk, kind: DecisionKind) -> None:
    case = desk.case()
    actor = desk.reviewer()
    own = desk.session.scalars(select(Submission).where(Submission.product_id == case.product_id)).first()
    assert own is not None
    own.submitted_by = actor.user_id
    with pytest.raises(NotAllowed, match="nobody decides on what they submitted"):
        desk.decide(case, kind, actor)


def test_a_closed_case_is_refused(desk: Desk) -> None:
    case = desk.case()
    actor = desk.reviewer()
    desk.decide(case, K.APPROVE, actor)
    with pytest.raises(Conflict, match="case 1 is closed"):
        decide(
            desk.session,
            actor,
            desk.clock,
            case.id,
            assessment_id=case.assessment_id,
            kind=K.REJECT,
            reason="x",
        )


def test_an_assessment_that_is_no_longer_in_front_is_refused(desk: Desk) -> None:
    case = desk.case()
    seen = case.assessment_id
    desk.offered.lot(case.product, {"lot.limits": Outcome.FAIL})
    desk.assessed(case.product)
    with pytest.raises(Conflict, match="assessment 2 arrived meanwhile"):
        desk.decide(case, K.APPROVE, assessment_id=seen)


# --- What must be said ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(K))
@pytest.mark.parametrize("reason", ["", "  \n", "x" * 10_001])
def test_a_reason_that_is_missing_or_too_long_is_refused(desk: Desk, kind: DecisionKind, reason: str) -> None:
    with pytest.raises(InvalidInput) as error:
        desk.decide(desk.case(), kind, reason=reason)
    assert "reason" in refused(error)


def test_conditions_without_a_condition_are_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInput) as error:
        desk.decide(desk.case(fw_rollback="no"), K.APPROVE_WITH_CONDITIONS)
    assert "conditions" in refused(error)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (condition("FW-09", text=" "), "conditions[0].text"),
        (condition("FW-09", text="x" * 1001), "conditions[0].text"),
        (condition("FW-09", owner=""), "conditions[0].owner"),
        (condition("FW-09", date(2026, 11, 21)), "conditions[0].expires_on"),
        (condition("FW-09", date(2027, 11, 22)), "conditions[0].expires_on"),
        (condition("QA-02"), "conditions[0].control_id"),
        (condition("XX-99"), "conditions[0].control_id"),
    ],
    ids=["no text", "long text", "no owner", "not ahead", "over a year", "control is met", "no such control"],
)
def test_a_condition_that_does_not_hold_is_refused(desk: Desk, wrong: Condition, where: str) -> None:
    with pytest.raises(InvalidInput) as error:
        desk.decide(desk.case(fw_disclosure="no"), K.APPROVE_WITH_CONDITIONS, conditions=[wrong])
    assert where in refused(error)


def test_the_same_control_twice_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInput) as error:
        desk.decide(
            desk.case(fw_disclosure="no"),
            K.APPROVE_WITH_CONDITIONS,
            conditions=[condition("FW-09"), condition("FW-09")],
        )
    assert refused(error) == {"conditions[1].control_id"}


@pytest.mark.parametrize("kind", [K.APPROVE, K.REQUEST_CHANGES, K.REJECT, K.QUARANTINE])
def test_conditions_beside_another_decision_are_refused(desk: Desk, kind: DecisionKind) -> None:
    items = ["Send the report"] if kind is K.REQUEST_CHANGES else []
    with pytest.raises(InvalidInput) as error:
        desk.decide(desk.case(fw_disclosure="no"), kind, conditions=[condition("FW-09")], items=items)
    assert "conditions" in refused(error)


@pytest.mark.parametrize("kind", [K.APPROVE, K.REJECT, K.QUARANTINE])
def test_items_beside_another_decision_are_refused(desk: Desk, kind: DecisionKind) -> None:
    with pytest.raises(InvalidInput) as error:
        desk.decide(desk.case(), kind, items=["Send the report"])
    assert "items" in refused(error)


@pytest.mark.parametrize(
    ("items", "where"),
    [([], "items"), ([" "], "items[0]"), (["x"] * 51, "items"), (["x" * 1001], "items[0]")],
)
def test_a_request_that_asks_for_nothing_is_refused(desk: Desk, items: list[str], where: str) -> None:
    with pytest.raises(InvalidInput) as error:
        desk.decide(desk.case(), K.REQUEST_CHANGES, items=items)
    assert refused(error) == {where}


# --- What the policy leaves possible -------------------------------------------------------------


@pytest.mark.parametrize("kind", [K.APPROVE, K.APPROVE_WITH_CONDITIONS])
def test_approving_what_the_policy_rejects_is_refused(desk: Desk, kind: DecisionKind) -> None:
    case = desk.case(sup_maker_name="")
    assert case.rating == Rating.REJECT
    conditions = [condition("SUP-01")] if kind is K.APPROVE_WITH_CONDITIONS else []
    with pytest.raises(InvalidInput) as error:
        desk.decide(case, kind, conditions=conditions)
    assert [problem.found for problem in error.value.problems if problem.where == "kind"] == [
        "SUP-01 " + case_title(case, "SUP-01")
    ]


def case_title(case: Case, control_id: str) -> str:
    return next(
        item["title"] for item in json.loads(case.assessment.result)["controls"] if item["id"] == control_id
    )


def test_approving_high_risk_without_conditions_is_refused(desk: Desk) -> None:
    case = desk.case(inc_contact="", inc_contact_hours="unknown")
    assert case.rating == Rating.HIGH_RISK
    with pytest.raises(InvalidInput) as error:
        desk.decide(case, K.APPROVE)
    assert any("INC-01" in problem.expected for problem in error.value.problems)


def test_conditions_must_name_every_knock_out(desk: Desk) -> None:
    case = desk.case(inc_contact_hours="unknown", fw_disclosure="no")
    with pytest.raises(InvalidInput) as error:
        desk.decide(case, K.APPROVE_WITH_CONDITIONS, conditions=[condition("FW-09")])
    assert len(error.value.problems) == 1
    assert error.value.problems[0].expected.startswith("INC-01")


def test_what_a_check_contradicts_must_be_named_too(desk: Desk) -> None:
    case = desk.case()
    desk.offered.lot(case.product, {"lot.custody": Outcome.FAIL})
    case = desk.assessed(case.product)
    reviewer = desk.reviewer()
    with pytest.raises(InvalidInput) as error:
        desk.decide(case, K.APPROVE, reviewer)
    assert [problem.expected[:6] for problem in error.value.problems] == ["PRV-04"]
    decision = desk.decide(case, K.APPROVE_WITH_CONDITIONS, reviewer, conditions=[condition("PRV-04")])
    assert decision.effective


def test_an_assessment_by_another_policy_is_refused(desk: Desk) -> None:
    case = desk.case()
    case.assessment.policy_digest = "sha256:" + "0" * 64
    with pytest.raises(Conflict, match="the policy is another one"):
        desk.decide(case, K.APPROVE)


def test_what_must_be_named_is_empty_once_it_is_named(desk: Desk) -> None:
    case = desk.case(inc_contact_hours="unknown")
    day = desk.clock.now().date()
    assert [gap.control_id for gap in rules.must_be_named(rules.foreseen(case.assessment, [], day))] == [
        "INC-01"
    ]
    assert rules.must_be_named(rules.foreseen(case.assessment, [condition("INC-01")], day)) == ()


# --- Four eyes -----------------------------------------------------------------------------------


def test_approving_tier_1_as_a_reviewer_is_refused(desk: Desk) -> None:
    with pytest.raises(NotAllowed, match="approve_tier1"):
        desk.decide(desk.case(tier=1), K.APPROVE, desk.reviewer())


@pytest.mark.parametrize("kind", [K.REJECT, K.QUARANTINE])
def test_failing_closed_needs_no_second_person_in_tier_1(desk: Desk, kind: DecisionKind) -> None:
    case = desk.case(tier=1)
    assert desk.decide(case, kind, desk.reviewer()).effective
    assert case.state is CaseState.CLOSED


def test_tier_1_takes_two_approvers(desk: Desk) -> None:
    case = desk.case(tier=1)
    first = desk.decide(case, K.APPROVE, desk.approver())
    assert (first.effective, first.settled_id) == (False, None)
    assert (case.state, case.claimed_by) == (CaseState.SECOND, None)
    supplier = desk.session.get_one(Supplier, case.supplier_id)
    assert supplier.standing is Standing.NEW
    second = desk.decide(case, K.APPROVE, desk.approver())
    assert (second.effective, second.seconds_id) == (True, first.id)
    assert case.state is CaseState.CLOSED
    assert supplier.standing is Standing.APPROVED


def test_the_first_approver_as_the_second_is_refused(desk: Desk) -> None:
    case = desk.case(tier=1)
    approver = desk.approver()
    desk.decide(case, K.APPROVE, approver)
    with pytest.raises(NotAllowed, match="second approver"):
        desk.decide(case, K.APPROVE, approver)


def test_the_second_approver_must_agree_with_the_first(desk: Desk) -> None:
    case = desk.case(tier=1, inc_contact_hours="business_hours")
    desk.decide(case, K.APPROVE_WITH_CONDITIONS, desk.approver(), conditions=[condition("INC-01")])
    with pytest.raises(InvalidInput) as error:
        desk.decide(case, K.APPROVE, desk.approver())
    assert refused(error) == {"kind"}


def test_conditions_of_a_second_approver_are_refused(desk: Desk) -> None:
    case = desk.case(tier=1, inc_contact_hours="business_hours")
    desk.decide(case, K.APPROVE_WITH_CONDITIONS, desk.approver(), conditions=[condition("INC-01")])
    with pytest.raises(InvalidInput) as error:
        desk.decide(case, K.APPROVE_WITH_CONDITIONS, desk.approver(), conditions=[condition("INC-01")])
    assert refused(error) == {"conditions"}


def test_conditions_count_with_the_second_approval_and_not_before(desk: Desk) -> None:
    case = desk.case(tier=1, inc_contact_hours="business_hours")
    desk.decide(case, K.APPROVE_WITH_CONDITIONS, desk.approver(), conditions=[condition("INC-01")])
    product_id = case.product_id
    assert assess(desk.session, desk.clock, product_id, cause="between").rating == Rating.HIGH_RISK
    assert case.state is CaseState.SECOND  # nothing new: the first approval stands
    desk.decide(case, K.APPROVE_WITH_CONDITIONS, desk.approver())
    newest = newest_assessment(desk.session, product_id)
    assert newest is not None and newest.rating == Rating.CONDITIONAL
    assert desk.session.get_one(Supplier, case.supplier_id).standing is Standing.CONDITIONAL


def test_a_newer_assessment_voids_the_first_approval(desk: Desk) -> None:
    case = desk.case(tier=1)
    first_approver = desk.approver()
    desk.decide(case, K.APPROVE, first_approver)
    desk.offered.firmware(case.product, "2.0.0")
    desk.assessed(case.product)
    assert case.state is CaseState.OPEN
    again = desk.decide(case, K.APPROVE, desk.approver())
    assert (again.effective, again.seconds_id) == (False, None)
    assert desk.decide(case, K.APPROVE, first_approver).seconds_id == again.id


def test_a_second_approver_who_asks_for_changes_voids_the_first_approval(desk: Desk) -> None:
    case = desk.case(tier=1)
    desk.decide(case, K.APPROVE, desk.approver())
    other = desk.approver()
    desk.decide(case, K.REQUEST_CHANGES, other, items=["Send the report"])
    assert case.state is CaseState.WAITING
    assert not desk.decide(case, K.APPROVE, other).effective


def test_two_seconds_for_one_first_are_refused_by_the_database(desk: Desk) -> None:
    case = desk.case(tier=1)
    first = desk.decide(case, K.APPROVE, desk.approver())
    second = desk.decide(case, K.APPROVE, desk.approver())
    desk.session.add(
        Decision(
            supplier_id=case.supplier_id,
            case_id=case.id,
            product_id=case.product_id,
            assessment_id=case.assessment_id,
            kind=K.APPROVE,
            reason="once more",
            decided_by=second.decided_by,
            decided_at=desk.clock.now(),
            seconds_id=first.id,
            effective=True,
        )
    )
    with pytest.raises(IntegrityError, match="seconds_id"):
        desk.session.flush()


@pytest.mark.parametrize(
    "values",
    [{"reason": "  "}, {"effective": False, "settled_id": "case"}],
    ids=["no reason", "settled but not effective"],
)
def test_decisions_that_do_not_hold_are_refused_by_the_database(
    desk: Desk, values: dict[str, object]
) -> None:
    case = desk.case()
    if "settled_id" in values:
        values = values | {"settled_id": case.assessment_id}
    row = {"kind": K.REJECT, "reason": "x", "effective": True, "decided_at": desk.clock.now()} | values
    desk.session.add(
        Decision(
            supplier_id=case.supplier_id,
            case_id=case.id,
            product_id=case.product_id,
            assessment_id=case.assessment_id,
            decided_by=desk.reviewer().user_id,
            **row,
        )
    )
    with pytest.raises(IntegrityError, match="CHECK constraint"):
        desk.session.flush()


@pytest.mark.parametrize(
    "values",
    [
        {"state": CaseState.CLOSED},
        {"closed_at": "now"},
        {"claimed_by": "somebody", "claimed_at": "now"},
        {"state": CaseState.CLAIMED, "claimed_at": "now"},
    ],
    ids=["closed without a time", "a time but open", "open but claimed", "claimed by nobody"],
)
def test_cases_that_do_not_hold_are_refused_by_the_database(desk: Desk, values: dict[str, object]) -> None:
    case = desk.case()
    stand_ins = {"now": desk.clock.now(), "somebody": desk.reviewer().user_id}
    for name, value in values.items():
        setattr(case, name, stand_ins.get(str(value), value))
    with pytest.raises(IntegrityError, match="CHECK constraint"):
        desk.session.flush()


# --- What a decision does ------------------------------------------------------------------------


def test_an_approval_accepts_what_was_assessed(desk: Desk) -> None:
    product = desk.make.product()
    desk.offered.everything(product)
    odd = desk.offered.firmware(product, "1.1.0", {"firmware.format": Outcome.WARN})
    case = desk.assessed(product)
    decision = desk.decide(case, K.APPROVE)
    assert odd.state is SubmissionState.ACCEPTED
    release = desk.session.scalars(
        select(FirmwareRelease).where(FirmwareRelease.submission_id == odd.id)
    ).one()
    assert release.accepted_at is not None
    assert (case.state, case.closed_at) == (CaseState.CLOSED, desk.clock.now())
    assert desk.session.get_one(Supplier, case.supplier_id).standing is Standing.APPROVED
    assert decision.settled_id is not None and decision.settled_id != decision.assessment_id


def test_an_approval_does_not_accept_what_was_never_verified(desk: Desk) -> None:
    case = desk.case()
    running = desk.offered.firmware(case.product, "9.0.0", {"firmware.format": Outcome.WARN})
    running.state = SubmissionState.VERIFYING
    desk.decide(case, K.APPROVE)
    assert running.state is SubmissionState.VERIFYING
    release = desk.session.scalars(
        select(FirmwareRelease).where(FirmwareRelease.submission_id == running.id)
    ).one()
    assert release.accepted_at is None


def test_after_an_approval_nothing_new_opens_no_case(desk: Desk) -> None:
    case = desk.case()
    desk.decide(case, K.APPROVE)
    assess(desk.session, desk.clock, case.product_id, cause="again", case_cause=CaseCause.SUBMISSION)
    assert open_case(desk.session, case.product_id) is None
    desk.offered.firmware(case.product, "1.0.1")
    assess(desk.session, desk.clock, case.product_id, cause="firmware", case_cause=CaseCause.SUBMISSION)
    assert open_case(desk.session, case.product_id) is None


def test_after_an_approval_a_failing_submission_opens_a_case(desk: Desk) -> None:
    case = desk.case()
    desk.decide(case, K.APPROVE)
    desk.offered.lot(case.product, {"lot.serials_new": Outcome.FAIL})
    again = desk.assessed(case.product)
    assert (again.number, again.cause) == (2, CaseCause.SUBMISSION)
    assert "the rating was approvable and is high risk" in again.why


def test_conditions_become_exceptions_and_the_gap_returns_when_they_expire(desk: Desk) -> None:
    case = desk.case(inc_contact_hours="unknown")
    decision = desk.decide(case, K.APPROVE_WITH_CONDITIONS, conditions=[condition("INC-01")])
    exception = desk.session.scalars(select(GrantedException)).one()
    assert (exception.control_id, exception.expires_on, exception.decision_id) == (
        "INC-01",
        NEXT_YEAR,
        decision.id,
    )
    settled = desk.session.get_one(Assessment, decision.settled_id)
    assert settled.rating == Rating.CONDITIONAL and settled.knock_outs == 0
    desk.clock.at = desk.clock.at.replace(year=2027, month=10, day=1)
    assert assess(desk.session, desk.clock, case.product_id, cause="last day").rating == Rating.CONDITIONAL
    desk.clock.advance(timedelta(days=1))
    assert assess(desk.session, desk.clock, case.product_id, cause="over").rating == Rating.HIGH_RISK
    again = open_case(desk.session, case.product_id)
    assert again is not None and "new knock-outs: INC-01" in again.why


def test_a_new_condition_takes_the_place_of_the_older_one(desk: Desk) -> None:
    case = desk.case(inc_contact_hours="unknown")
    desk.decide(case, K.APPROVE_WITH_CONDITIONS, conditions=[condition("INC-01")])
    desk.offered.lot(case.product, {"lot.custody": Outcome.FAIL})
    again = desk.assessed(case.product)
    desk.decide(
        again,
        K.APPROVE_WITH_CONDITIONS,
        conditions=[condition("INC-01", date(2027, 1, 1)), condition("PRV-04")],
    )
    rows = desk.session.scalars(select(GrantedException))
    assert {(row.control_id, row.expires_on, row.closed_at is None) for row in rows} == {
        ("INC-01", NEXT_YEAR, False),
        ("INC-01", date(2027, 1, 1), True),
        ("PRV-04", NEXT_YEAR, True),
    }


def test_closing_an_exception_brings_its_gap_back_at_once(desk: Desk) -> None:
    case = desk.case(inc_contact_hours="unknown")
    desk.decide(case, K.APPROVE_WITH_CONDITIONS, conditions=[condition("INC-01")])
    exception = desk.session.scalars(select(GrantedException)).one()
    reviewer = desk.reviewer()
    close_exception(desk.session, reviewer, desk.clock, exception.id)
    again = open_case(desk.session, case.product_id)
    assert again is not None and again.rating == Rating.HIGH_RISK
    with pytest.raises(Conflict, match="closed already"):
        close_exception(desk.session, reviewer, desk.clock, exception.id)


def test_a_request_for_changes_waits_for_the_supplier_and_tells_them(desk: Desk) -> None:
    case = desk.case()
    supplier = desk.session.get_one(Supplier, case.supplier_id)
    user = desk.make.user(RoleName.SUPPLIER_CONTRIBUTOR, supplier)
    gone = desk.make.user(RoleName.SUPPLIER_ADMIN, supplier)
    gone.active = False
    reviewer = desk.reviewer()
    decision = desk.decide(case, K.REQUEST_CHANGES, reviewer, items=["Send the test report", "Name the site"])
    assert (case.state, case.claimed_by) == (CaseState.WAITING, reviewer.user_id)
    assert (decision.effective, decision.settled_id) == (True, None)
    assert last_settled(desk.session, case.product_id) is None
    mails = desk.session.scalars(select(Message)).all()
    assert [(mail.kind, mail.recipient) for mail in mails] == [("changes_requested", user.email)]
    assert "1. Send the test report\n2. Name the site" in mails[0].body


def test_a_request_for_changes_names_the_day_by_which_it_is_to_be_answered(desk: Desk) -> None:
    day = today(desk.clock)
    usual = desk.case()
    desk.decide(usual, K.REQUEST_CHANGES, items=["One", "Two"])
    given = desk.case()
    desk.decide(given, K.REQUEST_CHANGES, items=["Three"], answer_by=day + timedelta(days=3))
    asked = {row.text: row.due_on for row in desk.session.scalars(select(ChangeRequest))}
    fortnight = day + timedelta(days=14)
    assert asked == {"One": fortnight, "Two": fortnight, "Three": day + timedelta(days=3)}
    assert (usual.due_on, given.due_on) == (fortnight, day + timedelta(days=3))


@pytest.mark.parametrize("days", [-1, 366])
def test_a_day_that_is_past_or_too_far_is_refused(desk: Desk, days: int) -> None:
    answer_by = today(desk.clock) + timedelta(days=days)
    with pytest.raises(InvalidInput) as error:
        desk.decide(desk.case(), K.REQUEST_CHANGES, items=["One"], answer_by=answer_by)
    assert "answer_by" in refused(error)


def test_the_supplier_answers_each_item_and_the_case_goes_back(desk: Desk) -> None:
    case = desk.case()
    supplier = desk.session.get_one(Supplier, case.supplier_id)
    desk.decide(case, K.REQUEST_CHANGES, items=["One", "Two"])
    first, second = desk.session.scalars(select(ChangeRequest).order_by(ChangeRequest.position)).all()
    actor = desk.make.supplier_actor(supplier)
    answer_change_request(desk.session, actor, desk.clock, first.id, answer="Done")
    assert case.state is CaseState.WAITING
    with pytest.raises(Conflict, match="answered already"):
        answer_change_request(desk.session, actor, desk.clock, first.id, answer="Done again")
    with pytest.raises(InvalidInput):
        answer_change_request(desk.session, actor, desk.clock, second.id, answer=" ")
    answer_change_request(desk.session, actor, desk.clock, second.id, answer="Done too")
    assert case.state is CaseState.CLAIMED


def test_another_supplier_finds_no_such_request(desk: Desk) -> None:
    case = desk.case()
    desk.decide(case, K.REQUEST_CHANGES, items=["One"])
    request = desk.session.scalars(select(ChangeRequest)).one()
    with pytest.raises(NotFound):
        answer_change_request(
            desk.session, desk.make.supplier_actor(), desk.clock, request.id, answer="Not mine"
        )
    assert request.answered_at is None


def test_a_rejection_refuses_everything_and_withdraws_firmware_and_lots(desk: Desk) -> None:
    case = desk.case()
    submissions = desk.session.scalars(select(Submission)).all()
    desk.decide(case, K.REJECT)
    assert {row.state for row in submissions} == {SubmissionState.REFUSED}
    assert desk.session.scalars(select(FirmwareRelease)).one().withdrawn_at is not None
    assert desk.session.scalars(select(Lot)).one().live is False
    assert desk.session.get_one(Supplier, case.supplier_id).standing is Standing.REJECTED


def test_quarantine_refuses_nothing_and_new_evidence_opens_a_case(desk: Desk) -> None:
    case = desk.case()
    desk.decide(case, K.QUARANTINE)
    assert desk.session.get_one(Supplier, case.supplier_id).standing is Standing.QUARANTINED
    assert desk.session.scalars(select(Lot)).one().live is True
    desk.offered.firmware(case.product, "1.0.1")
    again = desk.assessed(case.product)
    assert "new evidence after the decision: quarantine" in again.why


def test_the_standing_is_that_of_the_worst_product(desk: Desk) -> None:
    good = desk.case()
    supplier = desk.session.get_one(Supplier, good.supplier_id)
    bad_product = desk.make.product(supplier)
    desk.offered.everything(bad_product)
    bad = desk.assessed(bad_product)
    desk.decide(good, K.APPROVE)
    assert supplier.standing is Standing.APPROVED
    desk.decide(bad, K.QUARANTINE)
    assert supplier.standing is Standing.QUARANTINED
    desk.clock.advance(timedelta(hours=1))
    desk.offered.firmware(bad_product, "1.0.1")
    desk.decide(desk.assessed(bad_product), K.APPROVE)
    assert supplier.standing is Standing.APPROVED


def test_the_ledger_names_decision_assessment_policy_and_evidence(desk: Desk) -> None:
    case = desk.case(inc_contact_hours="unknown")
    decision = desk.decide(case, K.APPROVE_WITH_CONDITIONS, conditions=[condition("INC-01")])
    entry = desk.session.scalars(select(Entry).where(Entry.kind == "decision.made")).one()
    body = json.loads(entry.body)
    assert (entry.subject_id, entry.supplier_id) == (decision.id, case.supplier_id)
    assert body["decision"] == "approve_with_conditions" and body["effective"] is True
    assert body["by"] == decision.decided_by
    assert body["assessment"] == case.assessment_id
    assert body["result"] == f"sha256:{case.assessment.result_digest}"
    assert body["policy"] == case.assessment.policy_digest
    assert body["conditions"] == [{"control": "INC-01", "expires": "2027-10-01"}]
    images = set(desk.session.scalars(select(FirmwareRelease.sha256)))
    assert {f"sha256:{sha256}" for sha256 in images} <= set(body["evidence"])
    assert body["evidence_count"] == len(body["evidence"]) > 10


def test_a_decision_that_is_refused_leaves_nothing_behind(desk: Desk) -> None:
    case = desk.case(sup_maker_name="")
    with pytest.raises(InvalidInput):
        desk.decide(case, K.APPROVE_WITH_CONDITIONS, conditions=[condition("SUP-01")])
    assert desk.session.scalars(select(Decision)).all() == []
    assert desk.session.scalars(select(GrantedException)).all() == []
    assert desk.session.scalars(select(Entry).where(Entry.kind == "decision.made")).all() == []
