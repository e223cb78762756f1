"""An entry is appended and published again and again, each time with another system call that fails, or at
which the process is killed. Whatever happens, nothing is half-written, nothing acknowledged is lost, and the
next try goes on.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import func, select

from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.cli.database import upgrade_database
from portal.cli.ledger import create_log, signer_faults
from portal.clock import SystemClock
from portal.db import open_engine, open_session, reading
from portal.ledger import logs
from portal.ledger.models import Entry
from portal.ledger.service import append
from portal.reports.consistency import examine
from portal.settings import Settings
from tests.journeys.appender import REFUSED, append_and_publish

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # hundreds of runs, each with two fscks
    pytest.mark.skipif(shutil.which("strace") is None, reason="no strace here"),
]
# What reads or writes files, or their names. The rest is memory and time.
CALLS = "%file,%desc"
NOT = {"close", "getdents64", "ioctl", "mmap"}  # nothing there can fail on its own account
# To be killed before any other one is to be killed before the next of these.
CHANGES = {"openat", "pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "unlink"}
PATIENCE = 60  # s


def moved(template: Path, var: Path) -> Path:
    """A copy whose signer takes it for the original: in earnest it signs nothing with a copied memory."""
    shutil.copytree(template, var)
    path = var / "ledger" / "1" / "signed.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"lock": path.with_suffix(".lock").stat().st_ino}))
    return var


class Appender:
    """Runs `tests.journeys.appender`; each run is traced."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder, self.log = folder, folder / "appender.log"
        self.warm = moved(template, folder / "warm")

    def __enter__(self) -> Self:
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.journeys.appender", self.warm],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def run(self, var: Path, *inject: str) -> tuple[int, list[str]]:
        """How it ended (a signal is negative), and the system calls it made."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{var}\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        trace = self.folder / "trace"
        _wait_for(child, r"^State:\s+T")
        tracer = subprocess.Popen(
            ["strace", "-qq", "-o", trace, "-e", f"trace={CALLS}", *inject, "-p", str(child)],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _wait_for(child, r"^TracerPid:\s+[1-9]", tracer)
        finally:
            subprocess.run(["kill", "-CONT", str(child)], check=False)
        ended = int(self.process.stdout.readline())
        tracer.communicate(timeout=PATIENCE)
        return ended, re.findall(r"^(\w+)\(", trace.read_text(), re.MULTILINE)


def _wait_for(pid: int, pattern: str, tracer: "subprocess.Popen[str] | None" = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not re.search(pattern, Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE):
        if tracer is not None and tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace cannot trace here: {tracer.stderr.read()}")
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portal with an open log that has published something."""
    var = tmp_path_factory.mktemp("template") / "var"
    settings = Settings(var_dir=var)
    upgrade_database(settings)
    engine = open_engine(settings.database)
    with open_session(engine) as session:
        create_log(settings, session)
        session.commit()
    engine.dispose()
    for _ in range(2):
        append_and_publish(settings)
    return var


@pytest.fixture(scope="module")
def appender(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Appender]:
    with Appender(tmp_path_factory.mktemp("appender"), template) as appender:
        yield appender


def faults(settings: Settings, *, memory: bool) -> list[str]:
    engine = open_engine(settings.database)
    with reading(engine) as session:
        found = list(
            examine(
                session,
                SystemClock(),
                LocalBlobStore(settings.store),
                settings.store / "spool",
                deep=True,
                tell=lambda _: None,
            )
        )
        if memory:
            found += signer_faults(settings, session)
        engine.dispose()
    return [f"{fault.where}: {fault.text}" for fault in found]


def entries(settings: Settings) -> tuple[int, int]:
    """How many there are, and how many are published."""
    engine = open_engine(settings.database)
    with open_session(engine) as session:
        log = logs.open_log(session)
        assert log is not None
        found = session.scalar(select(func.count()).select_from(Entry)) or 0, log.head
    engine.dispose()
    return found


def calls(appender: Appender, template: Path, tmp_path: Path) -> Counter[str]:
    """How often each system call is made when nothing goes wrong."""
    var = moved(template, tmp_path / "plain")
    ended, made = appender.run(var)
    assert ended == 0
    return Counter(name for name in made if name not in NOT)


def survives(appender: Appender, template: Path, var: Path, inject: str) -> int:
    """One try with a fault, and one without. How the first ended."""
    moved(template, var)
    settings = Settings(var_dir=var)
    before = entries(settings)
    ended, _ = appender.run(var, "-e", f"inject={inject}")
    assert ended in {0, REFUSED, -signal.SIGKILL}, (inject, appender.log.read_text()[-3000:])
    # The memory may know more than the database: it is written first.
    assert faults(settings, memory=False) == [], inject
    after = entries(settings)
    if ended == 0:
        assert after == (before[0] + 1, before[0] + 1), inject
    append_and_publish(settings)
    assert faults(settings, memory=True) == [], inject
    assert entries(settings) == (after[0] + 1, after[0] + 1), inject
    shutil.rmtree(var)
    return ended


def test_every_system_call_may_fail(appender: Appender, template: Path, tmp_path: Path) -> None:
    ends = Counter(
        survives(appender, template, tmp_path / "var", f"{name}:error=EIO:when={nth}")
        for name, count in calls(appender, template, tmp_path).items()
        for nth in range(1, count + 1)
    )
    assert ends[REFUSED] > 100, ends


def test_every_system_call_that_changes_something_may_be_the_last(
    appender: Appender, template: Path, tmp_path: Path
) -> None:
    made = calls(appender, template, tmp_path)
    assert made.keys() >= CHANGES
    ends = Counter(
        survives(appender, template, tmp_path / "var", f"{name}:signal=KILL:when={nth}")
        for name in sorted(CHANGES)
        for nth in range(1, made[name] + 1)
    )
    assert ends == {-signal.SIGKILL: sum(made[name] for name in CHANGES)}


@pytest.mark.parametrize("name", ["pwrite64", "write"])
def test_the_disk_may_be_full_from_any_moment_on(
    appender: Appender, template: Path, tmp_path: Path, name: str
) -> None:
    count = calls(appender, template, tmp_path)[name]
    ends = Counter(
        survives(appender, template, tmp_path / "var", f"{name}:error=ENOSPC:when={nth}+")
        for nth in range(1, count + 1)
    )
    assert ends[REFUSED] > 0, ends


def test_what_was_signed_and_not_stored_is_signed_again(template: Path, tmp_path: Path) -> None:
    """The signer is killed between signing and storing: only the same history gets the next signature."""
    var = moved(template, tmp_path / "var")
    settings = Settings(var_dir=var)
    engine = open_engine(settings.database)
    with open_session(engine) as session:
        log = logs.open_log(session)
        assert log is not None
        append(session, SystemClock(), "drill.noted", "1" * 32, {"name": "Fjordline"})
        session.commit()
        signer = signer_in(settings, log.number, log.origin)
        logs.publish(session, SystemClock(), signer)
        session.rollback()  # as if it had been killed here
        last = signer.memory.last(log.origin)
        assert last is not None
        assert last.size == log.head + 1
        again = logs.publish(session, SystemClock(), signer)
        session.commit()
        assert again is not None
        assert again.size == last.size
    engine.dispose()
    assert faults(settings, memory=True) == []
