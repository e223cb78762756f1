"""The chain of entries: what is hashed, in what order, and that whatever is done to it is found.

That UPDATE and DELETE are refused on both databases: tests/migrations. That rows and entries agree:
`lotgate fsck` in tests/journeys/test_demo.py.
"""

import hashlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from portal.cli.database import migrate
from portal.clock import Clock, FixedClock
from portal.db import TenantSession, open_engine, open_session
from portal.errors import TooLarge
from portal.ledger.models import Entry
from portal.ledger.service import GENESIS, MAX_BODY_BYTES, append, link, verify_chain

COUNT = 5
SUBJECTS = [f"{number}" * 32 for number in range(COUNT)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as `lotgate db upgrade` makes it, triggers and all; made once, because making takes long."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()  # the last connection leaves no journal beside the file
    return path


@pytest.fixture
def path(tmp_path: Path, empty: Path) -> Path:
    return Path(shutil.copy(empty, tmp_path / "ledger.db"))


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def chain(session: TenantSession, clock: FixedClock) -> list[Entry]:
    """Entries of several kinds, a second apart, each in a transaction of its own."""
    for number, subject in enumerate(SUBJECTS):
        append(session, clock, f"test.{number}", subject, {"sha256": f"{number:064x}"}, supplier_id="s" * 32)
        session.commit()
        clock.advance(timedelta(seconds=1))
    entries = list(session.scalars(select(Entry).order_by(Entry.seq)))
    session.commit()  # an open reader would hold the write lock
    return entries


def made(session: TenantSession, clock: Clock, kind: str, subject_id: str, body: dict[str, Any]) -> Entry:
    append(session, clock, kind, subject_id, body)
    return session.scalars(select(Entry).order_by(Entry.seq.desc()).limit(1)).one()


def faults(engine: Engine) -> list[tuple[str, str]]:
    with open_session(engine) as session:
        return [(fault.where, fault.text) for fault in verify_chain(session)]


# --- what is hashed -------------------------------------------------------------------------------


def test_entries_follow_each_other_from_nothing_on(chain: list[Entry], engine: Engine) -> None:
    assert [entry.seq for entry in chain] == list(range(COUNT))
    assert [entry.previous for entry in chain] == [GENESIS, *(entry.hash for entry in chain[:-1])]
    for entry in chain:
        linked = b"\x00" + bytes.fromhex(entry.previous) + entry.body.encode()
        assert entry.hash == hashlib.sha256(linked).hexdigest()
    assert faults(engine) == []


def test_sequence_time_kind_subject_and_supplier_are_part_of_the_text(chain: list[Entry]) -> None:
    assert json.loads(chain[3].body) == {
        "at": "2026-11-21T12:00:03Z",
        "kind": "test.3",
        "seq": 3,
        "sha256": f"{3:064x}",
        "subject": "3" * 32,
        "supplier": "s" * 32,
    }


def test_the_text_is_canonical_json_byte_by_byte(session: TenantSession) -> None:
    """RFC 8785: members by their UTF-16 code units, shortest numbers, nothing escaped that need not be."""
    clock = FixedClock(datetime(2026, 11, 21, 12, 0, 0, 120_000, tzinfo=UTC))
    body = {"z": 1.50, "a": [True, None, 1e21], "é": 'µ\n"', "\U0001f50b": "x", "\ufb33": 10.0}
    entry = made(session, clock, "test.made", "t" * 32, body)
    text = (
        '{"a":[true,null,1e+21],"at":"2026-11-21T12:00:00.120000Z","kind":"test.made","seq":0,"subject":"'
        + "t" * 32
        + '","supplier":null,"z":1.5,"é":"µ\\n\\"","\U0001f50b":"x","\ufb33":10}'
    )
    assert entry.body == text
    assert entry.hash == hashlib.sha256(bytes(33) + text.encode()).hexdigest()


def test_the_order_of_members_and_the_zone_of_the_clock_do_not_matter(
    engine: Engine, tmp_path: Path, empty: Path
) -> None:
    other = open_engine(f"sqlite:///{shutil.copy(empty, tmp_path / 'other.db')}")
    utc = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    hashes = []
    for database, at, body in (
        (engine, utc, {"one": 1, "two": 2}),
        (other, utc.astimezone(datetime.strptime("+05:30", "%z").tzinfo), {"two": 2, "one": 1}),
    ):
        with open_session(database) as session:
            hashes.append(made(session, FixedClock(at), "test.made", "t" * 32, body).hash)
            session.commit()
        assert faults(database) == []  # read back, the time is told as it was hashed
    other.dispose()
    assert hashes[0] == hashes[1]


def test_a_text_may_be_as_long_as_a_tile_takes_and_not_a_byte_longer(
    session: TenantSession, clock: FixedClock
) -> None:
    empty = made(session, clock, "test.made", "t" * 32, {"text": ""})
    room = MAX_BODY_BYTES - len(empty.body.encode())
    assert len(made(session, clock, "test.made", "t" * 32, {"text": "x" * room}).body) == MAX_BODY_BYTES
    with pytest.raises(TooLarge, match="at most 65535 bytes, found 65536"):
        append(session, clock, "test.made", "t" * 32, {"text": "é" + "x" * (room - 1)})
    assert [entry.seq for entry in session.scalars(select(Entry).order_by(Entry.seq))] == [0, 1]


# --- order ----------------------------------------------------------------------------------------


def test_several_entries_of_one_transaction_are_in_order(
    session: TenantSession, clock: FixedClock, engine: Engine
) -> None:
    places = [made(session, clock, "test.made", f"{number}", {}).seq for number in range(3)]
    session.commit()
    assert (places, faults(engine)) == ([0, 1, 2], [])


def test_what_is_rolled_back_leaves_no_gap(
    session: TenantSession, clock: FixedClock, chain: list[Entry], engine: Engine
) -> None:
    append(session, clock, "test.regretted", "t" * 32, {})
    session.rollback()
    assert made(session, clock, "test.made", "t" * 32, {}).seq == COUNT
    session.commit()
    assert faults(engine) == []


def test_appends_of_many_hands_make_one_chain(engine: Engine, clock: FixedClock) -> None:
    together, problems = threading.Barrier(4, timeout=60), list[BaseException]()

    def work(name: str) -> None:
        try:
            together.wait()
            for number in range(10):
                with open_session(engine) as session:
                    append(session, clock, "test.made", f"{name}-{number}", {})
                    session.commit()
        except BaseException as error:  # noqa: BLE001  # shown by the test itself
            problems.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (problems, faults(engine)) == ([], [])
    with open_session(engine) as session:
        told = session.scalars(select(Entry.subject_id).order_by(Entry.seq)).all()
    assert sorted(told) == sorted(f"{name}-{number}" for name in "abcd" for number in range(10))
    for name in "abcd":
        assert [subject for subject in told if subject[0] == name] == [f"{name}-{n}" for n in range(10)]


def test_a_number_is_given_once(session: TenantSession, chain: list[Entry]) -> None:
    first = chain[0]
    values = {"at": first.at, "kind": "test.forged", "subject_id": "t", "body": "{}", "previous": GENESIS}
    session.expunge(first)
    session.add(Entry(seq=0, hash="0" * 64, **values))
    with pytest.raises(IntegrityError):
        session.flush()


# --- tampering ------------------------------------------------------------------------------------


class Forger:
    """Somebody with the file in hand, whom no trigger stops."""

    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)
        triggers = self.database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger_entries'"
        ).fetchall()
        assert len(triggers) == 2
        for (name,) in triggers:
            self.do(f"DROP TRIGGER {name}")

    def do(self, statement: str, *values: Any) -> None:
        self.database.execute(statement, values)

    def set(self, seq: int, /, **columns: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self.do(f"UPDATE ledger_entries SET {names} WHERE seq = ?", *columns.values(), seq)

    def get(self, seq: int, column: str) -> str:
        row = self.database.execute(f"SELECT {column} FROM ledger_entries WHERE seq = ?", (seq,))
        return str(row.fetchone()[0])

    def body(self, seq: int, old: str, new: str) -> str:
        """The text of an entry with a part replaced."""
        text = self.get(seq, "body")
        assert old in text
        return text.replace(old, new)

    def rehash(self, seq: int) -> None:
        self.set(seq, hash=link(self.get(seq, "previous"), self.get(seq, "body").encode()))


@pytest.fixture
def forger(path: Path, chain: list[Entry], engine: Engine, session: TenantSession) -> Iterator[Forger]:
    session.close()
    forger = Forger(path)
    yield forger
    forger.database.close()


def change_the_text(forger: Forger) -> None:
    forger.set(2, body=forger.body(2, f"{2:064x}", f"{9:064x}"))


def change_the_text_and_its_hash(forger: Forger) -> None:
    change_the_text(forger)
    forger.rehash(2)


def remove_one(forger: Forger) -> None:
    forger.do("DELETE FROM ledger_entries WHERE seq = 2")


def remove_the_first(forger: Forger) -> None:
    forger.do("DELETE FROM ledger_entries WHERE seq = 0")


def remove_one_and_close_the_gap(forger: Forger) -> None:
    remove_one(forger)
    for seq in (3, 4):
        forger.set(seq, seq=seq - 1)


def swap_two(forger: Forger) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        forger.set(old, seq=new)


def insert_one(forger: Forger) -> None:
    for seq in (4, 3):
        forger.set(seq, seq=seq + 1)
    columns = "at, kind, subject_id, supplier_id, body, salt, previous"
    forger.do(
        f"INSERT INTO ledger_entries (seq, hash, {columns}) "
        f"SELECT 3, 'x', {columns} FROM ledger_entries WHERE seq = 2"
    )
    forger.set(3, previous=forger.get(2, "hash"))
    forger.rehash(3)


def break_the_link(forger: Forger) -> None:
    forger.set(2, previous="not hexadecimal")


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (change_the_text, [(2, "its text does not have its hash")]),
        (change_the_text_and_its_hash, [(3, "does not follow from the entry before")]),
        (remove_one, [(3, "expected sequence number 2"), (3, "does not follow")]),
        (remove_the_first, [(1, "expected sequence number 0"), (1, "does not follow")]),
        (remove_one_and_close_the_gap, [(2, "does not follow"), (2, "seq:"), (3, "seq:")]),
        (
            swap_two,
            [
                (2, "does not follow"),
                (2, "seq:"),
                (3, "does not follow"),
                (3, "seq:"),
                (4, "does not follow"),
            ],
        ),
        (insert_one, [(3, "seq:"), (4, "does not follow"), (4, "seq:"), (5, "seq:")]),
        (break_the_link, [(2, "does not follow"), (2, "its text does not have its hash")]),
    ],
)
def test_tampering_is_found_where_it_was_done(
    forger: Forger, engine: Engine, tamper: Callable[[Forger], None], found: list[tuple[int, str]]
) -> None:
    tamper(forger)
    told = faults(engine)
    assert [where for where, _ in told] == [f"ledger entry {seq}" for seq, _ in found]
    for (_, text), (_, expected) in zip(told, found, strict=True):
        assert text.startswith(expected)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("at", "2020-01-01 00:00:00.000000", "at"),
        ("kind", "test.other", "kind"),
        ("subject_id", "other", "subject"),
        ("supplier_id", None, "supplier"),
    ],
)
def test_a_column_that_says_otherwise_than_the_text_is_found(
    forger: Forger, engine: Engine, column: str, value: str | None, named: str
) -> None:
    """Queries find entries by their columns; a changed one would hide an entry though every link holds."""
    forger.set(2, **{column: value})
    assert faults(engine) == [
        ("ledger entry 2", f"{named}: beside its text stands something else: it was altered")
    ]


