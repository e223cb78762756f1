"""Entries of the ledger, as fsck reads them beside the rows."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

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


def first_of(session: Session, kind: str) -> int | None:
    return session.scalar(select(func.min(Entry.seq)).where(Entry.kind == kind))


def body_of(entry: Entry) -> dict[str, Any]:
    try:
        body = json.loads(entry.body)
    except ValueError:
        body = {}
    return body if isinstance(body, dict) else {}  # a broken link is told by verify_chain


def differences(where: str, entry: Entry, body: dict[str, Any], found: dict[str, Any]) -> Iterator[Fault]:
    for name, value in found.items():
        if body and body.get(name) != value:
            yield Fault(
                where, f"{name}: the database says {value}, ledger entry {entry.seq} says {body.get(name)}"
            )
