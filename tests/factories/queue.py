"""A job queue for tests: keeps what was enqueued; `run_all` does the work with the real tasks, in line."""

from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal.adapters.blobs import LocalBlobStore
from portal.clock import Clock
from portal.jobs.tasks import TASKS, Bench
from portal.settings import Settings


@dataclass
class RecordingQueue:
    engine: Engine
    clock: Clock
    store: LocalBlobStore
    settings: Settings
    waiting: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def enqueue(self, session: Session, job: str, *arguments: str, key: str | None = None) -> None:
        assert job in TASKS, f"there is no job {job}"
        if key is not None:
            if f"{job}:{key}" in self.keys:
                return
            self.keys.add(f"{job}:{key}")
        self.waiting.append((job, arguments))

    def run_all(self) -> list[tuple[str, tuple[str, ...]]]:
        """Run what waits, and what that causes, in order; returns what ran."""
        ran = []
        bench = Bench(self.engine, self.clock, self.store, self, self.settings)
        while self.waiting:
            job, arguments = self.waiting.pop(0)
            TASKS[job](bench, *arguments)
            ran.append((job, arguments))
        return ran
