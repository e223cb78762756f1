"""Transparency logs over the ledger: made explicitly, published checkpoint by checkpoint, read as tiles."""

import struct
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import UnaryExpression, delete, func, insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.errors import Conflict, LedgerError, NotFound
from portal.ledger.leaves import Opening
from portal.ledger.models import Cosignature, Entry, Log, SignedCheckpoint, Tile
from portal.ledger.notes import VerifierKey
from portal.ledger.policies import TrustPolicy
from portal.ledger.proofs import Proof
from portal.ledger.signing import LogSigner
from portal.ledger.tree import HASH, WIDTH, Read, Tree, grow, leaf_hash, tile_path, tile_width

STEP: Final = (
    20_000  # entries that one checkpoint adds at most, so that memory does not grow with their number
)
OVERDUE: Final = timedelta(minutes=10)  # without a checkpoint, of which there is one every few seconds
LOOK_BACK: Final = 16  # cosigned checkpoints among which a receipt's is chosen


def next_number(session: Session) -> int:
    """The number of the log that would be made next. Raises Conflict where one is open."""
    if (found := open_log(session)) is not None:
        raise Conflict(f"log {found.number} ({found.origin}) is open: close it before the next one is made")
    return (session.scalar(select(func.max(Log.number))) or 0) + 1


def create(session: Session, clock: Clock, signer: LogSigner, number: int | None = None) -> Log:
    """Open the next log, with new keys; its entry 0 is the first of the ledger that no earlier log has.

    `number`: a later one than the next, where those between were used by a database that is lost.
    Raises Conflict where one is open, LedgerError where its keys are there already.
    """
    number = max(number or 0, next_number(session))
    last = session.scalars(select(Log).order_by(Log.number.desc()).limit(1)).first()
    signer.create()
    log = Log(
        number=number,
        origin=signer.origin,
        first_seq=last.first_seq + last.head if last else 0,
        keys="\n".join(map(str, signer.verifier_keys())),
        head=0,
        open=True,
        created_at=clock.now(),
    )
    session.add(log)
    session.flush()
    return log


def open_log(session: Session) -> Log | None:
    return session.scalars(select(Log).where(Log.open.is_(True))).first()


def newest_log(session: Session) -> Log | None:
    """The one made last, open or closed."""
    return session.scalars(select(Log).order_by(Log.number.desc()).limit(1)).first()


def verifier_keys(log: Log) -> list[VerifierKey]:
    return [VerifierKey.parse(line) for line in log.keys.splitlines()]


def policy_text(session: Session, public_url: str, witnesses: TrustPolicy | None) -> str:
    """The keys of all logs, where they are served, and the witnesses asked for, as tlog-policy."""
    base = public_url.rstrip("/")
    found = session.scalars(select(Log).order_by(Log.number))
    lines = [f"log {key} {base}/ledger/{log.number}/\n" for log in found for key in verifier_keys(log)]
    return "".join(lines) + (witnesses.witness_lines() if witnesses else "quorum none\n")


def close(session: Session, clock: Clock, log: Log) -> None:
    """End a log for good: what waits and what comes goes into the next one."""
    log.open, log.closed_at = None, clock.now()
    session.flush()


# --- Publishing -----------------------------------------------------------------------------------


def waiting_since(session: Session) -> datetime | None:
    """When the first entry was made that the newest log has yet to publish, or that comes after its end;
    None where none waits, or there never was a log."""
    if (log := newest_log(session)) is None:
        return None
    return session.scalar(select(Entry.at).where(Entry.seq == log.first_seq + log.head))


def overdue_since(session: Session, clock: Clock) -> datetime | None:
    """As `waiting_since`, where nothing was opened or signed for so long that somebody has to look."""
    since = waiting_since(session)
    signed = (session.scalar(select(func.max(of))) for of in (SignedCheckpoint.at, Log.created_at))
    newest = max((one for one in (since, *signed) if one is not None), default=None)
    return since if since is not None and newest is not None and clock.now() - newest > OVERDUE else None


def pending(session: Session) -> bool:
    """Whether entries wait for a checkpoint."""
    log = open_log(session)
    if log is None:
        return False
    newest = session.scalar(select(func.max(Entry.seq)))
    return newest is not None and newest + 1 > log.first_seq + log.head


