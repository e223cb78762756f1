"""Verbs of the ledger: append an entry, walk the chain."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import rfc8785
from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from portal.clock import Clock, rfc3339
from portal.errors import NotFound, TooLarge
from portal.ledger.leaves import new_salt, tag
from portal.ledger.models import Entry, WatchKey

GENESIS = "0" * 64
MAX_BODY_BYTES = 65_535  # an entry must fit a C2SP tlog-tiles entry bundle, whose lengths are 16 bits
_LOCK = 0x4C6F7467  # PostgreSQL advisory lock: appends take their turn


def digest(text: str) -> str:
    """How a text is told in the ledger: `sha256:<hex>` of its UTF-8 bytes."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def digest_of(document: Any) -> str:
    """How a document is told in the ledger: `sha256:<hex>` of its canonical JSON (RFC 8785)."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps(document)).hexdigest()


def told(value: object) -> object:
    """A column's value as entries have it: times and days as text (RFC 3339), all else as it is."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return value.isoformat() if isinstance(value, date) else value


def link(previous: str, body: bytes) -> str:
    """Hash of an entry: SHA-256 over 0x00, the previous hash (32 bytes), the body. Hex in, hex out."""
    return hashlib.sha256(b"\x00" + bytes.fromhex(previous) + body).hexdigest()


@dataclass(frozen=True, slots=True)
class New:
    """An entry to be made: `kind` is `noun.verb` ("evidence.accepted"), `body` holds digests and names."""

    kind: str
    subject_id: str
    body: dict[str, Any]
    supplier_id: str | None = None


def append(
    session: Session,
    clock: Clock,
    kind: str,
    subject_id: str,
    body: dict[str, Any],
    supplier_id: str | None = None,
) -> None:
    """Append one entry in the caller's transaction. Raises TooLarge over 65,535 bytes."""
    append_all(session, clock, [New(kind, subject_id, body, supplier_id)])


def append_all(session: Session, clock: Clock, entries: Sequence[New]) -> None:
    """Append entries in their order, in the caller's transaction.

    Sequence, time, kind and subject become part of what is hashed. Raises TooLarge over 65,535 bytes.
    """
    take_turn(session)
    last = session.execute(select(Entry.seq, Entry.hash).order_by(Entry.seq.desc()).limit(1)).first()
    first, previous = (last.seq + 1, last.hash) if last else (0, GENESIS)
    now = clock.now()
    watch = {
        owner: watch_key(session, clock, owner) for owner in {new.supplier_id for new in entries} if owner
    }
    rows = []
    for seq, new in enumerate(entries, first):
        head: dict[str, Any] = {
            "seq": seq,
            "at": rfc3339(now),
            "kind": new.kind,
            "subject": new.subject_id,
            "supplier": new.supplier_id,
        }
        if twice := head.keys() & new.body.keys():
            raise ValueError(f"ledger entry {new.kind}: its body must not say {', '.join(sorted(twice))}")
        canonical = rfc8785.dumps(head | new.body)
        if len(canonical) > MAX_BODY_BYTES:
            raise TooLarge(
                f"ledger entry {new.kind}: expected at most {MAX_BODY_BYTES} bytes, found {len(canonical)}"
            )
        linked = link(previous, canonical)
        rows.append(
            {
                "seq": seq,
                "at": now,
                "kind": new.kind,
                "subject_id": new.subject_id,
                "supplier_id": new.supplier_id,
                "body": canonical.decode(),
                "salt": new_salt(),
                "tag": tag(watch[new.supplier_id], seq) if new.supplier_id else None,
                "previous": previous,
                "hash": linked,
            }
        )
        previous = linked
    if rows:
        session.connection().execute(insert(Entry), rows)


def take_turn(session: Session) -> None:
    """From here to the commit nobody else appends: what is read now is still so when the entry is made.

    SQLite's write lock does that by itself. Who locks rows besides takes this turn first: else two might wait
    for each other.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def length(session: Session) -> int:
    """How many entries there are, which is the number of the next one. Entries become visible in their order,
    each together with what it records: writers take turns until they have committed."""
    last = session.scalar(select(func.max(Entry.seq)))
    return 0 if last is None else last + 1


def watch_key(session: Session, clock: Clock, supplier_id: str) -> str:
    """The supplier's key to the tags of its entries (hex); made when it is first needed."""
    found = session.get(WatchKey, supplier_id)
    if found is None:
        found = WatchKey(supplier_id=supplier_id, key=new_salt(), created_at=clock.now())
        session.add(found)
        session.flush()
    return found.key


def known_watch_key(session: Session, supplier_id: str) -> str:
    """Raises NotFound before the first entry about the supplier."""
    found = session.get(WatchKey, supplier_id)
    if found is None:
        raise NotFound("There is no entry about you in the ledger yet.")
    return found.key


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the ledger that does not hold. `where` names the entry."""

    where: str
    text: str


def altered(entry: Entry) -> str:
    """What is wrong with an entry by itself; empty when nothing is. The columns beside the text are copies of
    what the text says, for queries: they must say the same.
    """
    try:
        intact = link(entry.previous, entry.body.encode()) == entry.hash
    except ValueError:  # the previous hash is no hash
        intact = False
    if not intact:
        return "its text does not have its hash: it was altered"
    columns = {
        "seq": entry.seq,
        "at": rfc3339(entry.at),
        "kind": entry.kind,
        "subject": entry.subject_id,
        "supplier": entry.supplier_id,
    }
    try:
        body: Any = json.loads(entry.body)
        wrong = [name for name, value in columns.items() if body[name] != value]
    except (ValueError, LookupError, TypeError):
        return "its text is not that of an entry: it was altered"
    return f"{', '.join(wrong)}: beside its text stands something else: it was altered" if wrong else ""


def verify_chain(session: Session) -> Iterator[Fault]:
    """Recompute every link from the first entry on; yields what does not hold, nothing if all does."""
    previous, expected = GENESIS, 0
    for entry in session.scalars(select(Entry).order_by(Entry.seq).execution_options(yield_per=1000)):
        where = f"ledger entry {entry.seq}"
        if entry.seq != expected:
            yield Fault(where, f"expected sequence number {expected}: entries are missing or were inserted")
        if entry.previous != previous:
            yield Fault(where, "does not follow from the entry before it")
        if wrong := altered(entry):
            yield Fault(where, wrong)
        previous, expected = entry.hash, entry.seq + 1
        session.expunge(entry)
