"""People and the machine at one case at the same moment, on PostgreSQL: nobody waits for ever."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, select

from portal.db import open_session
from portal.errors import Conflict
from portal.ledger.models import Entry
from portal.ledger.service import verify_chain
from portal.review import assessing, service
from portal.review.models import Case, ChangeRequest, DecisionKind
from portal.suppliers.models import Supplier
from tests.factories.databases import ON_POSTGRESQL
from tests.unit.review.conftest import Desk

pytestmark = ON_POSTGRESQL


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    """Each in a thread of its own; what went wrong."""
    problems: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # shown by the test itself
            problems.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return problems


@pytest.mark.parametrize("what", ["decided", "taken over"])
def test_a_case_that_is_assessed_again_meanwhile_waits_for_that(
    desk: Desk, engine: Engine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The machine is in the middle of an assessment: each of the two has what the other needs next."""
    case, approver, other = desk.case(inc_contact_hours="unknown"), desk.approver(), desk.approver()
    service.claim(desk.session, approver, desk.clock, case.id)
    desk.offered.questionnaire(case.product, {"inc_contact_hours": "no"})
    desk.session.commit()
    case_id, product_id, assessment_id = case.id, case.product_id, case.assessment_id
    in_the_middle, why_a_person = threading.Event(), assessing._why_a_person

    def slow(*given: Any) -> str:
        in_the_middle.set()
        threading.Event().wait(1)  # the other comes as far as it can
        return why_a_person(*given)

    monkeypatch.setattr(assessing, "_why_a_person", slow)

    def machine() -> None:
        with open_session(engine) as session:
            service.assess(session, desk.clock, product_id, cause="new answers")
            session.commit()

    def person() -> None:
        assert in_the_middle.wait(30)
        with open_session(engine) as session:
            if what == "taken over":
                service.take_over(session, other, desk.clock, case_id, reason="They are ill.")
            else:
                service.decide(
                    *(session, approver, desk.clock, case_id),
                    assessment_id=assessment_id,
                    kind=DecisionKind.QUARANTINE,
                    reason="Until it is known who answers.",
                )
            session.commit()

    problems = at_once(machine, person)
    desk.session.expire_all()
    assert list(verify_chain(desk.session)) == []
    if what == "decided":  # not on what is no longer in front of them
        assert [str(problem) for problem in problems] == [
            "assessment 2 arrived meanwhile: look at it before deciding"
        ]
    else:
        assert (problems, desk.session.get_one(Case, case_id).claimed_by) == ([], other.user_id)


def test_of_two_answers_to_one_request_the_second_is_refused(desk: Desk, engine: Engine) -> None:
    case = desk.case(inc_contact_hours="unknown")
    desk.decide(case, DecisionKind.REQUEST_CHANGES, items=("Name the algorithm.",))
    supplier = desk.make.supplier_actor(desk.session.get_one(Supplier, case.supplier_id))
    request_id = desk.session.scalars(select(ChangeRequest.id)).one()
    desk.session.commit()
    both_read = threading.Barrier(2, timeout=30)

    def answer(words: str) -> None:
        with open_session(engine) as session:
            assert session.get_one(ChangeRequest, request_id).answered_at is None
            both_read.wait()
            service.answer_change_request(session, supplier, desk.clock, request_id, answer=words)
            session.commit()

    (problem,) = at_once(lambda: answer("Ed25519."), lambda: answer("RSA."))
    assert isinstance(problem, Conflict)
    told = desk.session.scalars(select(Entry).where(Entry.kind == "change_request.answered")).all()
    assert len(told) == 1
