"""Do database, evidence store and ledger agree? Reads everything, changes nothing (`lotgate fsck`)."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from portal.clock import Clock, rfc3339
from portal.errors import LotgateError
from portal.evidence.models import Evidence, Tombstone, Upload, UploadState
from portal.evidence.ports import BlobStore
from portal.evidence.state import alive
from portal.ledger.audit import audit
from portal.ledger.service import Fault, verify_chain
from portal.reports.recorded import RULES
from portal.retention import deleting
from portal.verification import hash_file

ORPHAN_GRACE = timedelta(days=1)  # a blob without a row is legal for a day: the row follows the blob
Tell = Callable[[str], None]
Step = tuple[str, Callable[[Session], Iterator[Fault]]]


def examine(
    session: Session, clock: Clock, store: BlobStore, spool: Path, *, deep: bool = True, tell: Tell
) -> Iterator[Fault]:
    """Every fault found; none means that all three agree. `deep` reads and hashes every blob again.

    `tell` is told what is being looked at. Memory does not grow with the number of rows.
    """
    steps: tuple[Step, ...] = (
        ("database", _database),
        ("ledger: every link", verify_chain),
        ("ledger: logs, tiles and checkpoints", audit),
        *((f"ledger: {kinds}", agree) for kinds, agree in RULES),
        (
            "evidence store" + (": every byte" if deep else ""),
            lambda session: _blobs(session, clock, store, deep=deep),
        ),
        ("uploads", lambda session: _uploads(session, spool)),
    )
    for what, look in steps:
        tell(what)
        try:
            yield from look(session)
        except (
            LookupError,
            ValueError,
            LotgateError,
        ) as error:  # a value of no kind that its column can have
            yield Fault(what, f"cannot be read to the end: {error}")


def _database(session: Session) -> Iterator[Fault]:
    if session.get_bind().dialect.name != "sqlite":
        return
    for (finding,) in session.execute(text("PRAGMA integrity_check")):
        if finding != "ok":
            yield Fault("database", str(finding))
    for row in session.execute(text("PRAGMA foreign_key_check")):
        yield Fault(f"table {row[0]}, row {row[1]}", f"refers to a row of {row[2]} that is not there")


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
        try:
            stat = store.stat(sha256)
        except LotgateError as error:
            yield Fault(where, error.message)
            continue
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
