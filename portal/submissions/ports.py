"""What the rooms from here upward need of the outside."""

from typing import Protocol

from sqlalchemy.orm import Session


class JobQueue(Protocol):
    """Durable work. `enqueue` writes into the caller's transaction: no commit without its work, no work without
    its commit. Jobs may run more than once and must be idempotent.
    """

    def enqueue(self, session: Session, job: str, *arguments: str, key: str | None = None) -> None:
        """`job` is a name in portal.jobs.tasks; the same `key` twice while one waits is one job."""
        ...
