"""The verbs of the review room. (How a product is assessed: assessing.py; how a case is decided:
deciding.py.)"""

from sqlalchemy import case as when
from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.ledger import service as ledger
from portal.review.assessing import CLAIM_DAYS, assess, hand_back
from portal.review.deciding import decide, hold
from portal.review.effects import end_exception, tell_supplier
from portal.review.entries import answer_says, comment_says
from portal.review.models import (
    Assessment,
    Case,
    CaseCause,
    CaseState,
    ChangeRequest,
    Comment,
    GrantedException,
)
from portal.review.rules import TEXT_MAX, Condition, text_problems

__all__ = [
    "Condition",
    "answer_change_request",
    "assess",
    "assess_again",
    "claim",
    "close_exception",
    "comment",
    "decide",
    "release",
    "take_over",
]

COMMENT_MAX = 10_000


def claim(session: Session, actor: Actor, clock: Clock, case_id: str) -> Case:
    """Take a case that nobody holds. Of two at the same moment one wins; the other is told who.

    Raises NotFound, NotAllowed, Conflict.
    """
    actor.must(Permission.REVIEW_CASE_CLAIM)
    ledger.take_turn(session)
    taken = session.execute(
        update(Case)
        .where(Case.id == case_id, Case.claimed_by.is_(None), Case.state != CaseState.CLOSED)
        .values(
            claimed_by=actor.user_id,
            claimed_at=clock.now(),
            state=when((Case.state == CaseState.OPEN, CaseState.CLAIMED.value), else_=Case.state),
        )
        .execution_options(synchronize_session=False)
    )
    case = hold(session, case_id)
    if taken.rowcount == 0 and case.claimed_by != actor.user_id:  # type: ignore[attr-defined]
        raise Conflict(
            f"case {case.number} is closed"
            if case.state is CaseState.CLOSED
            else f"case {case.number} is held by {_name(session, case.claimed_by)}"
        )
    return case


def release(session: Session, actor: Actor, case_id: str) -> Case:
    """Give a case back to the queue. Raises NotFound, NotAllowed, Conflict."""
    actor.must(Permission.REVIEW_CASE_CLAIM)
    case = hold(session, case_id)
    if case.state is CaseState.CLOSED:
        raise Conflict(f"case {case.number} is closed")
    if case.claimed_by != actor.user_id:
        raise NotAllowed(f"case {case.number} is not yours to release")
    case.claimed_by = case.claimed_at = None
    if case.state is CaseState.CLAIMED:
        case.state = CaseState.OPEN
    session.flush()
    return case


def take_over(session: Session, actor: Actor, clock: Clock, case_id: str, *, reason: str) -> Case:
    """Take a case from whoever holds it; approvers only, and the reason stays in the case."""
    actor.must(Permission.REVIEW_CASE_APPROVE_TIER1)
    case = hold(session, case_id)
    if case.state is CaseState.CLOSED or case.claimed_by is None:
        raise Conflict(f"nobody holds case {case.number}")
    if case.claimed_by == actor.user_id:
        raise Conflict(f"you hold case {case.number} already")
    if problems := text_problems("reason", reason, TEXT_MAX):
        raise InvalidInput("the case was not taken over", tuple(problems))
    held_by = _name(session, case.claimed_by)
    comment(
        session, actor, clock, case_id, text=f"Taken over from {held_by}: {reason.strip()}", internal=True
    )
    case.claimed_by, case.claimed_at = actor.user_id, clock.now()
    session.flush()
    return case


