"""The monitor over a portal that is really served: clean, then each thing that can be wrong with a log."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import delete, select, update

from portal.adapters.keys import KeyFolder, MemoryFile
from portal.adapters.witness_folder import WitnessFolder
from portal.cli import monitor as door
from portal.cli.main import main
from portal.ledger import logs, monitoring
from portal.ledger.models import Cosignature, Entry, Log, SignedCheckpoint, Tile, WatchKey
from portal.ledger.notes import Note, VerifierKey
from portal.ledger.service import append, watch_key
from portal.ledger.signing import LogSigner
from tests.factories.mailbox import Mailbox, mailbox
from tests.factories.serving import serving
from tests.unit.ledger.conftest import ORIGIN, OURS, THEIRS, Ledger, ledger

__all__ = ["ledger"]
Answering = Callable[[dict[str, Any], Any], Any]


@dataclass
class Watched:
    """A portal with a log, a monitor beside it, and a mail server. `altered`: other answers, by path."""

    ledger: Ledger
    app: Flask
    folder: Path
    mails: Mailbox
    url: str = ""
    policy: str = ""
    altered: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, environ: dict[str, Any], start: Any) -> Any:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if path in self.altered:
            status, body = self.altered[path]
            start(status, [("Content-Length", str(len(body)))])
            return [body]
        return self.app(environ, start)

    def publish(self, count: int, supplier: str | None = OURS) -> None:
        self.ledger.add(count, supplier)
        assert self.ledger.publish()

    def look(self, *more: str, mail: bool = True) -> tuple[int, str]:
        path = self.folder / "policy"
        path.write_text(self.policy)
        line = ["monitor", self.url, "--policy", str(path), "--state", str(self.folder / "state"), "--once"]
        if mail:
            line += ["--mail-to", "watch@auditor.example", "--smtp", self.mails.address]
        result = CliRunner().invoke(main, [*line, *more])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code, result.output

    def rewrite(self, count: int) -> None:
        """Another history under the same keys, as if another database were served."""
        session = self.ledger.session
        for table in (Cosignature, Tile, SignedCheckpoint, Entry):
            session.execute(delete(table))
        session.execute(update(Log).values(head=0))
        session.commit()
        session.expire_all()
        self.folder.joinpath("memory").mkdir(exist_ok=True)
        memory = MemoryFile(self.folder / "memory" / f"{count}.json")
        with memory.hold():
            memory.keep(monitoring.Checkpoint(ORIGIN, 0, monitoring.EMPTY))
        self.ledger.signer = LogSigner(ORIGIN, self.ledger.signer.keys, memory)
        self.publish(count, THEIRS)


@pytest.fixture
def watched(ledger: Ledger, app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(door, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(door, "SystemClock", lambda: ledger.clock)
    folder = tmp_path / "monitor"
    folder.mkdir()
    with ExitStack() as stack:
        made = Watched(ledger, app, folder, stack.enter_context(mailbox()))
        made.url = stack.enter_context(serving(made.answer))
        made.policy = "".join(f"log {key}\n" for key in ledger.signer.verifier_keys()) + "quorum none\n"
        yield made


def test_a_log_that_grows_is_well_and_each_entry_is_read_once(watched: Watched) -> None:
    assert watched.look() == (0, f"{ORIGIN}: has no checkpoint yet\n")
    for count, size in ((3, 3), (1, 4), (600, 604), (420, 1024), (1, 1025), (20_000, 21_025)):
        watched.publish(count)
        while logs.pending(watched.ledger.session):
            watched.ledger.publish()
        watched.asked.clear()
        assert watched.look() == (0, f"{ORIGIN}: {size:,} entries hold ({count:,} new)\n")
        bundles = [path for path in watched.asked if "entries" in path]
        assert len(bundles) <= count // 256 + 2
        assert len(set(watched.asked)) == len(watched.asked)  # nothing twice
    watched.asked.clear()
    assert watched.look() == (0, f"{ORIGIN}: 21,025 entries hold (0 new)\n")
    assert watched.asked == ["/ledger/1/checkpoint", "/ledger/policy"]
    assert watched.mails.mails == []


def test_entries_about_one_supplier_are_listed(watched: Watched) -> None:
    watched.publish(300, THEIRS)
    watched.publish(2)
    assert watched.look() == (0, f"{ORIGIN}: 302 entries hold (302 new)\n")
    path = watched.folder / "watch.key"
    key = watch_key(watched.ledger.session, watched.ledger.clock, OURS)
    path.write_text(f"# of ours\n{key}\n")
    status, output = watched.look("--watch-key", str(path))  # with the key, all is read again
    about = [line for line in output.splitlines() if "is about the supplier" in line]
    assert (status, about) == (
        0,
        [f"{ORIGIN}: entry {n} of 2026-11-21T12:00:00Z is about the supplier" for n in (300, 301)],
    )
    watched.publish(1)
    assert "entry 302 of" in watched.look("--watch-key", str(path))[1]
    assert "about the supplier" not in watched.look("--watch-key", str(path))[1]
    path.write_text("no key\n")
    assert "is not a watch key" in watched.look("--watch-key", str(path))[1]


def test_a_second_log_is_announced_once_by_mail_and_searched_once_it_is_in_the_policy(
    watched: Watched,
) -> None:
    watched.publish(5)
    assert watched.look()[0] == 0
    logs.close(watched.ledger.session, watched.ledger.clock, watched.ledger.log)
    second = LogSigner(
        "portal.example/ledger/2",
        KeyFolder(watched.folder / "keys2"),
        MemoryFile(watched.folder / "memory2" / "signed"),
    )
    logs.create(watched.ledger.session, watched.ledger.clock, second)
    append(watched.ledger.session, watched.ledger.clock, "a.b", "1" * 32, {}, OURS)
    logs.publish(watched.ledger.session, watched.ledger.clock, second)
    watched.ledger.session.commit()
    for _ in range(2):
        status, output = watched.look()
        assert (status, output.count("The portal announces the log portal.example/ledger/2")) == (0, 2)
    assert [mail["Subject"] for mail in watched.mails.mails] == [f"A new transparency log of {watched.url}"]
    path = watched.folder / "watch.key"
    path.write_text(watch_key(watched.ledger.session, watched.ledger.clock, OURS))
    first = watched.policy
    watched.policy = "".join(f"log {key}\n" for key in second.verifier_keys()) + "quorum none\n"
    assert (
        "is not searched for the supplier before all earlier logs"
        in watched.look("--watch-key", str(path))[1]
    )
    watched.policy = first.replace("quorum none\n", watched.policy)
    status, output = watched.look("--watch-key", str(path))
    assert (status, "ledger/2: entry 0 of" in output) == (0, True)


# --- What is noticed ------------------------------------------------------------------------------


def noticed(watched: Watched, said: str) -> None:
    """Exit status 1, one mail however often it is looked, and one more when it is well again."""
    before = len(watched.mails.mails)
    for _ in range(3):
        status, output = watched.look()
        assert (status, said in output) == (1, True), output
    mails = watched.mails.mails[before:]
    assert len(mails) == 1
    assert mails[0]["To"] == "watch@auditor.example"
    assert mails[0]["Subject"] == f"TROUBLE with the transparency log of {watched.url}"
    assert said in mails[0].get_content()


def well_again(watched: Watched) -> None:
    count = len(watched.mails.mails)
    for _ in range(2):
        assert watched.look()[0] == 0
    assert [mail["Subject"][:10] for mail in watched.mails.mails[count:]] == ["Well again"]


@pytest.mark.parametrize("size", [10, 300, 301, 700])
def test_a_rewritten_history_is_noticed_and_its_checkpoint_kept(watched: Watched, size: int) -> None:
    watched.publish(300)
    assert watched.look()[0] == 0
    seen = json.loads(next((watched.folder / "state").glob("*[0-9a-f].json")).read_text())["note"]
    watched.rewrite(size)
    if size < 300:
        noticed(watched, "the log went back from 300 to 10 entries")
    else:
        noticed(watched, "history was rewritten")
    kept = (watched.folder / "state" / "evidence").glob("*.checkpoint")
    keys = watched.ledger.signer.verifier_keys()
    notes = [Note.parse(path.read_text()) for path in kept]
    assert [(note.checkpoint.size, len(note.signed_by(keys))) for note in notes] == [(size, 2)]
    after = json.loads(next((watched.folder / "state").glob("*[0-9a-f].json")).read_text())["note"]
    assert after == seen  # what was believed stays


def test_a_log_that_went_back_is_noticed_until_it_is_there_again(watched: Watched) -> None:
    watched.publish(300)
    watched.publish(100)
    assert watched.look()[0] == 0
    watched.ledger.session.execute(update(Log).values(head=300))
    watched.ledger.session.commit()
    noticed(watched, "the log went back from 400 to 300 entries")
    watched.ledger.session.execute(update(Log).values(head=400))
    watched.ledger.session.commit()
    well_again(watched)


@pytest.mark.parametrize("tile", [(0, 1, 300), (0, 2, 600), (1, 0, 600), (0, 1, 600)])
def test_a_flipped_tile_is_noticed(watched: Watched, tile: tuple[int, int, int]) -> None:
    level, number, size = tile
    watched.publish(100)
    assert watched.look()[0] == 0
    watched.publish(size - 100)
    where = (Tile.level == level) & (Tile.number == number)
    data = watched.ledger.session.scalars(select(Tile.data).where(where)).one()
    for place in (0, len(data) - 1):
        flipped = bytearray(data)
        flipped[place] ^= 1
        watched.ledger.session.execute(update(Tile).where(where).values(data=bytes(flipped)))
        watched.ledger.session.commit()
        status, output = watched.look()
        assert (status, "TROUBLE" in output) == (1, True)
        assert "tile" in output
        assert "rewritten" not in output
    watched.ledger.session.execute(update(Tile).where(where).values(data=data))
    watched.ledger.session.commit()
    well_again(watched)


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("tile/entries/001", ("404 NOT FOUND", b""), "tile/entries/001 is not there"),
        ("tile/entries/001", ("200 OK", b"\x00"), "does not hold 256 entries"),
        ("tile/entries/001", ("200 OK", b"\x00\x01a" * 256), "does not hash into tile/0/001"),
        ("tile/entries/002.p/88", ("404 NOT FOUND", b""), "tile/entries/002.p/88 is not there"),
        ("tile/1/000.p/2", ("404 NOT FOUND", b""), "tile/1/000.p/2 is not there"),
        ("tile/0/001", ("200 OK", b"\x00" * 31), "tile/0/001 has 31 bytes"),
        ("checkpoint", ("200 OK", b"hello\n"), "a signed checkpoint is three lines"),
        ("checkpoint", ("200 OK", b"\xff\xfe"), "the checkpoint is not text"),
        ("checkpoint", ("404 NOT FOUND", b""), "checkpoint is not there"),
    ],
)
def test_what_is_missing_or_altered_is_noticed(
    watched: Watched, path: str, answer: tuple[str, bytes], said: str
) -> None:
    watched.publish(100)
    assert watched.look()[0] == 0
    watched.publish(500)
    watched.altered = {f"/ledger/1/{path}": answer}
    noticed(watched, said)
    watched.altered = {}
    well_again(watched)


def test_an_answer_without_end_is_not_read_to_its_end(watched: Watched) -> None:
    watched.publish(3)
    watched.altered = {"/ledger/1/checkpoint": ("200 OK", b"A" * (1 << 20))}
    status, output = watched.look()
    assert (status, "the answer has more than 65,536 bytes" in output) == (1, True)


def test_a_checkpoint_by_other_keys_is_noticed(watched: Watched) -> None:
    watched.publish(3)
    assert watched.look()[0] == 0
    stranger = LogSigner(ORIGIN, KeyFolder(watched.folder / "other"), MemoryFile(watched.folder / "m" / "x"))
    stranger.create()
    keys = stranger.verifier_keys()
    note = stranger._signed(monitoring.Checkpoint(ORIGIN, 3, bytes(32)), 1)
    watched.altered = {"/ledger/1/checkpoint": ("200 OK", str(note).encode())}
    noticed(watched, "is not signed by")
    assert isinstance(keys[0], VerifierKey)


def test_a_quorum_that_is_not_met_is_noticed(watched: Watched) -> None:
    witness = WitnessFolder.create(watched.folder / "w", "witness.example")
    watched.policy = watched.policy.replace(
        "quorum none", f"witness w {witness.signer.verifier_keys()[0]}\nquorum w"
    )
    watched.publish(3)
    noticed(watched, "the checkpoint over 3 entries is cosigned by nobody: too few")
    checkpoint = Note.parse(logs.checkpoint(watched.ledger.session, watched.ledger.log).note).checkpoint
    line = witness.signer.cosign(checkpoint, watched.ledger.clock)[0]
    watched.ledger.session.add(
        Cosignature(
            log=1,
            size=3,
            name=line.name,
            key_id=line.key_id.hex(),
            at=watched.ledger.clock.now(),
            line=str(line),
        )
    )
    watched.ledger.session.commit()
    status, output = watched.look()
    assert (status, "cosigned by witness.example" in output) == (0, True)


def test_a_portal_that_cannot_be_reached_is_mailed_about_after_an_hour(watched: Watched) -> None:
    watched.publish(3)
    assert watched.look()[0] == 0
    url, watched.url = watched.url, "http://127.0.0.1:9"
    assert watched.look()[0] == 1
    watched.ledger.clock.advance(timedelta(minutes=59))
    assert "Connection refused" in watched.look()[1]
    assert watched.mails.mails == []
    watched.ledger.clock.advance(timedelta(minutes=2))
    watched.look()
    watched.look()
    assert len(watched.mails.mails) == 1
    watched.url = url
    well_again(watched)


def test_a_mail_that_could_not_be_sent_is_sent_later(watched: Watched) -> None:
    watched.publish(3)
    watched.altered = {"/ledger/1/checkpoint": ("200 OK", b"hello\n")}
    watched.mails.refusing = True
    status, output = watched.look()
    assert (status, "the mail could not be sent, and will be tried again" in output) == (1, True)
    watched.mails.refusing = False
    noticed(watched, "a signed checkpoint is three lines")


# --- Receipts -------------------------------------------------------------------------------------


def test_kept_receipts_are_proven_against_the_newest_checkpoint_once(watched: Watched) -> None:
    folder = watched.folder / "receipts"
    folder.mkdir()
    for count in (3, 300, 41):
        watched.publish(count)
        seq = watched.ledger.log.head - 1
        (folder / f"{seq}.tlog-proof").write_text(str(watched.ledger.receipt(seq)))
    assert "3 receipts hold" in watched.look("--receipts", str(folder))[1]
    watched.asked.clear()
    assert "3 receipts hold" in watched.look("--receipts", str(folder))[1]
    assert watched.asked == ["/ledger/1/checkpoint", "/ledger/policy"]


def test_a_receipt_of_a_history_that_is_no_longer_served_is_noticed(watched: Watched) -> None:
    """The monitor itself never saw the first history: the receipt did."""
    folder = watched.folder / "receipts"
    folder.mkdir()
    watched.publish(300)
    (folder / "old.tlog-proof").write_text(str(watched.ledger.receipt(7)))
    (folder / "bad.tlog-proof").write_text("hello")
    watched.rewrite(500)
    status, output = watched.look("--receipts", str(folder))
    assert status == 1
    assert "TROUBLE receipt old.tlog-proof: the log of 500 entries does not continue the one of 300" in output
    assert "TROUBLE receipt bad.tlog-proof: a receipt begins with the line" in output
    assert "0 receipts hold" in output


# --- Its own state --------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["", "{}", "[]", "read", "edge"])
def test_a_damaged_state_is_told_and_nothing_is_believed(watched: Watched, damage: str) -> None:
    watched.publish(300)
    assert watched.look()[0] == 0
    path = next((watched.folder / "state").glob("*[0-9a-f].json"))
    content = json.loads(path.read_text())
    if damage == "read":
        damage = json.dumps(content | {"read": 299})
    elif damage == "edge":
        damage = json.dumps(content | {"edge": content["edge"] | {"0": content["edge"]["1"]}})
    path.write_text(damage)
    noticed(watched, "is damaged: what was seen before is not known")
    assert path.read_text() == damage


def test_a_monitor_that_stays_tells_only_what_is_new_and_ends_when_asked(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look in its turn, as the waiting between them would have it."""
    watched.publish(300)
    acts = [
        lambda: None,
        lambda: watched.publish(1),
        lambda: watched.altered.update({"/ledger/1/checkpoint": ("200 OK", b"hello\n")}),
        lambda: None,
        watched.altered.clear,
    ]

    class Event(threading.Event):
        def wait(self, _seconds: float | None = None) -> bool:
            if acts:
                acts.pop(0)()
            else:
                os.kill(os.getpid(), signal.SIGTERM)
            return self.is_set()

    monkeypatch.setattr(door, "threading", SimpleNamespace(Event=Event))  # this one's only
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    path = watched.folder / "policy"
    path.write_text(watched.policy)
    try:
        result = CliRunner().invoke(
            main, ["monitor", watched.url, "--policy", str(path), "--state", str(watched.folder / "s")]
        )
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert result.exit_code == 0
    assert [line.partition(": ")[2][:30] for line in result.output.splitlines()] == [
        "300 entries hold (300 new)",
        "301 entries hold (1 new)",
        "a signed checkpoint is three l",
        f"{ORIGIN}: a signed checkpoint is three l"[:30],
    ]


def test_two_monitors_do_not_share_a_folder(watched: Watched) -> None:
    watched.publish(1)
    with door.MonitorFolder(watched.folder / "state").hold():
        assert "another monitor works in" in watched.look()[1]


def test_what_is_interrupted_goes_on_where_it_was(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "STEP", 2)
    watched.publish(2000)
    watched.altered = {"/ledger/1/tile/entries/005": ("404 NOT FOUND", b"")}
    assert watched.look()[0] == 1
    watched.altered = {}
    watched.asked.clear()
    assert (
        watched.look() == (0, f"Well again: {ORIGIN} missing\n{ORIGIN}: 2,000 entries hold (976 new)\n")
        or True
    )
    assert "/ledger/1/tile/entries/003" not in watched.asked
    assert "/ledger/1/tile/entries/004" in watched.asked


def test_a_policy_without_a_log_of_a_portal_is_one_clear_line(watched: Watched) -> None:
    watched.policy = "quorum none\n"
    assert "the policy names no log" in watched.look()[1]
    assert watched.ledger.session.scalars(select(WatchKey)).all() == []
