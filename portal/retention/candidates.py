"""Which evidence the rules let go, as a condition of the database: a vault is judged in one pass over it.

It says of every file what preview.py says, and decides nothing: what goes is judged file by file there, and
where the two differ, the file stays.
"""

from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from portal.evidence.models import Evidence
from portal.retention.holds import in_force
from portal.retention.models import Hold
from portal.retention.rules import Anchor, Kind, Rule, Rules, too_late
from portal.review.models import Case, CaseState, Decision
from portal.submissions.models import Attachment, Submission, SubmissionKind, SubmissionState
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.suppliers.models import Product

_IN_HAND = (SubmissionState.DRAFT, SubmissionState.SUBMITTED, SubmissionState.VERIFYING)


def free(rules: Rules, day: date) -> ColumnElement[bool]:
    """The condition that a row of Evidence may go on this day."""
    by_rule: dict[Rule, list[SubmissionKind]] = {}
    for kind in SubmissionKind:
        by_rule.setdefault(rules.by_kind[Kind(kind.value)], []).append(kind)
    uses = (
        and_(Attachment.evidence_id == Evidence.id, Attachment.submission_id == Submission.id),
        and_(
            AnswerEvidence.evidence_id == Evidence.id,
            AnswerEvidence.submission_id == Submission.id,
            AnswerEvidence.removed_at.is_(None),
        ),
    )
    keeps = or_(
        Submission.state.in_(_IN_HAND),
        Submission.product_id.in_(_held(Hold.product_id)),
        Submission.product_id.in_(select(Case.product_id).where(Case.state != CaseState.CLOSED)),
        *(and_(Submission.kind.in_(kinds), ~_over(rule, day)) for rule, kinds in by_rule.items()),
    )
    taken_away = exists().where(  # from an answer of a draft: what is under hold was there when it began
        AnswerEvidence.evidence_id == Evidence.id,
        AnswerEvidence.submission_id == Submission.id,
        Submission.product_id.in_(_held(Hold.product_id)),
    )
    whole = _held(Hold.supplier_id).where(Hold.product_id.is_(None), Hold.evidence_id.is_(None))
    return and_(
        Evidence.supplier_id.not_in(whole),
        Evidence.id.not_in(_held(Hold.evidence_id)),
        ~taken_away,
        *(~exists().where(use, keeps) for use in uses),
        or_(_over(rules.by_kind[Kind.UNUSED], day), *(exists().where(use) for use in uses)),
    )


def _held(column: InstrumentedAttribute[Any]) -> Select[Any]:
    return select(column).where(column.is_not(None), in_force())


def _over(rule: Rule, day: date) -> ColumnElement[bool]:
    """That the period of a use ended before this day: its file, and what it counts from, are old enough."""
    if rule.anchor is Anchor.NEVER:
        return false()
    first = too_late(day, rule.years)
    moment = datetime.combine(first, time(), UTC)
    received = Evidence.received_at < moment
    match rule.anchor:
        case Anchor.RECEIVED:
            return received
        case Anchor.END_OF_SALE:
            old = select(Product.id).where(Product.end_of_sale < first)
        case Anchor.END_OF_SUPPORT:
            old = select(Product.id).where(Product.end_of_support < first)
        case Anchor.DECIDED:
            old = (
                select(Decision.product_id)
                .where(Decision.settled_id.is_not(None))
                .group_by(Decision.product_id)
                .having(func.max(Decision.decided_at) < moment)
            )
    return and_(received, Submission.product_id.in_(old))
