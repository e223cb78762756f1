"""The verbs of re-assessment: tell a change, find what it touches, assess that again, say what is different.

A change that people must judge (a bill of materials, an owner, a site; anything told by a person; the yearly
date) stays open in the assessments of the products it touches until somebody decides. A change that evidence
shows (new firmware, a distrusted key, a date that passed) is judged by what the checks and the policy then
say.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import Clock, today
from portal.errors import NotFound
from portal.evidence.ports import BlobStore
from portal.ledger import service as ledger
from portal.policy.facts import ChangeFact
from portal.policy.result import Difference, difference
from portal.reassessment.filing import (
    TOLD_KINDS,
    certificates_revoked,
    file_notice,
    key_distrusted,
    notice_from_machine,
)
from portal.reassessment.models import ChangeKind, ChangeNotice, ChangeSource, Reassessment
from portal.reassessment.monitors import Due, due, unhandled
from portal.reassessment.touched import examine, keep_findings, products_touched
from portal.review.assessing import CLAIM_DAYS, newest_assessment, open_case, result_of
from portal.review.facts import last_settled, subject
from portal.review.models import Assessment, CaseCause
from portal.review.service import assess
from portal.submissions.findings import Findings, take_turns
from portal.submissions.models import Submission, SubmissionKind, SubmissionState
from portal.submissions.service import LIMITS, Limits
from portal.suppliers.models import Product

__all__ = [
    "TOLD_KINDS",
    "Due",
    "certificates_revoked",
    "difference_of",
    "due",
    "examine",
    "fall_due",
    "file_notice",
    "firmware_arrived",
    "handle",
    "key_distrusted",
    "needs_person",
    "notice_from_machine",
    "reassessments",
    "unhandled",
    "verified",
]


def verified(
    session: Session, clock: Clock, submission_id: str, *, claim_days: int = CLAIM_DAYS
) -> Assessment:
    """What follows when a submission was verified, or failed to be: its product is assessed again.

    New firmware for a product that people have decided on is a change of its own, with its difference kept.
    """
    submission = session.get_one(Submission, submission_id)
    failed = submission.state is SubmissionState.FAILED
    decided = last_settled(session, submission.product_id) is not None
    if submission.kind is SubmissionKind.FIRMWARE and decided and not failed:
        reassessment = firmware_arrived(session, clock, submission, claim_days=claim_days)
        return session.get_one(Assessment, reassessment.after_id)
    return assess(
        session,
        clock,
        submission.product_id,
        cause=f"{'Not verified' if failed else 'Verified'}: {subject(submission)}",
        case_cause=CaseCause.FAILURE if failed else CaseCause.SUBMISSION,
        claim_days=claim_days,
    )


def firmware_arrived(
    session: Session, clock: Clock, submission: Submission, *, claim_days: int = CLAIM_DAYS
) -> Reassessment:
    """New firmware of a product that people have decided on: a machine's notice, handled at once."""
    notice = notice_from_machine(
        session,
        clock,
        supplier_id=submission.supplier_id,
        kind=ChangeKind.FIRMWARE,
        title=f"New firmware: {submission.title}",
        product_id=submission.product_id,
        submission_id=submission.id,
    )
    product = session.get_one(Product, submission.product_id)
    reassessment = _reassess(session, clock, notice, product, claim_days, CaseCause.SUBMISSION)
    _handled(session, clock, notice)
    return reassessment


