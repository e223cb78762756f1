"""Two worker processes on one database: nothing is done twice, and when one is killed the other goes on."""

import io
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.adapters.witness_folder import WitnessFolder
from portal.cli.database import upgrade_database
from portal.cli.witness import application
from portal.clock import FixedClock, SystemClock
from portal.db import open_engine, open_session, reading
from portal.evidence.models import Scrub
from portal.jobs.duties import Duty
from portal.jobs.models import DutyLoan
from portal.ledger import logs
from portal.ledger.models import Cosignature, Entry, Log, Stamp
from portal.ledger.service import append, verify_chain
from portal.notices.models import Message
from portal.notices.service import queue_mail
from portal.settings import Settings
from portal.suppliers import timestamping
from tests.factories import Make
from tests.factories.databases import ON_BOTH
from tests.factories.kept import Kept
from tests.factories.serving import serving
from tests.factories.tsa import Authority, authority
from tests.journeys.commands import command_line, environment

FILES, DAMAGED, ROUNDS = 12, 5, 4
THINKING_SECONDS = (
    2.5  # of witness and authority: longer than a worker's look, so that a second one would ask
)
WAIT_SECONDS = 120
Answered = tuple[int, dict[str, str], bytes]
pytestmark = [pytest.mark.slow, ON_BOTH]


