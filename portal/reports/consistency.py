"""Do database, evidence store and ledger agree? Reads everything, changes nothing (`lotgate fsck`)."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, select, text, true
from sqlalchemy.orm import Session

from portal.clock import Clock, rfc3339
from portal.db import Base
from portal.errors import LotgateError
from portal.evidence.models import Evidence, Tombstone, Upload, UploadState
from portal.evidence.ports import BlobStore
from portal.evidence.state import alive
from portal.ledger.audit import audit
from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest, verify_chain
from portal.reports.recorded import RULES, SAME_TIME
from portal.retention import accesses, deleting, exporting, holds
from portal.retention import service as retention
from portal.retention.models import Access, Export, Hold, HoldAct, HoldStep, RetentionRules
from portal.review.models import Assessment, Decision
from portal.submissions.lots import sampling as samples
from portal.submissions.lots.models import Sample
from portal.submissions.models import CheckRecord
from portal.suppliers import sampling as seeds
from portal.suppliers.models import SamplingSeed
from portal.verification import hash_file

ORPHAN_GRACE = timedelta(days=1)  # a blob without a row is legal for a day: the row follows the blob
ALL = true()
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ledgered:
    """A table whose every row has exactly one ledger entry, and what that entry must say of the row."""

    table: type[Base]
    kind: str
    says: Callable[[Any], dict[str, object]]
    at: Callable[[Any], datetime]
    only: ColumnElement[bool] = ALL  # which rows of the table


LEDGERED: tuple[Ledgered, ...] = (
    Ledgered(
        Evidence,
        "evidence.accepted",
        lambda row: {"sha256": row.sha256, "blake3": row.blake3, "size": row.size},
        lambda row: row.received_at,
    ),
    Ledgered(
        Tombstone,
        "evidence.deleted",
        lambda row: {"sha256": row.evidence.sha256, "size": row.evidence.size, **deleting.says(row)},
        lambda row: row.deleted_at,
    ),
    Ledgered(RetentionRules, "retention.changed", retention.says, lambda row: row.set_at),
    Ledgered(Export, "evidence.exported", exporting.says, lambda row: row.exported_at),
    Ledgered(Access, "evidence.downloaded", accesses.says, lambda row: row.at),
    Ledgered(Hold, "hold.placed", holds.says, lambda row: row.placed_at),
    *(
        Ledgered(HoldAct, f"hold.{step.value}", holds.act_says, lambda row: row.at, HoldAct.step == step)
        for step in HoldStep
    ),
    Ledgered(SamplingSeed, seeds.COMMITTED, seeds.says, lambda row: row.committed_at),
    Ledgered(Sample, samples.DRAWN, samples.says, lambda row: row.drawn_at),
    Ledgered(
        CheckRecord,
        "check.recorded",
        lambda row: {
            "submission": row.submission_id,
            "run": row.run,
            "check": row.check_id,
            "outcome": row.outcome.value,
            "reason": digest(row.reason),
        },
        lambda row: row.at,
    ),
    Ledgered(
        Assessment,
        "assessment.made",
        lambda row: {
            "number": row.number,
            "rating": row.rating,
            "facts": f"sha256:{hashlib.sha256(row.facts.encode()).hexdigest()}",
            "result": f"sha256:{hashlib.sha256(row.result.encode()).hexdigest()}",
        },
        lambda row: row.created_at,
    ),
    Ledgered(
        Decision,
        "decision.made",
        lambda row: {
            "decision": row.kind.value,
            "by": row.decided_by,
            "case": row.case_id,
            "reason": digest(row.reason),
        },
        lambda row: row.decided_at,
    ),
)


def examine(
    session: Session, clock: Clock, store: BlobStore, spool: Path, *, deep: bool = True, tell: Tell
) -> Iterator[Fault]:
    """Every fault found; none means that all three agree. `deep` reads and hashes every blob again.

    `tell` is told what is being looked at. Memory does not grow with the number of rows.
    """
    tell("database")
    yield from _database(session)
    tell("ledger: every link")
    yield from verify_chain(session)
    tell("ledger: logs, tiles and checkpoints")
    yield from audit(session)
    for rule in LEDGERED:
        tell(f"ledger: {rule.kind}")
        yield from _rows_and_entries(session, rule)
    for kinds, agree in RULES:
        tell(f"ledger: {kinds}")
        yield from agree(session)
    tell("evidence store" + (": every byte" if deep else ""))
    yield from _blobs(session, clock, store, deep=deep)
    tell("uploads")
    yield from _uploads(session, spool)


def _database(session: Session) -> Iterator[Fault]:
    if session.get_bind().dialect.name != "sqlite":
        return
    for (finding,) in session.execute(text("PRAGMA integrity_check")):
        if finding != "ok":
            yield Fault("database", str(finding))
    for row in session.execute(text("PRAGMA foreign_key_check")):
        yield Fault(f"table {row[0]}, row {row[1]}", f"refers to a row of {row[2]} that is not there")


def _rows_and_entries(session: Session, rule: Ledgered) -> Iterator[Fault]:
    """Both ways: every row has its entry that says the same, every entry its row."""
    table: Any = rule.table
    name = table.__tablename__
    rows = session.execute(
        select(table, Entry)
        .outerjoin(Entry, (Entry.subject_id == table.id) & (Entry.kind == rule.kind))
        .where(rule.only)
        .order_by(table.id)
        .execution_options(yield_per=500)
    )
    before = None
    for row, entry in rows:
        where = f"{name} {row.id}"
        if entry is None:
            yield Fault(where, f"has no entry {rule.kind} in the ledger")
            continue
        if row.id == before:
            yield Fault(where, f"has more than one entry {rule.kind} in the ledger")
        before = row.id
        yield from _says(rule, where, row, entry)
        session.expunge_all()
    orphans = session.execute(
        select(Entry.seq, Entry.subject_id)
        .outerjoin(table, (table.id == Entry.subject_id) & rule.only)
        .where(Entry.kind == rule.kind, table.id.is_(None))
    )
    for seq, subject in orphans:
        yield Fault(f"ledger entry {seq}", f"tells of {name} {subject}, which is not in the database")


def _says(rule: Ledgered, where: str, row: Any, entry: Entry) -> Iterator[Fault]:
    try:
        body = json.loads(entry.body)
    except ValueError:
        return  # the broken link is told by verify_chain
    owner = getattr(row, "supplier_id", None)
    if owner != body.get("supplier"):
        yield Fault(where, f"belongs to supplier {owner}, the ledger says {body.get('supplier')}")
    if abs(rule.at(row) - entry.at) > SAME_TIME:
        yield Fault(
            where, f"is dated {rfc3339(rule.at(row))}, ledger entry {entry.seq} was made {rfc3339(entry.at)}"
        )
    for name, value in rule.says(row).items():
        if body.get(name) != value:
            yield Fault(
                where, f"{name}: the database says {value}, ledger entry {entry.seq} says {body.get(name)}"
            )


def _blobs(session: Session, clock: Clock, store: BlobStore, *, deep: bool) -> Iterator[Fault]:
    known: set[str] = set()
    yield from _deleted(session, clock, store)
    rows = session.execute(
        select(Evidence.sha256, Evidence.blake3, Evidence.size, Evidence.id)
        .where(alive())
        .order_by(Evidence.sha256)
        .execution_options(yield_per=1000)
    )
    for sha256, blake3, size, evidence_id in rows:
        where = f"evidence {evidence_id}, blob {sha256}"
        stat = store.stat(sha256)
        if stat is None:
            yield Fault(where, "is not in the evidence store, and no tombstone says that it was deleted")
            continue
        if stat.size != size:
            yield Fault(where, f"has {stat.size:,} bytes in the store, {size:,} in the database")
        elif deep and sha256 not in known:
            yield from _same_bytes(store, where, sha256, blake3)
        known.add(sha256)
    limit = clock.now() - ORPHAN_GRACE
    buried = set(session.scalars(select(Evidence.sha256).where(~alive())))  # those were looked at
    for blob in store.list():
        if blob.sha256 in known or blob.sha256 in buried or blob.stored_at > limit:
            continue
        yield Fault(f"blob {blob.sha256}", "is in the evidence store for more than a day without any row")


def _deleted(session: Session, clock: Clock, store: BlobStore) -> Iterator[Fault]:
    """Bytes that should be gone: nobody needs them, no hold keeps them, and the removal had its day."""
    for sha256, evidence_id, deleted_at, removed_at in session.execute(
        deleting.unneeded()
        .with_only_columns(Evidence.sha256, Evidence.id, Tombstone.deleted_at, Tombstone.removed_at)
        .order_by(Evidence.sha256, Evidence.id)
    ):
        late = removed_at is not None or deleted_at < clock.now() - ORPHAN_GRACE
        if late and store.stat(sha256) is not None:
            said = "removed" if removed_at else "deleted"
            yield Fault(
                f"evidence {evidence_id}, blob {sha256}",
                f"is in the evidence store, though it was {said} on {rfc3339(removed_at or deleted_at)}",
            )


def _same_bytes(store: BlobStore, where: str, sha256: str, blake3: str) -> Iterator[Fault]:
    try:
        with store.get_local_path(sha256) as path:
            found = hash_file(path)
    except (OSError, LotgateError) as error:
        yield Fault(where, f"cannot be read: {error}")
        return
    if found.sha256 != sha256 or found.blake3 != blake3:
        yield Fault(where, f"has other bytes in the store: their SHA-256 is {found.sha256}")


def _uploads(session: Session, spool: Path) -> Iterator[Fault]:
    for upload in session.scalars(select(Upload).where(Upload.state == UploadState.OPEN)):
        if upload.offset == 0:
            continue
        path = spool / upload.id
        size = path.stat().st_size if path.is_file() else 0
        if size < upload.offset:
            yield Fault(
                f"upload {upload.id}", f"{upload.offset:,} bytes were acknowledged, {size:,} are there"
            )
