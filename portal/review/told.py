"""What reviewers tell the supplier about a product: decisions, remarks meant for it, and what it must do."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.review.models import Case, ChangeRequest, Comment, Decision, DecisionKind

RECENT = 50


class ToldKind(StrEnum):
    DECISION = "decision"
    COMMENT = "comment"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that was said. `decision` of a decision; `due_on`, `answer` and its time of a request."""

    kind: ToldKind
    at: datetime
    by: str
    text: str
    decision: DecisionKind | None = None
    decision_id: str | None = None
    due_on: date | None = None
    answer: str = ""
    answered_at: datetime | None = None


def told(session: Session, product_id: str) -> list[Told]:
    """What the supplier of a product was told, the newest first. Never what is internal to the buyer: of a
    request for changes only its points, of an approval only one that took effect."""
    found = [
        Told(ToldKind.DECISION, row.decided_at, name, row.reason, decision=row.kind, decision_id=row.id)
        for row, name in session.execute(
            select(Decision, User.name)
            .join(User, User.id == Decision.decided_by)
            .where(Decision.product_id == product_id, Decision.settled_id.is_not(None))
            .order_by(Decision.decided_at.desc())
            .limit(RECENT)
        )
    ]
    found += [
        Told(ToldKind.COMMENT, row.at, name, row.text)
        for row, name in session.execute(
            select(Comment, User.name)
            .join(User, User.id == Comment.author_id)
            .join(Case, Case.id == Comment.case_id)
            .where(Case.product_id == product_id, Comment.internal.is_(False))
            .order_by(Comment.at.desc())
            .limit(RECENT)
        )
    ]
    found += [
        Told(
            ToldKind.REQUEST,
            decision.decided_at,
            name,
            row.text,
            due_on=row.due_on,
            answer=row.answer,
            answered_at=row.answered_at,
        )
        for row, decision, name in session.execute(
            select(ChangeRequest, Decision, User.name)
            .join(Decision, Decision.id == ChangeRequest.decision_id)
            .join(User, User.id == Decision.decided_by)
            .where(Decision.product_id == product_id)
            .order_by(Decision.decided_at.desc(), ChangeRequest.position)
            .limit(RECENT)
        )
    ]
    return sorted(found, key=lambda item: item.at, reverse=True)[:RECENT]
