"""Policies, assessments by them, accepted gaps, and where suppliers stand. (Cases: cases.py.)"""

import json
from collections.abc import Iterator
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest
from portal.reports.recorded.entries import (
    body_of,
    differences,
    entries_about,
    entries_of,
    first_of,
    owner,
    rows_of,
    same_time,
    without_row,
)
from portal.review.effects import standings
from portal.review.entries import exception_says
from portal.review.models import Assessment, GrantedException, PolicyVersion
from portal.suppliers.models import Standing, Supplier

_COPIED: Final = ("tier", "rating", "score", "policy_id", "policy_version", "policy_digest")


def policies(session: Session) -> Iterator[Fault]:
    """Each policy that was applied: its text, its digest, its entry; and no assessment by another one."""
    kept: set[str] = set()  # there are few policies
    for row in session.scalars(select(PolicyVersion).order_by(PolicyVersion.digest)):
        kept.add(f"sha256:{row.digest}")
        where = f"policy {row.policy_id} {row.version}"
        if digest(row.text) != f"sha256:{row.digest}":
            yield Fault(where, "its text does not have its digest: it was altered")
        entries = entries_about(session, "policy.adopted", row.digest)
        if len(entries) != 1:
            yield Fault(where, f"has {len(entries)} entries policy.adopted in the ledger, expected one")
        for entry in entries:
            found = {"policy": row.policy_id, "version": row.version, "digest": f"sha256:{row.digest}"}
            yield from differences(where, entry, body_of(entry), found)
            yield from same_time(where, row.first_used_at, entry, "first used")
    for entry in entries_of(session, "policy.adopted"):
        if f"sha256:{entry.subject_id}" not in kept:
            yield Fault(f"ledger entry {entry.seq}", f"tells of policy {entry.subject_id}, which is not kept")
    first = first_of(session, "policy.adopted")
    rows = session.execute(
        select(Assessment.policy_digest, func.max(Entry.seq))
        .join(Entry, (Entry.subject_id == Assessment.id) & (Entry.kind == "assessment.made"))
        .group_by(Assessment.policy_digest)
    )
    for name, last in rows:
        if name not in kept and first is not None and last > first:
            yield Fault(f"policy {name}", "was applied, and its text is not kept")


def assessments(session: Session) -> Iterator[Fault]:
    """What stands beside the texts of an assessment is what they say."""
    for row in rows_of(session, Assessment, 50):  # with long texts
        where = f"assessments {row.id}"
        for name in ("facts", "result"):
            if digest(getattr(row, name)) != f"sha256:{getattr(row, f'{name}_digest')}":
                yield Fault(where, f"its {name} do not have the digest beside them: one of them was altered")
        try:
            result = json.loads(row.result)
            told = {name: result[name] for name in _COPIED} | {
                "knock_outs": sum(one["accepted_until"] is None for one in result["knock_outs"]),
                "facts_digest": result["facts_digest"].removeprefix("sha256:"),
            }
        except (ValueError, LookupError, TypeError, AttributeError):
            yield Fault(where, "its result cannot be read: it was altered")
            told = {}
        for name, value in told.items():
            if (found := getattr(row, name)) != value:
                yield Fault(where, f"{name}: the database says {found}, its result {value}")


def standing(session: Session) -> Iterator[Fault]:
    """Each supplier stands where the decisions on its products put it."""
    decided = standings(session)
    owner, due = next(decided, (None, Standing.NEW))
    rows = select(Supplier.id, Supplier.standing).order_by(Supplier.id).execution_options(yield_per=500)
    for supplier_id, found in session.execute(rows):
        while owner is not None and owner < supplier_id:
            owner, due = next(decided, (None, Standing.NEW))
        expected = due if owner == supplier_id else Standing.NEW
        if found is not expected:
            told = f"standing: the database says {found}, its decisions make it {expected}"
            yield Fault(f"suppliers {supplier_id}", told)


def exceptions(session: Session) -> Iterator[Fault]:
    """Each accepted gap: granted as the ledger says, and ended if and only if it says so."""
    first = first_of(session, "exception.granted")
    for row in rows_of(session, GrantedException):
        where = f"exceptions {row.id}"
        granted, ended = (entries_about(session, f"exception.{act}", row.id) for act in ("granted", "ended"))
        if not granted and not _granted_before(session, row, first):
            yield Fault(where, "has no entry exception.granted in the ledger")
        if len(granted) > 1 or len(ended) > 1:
            yield Fault(where, "was granted or ended more than once by the ledger")
        for entry in granted:
            yield from differences(where, entry, body_of(entry), exception_says(row))
            yield from same_time(where, row.created_at, entry, "granted")
        for entry in (*granted, *ended):
            yield from owner(where, row.supplier_id, entry)
        for entry in ended:
            yield from same_time(where, row.closed_at, entry, "ended")
        if granted and not ended and row.closed_at is not None:
            yield Fault(where, "the ledger says that it is in force, the database does not")
    kinds = ("exception.granted", "exception.ended")
    yield from without_row(session, kinds, GrantedException, "exceptions")


def _granted_before(session: Session, row: GrantedException, first: int | None) -> bool:
    """Whether its decision names it, in an entry older than the first one of an exception."""
    return any(
        {"control": row.control_id, "expires": row.expires_on.isoformat()}
        in body_of(entry).get("conditions", [])
        for entry in entries_about(session, "decision.made", row.decision_id)
        if first is None or entry.seq < first
    )


RULES = (
    ("policy.adopted", policies),
    ("assessment.made, and its texts", assessments),
    ("exception.granted, exception.ended", exceptions),
    ("decision.made, and the standing of suppliers", standing),
)
