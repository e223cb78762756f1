"""What the database knows about one product, as the policy wants to see it.

Drafts, submissions not yet verified, and those refused, withdrawn or superseded prove nothing and are left
out. A submission that the machine failed to verify is told as one whose checks are missing, never left out.
"""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import Session, aliased

from portal.clock import Clock, today
from portal.db import chunks
from portal.evidence.models import Evidence
from portal.evidence.state import spoilt, unusable
from portal.policy.facts import (
    AnswerFact,
    ChangeFact,
    CheckFact,
    EntityFact,
    EvidenceFact,
    ExceptionFact,
    Facts,
)
from portal.policy.questionnaire import apply_answers
from portal.review.models import Case, Decision, GrantedException
from portal.submissions.attestations.models import AttestationBatch
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import Lot
from portal.submissions.models import Attachment, CheckRecord, Submission, SubmissionKind, SubmissionState
from portal.submissions.questionnaires.models import Answer
from portal.submissions.questionnaires.service import builtin, usable_evidence
from portal.suppliers.models import Entity, Product
from portal.verification import Outcome

JUDGED = (SubmissionState.VERIFIED, SubmissionState.ACCEPTED, SubmissionState.FAILED)


def gather(
    session: Session,
    clock: Clock,
    product: Product,
    live: Sequence[Submission],
    *,
    changes: Sequence[ChangeFact] = (),
) -> Facts:
    """Everything known about `product` now, from its submissions that count (`live`).

    `changes`: those that nobody has decided on yet.
    """
    settled = last_settled(session, product.id)
    dates = {"end_of_sale": product.end_of_sale, "end_of_support": product.end_of_support}
    entities = session.scalars(select(Entity).where(Entity.supplier_id == product.supplier_id))
    exceptions = session.scalars(
        exceptions_in_force(today(clock)).where(GrantedException.product_id == product.id)
    )
    facts = Facts(
        answers=_answers(session, live),
        checks=_checks(session, live),
        entities=tuple(EntityFact(row.role.value, row.name, row.country) for row in entities),
        dates={name: day for name, day in dates.items() if day is not None},
        last_assessed=settled.decided_at.date() if settled else None,
        changes=tuple(changes),
        exceptions=tuple(ExceptionFact(row.control_id, row.expires_on) for row in exceptions),
    )
    return apply_answers(builtin(), facts)


def last_settled(session: Session, product_id: str) -> Decision | None:
    """The newest decision that closed a case of the product, whatever it was."""
    return session.scalars(
        select(Decision)
        .join(Case, Case.id == Decision.case_id)
        .where(Decision.product_id == product_id, Decision.settled_id.is_not(None))
        .order_by(Decision.decided_at.desc(), Case.number.desc())
        .limit(1)
    ).first()


def exceptions_in_force(day: date) -> Select[GrantedException]:
    """Exceptions that count on `day`: neither closed nor expired, and granted by an approval in effect (in
    tier 1 the granting decision takes effect by the one that seconds it)."""
    second = aliased(Decision)
    return (
        select(GrantedException)
        .join(Decision, Decision.id == GrantedException.decision_id)
        .where(
            GrantedException.closed_at.is_(None),
            GrantedException.expires_on >= day,
            or_(Decision.effective, exists().where(second.seconds_id == Decision.id, second.effective)),
        )
        .order_by(GrantedException.expires_on, GrantedException.control_id)
    )


def live_submissions(session: Session, product_id: str) -> list[Submission]:
    """The submissions that count for a product, oldest first: the newest questionnaire; of each component the
    newest firmware and every accepted one; lots, and attestations, unless about a lot that no longer
    counts."""
    newer = aliased(Submission)
    superseded = exists().where(newer.supersedes_id == Submission.id, newer.state.in_(JUDGED))
    judged = session.scalars(
        select(Submission)
        .where(Submission.product_id == product_id, Submission.state.in_(JUDGED), ~superseded)
        .order_by(Submission.submitted_at, Submission.created_at, Submission.id)
    ).all()
    questionnaires = [row.id for row in judged if row.kind is SubmissionKind.QUESTIONNAIRE]
    past = {*questionnaires[:-1], *_older_firmware(session, judged), *_about_dead_lots(session, product_id)}
    return [row for row in judged if row.id not in past]


