"""The worker: DBOS runs the tasks, a housekeeping thread keeps the promises around them.

A worker that is killed leaves its jobs to its next start, or to another host after MISSING_SECONDS; a job
that has killed three workers, or failed three times, becomes a visible failure of its submission.
"""

import errno
import fcntl
import itertools
import socket
import threading
from collections.abc import Callable
from datetime import timedelta

import structlog
from dbos import DBOS, DBOSConfig
from dbos import DBOSPortableJSONSerializer as PortableJson
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from portal.adapters.blobs import LocalBlobStore
from portal.clock import Clock, SystemClock, today
from portal.db import open_engine, writing
from portal.errors import LotgateError
from portal.jobs import scrubbing
from portal.jobs.cosigning import Cosigning
from portal.jobs.duties import Duties, Duty
from portal.jobs.models import WorkerHost
from portal.jobs.queue import APPLICATION, JOBS_VERSION, QUEUE, DurableQueue
from portal.jobs.stamping import Stamping
from portal.jobs.tasks import TASKS, Bench, deliver_mail, give_up, publish_ledger, signs_here, tell_unsigned
from portal.ledger.logs import OVERDUE
from portal.settings import Settings

DEATHS = 3  # runs of one job that may end in the death of its worker
MISSING_SECONDS = 60
HOUSEKEEPING_SECONDS = 2.0
log = structlog.get_logger()


class Place:
    """Which worker of its host and `var` folder this is: `executor_id` is no other's while it lives, and is
    stable, so that a restarted worker takes up its own jobs.
    """

    def __init__(self, settings: Settings) -> None:
        settings.var_dir.mkdir(parents=True, exist_ok=True)
        name = f"{socket.gethostname()}:{settings.var_dir.absolute()}"[:95]
        for number in itertools.count():
            self._lock = (settings.var_dir / f"worker-{number}.lock").open("ab")
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the process ends
            except OSError as error:
                self._lock.close()
                if error.errno not in (errno.EACCES, errno.EAGAIN):  # not taken by another: no locks here
                    raise
            else:
                self.executor_id = f"{name}#{number}" if number else name
                return

    def leave(self) -> None:
        self._lock.close()


class Worker:
    """One worker process. `start` returns at once; `stop` waits for the jobs in hand."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.engine: Engine = open_engine(settings.database)
        self.clock = clock or SystemClock()
        settings.store.mkdir(parents=True, exist_ok=True)
        self.bench = Bench(
            engine=self.engine,
            clock=self.clock,
            store=LocalBlobStore(settings.store),
            jobs=DurableQueue(self.engine),
            settings=settings,
        )
        self.place = Place(settings)
        self.executor_id = self.place.executor_id
        self.duties = Duties(self.bench, self.executor_id)
        self.cosigning = Cosigning(self.bench)
        self.stamping = Stamping(self.bench)
        self._begun = self.clock.now()
        self._ending = threading.Event()
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        self._scrubber = threading.Thread(
            target=scrubbing.run, args=(self.bench, self._ending, self.duties), name="scrub", daemon=True
        )

    def start(self) -> None:
        DBOS(
            config=DBOSConfig(
                name=APPLICATION,
                system_database_url=self.settings.database,
                serializer=PortableJson(),
                executor_id=self.executor_id,
                application_version=JOBS_VERSION,
                log_level="ERROR",
                run_migrations=False,
            )
        )
        for name, task in TASKS.items():
            DBOS.workflow(name=name, max_recovery_attempts=DEATHS - 1)(self._workflow(name, task))
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self.settings.worker_concurrency,
            polling_interval_sec=self.settings.worker_poll_seconds,
        )
        self._housekeeper.start()
        self._scrubber.start()

    def stop(self) -> None:
        self._ending.set()
        self._housekeeper.join(10)
        self._scrubber.join(10)
        self.cosigning.stop()
        self.stamping.stop()
        DBOS.destroy(workflow_completion_timeout_sec=30)
        self._do(self.duties.give_back)
        self.engine.dispose()
        self.place.leave()

    def _workflow(self, name: str, task: Callable[..., None]) -> Callable[..., None]:
        def attempt(*arguments: str) -> None:
            try:
                task(self.bench, *arguments)
            except Exception:
                log.exception("job failed", job=name, arguments=arguments)
                raise

        def run(*arguments: str) -> None:
            DBOS.run_step(
                {"name": name, "retries_allowed": True, "max_attempts": 3, "interval_seconds": 0.5},
                attempt,
                *arguments,
            )

        run.__name__ = run.__qualname__ = name
        return run

    # --- housekeeping -----------------------------------------------------------------------------

    def _keep_house(self) -> None:
        while not self._ending.wait(HOUSEKEEPING_SECONDS):
            self._do(self._say_alive)
            self._do(self._keep_own_house)

    def _keep_own_house(self) -> None:
        """What is this worker's duty and no other's."""
        mine = self.duties.mine
        if mine(Duty.HOUSE):
            self._do(self._take_over_lost_hosts)
            self._do(self._show_failures)
            self._do(self._daily)
            if self.clock.now() - self._begun > OVERDUE:  # else it may be about to be signed
                self._do(tell_unsigned, self.bench)
            self._do(deliver_mail, self.bench)
        if self.settings.timestamp_url and mine(Duty.STAMPS):
            self._do(self.stamping.look)
        if mine(Duty.LEDGER, lambda: signs_here(self.bench)):
            self._do(publish_ledger, self.bench)
            self._do(self.cosigning.look)

    def _do(self, act: Callable[..., None], *arguments: Bench) -> None:
        try:
            act(*arguments)
        except (SQLAlchemyError, LotgateError, OSError) as error:
            log.warning("housekeeping", duty=act.__qualname__, error=str(error))

    def _say_alive(self) -> None:
        with writing(self.engine) as session:
            session.merge(WorkerHost(executor_id=self.executor_id, seen_at=self.clock.now()))

    def _take_over_lost_hosts(self) -> None:
        limit = self.clock.now() - timedelta(seconds=MISSING_SECONDS)
        with writing(self.engine) as session:
            lost = list(session.scalars(select(WorkerHost).where(WorkerHost.seen_at < limit)))
            names = [host.executor_id for host in lost if host.executor_id != self.executor_id]
            for host in lost:
                if host.executor_id in names:
                    session.delete(host)
        if names:
            log.info("taking over the jobs of lost hosts", hosts=names)
            # DBOS offers this verb to its own management service only; there is no public name for it.
            DBOS._recover_pending_workflows(names)  # noqa: SLF001

    def _show_failures(self) -> None:
        for status in DBOS.list_workflows(
            status=["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
            name=list(TASKS),
            sort_desc=True,
            limit=100,
            load_output=False,
        ):
            arguments = tuple((status.input or {"args": ()})["args"])
            why = (
                f"the job ended the worker {DEATHS} times"
                if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
                else "the job failed three times"
            )
            give_up(self.bench, status.name, arguments, why)

    def _daily(self) -> None:
        with writing(self.engine) as session:
            self.bench.jobs.enqueue(session, "daily", key=str(today(self.clock)))
