"""What the ledger says of the rows of this room. Texts are told by their digests."""

from collections.abc import Sequence

from portal.ledger.service import digest, digest_of
from portal.review.models import Assessment, Case, ChangeRequest, Comment, Decision, GrantedException


def assessment_says(row: Assessment) -> dict[str, object]:
    return {
        "product": row.product_id,
        "number": row.number,
        "tier": row.tier,
        "rating": row.rating,
        "cause": digest(row.cause),
        "facts": digest(row.facts),
        "result": digest(row.result),
        "policy": {"id": row.policy_id, "version": row.policy_version, "digest": row.policy_digest},
    }


def case_says(row: Case) -> dict[str, object]:
    """What stays true of a case."""
    return {
        "number": row.number,
        "product": row.product_id,
        "cause": row.cause.value,
        "title": digest(row.title),
    }


def opening_says(row: Case) -> dict[str, object]:
    """What is true of a case when it is opened; `why` until the next assessment, `due` until it waits."""
    return case_says(row) | {
        "assessment": row.assessment_id,
        "why": digest(row.why),
        "due": row.due_on.isoformat(),
    }


def decision_says(row: Decision) -> dict[str, object]:
    """Besides what it rests on, what it accepts and what it asks for."""
    return {
        "decision": row.kind.value,
        "effective": row.effective,
        "seconds": row.seconds_id,
        "by": row.decided_by,
        "case": row.case_id,
        "product": row.product_id,
        "reason": digest(row.reason),
        "assessment": row.assessment_id,
    }


def asked_says(rows: Sequence[ChangeRequest]) -> str | None:
    """One digest over all that a decision asks for, in its order; None where it asks for nothing."""
    if not rows:
        return None
    return digest_of(
        [
            {
                "id": row.id,
                "position": row.position,
                "text": row.text,
                "due": row.due_on.isoformat() if row.due_on else None,
            }
            for row in rows
        ]
    )


def answer_says(row: ChangeRequest) -> dict[str, object]:
    return {"decision": row.decision_id, "answer": digest(row.answer)}


def exception_says(row: GrantedException) -> dict[str, object]:
    return {
        "product": row.product_id,
        "decision": row.decision_id,
        "control": row.control_id,
        "condition": digest(row.condition),
        "owner": digest(row.owner),
        "expires": row.expires_on.isoformat(),
    }


def comment_says(row: Comment) -> dict[str, object]:
    return {
        "case": row.case_id,
        "internal": row.internal,
        "text": digest(row.text),
        "by": row.author_id,
    }