class Shared:
    """A portal with work of every kind that workers do by the clock, its witness and its authority."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        self.tsa: Authority = stack.enter_context(authority(folder / "tsa"))
        self.tsa.answer = self._slowly(self.tsa.answer)  # type: ignore[method-assign, assignment]
        self.witness = WitnessFolder.create(folder / "witness", "witness.example")
        self.offered: list[tuple[str, str]] = []  # origin and size
        self._served = application(str(self.witness.folder), SystemClock())
        url = stack.enter_context(serving(self._count))
        path = folder / "witnesses"
        keys = self.witness.signer.verifier_keys()
        path.write_text("".join(f"witness w{n} {key} {url}\n" for n, key in enumerate(keys)) + "quorum w0\n")
        self.values = {
            "secret_key": "s" * 40,
            "database_url": database,
            "witnesses": str(path),
            "timestamp_url": self.tsa.url,
            "scrub_days": "1",
        }
        self.settings = Settings(var_dir=folder / "var", secret_key="s" * 40, database_url=database)
        upgrade_database(self.settings)
        self.engine = open_engine(database)
        stack.callback(self.engine.dispose)
        self.session = stack.enter_context(open_session(self.engine))
        self.clock = FixedClock(datetime.now(UTC))
        self.make = Make(self.session, self.clock, Flask("tests"))
        self.logs = [folder / f"worker-{number}.log" for number in range(2)]
        self.workers: list[subprocess.Popen[bytes]] = []
        stack.callback(self.kill)

    def _count(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        origin, size = body.decode().partition("\n\n")[2].splitlines()[:2]
        self.offered.append((origin, size))
        time.sleep(THINKING_SECONDS)
        return self._served(environ | {"wsgi.input": io.BytesIO(body)}, start)

    def _slowly(self, answer: Callable[[bytes], Answered]) -> Callable[[bytes], Answered]:
        def slow(asked: bytes) -> Answered:
            time.sleep(THINKING_SECONDS)
            return answer(asked)

        return slow

    def open_log(self) -> None:
        if (last := logs.open_log(self.session)) is not None:
            logs.close(self.session, self.clock, last)
        number = logs.next_number(self.session)
        signer = signer_in(self.settings, number, f"portal.example/ledger/{number}")
        logs.create(self.session, self.clock, signer)
        self.session.commit()
        self.witness.add(list(signer.verifier_keys()))

    def record(self) -> None:
        append(self.session, self.clock, "evidence.accepted", "1" * 32, {})
        self.session.commit()

    def keep_damaged_files(self) -> None:
        """FILES in the store, some with other bytes than were delivered; the whole cycle is due."""
        store = LocalBlobStore(self.settings.store)
        spool = self.settings.store / "spool"
        spool.mkdir(parents=True)
        kept = Kept(self.session, self.clock, self.make, store, spool)
        supplier = self.make.supplier()
        for number in range(FILES):
            row = kept.delivered(data=f"file {number}".encode(), supplier=supplier, ago=timedelta(days=1))
            if number < DAMAGED:
                path = store._path(row.sha256)
                path.chmod(0o640)
                path.write_bytes(b"something else")
        begun = self.clock.now() - timedelta(days=1)
        self.session.add(
            Scrub(id=1, cursor="", begun_at=begun, files=0, size=0, last_files=0, last_size=0, last_damaged=0)
        )
        self.session.commit()

    def start(self) -> None:
        for log in self.logs:
            with log.open("ab") as file:
                self.workers.append(
                    subprocess.Popen(
                        command_line("worker", "--no-upgrade"),
                        env=environment(self.settings.var_dir, **self.values),
                        stdout=file,
                        stderr=file,
                    )
                )

    def kill(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    def kill_one(self, executor_id: str) -> None:
        """kill -9 of the process that has the lock of this name (proc_locks(5))."""
        number = executor_id.partition("#")[2] or "0"
        inode = (self.settings.var_dir / f"worker-{number}.lock").stat().st_ino
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        (pid,) = {int(line[4]) for line in lines if line[5].endswith(f":{inode}")}
        (worker,) = [worker for worker in self.workers if worker.pid == pid]
        worker.kill()
        worker.wait()

    def said(self, what: str) -> int:
        return sum(log.read_text().count(what) for log in self.logs)

    def until(self, what: str, ask: Callable[[Session], object]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            with reading(self.engine) as session:
                if ask(session):
                    return
            told = "\n".join(log.read_text()[-3000:] for log in self.logs)
            assert time.monotonic() < deadline, f"{what} took too long:\n{told}"
            time.sleep(0.1)


@pytest.fixture
def shared(database_url: str, tmp_path: Path) -> Iterator[Shared]:
    with ExitStack() as stack:
        yield Shared(tmp_path, database_url, stack)


def everything_cosigned(session: Session) -> bool:
    """Every log holds all entries until the next, and both keys of the witness signed its last checkpoint."""
    heads = session.scalar(select(func.sum(Log.head)))
    ends = session.scalar(
        select(func.count())
        .select_from(Cosignature)
        .join(Log, (Log.number == Cosignature.log) & (Log.head == Cosignature.size))
    )
    logs_there = session.scalar(select(func.count()).select_from(Log)) or 0
    return heads == session.scalar(select(func.count()).select_from(Entry)) and ends == 2 * logs_there


def test_two_workers_do_nothing_twice_and_one_goes_on_where_the_other_was_killed(shared: Shared) -> None:
    # Given a trusted authority, a log, mail that waits and damage in the store
    administrator = shared.make.user(RoleName.ADMINISTRATOR)
    timestamping.add_authority(
        shared.session,
        shared.make.actor(RoleName.ADMINISTRATOR),
        shared.clock,
        label="Clock",
        pem=shared.tsa.anchor.pem,
    )
    shared.keep_damaged_files()
    for number in range(5):
        queue_mail(
            shared.session,
            shared.clock,
            kind="x",
            recipient=administrator.email,
            subject=str(number),
            body="",
        )
    shared.session.commit()
    shared.open_log()

    # When two workers are there while entries come, and logs follow one another
    shared.start()
    shared.until("the scrub", lambda session: session.scalars(select(Scrub.last_files)).one() == FILES)
    for number in range(ROUNDS):
        shared.record()
        shared.until("checkpoints", everything_cosigned)
        if number % 2 == 1:
            shared.open_log()
            shared.record()
    shared.until("checkpoints", everything_cosigned)
    logs_made = ROUNDS // 2 + 1
    shared.until(
        "stamps", lambda session: session.scalar(select(func.count(Stamp.log.distinct()))) == logs_made
    )
    shared.until(
        "mail", lambda session: not session.scalars(select(Message).where(Message.sent_at.is_(None))).all()
    )

    # Then each was done once
    assert set(Counter(shared.offered).values()) == {1}
    with open_session(shared.engine) as session:
        assert shared.tsa.asked == session.scalar(select(func.count()).select_from(Stamp))
        damaged = session.scalars(select(Entry.subject_id).where(Entry.kind == "evidence.damaged")).all()
        assert len(damaged) == len(set(damaged)) == DAMAGED
        assert set(session.scalars(select(Message.attempts))) == {1}
        assert list(verify_chain(session)) == []
        holders = {loan.duty: loan.executor_id for loan in session.scalars(select(DutyLoan))}
    assert set(holders) == set(Duty)
    assert shared.said("damaged evidence") == DAMAGED  # read by one of them only
    assert shared.said("housekeeping") == shared.said("warning") == 0

    # When the one that signs is killed
    shared.kill_one(holders[Duty.LEDGER])
    shared.record()

    # Then the other one goes on
    shared.until("the other worker", everything_cosigned)
    assert set(Counter(shared.offered).values()) == {1}
