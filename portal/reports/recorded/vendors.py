"""Suppliers, their products, and whose word counts: keys, revocation lists, time-stamp authorities."""

import hashlib
from collections.abc import Iterator
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.ledger.models import Entry
from portal.ledger.service import Fault
from portal.reports.recorded.entries import body_of, differences, entries_about, entries_of
from portal.suppliers import revocation, timestamping
from portal.suppliers.keys import key_facts
from portal.suppliers.models import KeyState, Product, RevocationList, SigningKey


def products(session: Session) -> Iterator[Fault]:
    """Each product is as it was last changed: its tier, its limits, the dates that retention counts from."""
    changed: dict[str, dict[str, tuple[Entry, Any]]] = {}
    for entry in entries_of(session, "product.changed"):
        changes = body_of(entry).get("changes")
        if isinstance(changes, dict):
            said = changed.setdefault(entry.subject_id, {})
            said.update({name: (entry, value) for name, value in changes.items()})
    for product_id, said in changed.items():
        where = f"products {product_id}"
        row = session.get(Product, product_id)
        if row is None:
            yield Fault(where, "is told of in the ledger, and is not in the database")
            continue
        for name, (entry, value) in said.items():
            kept = getattr(row, name, None)
            found = kept.isoformat() if isinstance(kept, date) else kept
            yield from differences(where, entry, {name: value}, {name: found})


def keys(session: Session) -> Iterator[Fault]:
    """Each signing key: registered, approved, rejected and distrusted as the ledger says."""
    for row in session.scalars(select(SigningKey).order_by(SigningKey.id)):
        where = f"signing key {row.id}"
        decided = {
            state: entries_about(session, f"key.{state.value}", row.id)
            for state in (KeyState.APPROVED, KeyState.REJECTED)
        }
        registered = entries_about(session, "key.registered", row.id)
        distrusted = entries_about(session, "key.distrusted", row.id)
        if len(registered) != 1:
            yield Fault(where, f"has {len(registered)} entries key.registered in the ledger, expected one")
        for state, entries in decided.items():
            if len(entries) != (row.state is state):
                yield Fault(where, f"is {row.state}; the ledger has {len(entries)} entries key.{state}")
        about = key_facts(row)
        for entry in (*registered, *decided[KeyState.APPROVED], *decided[KeyState.REJECTED], *distrusted):
            body = body_of(entry)
            # Entries of the first form name neither the key's text nor its options.
            found = {name: value for name, value in about.items() if name in body}
            if entry.kind != "key.distrusted":
                found["purposes"] = row.purposes
            if entry.kind in ("key.approved", "key.rejected"):
                found["by"] = row.decided_by
            yield from differences(where, entry, body, found)
        since = rfc3339(row.distrusted_from) if row.distrusted_from else None
        said = body_of(distrusted[-1]).get("since") if distrusted else None
        if since != said:
            yield Fault(where, f"distrusted from: the database says {since}, the ledger says {said}")


def authorities(session: Session) -> Iterator[Fault]:
    """Each time-stamp authority: added, and removed if and only if the ledger says so."""
    known: set[str] = set()
    for row in timestamping.ever(session):
        known.add(row.id)
        where = f"time-stamp authority {row.id}"
        added, removed = (
            entries_about(session, kind, row.id) for kind in (timestamping.ADDED, timestamping.REMOVED)
        )
        if len(added) != 1:
            yield Fault(where, f"has {len(added)} entries {timestamping.ADDED} in the ledger, expected one")
        if len(removed) != (row.removed_at is not None):
            state = "removed" if row.removed_at else "in use"
            yield Fault(where, f"is {state}; the ledger has {len(removed)} entries {timestamping.REMOVED}")
        for entry in (*added, *removed):
            by = row.added_by if entry.kind == timestamping.ADDED else row.removed_by
            body, about = body_of(entry), timestamping.facts(row) | {"by": by}
            # Entries of the first form do not name the certificate's text.
            yield from differences(where, entry, body, {name: about[name] for name in about if name in body})
    removals = {entry.subject_id: entry for entry in entries_of(session, timestamping.REMOVED)}
    for entry in entries_of(session, timestamping.ADDED):
        gone = removals.get(entry.subject_id)
        # Removals of the first form do not say when it was added: they took the row away.
        if entry.subject_id not in known and (gone is None or "added" in body_of(gone)):
            told = f"tells of time-stamp authority {entry.subject_id}, which is not in the database"
            yield Fault(f"ledger entry {entry.seq}", told)


def lists(session: Session) -> Iterator[Fault]:
    """Each revocation list that was kept, both ways."""
    known: set[tuple[str, object]] = set()
    ids = select(RevocationList.id).order_by(RevocationList.key_id, RevocationList.number)
    for row_id in session.scalars(ids).all():
        row = session.get_one(RevocationList, row_id)
        known.add((row.key_id, row.number))
        where = f"revocation list {row.number} of key {row.key_id}"
        try:
            if hashlib.sha256(revocation.der(row)).hexdigest() != row.sha256:
                yield Fault(where, "its text does not have its digest: it was altered")
        except ValueError:
            yield Fault(where, "its text cannot be read: it was altered")
        entries = [
            (entry, body)
            for entry in entries_about(session, revocation.KEPT, row.key_id)
            if (body := body_of(entry)).get("number", row.number) == row.number
            and ("number" in body or body.get("sha256") == row.sha256)
        ]
        if not entries:
            yield Fault(where, f"has no entry {revocation.KEPT} in the ledger")
        for entry, body in entries:
            found = {name: value for name, value in revocation.says(row).items() if name in body}
            yield from differences(where, entry, body, found)
        session.expunge_all()
    for entry in entries_of(session, revocation.KEPT):
        # Those of the first form have no number: newer lists took the place of the rows.
        number = body_of(entry).get("number")
        if number is not None and (entry.subject_id, number) not in known:
            told = (
                f"tells of revocation list {number} of key {entry.subject_id}, which is not in the database"
            )
            yield Fault(f"ledger entry {entry.seq}", told)


RULES = (
    ("product.changed", products),
    ("key.registered, key.approved, key.rejected, key.distrusted", keys),
    ("timestamp_authority.added, timestamp_authority.removed", authorities),
    ("revocation_list.kept", lists),
)
