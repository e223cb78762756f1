"""What jobs do. Each is idempotent: a worker may die in the middle and another begins it again."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from portal.clock import Clock
from portal.evidence.ports import BlobStore
from portal.settings import Settings
from portal.submissions.ports import JobQueue


@dataclass(frozen=True, slots=True)
class Bench:
    """What a job works with."""

    engine: Engine
    clock: Clock
    store: BlobStore
    jobs: JobQueue
    settings: Settings


def verify_submission(bench: Bench, submission_id: str) -> None:
    """Verify one submission, assess its product again, open a case where a person is needed."""


def reassess(bench: Bench, notice_id: str) -> None:
    """Find what one change touches and assess it again."""


def deliver_mail(bench: Bench) -> None:
    """Deliver what waits in the outbox."""


def daily(bench: Bench) -> None:
    """What falls due by date: re-assessments, expired uploads and orphans."""


TASKS: dict[str, Callable[..., None]] = {
    "verify_submission": verify_submission,
    "reassess": reassess,
    "deliver_mail": deliver_mail,
    "daily": daily,
}
