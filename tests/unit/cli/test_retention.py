"""`lotgate retention`, and what is left when its process is killed with -9 in the middle."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.cli.database import migrate
from portal.cli.main import main
from portal.clock import FixedClock
from portal.db import open_engine, open_session
from portal.evidence.models import Evidence, Tombstone
from portal.retention.service import remove_bytes
from portal.settings import Settings
from tests.factories import Make
from tests.factories.kept import Kept
from tests.journeys.commands import environment

ADMINISTRATOR, AUDITOR = "ada@example.com", "auden@example.com"
Run = Callable[..., Result]
# The process that carries out a deletion, killed at one moment of it.
KILLED = """
import os, signal, sys
from portal.adapters.blobs import LocalBlobStore
from portal.cli.main import main
from portal.ledger import service as ledger

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

moment, remove, append = sys.argv.pop(1), LocalBlobStore.delete, ledger.append_all
if moment == "before the commit":
    ledger.append_all = lambda *given: (append(*given), die())
elif moment == "before the bytes go":
    LocalBlobStore.delete = die
elif moment == "after the bytes went":
    LocalBlobStore.delete = lambda self, sha256: (remove(self, sha256), die())
main()
"""


@pytest.fixture
def var(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def kept(var: Path) -> Iterator[Kept]:
    var.mkdir()
    settings = Settings(var_dir=var)
    engine = open_engine(settings.database)
    migrate(engine)
    spool = settings.store / "spool"
    spool.mkdir(parents=True)
    clock = FixedClock(datetime.now(UTC))
    with open_session(engine) as session:
        make = Make(session, clock, Flask("retention"), entered=True)
        make.user(RoleName.ADMINISTRATOR, name="Ada Berg", email=ADMINISTRATOR)
        make.user(RoleName.AUDITOR, email=AUDITOR)
        yield Kept(session, clock, make, LocalBlobStore(settings.store), spool)
    engine.dispose()


@pytest.fixture
def run(kept: Kept, var: Path, monkeypatch: pytest.MonkeyPatch) -> Run:  # after its rows
    monkeypatch.setenv("LOTGATE_VAR_DIR", str(var))
    return lambda *words: CliRunner().invoke(main, list(words))


def digest(run: Run) -> str:
    return str(json.loads(run("retention", "preview", "--json").stdout)["digest"])


def test_what_the_preview_lists_is_deleted_and_nothing_else(run: Run, kept: Kept) -> None:
    old = kept.delivered(kept.ended(), filename="old.bin")
    young = kept.delivered(kept.make.product(), b"young", filename="young.bin")
    shown = run("retention", "preview").output
    assert f"{old.sha256}               8  old.bin" in shown
    assert "firmware: 10 years from the product’s end of support" in shown
    assert "1 files would go, 8 bytes; 1 old files stay." in shown
    done = run("retention", "apply", digest(run), "--by", ADMINISTRATOR, "--yes")
    assert done.exit_code == 0, done.output
    assert "1 files are deleted by Ada Berg." in done.output
    assert kept.store.stat(old.sha256) is None
    assert kept.store.stat(young.sha256) is not None
    assert run("fsck").exit_code == 0
    assert "0 files would go" in run("retention", "preview").output


@pytest.mark.parametrize(
    ("by", "why"), [(AUDITOR, "admin:retention:manage"), ("nobody@example.com", "Nobody who may sign in")]
)
def test_a_deletion_by_who_may_not_is_refused(run: Run, kept: Kept, by: str, why: str) -> None:
    old = kept.delivered(kept.ended())
    done = run("retention", "apply", digest(run), "--by", by, "--yes")
    assert (done.exit_code, why in done.output) == (1, True)
    assert kept.store.stat(old.sha256) is not None


def test_a_deletion_of_another_list_is_refused(run: Run, kept: Kept) -> None:
    kept.delivered(kept.ended())
    done = run("retention", "apply", "0" * 64, "--by", ADMINISTRATOR, "--yes")
    assert (done.exit_code, "changed since you saw it" in done.output) == (1, True)


def test_a_deletion_asks_first(run: Run, kept: Kept) -> None:
    old = kept.delivered(kept.ended())
    assert run("retention", "apply", digest(run), "--by", ADMINISTRATOR).exit_code == 1
    assert kept.store.stat(old.sha256) is not None


@pytest.mark.parametrize("moment", ["before the commit", "before the bytes go", "after the bytes went"])
def test_a_deletion_that_is_killed_leaves_all_or_nothing_and_is_finished_later(
    run: Run, kept: Kept, var: Path, moment: str
) -> None:
    product = kept.ended()
    files = [kept.delivered(product, f"file {number}".encode()) for number in range(3)]
    words = ["retention", "apply", digest(run), "--by", ADMINISTRATOR, "--yes"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, moment, *words],
        env=environment(var),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    kept.session.expire_all()
    tombstones = kept.session.scalars(select(Tombstone)).all()
    kept.session.rollback()
    there = [file for file in files if kept.store.stat(file.sha256)]
    if moment == "before the commit":
        assert (len(tombstones), len(there)) == (0, 3)
    else:
        assert (len(tombstones), len(there)) == (3, 3 if moment == "before the bytes go" else 2)
        assert {stone.removed_at for stone in tombstones} == {None}
    checked = run("fsck")
    assert checked.exit_code == 0, checked.output  # nothing is wrong, whatever is left to do
    finish(kept)
    assert run("fsck").exit_code == 0
    gone = moment != "before the commit"
    assert [kept.store.stat(file.sha256) is None for file in files] == [gone] * 3
    assert kept.session.scalars(select(Evidence.id)).all() != []


def finish(kept: Kept) -> None:
    """What the worker does every day, and after each deletion."""
    while remove_bytes(kept.session, kept.clock, kept.store):
        kept.session.commit()
    kept.session.commit()
