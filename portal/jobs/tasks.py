"""What jobs do. Each is idempotent: a worker may die in the middle and another begins it again.

A task reads and verifies without holding SQLite's write lock, then writes everything in one short
transaction.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps

import structlog
from sqlalchemy import Engine, update

from portal.accounts.read import administrators
from portal.adapters.keys import signer_in
from portal.adapters.mail import MailFolder
from portal.clock import Clock
from portal.db import reading, writing
from portal.errors import Outdated
from portal.evidence import service as evidence
from portal.evidence.ports import BlobStore
from portal.ledger import logs as ledger
from portal.ledger.ports import Purpose
from portal.notices import service as notices
from portal.reassessment import service as reassessment
from portal.retention import service as retention
from portal.review import service as review
from portal.review.models import CaseCause
from portal.settings import Settings
from portal.submissions import service as submissions
from portal.submissions.models import Submission
from portal.submissions.ports import JobQueue

EXAMINATIONS = 3  # one after the other, before the queue tries the job again
PROGRESS_SECONDS = 0.5
UNSIGNED = "ledger_unsigned"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a job works with."""

    engine: Engine
    clock: Clock
    store: BlobStore
    jobs: JobQueue
    settings: Settings


def _by_current_trust(task: Callable[[Bench, str], None]) -> Callable[[Bench, str], None]:
    """A job that examines and then records, done anew where whom to believe changed in between. When that
    happens again and again the job fails as others do: nothing is recorded by what was believed before."""

    @wraps(task)
    def work(bench: Bench, about: str) -> None:
        for _ in range(EXAMINATIONS - 1):
            try:
                task(bench, about)
            except Outdated as outdated:
                log.info("examined again", job=task.__name__, about=about, why=outdated.message)
            else:
                return
        task(bench, about)

    return work


@_by_current_trust
def verify_submission(bench: Bench, submission_id: str) -> None:
    """Verify one submission, assess its product again, open a case where a person is needed."""
    with writing(bench.engine) as session:
        if not submissions.begin_verification(session, bench.clock, submission_id):
            return
    progress = _progress(bench, submission_id)
    with reading(bench.engine) as session:
        findings = submissions.examine(session, bench.store, submission_id, progress, _limits(bench))
    with writing(bench.engine) as session:
        submissions.record(session, bench.clock, findings)
        reassessment.verified(session, bench.clock, submission_id, claim_days=bench.settings.claim_days)
    log.info("verified", submission=submission_id)


def assess(bench: Bench, product_id: str, cause: str = "Evidence was withdrawn") -> None:
    """Assess one product again: something about its evidence is otherwise."""
    with writing(bench.engine) as session:
        review.assess(
            session,
            bench.clock,
            product_id,
            cause=cause,
            case_cause=CaseCause.CHANGE,
            claim_days=bench.settings.claim_days,
        )
    log.info("assessed", product=product_id)


@_by_current_trust
def reassess(bench: Bench, notice_id: str) -> None:
    """Find what one change touches, verify and assess it again, open cases for what changed."""
    with reading(bench.engine) as session:
        examined = reassessment.examine(session, bench.store, notice_id, _limits(bench))
    with writing(bench.engine) as session:
        reassessment.handle(
            session,
            bench.clock,
            bench.store,
            notice_id,
            examined=examined,
            limits=_limits(bench),
            claim_days=bench.settings.claim_days,
        )
    log.info("reassessed", notice=notice_id)


def deliver_mail(bench: Bench) -> None:
    """Deliver what waits in the outbox."""
    with reading(bench.engine) as session:
        if not notices.waiting(session, limit=1):
            return
    carrier = MailFolder(bench.settings.mail)
    with writing(bench.engine) as session:
        for message in notices.waiting(session):
            notices.deliver(bench.clock, carrier, message)


def signs_here(bench: Bench) -> bool:
    """Whether this host has the keys of the newest log."""
    with reading(bench.engine) as session:
        newest = ledger.newest_log(session)
    if newest is None:
        return False
    return signer_in(bench.settings, newest.number, newest.origin).keys.exists(Purpose.LOG_ED25519)


