"""Suppliers, their products, and whose word counts: keys, revocation lists, time-stamp authorities."""

import hashlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest
from portal.reports.recorded.entries import (
    SAME_TIME,
    body_of,
    differences,
    entries_about,
    entries_of,
    owner,
    rows_of,
    same_time,
    without_row,
)
from portal.submissions.lots.models import Sample
from portal.suppliers import revocation, timestamping
from portal.suppliers.keys import key_says
from portal.suppliers.models import (
    Entity,
    KeyState,
    Product,
    RevocationList,
    SamplingSeed,
    SigningKey,
    TimestampAuthority,
)
from portal.suppliers.service import entity_says, product_says


def chain(session: Session) -> Iterator[Fault]:
    """Each company in a supplier's chain: there if it was added and not removed."""
    for row in rows_of(session, Entity):
        where = f"entities {row.id}"
        added = entries_about(session, "entity.added", row.id)
        if len(added) != 1:
            yield Fault(where, f"has {len(added)} entries entity.added in the ledger, expected one")
        for entry in added:
            yield from same_time(where, row.created_at, entry)
            yield from owner(where, row.supplier_id, entry)
            yield from differences(where, entry, body_of(entry), entity_says(row))
        for entry in entries_about(session, "entity.removed", row.id):
            yield Fault(where, f"ledger entry {entry.seq} says that it was removed, the database does not")
    removed = select(Entry.subject_id).where(Entry.kind == "entity.removed")
    yield from without_row(session, ("entity.added",), Entity, "entities", Entry.subject_id.not_in(removed))


def products(session: Session) -> Iterator[Fault]:
    """Each product is as it was created and last changed: its tier, its limits, the dates that retention
    counts from."""
    for row in rows_of(session, Product):
        where = f"products {row.id}"
        created = entries_about(session, "product.created", row.id)
        if len(created) != 1:
            yield Fault(where, f"has {len(created)} entries product.created in the ledger, expected one")
        said: dict[str, tuple[Entry, Any]] = {}
        for entry in created:
            yield from same_time(where, row.created_at, entry)
            yield from owner(where, row.supplier_id, entry)
            said |= {name: (entry, value) for name, value in body_of(entry).items()}
        for entry in entries_about(session, "product.changed", row.id):
            changes = body_of(entry).get("changes")
            said |= {name: (entry, value) for name, value in changes.items()} if changes else {}
        for name, found in product_says(row).items():
            if name in said:  # creations of the first form tell the model alone
                entry, value = said[name]
                yield from differences(where, entry, {name: value}, {name: found})
    yield from without_row(session, ("product.created", "product.changed"), Product, "products")


def spent(session: Session) -> Iterator[Fault]:
    """A seed is spent if and only if a sample was drawn by it."""
    drawn = select(Sample.seed_id, func.min(Sample.drawn_at).label("at")).group_by(Sample.seed_id).subquery()
    rows = session.execute(
        select(SamplingSeed.id, SamplingSeed.spent_at, drawn.c.at)
        .outerjoin(drawn, drawn.c.seed_id == SamplingSeed.id)
        .order_by(SamplingSeed.id)
    )
    for seed_id, at, used in rows:
        if (at is None) != (used is None) or (at is not None and abs(at - used) > SAME_TIME):
            told = (
                f"spent at: the database says {at and rfc3339(at)}, its first sample {used and rfc3339(used)}"
            )
            yield Fault(f"sampling_seeds {seed_id}", told)


def keys(session: Session) -> Iterator[Fault]:
    """Each signing key: registered, approved, rejected and distrusted as the ledger says."""
    for row in rows_of(session, SigningKey):
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
        for entry in (*registered, *decided[KeyState.APPROVED], *decided[KeyState.REJECTED], *distrusted):
            body = body_of(entry)
            # Entries of the first form name neither the key's text nor its options.
            about = key_says(row) | _said_then(row, entry.kind)
            found = {name: value for name, value in about.items() if name in body}
            yield from owner(where, row.supplier_id, entry)
            yield from differences(where, entry, body, found)
        for at, entries in (
            (row.registered_at, registered),
            (row.decided_at, decided.get(row.state, ())),
            (row.distrusted_at, distrusted[-1:]),
        ):
            for entry in entries:
                yield from same_time(where, at, entry)
        since = rfc3339(row.distrusted_from) if row.distrusted_from else None
        said = body_of(distrusted[-1]).get("since") if distrusted else None
        if since != said:
            yield Fault(where, f"distrusted from: the database says {since}, the ledger says {said}")
        if not distrusted and (row.distrusted_by or row.distrusted_at or row.distrust_reason):
            yield Fault(where, "the database says why it is distrusted, the ledger not that it is")
        for entry in distrusted[-1:]:
            body = body_of(entry)
            about = {"by": row.distrusted_by, "reason": digest(row.distrust_reason)}
            yield from differences(where, entry, body, {name: about[name] for name in about if name in body})

    names = ("key.registered", "key.approved", "key.rejected", "key.distrusted")
    yield from without_row(session, names, SigningKey, "signing key")


