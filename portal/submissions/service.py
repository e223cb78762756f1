"""Verbs of submissions: start and attach (portal/submissions/drafting.py), submit, withdraw, verify."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock, rfc3339
from portal.errors import Conflict, InvalidInput, LotgateError, Problem
from portal.evidence.ports import BlobStore
from portal.evidence.state import unusable
from portal.ledger import service as ledger
from portal.submissions.attestations import service as attestations
from portal.submissions.drafting import Progress, attach, attached, get_submission, own_draft, start
from portal.submissions.findings import (
    Findings,
    KindFindings,
    Limits,
    demand_current,
    take_turns,
    trust_of_last,
)
from portal.submissions.firmware import service as firmware
from portal.submissions.lots import checks as lot_checks
from portal.submissions.lots import service as lots
from portal.submissions.models import CheckRecord, Submission, SubmissionKind, SubmissionState
from portal.submissions.ports import JobQueue
from portal.submissions.questionnaires import service as questionnaires
from portal.submissions.verdicts import checks_document, verdicts_digest
from portal.suppliers.rules import owned
from portal.verification import Check, Outcome, worst

__all__ = [
    "Limits",
    "accept",
    "attach",
    "attached",
    "begin_verification",
    "declared",
    "examine",
    "get_submission",
    "is_pending",
    "kept",
    "mark_failed",
    "newest_checks",
    "offered",
    "record",
    "refuse",
    "start",
    "submit",
    "verify",
    "withdraw",
]

LIMITS = Limits()
PENDING = frozenset({SubmissionState.SUBMITTED, SubmissionState.VERIFYING})
_SEVERITY = (Outcome.PASS, Outcome.WARN, Outcome.NOT_RUN, Outcome.UNREADABLE, Outcome.FAIL)


class _Kind(Protocol):
    """What the package of a kind offers (its `service` module)."""

    problems: Callable[[Session, Submission], tuple[Problem, ...]]
    declared: Callable[[Session, Submission], dict[str, object]]
    kept: Callable[[Session, Submission], dict[str, object]]
    examine: Callable[[Session, BlobStore, Submission, Progress, Limits], KindFindings]
    withdraw: Callable[[Session, Clock, Submission], None]


_KINDS: dict[SubmissionKind, _Kind] = {
    SubmissionKind.ATTESTATIONS: attestations,  # type: ignore[dict-item]
    SubmissionKind.FIRMWARE: firmware,  # type: ignore[dict-item]
    SubmissionKind.LOT: lots,  # type: ignore[dict-item]
    SubmissionKind.QUESTIONNAIRE: questionnaires,  # type: ignore[dict-item]
}


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Findings of a kind whose examination ended in an error: unreadable, never a pass."""

    checks: tuple[Check, ...]
    trust_before: None = None

    def settle(self, _session: Session, _submission: Submission) -> tuple[Check, ...]:
        return self.checks

    def record(self, _session: Session, _clock: Clock, _submission: Submission) -> None:
        """Nothing beyond the check."""


def submit(session: Session, actor: Actor, clock: Clock, jobs: JobQueue, submission_id: str) -> Submission:
    """Offer a draft: from now on it does not change, and its verification is enqueued in this transaction.

    Raises InvalidInput that lists everything that is missing, Conflict when it was submitted before.
    """
    submission = own_draft(session, actor, submission_id)
    found = _KINDS[submission.kind].problems(session, submission)
    if found:
        raise InvalidInput("This cannot be submitted yet.", found)
    submission.state = SubmissionState.SUBMITTED
    submission.submitted_by, submission.submitted_at = actor.user_id, clock.now()
    session.flush()
    ledger.append(
        session,
        clock,
        "submission.made",
        submission.id,
        {
            "submission": submission.kind.value,
            "product": submission.product_id,
            "by": submission.submitted_by,
            **offered(submission),
            **declared(session, submission),
        },
        supplier_id=submission.supplier_id,
    )
    jobs.enqueue(session, "verify_submission", submission.id, key=submission.id)
    return submission


def offered(submission: Submission) -> dict[str, object]:
    """What its entry submission.made says of the draft. `attached`: digest of its files and what each is."""
    attached = [
        [row.id, row.role.value, row.evidence_id, rfc3339(row.attached_at)] for row in submission.attachments
    ]
    return {
        "title": submission.title,
        "supersedes": submission.supersedes_id,
        "created": rfc3339(submission.created_at),
        "created_by": submission.created_by,
        "evidence": sorted(f"sha256:{row.evidence.sha256}" for row in submission.attachments),
        "attached": ledger.digest_of(sorted(attached)),
    }


def declared(session: Session, submission: Submission) -> dict[str, object]:
    """What was said with it besides its files, as its entry submission.made tells it."""
    return _KINDS[submission.kind].declared(session, submission)


