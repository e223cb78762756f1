"""What fsck finds in the log: each corruption by name, and nothing on a clean system."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, insert, select, update

from portal.adapters.keys import KeyFolder, MemoryFile
from portal.ledger import logs
from portal.ledger.audit import audit, compare_keys, compare_memory
from portal.ledger.models import Entry, Log, SignedCheckpoint, Tile, WatchKey
from portal.ledger.notes import Checkpoint
from portal.ledger.signing import PURPOSES, LogSigner
from portal.ledger.tree import EMPTY
from tests.unit.ledger.conftest import OURS, THEIRS, Ledger


@pytest.fixture
def clean(ledger: Ledger) -> Ledger:
    """Several checkpoints, full and partial tiles on two levels, entries of two suppliers and of none."""
    for count, owner in ((1, None), (300, OURS), (300, THEIRS)):
        ledger.add(count, owner)
        ledger.publish()
    return ledger


def found(ledger: Ledger) -> str:
    ledger.session.commit()
    ledger.session.expire_all()
    return "\n".join(f"{fault.where}: {fault.text}" for fault in audit(ledger.session))


def test_a_clean_system_raises_no_alarm(clean: Ledger) -> None:
    assert found(clean) == ""
    clean.add(5)  # these wait
    assert found(clean) == ""
    log = clean.log
    assert list(compare_memory(clean.session, log, clean.signer.memory.last(log.origin))) == []


def flip(ledger: Ledger) -> None:
    data = logs.tile(ledger.session, ledger.log, 0, 1, 256)
    ledger.session.execute(
        update(Tile).where(Tile.level == 0, Tile.number == 1).values(data=bytes([data[0] ^ 1]) + data[1:])
    )


def swap(ledger: Ledger) -> None:
    """Two entries exchange what they say."""
    one, two = ledger.entry(10), ledger.entry(11)
    bodies = {10: (two.body, two.salt), 11: (one.body, one.salt)}
    for seq, (body, salt) in bodies.items():
        ledger.session.execute(update(Entry).where(Entry.seq == seq).values(body=body, salt=salt))


def replace_checkpoint(ledger: Ledger) -> None:
    notes = ledger.session.scalars(select(SignedCheckpoint.note).order_by(SignedCheckpoint.size)).all()
    ledger.session.execute(update(SignedCheckpoint).where(SignedCheckpoint.size == 601).values(note=notes[0]))


def forge_checkpoint(ledger: Ledger) -> None:
    note = ledger.session.scalars(select(SignedCheckpoint.note).where(SignedCheckpoint.size == 601)).one()
    ledger.session.execute(
        update(SignedCheckpoint)
        .where(SignedCheckpoint.size == 601)
        .values(note=note.replace("\n601\n", "\n602\n"))
    )


def put_another_history_s_checkpoint(ledger: Ledger) -> None:
    """Signed by the right keys: those of a second portal on a copy, say."""
    tree = SimpleNamespace(size=601, root=lambda: bytes(32), consistency=lambda _: [])
    memory = MemoryFile(ledger.folder / "forked" / "signed")
    with memory.hold():
        memory.keep(Checkpoint(ledger.log.origin, 0, EMPTY))
    note = replace(ledger.signer, memory=memory).sign(tree, ledger.clock)  # type: ignore[arg-type]
    ledger.session.execute(
        update(SignedCheckpoint).where(SignedCheckpoint.size == 601).values(note=str(note))
    )


CORRUPTIONS: dict[str, tuple[Callable[[Ledger], object], str]] = {
    "a flipped bit in a tile": (flip, "tile/0/001 is not what the entries make"),
    "a deleted tile": (
        lambda ledger: ledger.session.execute(delete(Tile).where(Tile.level == 1)),
        "tile/1/000.p/2 is not what the entries make",
    ),
    "a truncated tile": (
        lambda ledger: ledger.session.execute(update(Tile).where(Tile.number == 2).values(data=bytes(32))),
        "tile/0/002.p/89 is not what the entries make",
    ),
    "swapped entries": (swap, "tile/0/000 is not what the entries make"),
    "a missing entry": (
        lambda ledger: ledger.session.execute(delete(Entry).where(Entry.seq == 300)),
        "entries are missing between 256 and 511",
    ),
    "missing last entries": (
        lambda ledger: ledger.session.execute(delete(Entry).where(Entry.seq >= 590)),
        "has a checkpoint over 601 entries, the ledger has fewer",
    ),
    "another salt": (
        lambda ledger: ledger.session.execute(update(Entry).where(Entry.seq == 5).values(salt="00" * 32)),
        "tile/0/000 is not what the entries make",
    ),
    "an entry moved to another supplier": (
        lambda ledger: ledger.session.execute(update(Entry).where(Entry.seq == 5).values(supplier_id=THEIRS)),
        "ledger entry 5: its tag is not that of its supplier",
    ),
    "a lost watch key": (
        lambda ledger: ledger.session.execute(delete(WatchKey).where(WatchKey.supplier_id == OURS)),
        "is about a supplier without a watch key",
    ),
    "a replaced checkpoint": (replace_checkpoint, "the checkpoint of 601 is another one"),
    "a checkpoint of another history": (
        put_another_history_s_checkpoint,
        "the checkpoint of 601 has another root: history was rewritten",
    ),
    "a forged checkpoint": (forge_checkpoint, "the signature by portal.example/ledger/1"),
    "a deleted checkpoint": (
        lambda ledger: ledger.session.execute(delete(SignedCheckpoint).where(SignedCheckpoint.size == 601)),
        "has 601 entries and no checkpoint over them",
    ),
    "a head that was put back": (
        lambda ledger: ledger.session.execute(update(Log).values(head=301)),
        "has a checkpoint of 601 beyond its 301 entries",
    ),
    "a log that begins elsewhere": (
        lambda ledger: ledger.session.execute(update(Log).values(first_seq=1)),
        "begins with entry 1, expected 0",
    ),
    "a doubled tile": (
        lambda ledger: ledger.session.execute(insert(Tile).values(log=1, level=1, number=1, data=bytes(32))),
        "tile/1/001 belongs to no checkpoint",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_named(clean: Ledger, name: str) -> None:
    corrupt, words = CORRUPTIONS[name]
    corrupt(clean)
    assert words in found(clean)


def test_the_signer_remembers_more_less_or_something_else(clean: Ledger) -> None:
    log, last = clean.log, clean.signer.memory.last(clean.log.origin)
    assert last is not None

    def told(signed: Checkpoint | None) -> str:
        return "".join(fault.text for fault in compare_memory(clean.session, log, signed))

    assert "is missing" in told(None)
    assert "700 entries were signed, the database says 601" in told(Checkpoint(last.origin, 700, last.root))
    assert "301 entries were signed" in told(Checkpoint(last.origin, 301, last.root))
    assert "another root" in told(Checkpoint(last.origin, 601, bytes(32)))


def test_a_closed_log_is_held_against_its_signer_too(clean: Ledger) -> None:
    """Who can write the database alone may not rewrite what was ended: the signer knew its last root."""
    last = clean.signer.memory.last(clean.log.origin)
    assert last is not None
    logs.close(clean.session, clean.clock, clean.log)
    log = clean.log

    def told(signed: Checkpoint | None) -> str:
        return "".join(fault.text for fault in compare_memory(clean.session, log, signed))

    assert told(last) == ""
    assert told(None) == ""  # it was ended: what it remembered is not needed any more
    assert told(Checkpoint(last.origin, 700, last.root)) == ""  # ended after a restore that lost 99
    assert "301 entries were signed, the database says 601" in told(Checkpoint(last.origin, 301, last.root))
    assert "another root" in told(Checkpoint(last.origin, 601, bytes(32)))


def test_other_keys_in_the_database_than_at_the_signer_are_named(clean: Ledger, tmp_path: Path) -> None:
    """With keys of his own a forger could sign every checkpoint anew."""
    held = clean.signer.verifier_keys()
    assert list(compare_keys(clean.log, held)) == []
    forger = LogSigner(clean.log.origin, KeyFolder(tmp_path / "forged"), clean.signer.memory)
    for purpose in PURPOSES:
        forger.keys.create(purpose)
    clean.session.execute(update(Log).values(keys="\n".join(map(str, forger.verifier_keys()))))
    clean.session.commit()
    clean.session.expire_all()
    assert "were replaced" in "".join(fault.text for fault in compare_keys(clean.log, held))