def _older_firmware(session: Session, judged: Sequence[Submission]) -> set[str]:
    """Releases that are neither accepted nor the newest of their component."""
    releases: dict[str, FirmwareRelease] = {}
    ids = [row.id for row in judged if row.kind is SubmissionKind.FIRMWARE]
    for some in chunks(ids):
        for release in session.scalars(
            select(FirmwareRelease).where(FirmwareRelease.submission_id.in_(some))
        ):
            releases[release.submission_id] = release
    newest = {
        releases[submission_id].component_id: submission_id for submission_id in ids
    }  # ids are in order
    return {
        submission_id
        for submission_id, release in releases.items()
        if submission_id != newest[release.component_id]
        and (release.accepted_at is None or release.withdrawn_at is not None)
    }


def _about_dead_lots(session: Session, product_id: str) -> set[str]:
    dead = (
        select(Lot.id, Lot.submission_id)
        .join(Submission, Submission.id == Lot.submission_id)
        .where(Submission.product_id == product_id, ~Lot.live)
        .subquery()
    )
    lots = session.scalars(select(dead.c.submission_id))
    batches = session.scalars(
        select(AttestationBatch.submission_id).join(dead, dead.c.id == AttestationBatch.lot_id)
    )
    return {*lots, *batches}


def _checks(session: Session, live: Sequence[Submission]) -> tuple[CheckFact, ...]:
    """The checks of the newest run of each submission. One that failed has but a single entry, and so none of
    the checks that the policy looks for. A check over a file that is deleted or damaged is no pass."""
    checks = []
    by_id = {row.id: row for row in live if row.state is not SubmissionState.FAILED}
    ids = list(by_id)
    lost_files = _spoilt(session, ids)
    for some in chunks(ids):
        for record in session.scalars(
            select(CheckRecord)
            .join(Submission, Submission.id == CheckRecord.submission_id)
            .where(CheckRecord.submission_id.in_(some), CheckRecord.run == Submission.run)
        ):
            row, why = by_id[record.submission_id], lost_files.get(record.submission_id)
            lost = why is not None and record.outcome is Outcome.PASS
            checks.append(
                CheckFact(
                    id=record.check_id,
                    outcome=Outcome.UNREADABLE.value if lost else record.outcome.value,
                    reason=f"{why} It passed before: {record.reason}" if lost else record.reason,
                    submission_id=row.id,
                    subject=subject(row),
                    kind=row.kind.value,
                )
            )
    checks += [
        CheckFact(
            id=f"{row.kind.value}.verification",
            outcome=Outcome.NOT_RUN.value,
            reason=row.failure or "the machine could not finish its work",
            submission_id=row.id,
            subject=subject(row),
            kind=row.kind.value,
        )
        for row in live
        if row.state is SubmissionState.FAILED
    ]
    return tuple(checks)


def _spoilt(session: Session, submission_ids: Sequence[str]) -> dict[str, str]:
    """Submissions of which a file is deleted or damaged, and what is said of it."""
    found: dict[str, str] = {}
    for ids in chunks(submission_ids):
        rows = session.execute(
            select(Attachment.submission_id, Attachment.evidence_id)
            .join(Evidence, Evidence.id == Attachment.evidence_id)
            .where(Attachment.submission_id.in_(ids), spoilt())
            .order_by(Attachment.evidence_id)
        ).all()
        told = unusable(session, [row.evidence_id for row in rows])
        for row in rows:
            found.setdefault(row.submission_id, told[row.evidence_id])
    return found


def subject(row: Submission) -> str:
    """A submission as people name it: its title, with the kind before it unless the title says so."""
    return row.title if row.kind.value in row.title.casefold() else f"{row.kind.value} {row.title}"


def _answers(session: Session, live: Sequence[Submission]) -> dict[str, AnswerFact]:
    """The newest revision of each answer in the questionnaire that counts, with the files beside it."""
    submitted = next((row for row in live if row.kind is SubmissionKind.QUESTIONNAIRE), None)
    if submitted is None:
        return {}
    attachments: dict[str, list[EvidenceFact]] = {}
    for attached in usable_evidence(session, submitted.id):
        attachments.setdefault(attached.question_id, []).append(
            EvidenceFact(
                f"sha256:{attached.evidence.sha256}", attached.evidence.filename, attached.valid_until
            )
        )
    revisions = session.scalars(
        select(Answer).where(Answer.submission_id == submitted.id).order_by(Answer.revision)
    )
    values = {revision.question_id: revision.value for revision in revisions}
    return {
        question: AnswerFact(value, tuple(attachments.get(question, ())))
        for question, value in values.items()
        if isinstance(value, str) and value
    }
