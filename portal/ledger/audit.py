"""Does the log say what the ledger says? Everything is made again from the entries and compared."""

from collections.abc import Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.errors import LedgerError
from portal.ledger import logs, stamps
from portal.ledger.leaves import tag
from portal.ledger.models import Entry, Log, SignedCheckpoint, Tile, WatchKey
from portal.ledger.notes import Checkpoint, VerifierKey, open_note
from portal.ledger.service import Fault
from portal.ledger.tree import HASH, WIDTH, leaf_hash, root_of_full, tile_path, tile_width


def audit(session: Session) -> Iterator[Fault]:
    """What does not hold: tags, tiles, checkpoints, the order of the logs. Memory: 1/256 of the hashes."""
    yield from _tags(session)
    expected = 0
    for log in session.scalars(select(Log).order_by(Log.number)).all():
        where = f"log {log.number}"
        if log.first_seq != expected:
            yield Fault(where, f"begins with entry {log.first_seq}, expected {expected}")
        expected = log.first_seq + log.head
        yield from _tiles(session, log, where)
        yield from _checkpoints(session, log, where)
    yield from stamps.audit(session)


def compare_keys(log: Log, held: Sequence[VerifierKey]) -> Iterator[Fault]:
    """The keys that the signer has beside those that the database names: with others, all could be forged."""
    if logs.verifier_keys(log) != list(held):
        yield Fault(
            f"log {log.number}",
            "its keys in the database are not those that its signer has: they, and what they signed, were "
            "replaced",
        )


def compare_memory(session: Session, log: Log, signed: Checkpoint | None) -> Iterator[Fault]:
    """The signer's memory beside the database: neither may know of more than the other. A log that was closed
    because a restored database had less of it than was signed stays as it is.
    """
    where = f"the signer's memory of log {log.number}"
    if signed is None:
        if log.open:
            yield Fault(where, "is missing: nothing more will be signed")
    elif signed.size < log.head or (log.open and signed.size > log.head):
        yield Fault(
            where,
            f"says that {signed.size} entries were signed, the database says {log.head}: one was put back",
        )
    elif signed.size == log.head and signed.root != logs.tree(session, log).root():
        yield Fault(where, "has another root than the log: history was rewritten")


def _tags(session: Session) -> Iterator[Fault]:
    keys = {row.supplier_id: row.key for row in session.scalars(select(WatchKey))}
    rows = session.execute(
        select(Entry.seq, Entry.supplier_id, Entry.tag).order_by(Entry.seq).execution_options(yield_per=1000)
    )
    for seq, supplier_id, found in rows:
        key = keys.get(supplier_id) if supplier_id else None
        if supplier_id and key is None:
            yield Fault(f"ledger entry {seq}", "is about a supplier without a watch key")
        elif found != (tag(key, seq) if key else None):
            yield Fault(f"ledger entry {seq}", "its tag is not that of its supplier")


def _tiles(session: Session, log: Log, where: str) -> Iterator[Fault]:
    """Every tile, made again from below, against the stored one; and that there are no others."""
    level = 0
    above: list[bytes] = []
    for first in range(0, log.head, WIDTH):
        try:
            leaves = logs.leaves(session, log, first, min(first + WIDTH, log.head))
        except LedgerError as error:
            yield Fault(where, error.message)
            return
        if len(leaves) < min(WIDTH, log.head - first):
            yield Fault(where, f"has a checkpoint over {log.head} entries, the ledger has fewer")
            return
        made = b"".join(map(leaf_hash, leaves))
        yield from _same(session, log, where, level, first // WIDTH, made)
        if len(leaves) == WIDTH:
            above.append(root_of_full(made))
    while above:
        level += 1
        row, above = above, []
        for first in range(0, len(row), WIDTH):
            made = b"".join(row[first : first + WIDTH])
            yield from _same(session, log, where, level, first // WIDTH, made)
            if len(made) == WIDTH * HASH:
                above.append(root_of_full(made))
    for found_level, number in session.execute(
        select(Tile.level, Tile.number).where(Tile.log == log.number).order_by(Tile.level, Tile.number)
    ):
        if not tile_width(log.head, found_level, number):
            yield Fault(where, f"{tile_path(found_level, number)} belongs to no checkpoint")


def _same(session: Session, log: Log, where: str, level: int, number: int, made: bytes) -> Iterator[Fault]:
    stored = session.scalar(
        select(Tile.data).where(Tile.log == log.number, Tile.level == level, Tile.number == number)
    )
    if stored != made:
        path = tile_path(level, number, len(made) // HASH)
        yield Fault(where, f"{path} is not what the entries make: it, or an entry, was altered")


def _checkpoints(session: Session, log: Log, where: str) -> Iterator[Fault]:
    """Each is signed by this log's keys and has the root of its size."""
    keys = logs.verifier_keys(log)
    tree = logs.tree(session, log)
    sizes = []
    for row in session.scalars(
        select(SignedCheckpoint).where(SignedCheckpoint.log == log.number).order_by(SignedCheckpoint.size)
    ):
        sizes.append(row.size)
        try:
            found = open_note(row.note, keys).checkpoint
            if (found.origin, found.size) != (log.origin, row.size):
                yield Fault(where, f"the checkpoint of {row.size} is another one")
            elif found.root != tree.root_at(row.size):
                yield Fault(where, f"the checkpoint of {row.size} has another root: history was rewritten")
        except LedgerError as error:
            yield Fault(where, f"the checkpoint of {row.size}: {error.message}")
    if log.head and log.head not in sizes:
        yield Fault(where, f"has {log.head} entries and no checkpoint over them")
    if sizes and sizes[-1] > log.head:
        yield Fault(where, f"has a checkpoint of {sizes[-1]} beyond its {log.head} entries")