@pytest.mark.parametrize("body", ["{}", "[]", "17", "no JSON"])
def test_a_text_that_is_no_entry_is_found_even_with_its_hash(
    forger: Forger, engine: Engine, body: str
) -> None:
    forger.set(4, body=body)
    forger.rehash(4)
    assert faults(engine) == [("ledger entry 4", "its text is not that of an entry: it was altered")]


def test_a_replaced_row_gets_past_the_triggers_but_not_past_the_chain(
    path: Path, chain: list[Entry], session: TenantSession, engine: Engine
) -> None:
    session.close()
    database = sqlite3.connect(path, isolation_level=None)
    columns = "at, subject_id, supplier_id, body, salt, previous, hash"
    database.execute(
        f"INSERT OR REPLACE INTO ledger_entries (seq, kind, {columns}) "
        f"SELECT seq, 'test.other', {columns} FROM ledger_entries WHERE seq = 2"
    )
    database.close()
    assert [where for where, _ in faults(engine)] == ["ledger entry 2"]


@pytest.mark.parametrize("name", ["seq", "at", "kind", "subject", "supplier"])
def test_a_body_that_says_what_the_entry_itself_says_is_refused(engine: Engine, name: str) -> None:
    """It would stand in its place, and fsck would take the entry for an altered one."""
    with open_session(engine) as session, pytest.raises(ValueError, match=f"must not say {name}"):
        append(session, FixedClock(datetime(2026, 11, 21, tzinfo=UTC)), "a.b", "1" * 32, {name: "x"})
