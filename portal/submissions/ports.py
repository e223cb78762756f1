"""What the rooms from here upward need of the outside."""

from typing import Protocol

from sqlalchemy.orm import Session


class JobQueue(Protocol):
    """Durable work. `enqueue` writes into the caller's transaction: no commit without its work, no work
    without its commit. Jobs may run more than once and must be idempotent.
    """

    def enqueue(self, session: Session, job: str, *arguments: str, key: str | None = None) -> None:
        """`job` is a name in portal.jobs.tasks. `key` names one piece of work for ever: enqueued again, it is
        still that one (use it where a retry of the caller must not double the work).
        """
        ...