def kept(session: Session, submission: Submission) -> dict[str, object]:
    """What its newest run left beside checks and verdicts, as its entry verification.ended tells it."""
    return _KINDS[submission.kind].kept(session, submission)


def accept(session: Session, clock: Clock, submission: Submission, decision_id: str) -> None:
    """By a decision of people. What could not be verified is not accepted."""
    if submission.state is SubmissionState.VERIFIED:
        _decided(session, clock, submission, SubmissionState.ACCEPTED, decision_id)


def refuse(session: Session, clock: Clock, submission: Submission, decision_id: str) -> None:
    """By a decision of people."""
    if submission.state in (SubmissionState.VERIFIED, SubmissionState.ACCEPTED):
        _decided(session, clock, submission, SubmissionState.REFUSED, decision_id)


def _decided(
    session: Session, clock: Clock, submission: Submission, state: SubmissionState, decision_id: str
) -> None:
    submission.state = state
    session.flush()
    kind, body = f"submission.{state.value}", {"decision": decision_id}
    ledger.append(session, clock, kind, submission.id, body, supplier_id=submission.supplier_id)


def withdraw(session: Session, actor: Actor, clock: Clock, jobs: JobQueue, submission_id: str) -> Submission:
    """Take back what was not decided on yet. It stays in the record and proves nothing any more.

    Enqueues that the product is assessed again without it.
    """
    actor.must(Permission.SUPPLIER_SUBMISSION_WRITE)
    take_turns(session)
    submission = owned(session, actor, Submission, submission_id, "submission")
    if submission.state in (SubmissionState.ACCEPTED, SubmissionState.REFUSED, SubmissionState.WITHDRAWN):
        raise Conflict(f"This submission is {submission.state.value} and cannot be withdrawn.")
    submission.state = SubmissionState.WITHDRAWN
    _KINDS[submission.kind].withdraw(session, clock, submission)
    session.flush()
    ledger.append(
        session,
        clock,
        "submission.withdrawn",
        submission.id,
        {"by": actor.user_id, **kept(session, submission)},
        supplier_id=submission.supplier_id,
    )
    _recheck_lot(session, clock, submission)
    jobs.enqueue(session, "assess", submission.product_id)
    return submission


# --- Verification: begin (short write), examine (reads only), record (short write) --------------------


def is_pending(submission: Submission) -> bool:
    """Whether it waits for its verification."""
    return submission.state in PENDING


def begin_verification(session: Session, _clock: Clock, submission_id: str) -> bool:
    """Say that the work has begun; False when there is none (verified already, withdrawn)."""
    submission = session.get(Submission, submission_id)
    if submission is None or not is_pending(submission):
        return False
    submission.state = SubmissionState.VERIFYING
    submission.progress_done, submission.progress_total, submission.progress_note = 0, 0, "started"
    return True


def examine(
    session: Session, store: BlobStore, submission_id: str, progress: Progress, limits: Limits = LIMITS
) -> Findings:
    """Read and verify everything without writing anything. What cannot be read becomes a check that says so.

    OSError and database errors come out: the job is tried again.
    """
    submission = get_submission(session, submission_id)
    if (spoilt := _spoilt(session, submission)) is not None:
        return Findings(submission_id, spoilt)
    try:
        of_kind = _KINDS[submission.kind].examine(session, store, submission, progress, limits)
    except LotgateError as error:
        check = Check(f"{submission.kind.value}.verification", Outcome.UNREADABLE, error.message)
        of_kind = _Unreadable((check,))
    return Findings(submission_id, of_kind)


def _spoilt(session: Session, submission: Submission) -> _Unreadable | None:
    """The findings about a submission whose files are deleted or damaged: it cannot be verified again, also
    where another row keeps the same bytes in the store."""
    found = unusable(session, [row.evidence_id for row in submission.attachments])
    if not found:
        return None
    reason = " ".join(found[key] for key in sorted(found))
    return _Unreadable((Check(f"{submission.kind.value}.verification", Outcome.UNREADABLE, reason),))


def record(session: Session, clock: Clock, findings: Findings) -> Outcome:
    """Write one verification run: checks, ledger entries, what the kind keeps, and the new state.

    A submission is accepted by the machine only when every check passed. One that people accepted stays so
    unless the new outcome is worse than the one they saw. Raises Outdated where whom to believe changed since
    they were made: examine again.
    """
    take_turns(session)
    submission = get_submission(session, findings.submission_id)
    if submission.state is SubmissionState.WITHDRAWN:  # while it was examined
        return submission.outcome or Outcome.NOT_RUN
    before = submission.outcome
    of_kind = _spoilt(session, submission) or findings.of_kind  # a file may have gone since it was read
    demand_current(session, submission, of_kind)
    outcome = _write_run(session, clock, submission, of_kind.settle(session, submission))
    of_kind.record(session, clock, submission)
    submission.state = _state_after(submission.state, before, outcome)
    session.flush()
    _enter_end(session, clock, submission, outcome, of_kind.trust_before)
    _recheck_lot(session, clock, submission)
    return outcome


