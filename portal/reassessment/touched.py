"""What a change touches: the products that depend on it, and the submissions whose proof it takes away."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.evidence.ports import BlobStore
from portal.reassessment.models import ChangeNotice
from portal.review.models import Assessment
from portal.submissions import service as submissions
from portal.submissions.findings import Findings
from portal.submissions.firmware import service as firmware
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import Lot
from portal.submissions.models import (
    Attachment,
    AttachmentRole,
    CheckRecord,
    Submission,
    SubmissionKind,
    SubmissionState,
)
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.suppliers.models import KeyPurpose, Product, SigningKey
from portal.verification import Outcome

_COUNTS = (SubmissionState.VERIFIED, SubmissionState.ACCEPTED)


def products_touched(session: Session, notice: ChangeNotice) -> Sequence[Product]:
    """The products to assess again: the one named; those that rest on the key; else all of the supplier.
    Products that were never assessed have nothing to be assessed again."""
    assessed = exists().where(Assessment.product_id == Product.id)
    query = select(Product).where(Product.supplier_id == notice.supplier_id, assessed).order_by(Product.id)
    if notice.product_id is not None:
        query = query.where(Product.id == notice.product_id)
    if notice.signing_key_id is not None:
        key = session.get_one(SigningKey, notice.signing_key_id)
        rests_on_it = {row.product_id for row in submissions_resting_on(session, key)}
        query = query.where(Product.id.in_(rests_on_it))
    return session.scalars(query).all()


def submissions_resting_on(session: Session, key: SigningKey) -> Sequence[Submission]:
    """Submissions that count and whose signatures the key made, or may have made.

    Of firmware it is known which key verified it. Of attestations and manifests it is not kept: all that were
    offered while the key could sign such things count, so that none is missed.
    """
    signed_by: list[ColumnElement[bool]] = [
        exists().where(
            FirmwareRelease.submission_id == Submission.id, FirmwareRelease.signing_key_id == key.id
        )
    ]
    if KeyPurpose.ATTESTATION in key.purposes:
        signed_by.append(Submission.kind == SubmissionKind.ATTESTATIONS)
    if KeyPurpose.MANIFEST in key.purposes:
        signed = exists().where(
            Attachment.submission_id == Submission.id, Attachment.role == AttachmentRole.SIGNATURE
        )
        signed_by.append((Submission.kind == SubmissionKind.LOT) & signed)
    return session.scalars(
        select(Submission)
        .where(Submission.supplier_id == key.supplier_id, Submission.state.in_(_COUNTS), or_(*signed_by))
        .order_by(Submission.submitted_at, Submission.id)
    ).all()


def products_of_evidence(session: Session, evidence_ids: Sequence[str]) -> Sequence[str]:
    """Ids of the assessed products with submissions that evidence was offered with, sorted."""
    if not evidence_ids:
        return ()
    offered = or_(
        exists().where(Attachment.submission_id == Submission.id, Attachment.evidence_id.in_(evidence_ids)),
        exists().where(
            AnswerEvidence.submission_id == Submission.id,
            AnswerEvidence.removed_at.is_(None),
            AnswerEvidence.evidence_id.in_(evidence_ids),
        ),
    )
    assessed = exists().where(Assessment.product_id == Submission.product_id)
    return session.scalars(
        select(Submission.product_id).where(offered, assessed).distinct().order_by(Submission.product_id)
    ).all()


def examine(
    session: Session, store: BlobStore, notice_id: str, limits: submissions.Limits
) -> tuple[Findings, ...]:
    """Verify again, with the trust of now, what rests on the key of a change notice. Only reads: hashing
    large files takes its time, and must not hold up writers."""
    notice = session.get(ChangeNotice, notice_id)
    if notice is None or notice.signing_key_id is None or notice.handled_at is not None:
        return ()
    key = session.get_one(SigningKey, notice.signing_key_id)
    return tuple(
        submissions.examine(session, store, submission.id, _silent, limits)
        for submission in submissions_resting_on(session, key)
    )


def keep_findings(
    session: Session,
    clock: Clock,
    store: BlobStore,
    examined: Sequence[Findings],
    limits: submissions.Limits,
) -> None:
    """Record what `examine` found. Firmware that lost a proof is withdrawn; then the lots of its product,
    whose units may run it, are verified again too. The caller has taken turns. Raises Outdated where whom to
    believe changed since `examined` was found."""
    bereft: set[str] = set()
    for findings in examined:
        submission = session.get_one(Submission, findings.submission_id)
        before = _passing(session, submission)
        submissions.record(session, clock, findings)
        session.flush()
        release = session.scalars(
            select(FirmwareRelease).where(FirmwareRelease.submission_id == submission.id)
        ).first()
        if release is not None and before - _passing(session, submission):
            bereft.add(submission.product_id)
            firmware.take_back(session, clock, release)
    session.flush()
    lots = session.scalars(
        select(Submission.id)
        .join(Lot, Lot.submission_id == Submission.id)
        .where(Submission.product_id.in_(bereft), Submission.state.in_(_COUNTS), Lot.live)
        .order_by(Submission.submitted_at, Submission.id)
    ).all()
    for submission_id in lots:
        submissions.verify(session, clock, store, submission_id, _silent, limits)
    session.flush()


def _passing(session: Session, submission: Submission) -> set[str]:
    return set(
        session.scalars(
            select(CheckRecord.check_id).where(
                CheckRecord.submission_id == submission.id,
                CheckRecord.run == submission.run,
                CheckRecord.outcome == Outcome.PASS,
            )
        )
    )


def _silent(_done: int, _total: int, _note: str) -> None:
    """Progress that nobody waits for."""