def publish_ledger(bench: Bench) -> None:
    """Sign a checkpoint over what waits in the ledger, on the host that has the keys."""
    with reading(bench.engine) as session:
        found = ledger.open_log(session)
        if found is None or not ledger.pending(session):
            return
        signer = signer_in(bench.settings, found.number, found.origin)
    if signer.keys.exists(Purpose.LOG_ED25519):
        with writing(bench.engine) as session:
            ledger.publish(session, bench.clock, signer)


def tell_unsigned(bench: Bench) -> None:
    """Mail administrators, once a day at most, while entries wait for a checkpoint that nobody signs."""
    with reading(bench.engine) as session:
        since = ledger.overdue_since(session, bench.clock)
        if since is None or notices.queued_since(session, UNSIGNED, bench.clock.now() - timedelta(days=1)):
            return
    with writing(bench.engine) as session:
        subject = "The transparency log is not signed any more"
        body = (
            f"Entries of the ledger wait for a checkpoint since {since:%Y-%m-%d %H:%M} UTC: of those\n"
            "there are no receipts. Evidence is accepted and recorded meanwhile, nothing is lost.\n\n"
            "`lotgate ledger show`, on the host that has the log's keys, says why: no worker runs\n"
            "there, the keys are gone, the database is older than what was signed, or the log was\n"
            "closed and none was opened after it.\n"
        )
        for email in administrators(session):
            notices.queue_mail(
                session, bench.clock, kind=UNSIGNED, recipient=email, subject=subject, body=body
            )


def daily(bench: Bench) -> None:
    """What falls due by date: changes that nobody handled, re-assessments, expired uploads, orphans in the
    store."""
    settings = bench.settings
    with writing(bench.engine) as session:
        for notice_id in reassessment.unhandled(session, bench.clock):
            bench.jobs.enqueue(session, "reassess", notice_id)
    with reading(bench.engine) as session:
        due = reassessment.due(session, bench.clock, settings.reassess_days)
    for product_id, reason in due:
        with writing(bench.engine) as session:
            reassessment.fall_due(session, bench.clock, product_id, reason, claim_days=settings.claim_days)
    remove_bytes(bench)
    with writing(bench.engine) as session:
        evidence.sweep(session, bench.clock, bench.store, bench.settings.store / "spool")


def remove_bytes(bench: Bench) -> None:
    """Take what was deleted out of the store, in short transactions that let others write between them."""
    while True:
        with writing(bench.engine) as session:
            if not retention.remove_bytes(session, bench.clock, bench.store):
                return
        time.sleep(retention.PAUSE_SECONDS)


TASKS: dict[str, Callable[..., None]] = {
    "assess": assess,
    "daily": daily,
    "deliver_mail": deliver_mail,
    "reassess": reassess,
    "remove_bytes": remove_bytes,
    "verify_submission": verify_submission,
}


def give_up(bench: Bench, job: str, arguments: tuple[str, ...], why: str) -> None:
    """A job has failed for good: make that visible where people look. Safe to repeat."""
    if job != "verify_submission" or not arguments:
        return
    with reading(bench.engine) as session:
        submission = session.get(Submission, arguments[0])
        if submission is None or not submissions.is_pending(submission):
            return
    with writing(bench.engine) as session:
        if submissions.mark_failed(session, bench.clock, arguments[0], why):
            reassessment.verified(session, bench.clock, arguments[0], claim_days=bench.settings.claim_days)


def _limits(bench: Bench) -> submissions.Limits:
    settings = bench.settings
    return submissions.Limits(settings.manifest_max_bytes, settings.manifest_max_units, settings.rules_folder)


def _progress(bench: Bench, submission_id: str) -> Callable[[int, int, str], None]:
    """Writes progress for the people who wait, in short transactions of its own, at most twice a second."""
    last = time.monotonic()

    def tell(done: int, total: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last < PROGRESS_SECONDS:
            return
        last = time.monotonic()
        with writing(bench.engine) as session:
            session.execute(
                update(Submission)
                .where(Submission.id == submission_id)
                .values(progress_done=done, progress_total=total, progress_note=note[:200])
            )

    return tell