def verify(
    session: Session,
    clock: Clock,
    store: BlobStore,
    submission_id: str,
    progress: Progress,
    limits: Limits = LIMITS,
) -> Outcome:
    """Examine and record in one transaction, while nobody else writes: for re-assessment, where few and small
    submissions run again."""
    take_turns(session)
    return record(session, clock, examine(session, store, submission_id, progress, limits))


def mark_failed(session: Session, clock: Clock, submission_id: str, why: str) -> bool:
    """The machine could not do its work: visible, and never a pass. False when it has been done after all."""
    take_turns(session)
    submission = session.get(Submission, submission_id)
    if submission is None or not is_pending(submission):
        return False
    submission.state, submission.failure = SubmissionState.FAILED, why[:500]
    session.flush()
    ledger.append(
        session,
        clock,
        "submission.failed",
        submission.id,
        {"why": why[:500]},
        supplier_id=submission.supplier_id,
    )
    return True


def newest_checks(session: Session, submission: Submission) -> list[CheckRecord]:
    """The checks of the newest run, in their order."""
    return list(
        session.scalars(
            select(CheckRecord)
            .where(CheckRecord.submission_id == submission.id, CheckRecord.run == submission.run)
            .order_by(CheckRecord.position)
        )
    )


def _write_run(session: Session, clock: Clock, submission: Submission, checks: tuple[Check, ...]) -> Outcome:
    submission.run += 1
    for position, check in enumerate(checks):
        row = CheckRecord(
            supplier_id=submission.supplier_id,
            submission_id=submission.id,
            run=submission.run,
            position=position,
            check_id=check.id,
            outcome=check.outcome,
            reason=check.reason,
            at=clock.now(),
        )
        session.add(row)
        session.flush()
        ledger.append(
            session,
            clock,
            "check.recorded",
            row.id,
            {
                "submission": submission.id,
                "run": row.run,
                "check": row.check_id,
                "outcome": row.outcome.value,
                "reason": ledger.digest(row.reason),
            },
            supplier_id=row.supplier_id,
        )
    submission.outcome = worst(check.outcome for check in checks)
    submission.verified_at = clock.now()
    submission.progress_done = submission.progress_total = 1
    submission.progress_note = ""
    return submission.outcome


def _enter_end(
    session: Session, clock: Clock, submission: Submission, outcome: Outcome, trust_before: int | None
) -> None:
    """What one run found, all of it together: no check and no verdict can be left out of it later. With it,
    before which entry stands what it believed: others may have been made while it worked."""
    ledger.append(
        session,
        clock,
        "verification.ended",
        submission.id,
        {
            "run": submission.run,
            "outcome": outcome.value,
            "checks": ledger.digest_of(checks_document(newest_checks(session, submission))),
            "verdicts": verdicts_digest(session, submission.id, submission.run),
            **({} if trust_before is None else {"trust_before": trust_before}),
            "state": submission.state.value,
            **kept(session, submission),
        },
        supplier_id=submission.supplier_id,
    )


def _state_after(state: SubmissionState, before: Outcome | None, now: Outcome) -> SubmissionState:
    if now is Outcome.PASS:
        return SubmissionState.REFUSED if state is SubmissionState.REFUSED else SubmissionState.ACCEPTED
    if state is SubmissionState.REFUSED:
        return state
    if state is SubmissionState.ACCEPTED and before is not None:
        worse = _SEVERITY.index(now) > _SEVERITY.index(before)
        return SubmissionState.VERIFIED if worse else SubmissionState.ACCEPTED
    return SubmissionState.VERIFIED


def _recheck_lot(session: Session, clock: Clock, about: Submission) -> None:
    """After attestations: a new run of their lot's checks. What they prove is judged anew, the rest stays."""
    if about.kind is not SubmissionKind.ATTESTATIONS:
        return
    lot = attestations.batch_of(session, about.id).lot
    submission = lot.submission
    if submission.outcome is None or submission.state is SubmissionState.WITHDRAWN or is_pending(submission):
        return
    session.flush()
    fresh, last = lot_checks.attested(session, lot), newest_checks(session, submission)
    if all(Check(row.check_id, row.outcome, row.reason) != fresh for row in last):
        checks = (Check(row.check_id, row.outcome, row.reason) for row in last)
        before, trust_before = submission.outcome, trust_of_last(session, submission)
        outcome = _write_run(
            session, clock, submission, tuple(fresh if check.id == fresh.id else check for check in checks)
        )
        submission.state = _state_after(submission.state, before, outcome)
        session.flush()
        _enter_end(session, clock, submission, outcome, trust_before)
