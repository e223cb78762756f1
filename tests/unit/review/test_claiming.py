"""Claim, release, take over, comment: who holds a case."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.db import open_session
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.review.models import Case, CaseState, Comment, DecisionKind
from portal.review.service import assess_again, claim, comment, release, take_over
from tests.unit.review.conftest import Desk


def test_a_claim_takes_the_case_and_a_second_one_is_told_who_has_it(desk: Desk) -> None:
    case, winner = desk.case(), desk.reviewer()
    claim(desk.session, winner, desk.clock, case.id)
    assert (case.state, case.claimed_by, case.claimed_at) == (
        CaseState.CLAIMED,
        winner.user_id,
        desk.clock.now(),
    )
    with pytest.raises(Conflict, match=f"case 1 is held by {winner.name}"):
        claim(desk.session, desk.reviewer(), desk.clock, case.id)
    assert claim(desk.session, winner, desk.clock, case.id) is case  # once more does no harm


def test_of_two_claims_at_the_same_moment_one_wins(desk: Desk, engine: Engine) -> None:
    case = desk.case()
    case_id = case.id
    actors = [desk.reviewer() for _ in range(2)]
    desk.session.commit()
    start, told = threading.Barrier(2), []

    def race(actor: Actor) -> None:
        with open_session(engine) as session:
            start.wait()
            try:
                claim(session, actor, desk.clock, case_id)
                session.commit()
                told.append(("won", actor.user_id))
            except Conflict as error:
                told.append(("lost", error.message))

    threads = [threading.Thread(target=race, args=(actor,)) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won, winner), (lost, message) = sorted(told, reverse=True)
    assert (won, lost) == ("won", "lost")
    name = next(actor.name for actor in actors if actor.user_id == winner)
    assert message == f"case 1 is held by {name}"
    with open_session(engine) as session:
        assert session.get_one(Case, case_id).claimed_by == winner


def test_claiming_what_is_not_there_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound):
        claim(desk.session, desk.reviewer(), desk.clock, "0" * 32)


def test_claiming_a_closed_case_is_refused(desk: Desk) -> None:
    case = desk.case()
    desk.decide(case, DecisionKind.APPROVE)
    with pytest.raises(Conflict, match="case 1 is closed"):
        claim(desk.session, desk.reviewer(), desk.clock, case.id)


def test_a_released_case_is_free_again(desk: Desk) -> None:
    case, reviewer = desk.case(), desk.reviewer()
    claim(desk.session, reviewer, desk.clock, case.id)
    release(desk.session, reviewer, case.id)
    assert (case.state, case.claimed_by, case.claimed_at) == (CaseState.OPEN, None, None)
    claim(desk.session, desk.reviewer(), desk.clock, case.id)


def test_releasing_what_somebody_else_holds_is_refused(desk: Desk) -> None:
    case = desk.case()
    claim(desk.session, desk.reviewer(), desk.clock, case.id)
    with pytest.raises(NotAllowed, match="not yours"):
        release(desk.session, desk.reviewer(), case.id)


def test_a_case_that_waits_keeps_waiting_when_it_is_released_and_claimed(desk: Desk) -> None:
    case, reviewer = desk.case(), desk.reviewer()
    desk.decide(case, DecisionKind.REQUEST_CHANGES, reviewer, items=["The test report"])
    release(desk.session, reviewer, case.id)
    assert (case.state, case.claimed_by) == (CaseState.WAITING, None)
    claim(desk.session, desk.reviewer(), desk.clock, case.id)
    assert case.state is CaseState.WAITING


def test_a_second_approver_holds_the_case_while_it_stays_second(desk: Desk) -> None:
    case = desk.case(tier=1)
    desk.decide(case, DecisionKind.APPROVE, desk.approver())
    second = desk.approver()
    claim(desk.session, second, desk.clock, case.id)
    assert (case.state, case.claimed_by) == (CaseState.SECOND, second.user_id)
    release(desk.session, second, case.id)
    assert (case.state, case.claimed_by) == (CaseState.SECOND, None)


def test_an_approver_takes_over_and_the_reason_stays(desk: Desk) -> None:
    case, holder, approver = desk.case(), desk.reviewer(), desk.approver()
    claim(desk.session, holder, desk.clock, case.id)
    desk.clock.advance(timedelta(days=3))
    take_over(desk.session, approver, desk.clock, case.id, reason="On leave until Monday")
    assert (case.claimed_by, case.claimed_at) == (approver.user_id, desk.clock.now())
    remark = desk.session.scalars(select(Comment)).one()
    assert (remark.internal, remark.text) == (True, f"Taken over from {holder.name}: On leave until Monday")


@pytest.mark.parametrize("reason", ["", "   "])
def test_taking_over_without_a_reason_is_refused(desk: Desk, reason: str) -> None:
    case = desk.case()
    claim(desk.session, desk.reviewer(), desk.clock, case.id)
    with pytest.raises(InvalidInput):
        take_over(desk.session, desk.approver(), desk.clock, case.id, reason=reason)


def test_taking_over_is_for_approvers_and_for_what_somebody_else_holds(desk: Desk) -> None:
    case, approver = desk.case(), desk.approver()
    with pytest.raises(Conflict, match="nobody holds"):
        take_over(desk.session, approver, desk.clock, case.id, reason="x")
    claim(desk.session, approver, desk.clock, case.id)
    with pytest.raises(Conflict, match="you hold"):
        take_over(desk.session, approver, desk.clock, case.id, reason="x")
    with pytest.raises(NotAllowed):
        take_over(desk.session, desk.reviewer(), desk.clock, case.id, reason="x")


def test_comments_are_kept_and_empty_ones_refused(desk: Desk) -> None:
    case, reviewer = desk.case(), desk.reviewer()
    kept = comment(desk.session, reviewer, desk.clock, case.id, text=" Called them. ", internal=True)
    assert (kept.text, kept.internal, kept.author_id) == ("Called them.", True, reviewer.user_id)
    with pytest.raises(InvalidInput):
        comment(desk.session, reviewer, desk.clock, case.id, text=" ", internal=False)
    with pytest.raises(NotAllowed):
        comment(desk.session, desk.make.actor(RoleName.AUDITOR), desk.clock, case.id, text="x", internal=True)


def test_assessing_again_says_the_same_while_nothing_changes(desk: Desk) -> None:
    case, reviewer = desk.case(), desk.reviewer()
    assert assess_again(desk.session, reviewer, desk.clock, case.id).number == 1
    desk.offered.firmware(case.product, "2.0.0")
    assert assess_again(desk.session, reviewer, desk.clock, case.id).number == 2
