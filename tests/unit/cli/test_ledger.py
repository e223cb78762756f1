"""`lotgate ledger` and what a database that is not there answers."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from portal.cli.main import main
from portal.clock import FixedClock
from portal.db import open_engine, open_session
from portal.ledger import logs
from portal.ledger.service import append
from portal.ledger.stamps import failed
from portal.settings import load_settings

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LOTGATE_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("LOTGATE_PUBLIC_URL", "https://gate.example/lots/")

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, list(words))

    return run


def test_a_log_is_made_closed_and_followed(run: Run) -> None:
    assert "There is no log yet" in run("ledger", "show").output
    assert "No log is open" in run("ledger", "publish").output
    made = run("ledger", "create")
    assert made.exit_code == 0
    assert "Log 1 is open: gate.example/lots/ledger/1" in made.output
    assert "gate.example/lots/ledger/1+" in made.output
    again = run("ledger", "create")
    assert (again.exit_code, "is open: close it" in again.output) == (1, True)
    assert run("ledger", "close", "--yes").exit_code == 0
    assert "Log 2 is open" in run("ledger", "create").output
    shown = run("ledger", "show").output
    assert "ledger/1: 0 entries, closed" in shown
    assert "ledger/2: 0 entries, open" in shown
    assert run("fsck").exit_code == 0


def test_closing_asks_first(run: Run) -> None:
    run("ledger", "create")
    assert run("ledger", "close").exit_code == 1
    assert "ledger/1: 0 entries, open" in run("ledger", "show").output


def test_a_database_that_is_not_there_is_told_in_one_line(run: Run) -> None:
    done = run("fsck")
    assert done.exit_code == 1
    assert "The database cannot be used" in done.output
    assert "Traceback" not in done.output


def test_what_keeps_a_log_without_time_stamps_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ledger", "create")
    settings, clock = load_settings(), FixedClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    engine = open_engine(settings.database)
    with open_session(engine) as session:
        append(session, clock, "something.done", "1" * 32, {})
        session.commit()
        run("ledger", "publish")
        assert (
            "no time stamps (setting timestamp_url): time is what this portal claims"
            in run("ledger", "show").output
        )
        monkeypatch.setenv("LOTGATE_TIMESTAMP_URL", "http://tsa.example/tsr")
        assert "time stamps" not in run("ledger", "show").output  # the worker will ask
        failed(session, clock, logs.checkpoint(session, logs.find(session, 1)), "it was away")
        session.commit()
    engine.dispose()
    shown = run("ledger", "show").output
    assert "TROUBLE with time stamps, 2026-11-21 12:00 UTC: it was away" in shown
    assert "tries: 1; the next at 2026-11-21 12:01 UTC" in shown


def test_a_database_that_lost_its_log_is_named_and_the_log_s_name_not_used_again(
    run: Run, tmp_path: Path
) -> None:
    """A backup from before the log was opened, or somebody who deleted it from the database."""
    run("ledger", "create")
    settings, clock = load_settings(), FixedClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    engine = open_engine(settings.database)
    with open_session(engine) as session:
        append(session, clock, "something.done", "1" * 32, {})
        session.commit()
    assert "Entries wait for a checkpoint since 2026-11-21 12:00:00 UTC" in run("ledger", "show").output
    assert "Log 1: 1 entries" in run("ledger", "publish").output
    with closing(sqlite3.connect(tmp_path / "var" / "lotgate.db")) as database:
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        for table in ("checkpoints", "tiles", "logs"):
            database.execute(f"DELETE FROM ledger_{table}")
        database.commit()
    said = "the signer's memory of log 1: says that 1 entries were signed, the database has no such log"
    checked = run("fsck")
    assert (checked.exit_code, said in checked.output) == (1, True)
    assert said in run("ledger", "show").output
    assert "No log is open" in run("ledger", "publish").output  # nothing makes one by itself
    assert "Log 2 is open" in run("ledger", "create").output
    assert "Log 2: 1 entries" in run("ledger", "publish").output
    assert said not in run("ledger", "show").output
    assert run("fsck").exit_code == 0
    engine.dispose()


def test_keys_that_were_replaced_in_the_database_are_named(run: Run, tmp_path: Path) -> None:
    run("ledger", "create")
    with closing(sqlite3.connect(tmp_path / "var" / "lotgate.db")) as database:
        database.execute("UPDATE ledger_logs SET keys = substr(keys, instr(keys, char(10)) + 1)")
        database.commit()
    checked = run("fsck")
    assert (checked.exit_code, "its keys in the database are not those" in checked.output) == (1, True)


def test_a_portal_that_was_copied_as_a_whole_begins_a_log_of_its_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("ledger", "create")
    settings, clock = load_settings(), FixedClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    engine = open_engine(settings.database)
    with open_session(engine) as session:
        append(session, clock, "something.done", "1" * 32, {})
        session.commit()
    engine.dispose()
    shutil.copytree(tmp_path / "var", tmp_path / "copy")
    monkeypatch.setenv("LOTGATE_VAR_DIR", str(tmp_path / "copy"))
    said = "was copied, or came back from a backup"
    for words in (("ledger", "publish"), ("fsck",)):
        done = run(*words)
        assert (done.exit_code, said in done.output) == (1, True), words
    assert said in run("ledger", "show").output
    assert run("ledger", "close", "--yes").exit_code == 0
    assert "Log 2 is open" in run("ledger", "create").output
    assert "Log 2: 1 entries" in run("ledger", "publish").output
    assert run("fsck").exit_code == 0


def test_a_restore_where_the_keys_are_not_says_that_nothing_is_signed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("ledger", "create")
    assert run("backup", str(tmp_path / "safe")).exit_code == 0
    monkeypatch.setenv("LOTGATE_VAR_DIR", str(tmp_path / "elsewhere"))
    done = run("restore", str(tmp_path / "safe"))
    assert done.exit_code == 0
    assert "The keys of log 1 are not on this host: nothing is signed here" in done.output
    assert run("ledger", "close", "--yes").exit_code == 0
    assert "Log 2 is open" in run("ledger", "create").output
