"""What every kind of submission shares before it is verified: start, attach, load."""

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.errors import Conflict, Gone, InvalidInput, NotFound, Problem
from portal.evidence.models import Evidence
from portal.evidence.state import unusable
from portal.submissions.models import (
    Attachment,
    AttachmentRole,
    Submission,
    SubmissionKind,
    SubmissionState,
)
from portal.suppliers.models import Product
from portal.suppliers.rules import own_supplier, owned

Progress = Callable[[int, int, str], None]
_FILES = {
    SubmissionKind.ATTESTATIONS: {AttachmentRole.ATTESTATIONS},
    SubmissionKind.FIRMWARE: {
        AttachmentRole.IMAGE,
        AttachmentRole.SIGNATURE,
        AttachmentRole.CERTIFICATES,
        AttachmentRole.TIMESTAMP,
    },
    SubmissionKind.LOT: {AttachmentRole.MANIFEST, AttachmentRole.UNITS, AttachmentRole.SIGNATURE},
    SubmissionKind.QUESTIONNAIRE: set(),
}
_BEFORE_AND_AFTER = (SubmissionState.DRAFT, SubmissionState.WITHDRAWN)


def get_submission(session: Session, submission_id: str, kind: SubmissionKind | None = None) -> Submission:
    """Raises NotFound, also for another supplier's and for another kind."""
    submission = session.get(Submission, submission_id)
    if submission is None or (kind is not None and submission.kind is not kind):
        raise NotFound("There is no such submission.")
    return submission


def start(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    kind: SubmissionKind,
    product_id: str,
    title: str,
    supersedes_id: str | None = None,
) -> Submission:
    """A draft about one product of the actor's supplier. Raises NotFound, NotAllowed, InvalidInput."""
    actor.must(Permission.SUPPLIER_SUBMISSION_WRITE)
    own_supplier(actor)
    product = owned(session, actor, Product, product_id, "product")
    if supersedes_id is not None:
        replaced = owned(session, actor, Submission, supersedes_id, "submission")
        if (replaced.kind, replaced.product_id) != (kind, product_id):
            raise InvalidInput(
                "a submission can only replace one of its kind about the same product",
                (Problem("supersedes", f"a {kind.value} submission about {product.model}", "another one"),),
            )
        if replaced.state in _BEFORE_AND_AFTER:
            raise Conflict(f"That submission is {replaced.state.value}: there is nothing to replace.")
    submission = Submission(
        supplier_id=product.supplier_id,
        kind=kind,
        product_id=product_id,
        title=title[:200],
        supersedes_id=supersedes_id,
        created_by=actor.user_id,
        created_at=clock.now(),
    )
    session.add(submission)
    session.flush()
    return submission


def own_draft(
    session: Session, actor: Actor, submission_id: str, kind: SubmissionKind | None = None
) -> Submission:
    """A draft that the actor may change. Raises NotAllowed, NotFound, Conflict."""
    actor.must(Permission.SUPPLIER_SUBMISSION_WRITE)
    submission = owned(session, actor, Submission, submission_id, "submission")
    if kind is not None and submission.kind is not kind:
        raise NotFound("There is no such submission.")
    if submission.state is not SubmissionState.DRAFT:
        raise Conflict("This was submitted and cannot be changed; submit a new one that replaces it.")
    return submission


def attach(
    session: Session, actor: Actor, clock: Clock, submission_id: str, evidence_id: str, role: AttachmentRole
) -> Attachment:
    """Offer a piece of evidence with a draft. One file a role, but any number of documents."""
    submission = own_draft(session, actor, submission_id)
    evidence = evidence_for(session, actor, submission, evidence_id)
    if role is not AttachmentRole.DOCUMENT and role not in _FILES[submission.kind]:
        known = ", ".join(sorted([*_FILES[submission.kind], AttachmentRole.DOCUMENT]))
        raise InvalidInput("the file was not attached", (Problem("role", f"one of {known}", role.value),))
    taken = select(Attachment.id).where(Attachment.submission_id == submission_id, Attachment.role == role)
    if role is not AttachmentRole.DOCUMENT and session.scalar(taken):
        raise Conflict(f"This submission has its {role.value} already.")
    attachment = Attachment(
        supplier_id=submission.supplier_id,
        submission_id=submission.id,
        evidence_id=evidence_id,
        role=role,
        attached_at=clock.now(),
        evidence=evidence,
    )
    submission.attachments.append(attachment)
    session.flush()
    return attachment


def evidence_for(session: Session, actor: Actor, submission: Submission, evidence_id: str) -> Evidence:
    """Evidence of the submission's supplier, whoever acts and whatever the session sees.

    Raises NotFound, and Gone where its bytes were deleted or damaged."""
    evidence = owned(session, actor, Evidence, evidence_id, "evidence")
    if evidence.supplier_id != submission.supplier_id:
        raise NotFound("There is no such evidence.")
    if evidence.id in (spoilt := unusable(session, [evidence.id])):
        raise Gone(f"{spoilt[evidence.id]} Deliver the file again.")
    return evidence


def attached(submission: Submission, role: AttachmentRole) -> Evidence | None:
    """The evidence in this role, if any."""
    return next((row.evidence for row in submission.attachments if row.role is role), None)


def missing(submission: Submission, role: AttachmentRole, what: str) -> tuple[Problem, ...]:
    """The problem that a needed file is not there, or nothing."""
    if attached(submission, role) is not None:
        return ()
    return (Problem(role.value, what, "no file", "Upload it and try again."),)
