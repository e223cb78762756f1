"""Housekeeping of the vault: what expired, and what a crash left behind. Evidence itself is never touched."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.errors import Locked
from portal.evidence.models import Evidence, Upload, UploadState
from portal.evidence.ports import BlobStore
from portal.evidence.spool import open_spool, remove_spool
from portal.ledger.models import Entry

GRACE = timedelta(days=1)  # so long may bytes be without a row: the row may be on its way
BATCH = 500


@dataclass(frozen=True, slots=True)
class Swept:
    """How many were ended or removed."""

    uploads: int
    files: int
    blobs: int


def sweep(session: Session, clock: Clock, store: BlobStore, spool: Path) -> Swept:
    """End uploads without progress; remove their bytes, spool files of nobody, and old orphan blobs.

    For a session that sees everything. May be repeated and interrupted.
    """
    now = clock.now()
    expired = session.scalars(
        select(Upload).where(Upload.state == UploadState.OPEN, Upload.expires_at <= now)
    ).all()
    for upload in expired:
        upload.state = UploadState.TERMINATED
        upload.hash_state = None
    session.flush()
    alive = set(session.scalars(select(Upload.id).where(Upload.state == UploadState.OPEN)))
    gone = {upload.id for upload in expired}
    files = sum(
        _remove_file(spool, path.name)
        for path in (sorted(spool.iterdir()) if spool.is_dir() else ())
        if path.name in gone or (path.name not in alive and _changed(path) < now - GRACE)
    )
    blobs = sum(1 for _ in _remove_orphans(session, store, now - GRACE))
    return Swept(uploads=len(expired), files=files, blobs=blobs)


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _remove_file(spool: Path, name: str) -> bool:
    try:
        with open_spool(spool, name, wait=0):
            remove_spool(spool, name)
    except Locked:
        return False  # somebody writes to it right now: next time
    return True


def _remove_orphans(session: Session, store: BlobStore, before: datetime) -> Iterator[str]:
    old = (blob.sha256 for blob in store.list() if blob.stored_at < before)
    while batch := list(islice(old, BATCH)):
        known = set(session.scalars(select(Evidence.sha256).where(Evidence.sha256.in_(batch))))
        for sha256 in batch:
            if sha256 not in known and not _was_accepted(session, sha256):
                store.delete(sha256)
                yield sha256


def _was_accepted(session: Session, sha256: str) -> bool:
    """Whether the ledger tells of it though its row is gone: that is for `lotgate fsck` to name."""
    accepted = select(Entry.seq).where(
        Entry.kind == "evidence.accepted", Entry.body.contains(f'"sha256":"{sha256}"')
    )
    return session.scalar(accepted.limit(1)) is not None
