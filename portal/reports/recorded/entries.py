"""Entries of the ledger, as fsck reads them beside the rows."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, lazyload

from portal.clock import rfc3339
from portal.db import Base
from portal.ledger.models import Entry
from portal.ledger.service import Fault

SAME_TIME: Final = timedelta(minutes=10)  # between a row and its entry: a writer may have waited for others


def entries_of(session: Session, kind: str) -> Iterator[Entry]:
    """In their order; memory does not grow with their number."""
    after = -1
    while True:
        found = session.scalars(
            select(Entry).where(Entry.kind == kind, Entry.seq > after).order_by(Entry.seq).limit(500)
        ).all()
        if not found:
            return
        after = found[-1].seq
        yield from found


def entries_about(session: Session, kind: str, subject_id: str) -> Sequence[Entry]:
    return session.scalars(
        select(Entry).where(Entry.kind == kind, Entry.subject_id == subject_id).order_by(Entry.seq)
    ).all()


def in_chunks(session: Session, table: type[Base], size: int = 200) -> Iterator[Sequence[Any]]:
    """All rows of a table by id, so many at a time; before the next ones come, these are let go."""
    key: Any = table.__table__.c.id
    after = ""
    wanted: Any = select(table).order_by(key).limit(size).options(lazyload("*"))
    while rows := session.scalars(wanted.where(key > after)).all():
        after = rows[-1].id
        yield rows
        session.expunge_all()


def rows_of(session: Session, table: type[Base], size: int = 200) -> Iterator[Any]:
    """One after the other, as `in_chunks` reads them."""
    for rows in in_chunks(session, table, size):
        yield from rows


def first_of(session: Session, kind: str) -> int | None:
    return session.scalar(select(func.min(Entry.seq)).where(Entry.kind == kind))


def from_before(session: Session, supplier_id: str | None) -> bool:
    """Whether the portal took this supplier in before it told all that it tells now: then rows of its own may
    lack an entry of a newer kind. Known by the supplier's first entry, which said less."""
    created = entries_about(session, "supplier.created", supplier_id) if supplier_id else ()
    return bool(created) and all("country" not in body_of(entry) for entry in created)


def without_row(
    session: Session, kinds: Sequence[str], table: type[Base], name: str, *only: ColumnElement[bool]
) -> Iterator[Fault]:
    """Entries about a row that is not there."""
    key: Any = table.__table__.c.id
    wanted = select(Entry.seq, Entry.subject_id).where(
        Entry.kind.in_(kinds), Entry.subject_id.not_in(select(key)), *only
    )
    for seq, subject in session.execute(wanted.order_by(Entry.seq)):
        yield Fault(f"ledger entry {seq}", f"tells of {name} {subject}, which is not in the database")


def body_of(entry: Entry) -> dict[str, Any]:
    try:
        body = json.loads(entry.body)
    except ValueError:
        body = {}
    return body if isinstance(body, dict) else {}  # a broken link is told by verify_chain


def same_time(where: str, at: datetime | None, entry: Entry, what: str = "dated") -> Iterator[Fault]:
    """The time beside a row is about that of its entry."""
    if at is None or abs(at - entry.at) > SAME_TIME:
        told = f"is {what} {rfc3339(at)}" if at else f"is not {what}"
        yield Fault(where, f"{told}, ledger entry {entry.seq} was made {rfc3339(entry.at)}")


def owner(where: str, supplier_id: str | None, entry: Entry) -> Iterator[Fault]:
    """The row belongs to whom its entry is about."""
    if supplier_id != entry.supplier_id:
        yield Fault(where, f"belongs to supplier {supplier_id}, the ledger says {entry.supplier_id}")


def differences(where: str, entry: Entry, body: dict[str, Any], found: dict[str, Any]) -> Iterator[Fault]:
    for name, value in found.items():
        if body and body.get(name) != value:
            yield Fault(
                where, f"{name}: the database says {value}, ledger entry {entry.seq} says {body.get(name)}"
            )
