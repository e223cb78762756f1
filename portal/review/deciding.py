"""Deciding a case.

The rules, numbered as in `decide`:
1. only who holds the case decides it, on the assessment that was in front of them;
2. nobody decides on what they submitted themselves;
3. in tier 1 an approval takes effect with the second of two different approvers, both on the same assessment;
4. an approval is possible only when, with its conditions granted, no required control, knock-out or proof of
  the
   opposite is left open; what the policy rejects cannot be approved at all.
Asking for changes, rejecting and putting in quarantine take effect at once: they fail closed.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock, today
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.ledger import service as ledger
from portal.review import effects
from portal.review.models import (
    Assessment,
    Case,
    CaseState,
    ChangeRequest,
    Decision,
    DecisionKind,
    GrantedException,
)
from portal.review.rules import APPROVALS, Condition, left_open, wording_problems
from portal.submissions.models import Submission, SubmissionState

ANSWER_DAYS = 14  # that a supplier gets to put things right, unless the reviewer names a day


def decide(
    session: Session,
    actor: Actor,
    clock: Clock,
    case_id: str,
    *,
    assessment_id: str,
    kind: DecisionKind,
    reason: str,
    conditions: Sequence[Condition] = (),
    items: Sequence[str] = (),
    answer_by: date | None = None,
) -> Decision:
    """Decide the case that the actor holds. `assessment_id` is the assessment they looked at.

    `conditions` go with approve_with_conditions, `items` (what the supplier must put right) and `answer_by`
    (else ANSWER_DAYS from today) with request_changes. The second approver of a tier 1 case names none of
    them: the first one's conditions stand.
    Ledger: `decision.made`. Raises NotFound, NotAllowed, Conflict, and InvalidInput with every problem.
    """
    actor.must(Permission.REVIEW_CASE_DECIDE)
    case = hold(session, case_id)
    assessment = _in_front(case, actor, assessment_id)  # 1
    _not_their_own(session, case, actor)  # 2
    approves = kind in APPROVALS
    first = pending_first(session, case) if approves else None
    if approves and case.tier == 1:
        actor.must(Permission.REVIEW_CASE_APPROVE_TIER1)
        if first is not None and first.decided_by == actor.user_id:  # 3
            raise NotAllowed("tier 1 needs a second approver: you gave the first approval yourself")
    granted = conditions_of(session, first) if first else tuple(conditions)
    answer_by = answer_by or today(clock) + timedelta(days=ANSWER_DAYS)
    problems = wording_problems(
        today(clock), kind, reason, conditions, items, answer_by, first.kind if first else None
    )
    if approves:
        problems += left_open(assessment, kind, granted, today(clock))  # 4
    if problems:
        raise InvalidInput("this decision cannot be made", tuple(problems))

    effective = not approves or case.tier != 1 or first is not None
    decision = Decision(
        supplier_id=case.supplier_id,
        case_id=case.id,
        product_id=case.product_id,
        assessment_id=assessment.id,
        kind=kind,
        reason=reason.strip(),
        decided_by=actor.user_id,
        decided_at=clock.now(),
        seconds_id=first.id if first else None,
        effective=effective,
    )
    session.add(decision)
    session.flush()
    rows = [_exception(clock, decision, condition) for condition in conditions]
    asked = [_request(decision, *item, answer_by) for item in enumerate(items)]
    session.add_all([*rows, *asked])
    session.flush()
    for row in rows:
        effects.enter_grant(session, clock, row)
    effects.record(session, clock, decision, assessment, granted, asked)
    if not effective:
        case.state, case.claimed_by, case.claimed_at = CaseState.SECOND, None, None
    elif kind is DecisionKind.REQUEST_CHANGES:
        effects.ask(session, clock, case, asked, answer_by)
    else:
        effects.close(session, clock, case, decision, assessment)
    session.flush()
    return decision


def hold(session: Session, case_id: str) -> Case:
    """The case, locked for this transaction, and the ledger's turn before it. Raises NotFound."""
    ledger.take_turn(session)
    case = session.get(Case, case_id, with_for_update={"of": Case}, populate_existing=True)
    if case is None:
        raise NotFound("there is no such case")
    return case


def pending_first(session: Session, case: Case) -> Decision | None:
    """The first approval of a tier 1 case that waits for its second; None once anything else came between."""
    if case.state is not CaseState.SECOND:
        return None
    return session.scalars(
        select(Decision)
        .where(
            Decision.case_id == case.id,
            Decision.assessment_id == case.assessment_id,
            Decision.kind.in_(APPROVALS),
            ~Decision.effective,
        )
        .order_by(Decision.decided_at.desc())
        .limit(1)
    ).first()


def _in_front(case: Case, actor: Actor, assessment_id: str) -> Assessment:
    if case.state is CaseState.CLOSED:
        raise Conflict(f"case {case.number} is closed")
    if case.claimed_by is None or case.claimed_by != actor.user_id:
        raise NotAllowed(f"only who holds case {case.number} may decide it: claim it first")
    if case.assessment_id != assessment_id:
        raise Conflict(f"assessment {case.assessment.number} arrived meanwhile: look at it before deciding")
    return case.assessment


def _not_their_own(session: Session, case: Case, actor: Actor) -> None:
    own = session.scalars(
        select(Submission)
        .where(
            Submission.product_id == case.product_id,
            Submission.state != SubmissionState.DRAFT,
            or_(Submission.submitted_by == actor.user_id, Submission.created_by == actor.user_id),
        )
        .limit(1)
    ).first()
    if own is not None:
        raise NotAllowed(f"nobody decides on what they submitted: “{own.title}” is yours")


def conditions_of(session: Session, first: Decision) -> tuple[Condition, ...]:
    """The conditions that a decision names, by control."""
    return tuple(
        Condition(row.control_id, row.condition, row.owner, row.expires_on)
        for row in session.scalars(
            select(GrantedException)
            .where(GrantedException.decision_id == first.id)
            .order_by(GrantedException.control_id)
        )
    )


def _exception(clock: Clock, decision: Decision, condition: Condition) -> GrantedException:
    return GrantedException(
        supplier_id=decision.supplier_id,
        product_id=decision.product_id,
        decision_id=decision.id,
        control_id=condition.control_id,
        condition=condition.text.strip(),
        owner=condition.owner.strip(),
        expires_on=condition.expires_on,
        created_at=clock.now(),
    )


def _request(decision: Decision, position: int, text: str, answer_by: date) -> ChangeRequest:
    return ChangeRequest(
        supplier_id=decision.supplier_id,
        case_id=decision.case_id,
        decision_id=decision.id,
        position=position,
        text=text.strip(),
        due_on=answer_by,
    )