def _said_then(row: SigningKey, kind: str) -> dict[str, object]:
    """What an entry of a kind says besides; a key may be distrusted twice, the last time counts."""
    if kind == "key.registered":
        return {"by": row.registered_by, "purposes": row.purposes}
    if kind == "key.distrusted":
        return {}
    return {"by": row.decided_by, "purposes": row.purposes, "note": digest(row.decision_note)}


def authorities(session: Session) -> Iterator[Fault]:
    """Each time-stamp authority: added, and removed if and only if the ledger says so."""
    for row in rows_of(session, TimestampAuthority):
        where = f"time-stamp authority {row.id}"
        added, removed = (
            entries_about(session, kind, row.id) for kind in (timestamping.ADDED, timestamping.REMOVED)
        )
        if len(added) != 1:
            yield Fault(where, f"has {len(added)} entries {timestamping.ADDED} in the ledger, expected one")
        if len(removed) != (row.removed_at is not None) or (row.removed_by and not removed):
            state = "removed" if row.removed_at else "in use"
            yield Fault(where, f"is {state}; the ledger has {len(removed)} entries {timestamping.REMOVED}")
        for entry in (*added, *removed):
            added_now = entry.kind == timestamping.ADDED
            by = row.added_by if added_now else row.removed_by
            yield from same_time(where, row.added_at if added_now else row.removed_at, entry)
            body, about = body_of(entry), timestamping.says(row) | {"by": by}
            # Entries of the first form do not name the certificate's text.
            yield from differences(where, entry, body, {name: about[name] for name in about if name in body})
    removals = {entry.subject_id: entry for entry in entries_of(session, timestamping.REMOVED)}
    for entry in entries_of(session, timestamping.ADDED):
        gone = removals.get(entry.subject_id)
        # Removals of the first form do not say when it was added: they took the row away.
        known = session.get(TimestampAuthority, entry.subject_id) is not None
        if not known and (gone is None or "added" in body_of(gone)):
            told = f"tells of time-stamp authority {entry.subject_id}, which is not in the database"
            yield Fault(f"ledger entry {entry.seq}", told)


def lists(session: Session) -> Iterator[Fault]:
    """Each revocation list that was kept, both ways."""
    for row in rows_of(session, RevocationList):
        where = f"revocation list {row.number} of key {row.key_id}"
        try:
            read = hashlib.sha256(revocation.der(row)).hexdigest()
            if read != row.sha256 or row.pem != row.pem.strip() + "\n":
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
            yield from owner(where, row.supplier_id, entry)
            yield from same_time(where, row.brought_at, entry)
            found = {name: value for name, value in revocation.says(row).items() if name in body}
            yield from differences(where, entry, body, found)
    for entry in entries_of(session, revocation.KEPT):
        # Those of the first form have no number: newer lists took the place of the rows.
        number = body_of(entry).get("number")
        kept = select(RevocationList.id).where(
            RevocationList.key_id == entry.subject_id, RevocationList.number == number
        )
        if isinstance(number, int) and session.scalar(kept) is None:
            told = (
                f"tells of revocation list {number} of key {entry.subject_id}, which is not in the database"
            )
            yield Fault(f"ledger entry {entry.seq}", told)


RULES = (
    ("entity.added, entity.removed", chain),
    ("product.created, product.changed", products),
    ("sampling.drawn, and its seed", spent),
    ("key.registered, key.approved, key.rejected, key.distrusted", keys),
    ("timestamp_authority.added, timestamp_authority.removed", authorities),
    ("revocation_list.kept", lists),
)
