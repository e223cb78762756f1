"""What the supplier is told: all that is meant for it, and nothing else."""

from datetime import timedelta

from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.clock import today
from portal.db import Scope, open_session
from portal.notices.models import Message
from portal.review.models import ChangeRequest, DecisionKind
from portal.review.service import answer_change_request, comment
from portal.review.told import ToldKind, told
from portal.suppliers.models import Supplier
from tests.unit.review.conftest import Desk


def test_remarks_requests_and_decisions_are_told_the_newest_first(desk: Desk) -> None:
    case, reviewer = desk.case(), desk.reviewer()
    comment(desk.session, reviewer, desk.clock, case.id, text="Do they know?", internal=True)
    user = desk.make.user(RoleName.SUPPLIER_ADMIN, desk.session.get_one(Supplier, case.supplier_id))
    comment(desk.session, reviewer, desk.clock, case.id, text="Which site is it?", internal=False)
    (mail,) = desk.session.scalars(select(Message))
    assert (mail.kind, mail.recipient) == ("comment", user.email)
    assert "Which site" not in mail.body
    desk.clock.advance(timedelta(minutes=1))
    desk.decide(case, DecisionKind.REQUEST_CHANGES, reviewer, reason="Between us", items=["Name the site"])
    request = desk.session.scalars(select(ChangeRequest)).one()
    supplier = desk.session.get_one(Supplier, case.supplier_id)
    answer_change_request(
        desk.session, desk.make.supplier_actor(supplier), desk.clock, request.id, answer="Aalen"
    )
    desk.clock.advance(timedelta(minutes=1))
    desk.decide(case, DecisionKind.QUARANTINE, reviewer, reason="Until the audit.")

    found = told(desk.session, case.product_id)

    assert [(item.kind, item.text, item.answer) for item in found] == [
        (ToldKind.DECISION, "Until the audit.", ""),
        (ToldKind.REQUEST, "Name the site", "Aalen"),
        (ToldKind.COMMENT, "Which site is it?", ""),
    ]
    assert found[0].decision is DecisionKind.QUARANTINE
    assert found[1].due_on == today(desk.clock) + timedelta(days=14)
    assert {item.by for item in found} == {reviewer.name}


def test_the_first_of_two_approvals_is_not_told(desk: Desk) -> None:
    case = desk.case(tier=1)
    desk.decide(case, DecisionKind.APPROVE, desk.approver())
    assert told(desk.session, case.product_id) == []
    desk.decide(case, DecisionKind.APPROVE, desk.approver(), reason="I agree.")
    assert [item.text for item in told(desk.session, case.product_id)] == ["I agree."]


def test_another_supplier_is_told_nothing(desk: Desk) -> None:
    case, reviewer = desk.case(), desk.reviewer()
    comment(desk.session, reviewer, desk.clock, case.id, text="Which site is it?", internal=False)
    desk.decide(case, DecisionKind.REJECT, reviewer)
    other = desk.make.supplier()
    desk.session.commit()
    with open_session(desk.session.get_bind(), Scope(other.id)) as session:  # type: ignore[arg-type]
        assert told(session, case.product_id) == []
    with open_session(desk.session.get_bind(), Scope(case.supplier_id)) as session:  # type: ignore[arg-type]
        assert len(told(session, case.product_id)) == 2