def publish(session: Session, clock: Clock, signer: LogSigner) -> SignedCheckpoint | None:
    """Add what waits to the open log, at most STEP entries, and sign the checkpoint. None: nothing waits.

    Everything is in the caller's transaction. The new part of the tree is computed from the entries, stored,
    read back, and only then signed. Raises LedgerError where history does not continue, Conflict where
    another publisher was faster.
    """
    log = open_log(session)
    if log is None:
        return None
    if log.origin != signer.origin:
        raise LedgerError(f"the open log is {log.origin}, the signer is that of {signer.origin}")
    if verifier_keys(log) != list(signer.verifier_keys()):
        raise LedgerError(
            f"the signer's keys are not those with which {log.origin} was opened: nothing is signed"
        )
    old = log.head
    added = [leaf_hash(leaf) for leaf in leaves(session, log, old, old + STEP)]
    if not added:
        return None
    size = old + len(added)
    for level, number, data in grow(old, added, _reader(session, log.number)):
        session.execute(
            delete(Tile).where(Tile.log == log.number, Tile.level == level, Tile.number == number)
        )
        session.execute(insert(Tile).values(log=log.number, level=level, number=number, data=data))
    note = signer.sign(tree(session, log, size), clock)
    moved = session.execute(update(Log).where(Log.number == log.number, Log.head == old).values(head=size))
    if not isinstance(moved, CursorResult) or moved.rowcount != 1:
        raise Conflict(f"another publisher has moved {log.origin} beyond {old} entries")
    checkpoint = SignedCheckpoint(log=log.number, size=size, at=clock.now(), note=str(note))
    session.add(checkpoint)
    session.flush()
    return checkpoint


def leaves(session: Session, log: Log, first: int, end: int) -> list[bytes]:
    """The leaves first..end of a log, as far as there are entries for them, without a gap."""
    begin = log.first_seq + first
    rows = session.execute(
        select(Entry.seq, Entry.body, Entry.salt, Entry.tag)
        .where(Entry.seq >= begin, Entry.seq < log.first_seq + end)
        .order_by(Entry.seq)
    ).all()
    if rows and [row.seq for row in rows] != list(range(begin, begin + len(rows))):
        raise LedgerError(f"entries are missing between {begin} and {rows[-1].seq}")
    return [Opening(row.body, row.salt, row.tag).leaf() for row in rows]


def opening(entry: Entry) -> Opening:
    return Opening(entry.body, entry.salt, entry.tag)


# --- Reading --------------------------------------------------------------------------------------


def _reader(session: Session, log: int) -> Read:
    def read(level: int, number: int, width: int) -> bytes:
        data = session.scalar(
            select(Tile.data).where(Tile.log == log, Tile.level == level, Tile.number == number)
        )
        if data is None or len(data) < width * HASH:
            raise LedgerError(f"log {log}: {tile_path(level, number, width)} is not stored")
        return data[: width * HASH]

    return read


def tree(session: Session, log: Log, size: int | None = None) -> Tree:
    """The tree of a log at a size, that of its newest checkpoint unless told otherwise."""
    return Tree(log.head if size is None else size, _reader(session, log.number))


def find(session: Session, number: int) -> Log:
    log = session.get(Log, number)
    if log is None:
        raise NotFound(f"there is no log {number}")
    return log


def checkpoint(session: Session, log: Log, size: int | None = None) -> SignedCheckpoint:
    """The newest checkpoint, or the one of a size. Raises NotFound."""
    found = session.get(SignedCheckpoint, (log.number, log.head if size is None else size))
    if found is None:
        raise NotFound(
            f"log {log.number} has no checkpoint yet" if size is None else f"no checkpoint of {size}"
        )
    return found


def signed_note(session: Session, checkpoint: SignedCheckpoint) -> str:
    """A checkpoint as it was signed, with the lines of the witnesses that have cosigned it since."""
    lines = session.scalars(
        select(Cosignature.line)
        .where(Cosignature.log == checkpoint.log, Cosignature.size == checkpoint.size)
        .order_by(Cosignature.at, Cosignature.name, Cosignature.key_id)
    )
    return checkpoint.note + "".join(lines)


def tile(session: Session, log: Log, level: int, number: int, width: int) -> bytes:
    """The first `width` hashes of a tile that the newest checkpoint has. Raises NotFound."""
    if not 0 < width <= tile_width(log.head, level, number):
        raise NotFound(f"log {log.number} has no {tile_path(level, number, width)}")
    return _reader(session, log.number)(level, number, width)


