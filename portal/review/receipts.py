"""Receipts of what was assessed and decided: proof that it is in the ledger."""

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session, aliased

from portal.errors import NotFound
from portal.ledger import logs
from portal.ledger.proofs import Proof
from portal.review.models import Assessment, Decision


def decision_receipt(session: Session, decision_id: str, *, in_effect: bool = False) -> Proof:
    """The receipt of a decision. `in_effect`: only of one that took effect, as its supplier may see it.

    Raises NotFound, and Conflict while the entry waits for its checkpoint.
    """
    second = aliased(Decision)
    wanted = select(Decision.id).where(Decision.id == decision_id)
    if in_effect:
        wanted = wanted.where(
            or_(Decision.effective, exists().where(second.seconds_id == Decision.id, second.effective))
        )
    found = session.scalars(wanted).first()
    if found is None:
        raise NotFound("There is no such decision.")
    return logs.receipt_about(session, "decision.made", found)


def assessment_receipt(session: Session, assessment_id: str) -> Proof:
    """The receipt of an assessment, and so of the report on it. Raises NotFound, Conflict."""
    found = session.get(Assessment, assessment_id)
    if found is None:
        raise NotFound("There is no such assessment.")
    return logs.receipt_about(session, "assessment.made", found.id)