def handle(
    session: Session,
    clock: Clock,
    store: BlobStore,
    notice_id: str,
    *,
    examined: Sequence[Findings] | None = None,
    limits: Limits = LIMITS,
    claim_days: int = CLAIM_DAYS,
) -> list[Reassessment]:
    """Find the products that a change touches, verify again what it takes the trust from, assess them again,
    keep the differences, open cases where people must look.

    `examined`: what `examine` found for this notice in an earlier, only reading transaction; else it is done
    here. Done once: a second call returns what the first one made. Raises NotFound, and Outdated where whom
    to believe changed after `examined` was found.
    """
    take_turns(session)
    notice = session.get(ChangeNotice, notice_id, with_for_update=True)
    if notice is None:
        raise NotFound("there is no such change notice")
    if notice.handled_at is not None:
        return reassessments(session, notice.id)
    if examined is None:
        examined = examine(session, store, notice_id, limits)
    touched = products_touched(session, notice)
    keep_findings(session, clock, store, examined, limits)
    cause = CaseCause.DUE if notice.kind is ChangeKind.DUE else CaseCause.CHANGE
    done = [_reassess(session, clock, notice, product, claim_days, cause) for product in touched]
    _handled(session, clock, notice)
    return done


def fall_due(
    session: Session, clock: Clock, product_id: str, reason: Due, *, claim_days: int = CLAIM_DAYS
) -> Reassessment:
    """Assess one product again that `due` named, with a notice of the machine that says why."""
    product = session.get_one(Product, product_id)
    notice = notice_from_machine(
        session,
        clock,
        supplier_id=product.supplier_id,
        kind=reason.kind,
        title=reason.title,
        description=reason.description,
        product_id=product.id,
    )
    cause = CaseCause.DUE if reason.kind is ChangeKind.DUE else CaseCause.CHANGE
    done = _reassess(session, clock, notice, product, claim_days, cause)
    _handled(session, clock, notice)
    return done


def _handled(session: Session, clock: Clock, notice: ChangeNotice) -> None:
    notice.handled_at = clock.now()
    session.flush()
    body = handled_says(notice)
    ledger.append(session, clock, "change.handled", notice.id, body, supplier_id=notice.supplier_id)


def handled_says(notice: ChangeNotice) -> dict[str, object]:
    """What the ledger says of a change when all that it touches was assessed again."""
    return {"product": notice.product_id}


def reassessments(session: Session, notice_id: str) -> list[Reassessment]:
    """What a change did, product by product."""
    return list(
        session.scalars(
            select(Reassessment)
            .where(Reassessment.change_notice_id == notice_id)
            .order_by(Reassessment.at, Reassessment.product_id)
        )
    )


def needs_person(notice: ChangeNotice) -> bool:
    """Whether the change itself must be judged by people, whatever the evidence says."""
    return notice.source is not ChangeSource.MACHINE or notice.kind is ChangeKind.DUE


def difference_of(reassessment: Reassessment) -> Difference:
    return Difference.from_json(reassessment.difference)


def _reassess(
    session: Session,
    clock: Clock,
    notice: ChangeNotice,
    product: Product,
    claim_days: int,
    cause: CaseCause,
) -> Reassessment:
    before = newest_assessment(session, product.id)
    person = needs_person(notice)
    changes: Sequence[ChangeFact] = (ChangeFact(notice.kind.value, today(clock)),) if person else ()
    after = assess(
        session,
        clock,
        product.id,
        cause=f"Change: {notice.title}",
        case_cause=cause,
        changes=changes,
        claim_days=claim_days,
    )
    was, now = result_of(before or after), result_of(after)
    changed = difference(was, now)
    material = person or changed.needs_person
    case = open_case(session, product.id)
    row = Reassessment(
        supplier_id=product.supplier_id,
        change_notice_id=notice.id,
        product_id=product.id,
        before_id=before.id if before else None,
        after_id=after.id,
        difference=changed.to_json().decode(),
        material=material,
        case_id=case.id if case is not None and material else None,
        at=clock.now(),
    )
    session.add(row)
    session.flush()
    ledger.append(
        session, clock, "reassessment.made", row.id, reassessment_says(row), supplier_id=row.supplier_id
    )
    return row


def reassessment_says(row: Reassessment) -> dict[str, object]:
    """What the ledger says of what a change did to one product."""
    return {
        "notice": row.change_notice_id,
        "product": row.product_id,
        "before": row.before_id,
        "after": row.after_id,
        "difference": ledger.digest(row.difference),
        "material": row.material,
        "case": row.case_id,
    }