def entry_bundle(session: Session, log: Log, number: int, width: int) -> bytes:
    """The leaves of a tile of level 0, each behind its length in 16 bits. Raises NotFound."""
    if not 0 < width <= tile_width(log.head, 0, number):
        raise NotFound(f"log {log.number} has no {tile_path('entries', number, width)}")
    first = number * WIDTH
    return b"".join(
        struct.pack(">H", len(leaf)) + leaf for leaf in leaves(session, log, first, first + width)
    )


# --- Receipts -------------------------------------------------------------------------------------


def log_of(session: Session, entry: Entry) -> Log | None:
    """The log that has published an entry; None while it waits for its checkpoint.

    A log that was closed before it had any begins where the next one does: the later counts.
    """
    log = session.scalars(
        select(Log).where(Log.first_seq <= entry.seq).order_by(Log.number.desc()).limit(1)
    ).first()
    return log if log is not None and entry.seq < log.first_seq + log.head else None


def receipt(session: Session, entry: Entry) -> Proof | None:
    """The proof that an entry is in the newest checkpoint of its log; None while it waits for one."""
    log = log_of(session, entry)
    if log is None:
        return None
    index = entry.seq - log.first_seq
    return proof(session, log, entry, best_checkpoint(session, log, index))


def proof(session: Session, log: Log, entry: Entry, checkpoint: SignedCheckpoint) -> Proof:
    """That an entry of a log is in the tree of one of its checkpoints, which is over it."""
    index = entry.seq - log.first_seq
    path = tree(session, log, checkpoint.size).inclusion(index)
    return Proof.of(index, path, signed_note(session, checkpoint), opening(entry).dump())


def best_checkpoint(session: Session, log: Log, index: int) -> SignedCheckpoint:
    """What a receipt for an entry rests on: of the last checkpoints over it, the newest that most witnesses
    cosigned. So a checkpoint that witnesses have yet to see costs no receipt its quorum.
    """
    return checkpoint(session, log, _most_cosigned(session, log, index, Cosignature.size.desc()))


def first_checkpoint(session: Session, log: Log, index: int) -> SignedCheckpoint:
    """What a document about an entry rests on: of the first checkpoints over it, the first that most
    witnesses cosigned. It stays the same, however the log grows. Raises NotFound while there is none.
    """
    if (cosigned := _most_cosigned(session, log, index, Cosignature.size.asc())) is not None:
        return checkpoint(session, log, cosigned)
    found = session.scalars(
        select(SignedCheckpoint)
        .where(SignedCheckpoint.log == log.number, SignedCheckpoint.size > index)
        .order_by(SignedCheckpoint.size)
        .limit(1)
    ).first()
    if found is None:
        raise NotFound(f"no checkpoint of log {log.number} has entry {index}")
    return found


def _most_cosigned(session: Session, log: Log, index: int, order: UnaryExpression[int]) -> int | None:
    """The size, the nearest in that order; None where no witness has cosigned any over the entry."""
    rows = session.execute(
        select(Cosignature.size, func.count())
        .where(Cosignature.log == log.number, Cosignature.size > index)
        .group_by(Cosignature.size)
        .order_by(order)
        .limit(LOOK_BACK)
    ).all()
    most = max((count for _, count in rows), default=0)
    return next((size for size, count in rows if count == most), None)


def receipt_about(session: Session, kind: str, subject_id: str) -> Proof:
    """The receipt of the newest entry of a kind about something.

    Raises Conflict while the entry waits for its checkpoint: that is a matter of seconds.
    """
    entry = entry_about(session, kind, subject_id)
    proof = receipt(session, entry) if entry is not None else None
    if proof is None and open_log(session) is None:
        raise Conflict("There are no receipts yet: no transparency log is open. The administrator makes one.")
    if entry is None:
        raise Conflict("The receipt is not ready yet: there is no entry of it in the ledger.")
    if proof is None:
        raise Conflict(
            "The receipt is not ready yet: the next checkpoint of the ledger is signed within seconds. "
            f"The entry is of {entry.at:%Y-%m-%d %H:%M} UTC; if that is long ago, ask the administrator."
        )
    return proof


def entry_about(session: Session, kind: str, subject_id: str) -> Entry | None:
    """The newest entry of a kind about something."""
    found = session.scalars(
        select(Entry)
        .where(Entry.kind == kind, Entry.subject_id == subject_id)
        .order_by(Entry.seq.desc())
        .limit(1)
    )
    return found.first()