def comment(
    session: Session, actor: Actor, clock: Clock, case_id: str, *, text: str, internal: bool
) -> Comment:
    """A remark on a case. Only one that is not internal is shown to the supplier, who is told by mail.

    Ledger: `comment.made`. Raises NotFound, NotAllowed, InvalidInput.
    """
    actor.must(Permission.REVIEW_COMMENT_WRITE)
    if actor.user_id is None:
        raise NotAllowed("a comment needs a person")
    ledger.take_turn(session)
    case = session.get(Case, case_id)
    if case is None:
        raise NotFound("there is no such case")
    if problems := text_problems("text", text, COMMENT_MAX):
        raise InvalidInput("the comment was not kept", tuple(problems))
    row = Comment(
        supplier_id=case.supplier_id,
        case_id=case.id,
        internal=internal,
        text=text.strip(),
        author_id=actor.user_id,
        at=clock.now(),
    )
    session.add(row)
    session.flush()
    ledger.append(session, clock, "comment.made", row.id, comment_says(row), supplier_id=row.supplier_id)
    if not internal:
        tell_supplier(
            session,
            clock,
            case,
            "comment",
            f"A message about {case.product.name}",
            f"A reviewer wrote to you about {case.product.name} ({case.product.model}). Sign in to Lotgate "
            "to read it on the product's page.\n",
        )
    return row


def answer_change_request(
    session: Session, actor: Actor, clock: Clock, request_id: str, *, answer: str
) -> ChangeRequest:
    """The supplier's answer to one item. With the last open item answered, the case goes back to the
    reviewer. Ledger: `change_request.answered`.

    Raises NotFound (another tenant's is not found either), Conflict, InvalidInput.
    """
    actor.must(Permission.SUPPLIER_CHANGE_REQUEST_ANSWER)
    request = session.get(ChangeRequest, request_id)
    if request is None or request.supplier_id != actor.supplier_id:
        raise NotFound("there is no such request")
    case = hold(session, request.case_id)
    session.refresh(request)
    if request.answered_at is not None:
        raise Conflict("this request was answered already")
    if case.state is CaseState.CLOSED:
        raise Conflict("this was decided meanwhile")
    if problems := text_problems("answer", answer, TEXT_MAX):
        raise InvalidInput("the answer was not kept", tuple(problems))
    request.answer, request.answered_at = answer.strip(), clock.now()
    session.flush()
    body = answer_says(request) | {"by": actor.user_id}
    ledger.append(
        session, clock, "change_request.answered", request.id, body, supplier_id=request.supplier_id
    )
    unanswered = exists().where(ChangeRequest.case_id == case.id, ChangeRequest.answered_at.is_(None))
    if case.state is CaseState.WAITING and not session.scalar(select(unanswered)):
        hand_back(case)
        session.flush()
    return request


def assess_again(
    session: Session, actor: Actor, clock: Clock, case_id: str, *, claim_days: int = CLAIM_DAYS
) -> Assessment:
    """Apply the policy of today to the evidence of today, for the case at hand."""
    actor.must(Permission.REVIEW_CASE_DECIDE)
    case = hold(session, case_id)
    if case.state is CaseState.CLOSED:
        raise Conflict(f"case {case.number} is closed")
    return assess(session, clock, case.product_id, cause=f"Asked for by {actor.name}", claim_days=claim_days)


def close_exception(
    session: Session, actor: Actor, clock: Clock, exception_id: str, *, claim_days: int = CLAIM_DAYS
) -> GrantedException:
    """End an accepted gap before its day; the product is assessed again at once."""
    actor.must(Permission.REVIEW_CASE_DECIDE)
    ledger.take_turn(session)
    row = session.get(GrantedException, exception_id, with_for_update=True)
    if row is None:
        raise NotFound("there is no such exception")
    if row.closed_at is not None:
        raise Conflict("this exception is closed already")
    end_exception(session, clock, row, by=actor.user_id)
    assess(
        session,
        clock,
        row.product_id,
        cause=f"Exception for {row.control_id} closed by {actor.name}",
        case_cause=CaseCause.CHANGE,
        claim_days=claim_days,
    )
    return row


def _name(session: Session, user_id: str | None) -> str:
    user = session.get(User, user_id) if user_id else None
    return user.name if user else "nobody"
