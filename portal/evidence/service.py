"""Verbs of the vault: bytes that are complete become evidence. (Growing files: uploads.py.)"""

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.models import Organisation
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.db import new_id
from portal.errors import (
    InvalidInput,
    NotAllowed,
    NotFound,
    Problem,
    StorageFailed,
    TooLarge,
    UnreadableFile,
)
from portal.evidence.models import Evidence, Upload, UploadState
from portal.evidence.names import display_name
from portal.evidence.ports import BlobStore
from portal.evidence.spool import demand_room, open_spool, remove_spool
from portal.evidence.state import alive
from portal.evidence.sweep import Swept, sweep
from portal.ledger import logs
from portal.ledger import service as ledger
from portal.ledger.proofs import Proof
from portal.verification import Digests, Hasher, hash_file

__all__ = [
    "Swept",
    "accept",
    "demand_blob",
    "demand_declared",
    "demand_quota",
    "demand_read_back",
    "demand_stored",
    "get_evidence",
    "receipt",
    "receive_bytes",
    "supplier_of",
    "sweep",
]

BLOCK = 1 << 20  # bytes read, written and hashed at a time
_UNREADABLE = "The stored bytes cannot be read back: send the file again."
_EMPTY = "an empty file proves nothing: choose the right file"


def accept(
    session: Session,
    actor: Actor,
    clock: Clock,
    store: BlobStore,
    *,
    path: Path,
    digests: Digests,
    filename: str,
) -> Evidence:
    """Take the finished, fsynced file `path` into the store and record it as evidence of the supplier.

    The caller has read it back, and what the store may have under its name (`demand_blob`), before any
    transaction was open.
    The blob is durable before the row is written; a crash in between leaves an orphan, never a row without
    its bytes.
    """
    owner = supplier_of(actor)
    if digests.size == 0:
        raise InvalidInput("The file is empty.", (Problem("file", "at least one byte", "none", _EMPTY),))
    store.put(path, digests.sha256)
    evidence = Evidence(
        id=new_id(),
        supplier_id=owner,
        sha256=digests.sha256,
        blake3=digests.blake3,
        size=digests.size,
        filename=display_name(filename),
        received_by=actor.user_id,
        received_at=clock.now(),
    )
    session.add(evidence)
    ledger.append(
        session,
        clock,
        "evidence.accepted",
        evidence.id,
        says(evidence),
        supplier_id=owner,
    )
    # The write lock is held from here to the commit, so the sweeper of orphans can no longer come between.
    if store.stat(digests.sha256) is None:
        raise StorageFailed("The stored file vanished before it could be recorded: send it again.")
    return evidence


def says(evidence: Evidence) -> dict[str, object]:
    """What the ledger entry of its delivery says of it; `size` in bytes."""
    return {
        "sha256": evidence.sha256,
        "blake3": evidence.blake3,
        "size": evidence.size,
        "filename": evidence.filename,
        "by": evidence.received_by,
    }


def receive_bytes(
    session: Session,
    actor: Actor,
    clock: Clock,
    store: BlobStore,
    spool: Path,
    data: BinaryIO | bytes,
    *,
    filename: str,
    limit: int,
    declared_sha256: str | None = None,
    quota: int | None = None,
) -> Evidence:
    """Take a small file in one go. `limit` and `quota` are bytes. Large files: portal/evidence/uploads.py.

    Raises TooLarge, InvalidInput (empty, or not the declared bytes), StorageFailed.
    """
    supplier_of(actor)
    source = BytesIO(data) if isinstance(data, bytes) else data
    demand_room(spool, limit)
    name, hasher = f"{new_id()}.part", Hasher()
    try:
        with open_spool(spool, name) as file:
            while block := source.read(BLOCK):
                if hasher.size + len(block) > limit:
                    raise TooLarge(
                        f"The file is larger than the {limit} bytes that may be sent in one go: use a "
                        "resumable upload."
                    )
                file.write(block, hasher.size)
                hasher.update(block)
            file.sync()
        demand_read_back(hasher, spool / name)
        digests = hasher.digests()
        demand_declared(digests, declared_sha256)
        demand_blob(store, spool / name, digests)
        if quota is not None:
            demand_quota(session, actor, digests.size, quota)
        return accept(session, actor, clock, store, path=spool / name, digests=digests, filename=filename)
    finally:
        remove_spool(spool, name)  # the store has its own name for the bytes by now, or nobody wants them


def receipt(session: Session, evidence_id: str) -> Proof:
    """Proof that the delivery of a file is in the ledger.

    Raises NotFound, and Conflict while the entry waits for its checkpoint: that is a matter of seconds.
    """
    return logs.receipt_about(session, "evidence.accepted", get_evidence(session, evidence_id).id)


def get_evidence(session: Session, evidence_id: str) -> Evidence:
    """The evidence with this id, as far as the session may see it. Raises NotFound."""
    evidence = session.get(Evidence, evidence_id)
    if evidence is None:
        raise NotFound("There is no such evidence.")
    return evidence


def supplier_of(actor: Actor) -> str:
    """The supplier for whom `actor` may deliver files. Raises NotAllowed."""
    actor.must(Permission.SUPPLIER_UPLOAD_WRITE)
    if actor.supplier_id is None:
        raise NotAllowed("only people of a supplier deliver files")
    return actor.supplier_id


def demand_declared(digests: Digests, declared_sha256: str | None) -> None:
    """Raises InvalidInput unless the bytes are those that were declared (or nothing was)."""
    if declared_sha256 is not None and declared_sha256.lower() != digests.sha256:
        raise InvalidInput(
            "The file is not the one that was declared: its SHA-256 differs.",
            (
                Problem(
                    "sha256",
                    declared_sha256.lower(),
                    digests.sha256,
                    "Compare both with the file on your side and send the right one again.",
                ),
            ),
        )


def demand_read_back(hasher: Hasher, path: Path) -> None:
    """Raises StorageFailed unless what was just written and synced is on the disk as it was hashed."""
    try:
        same = hasher.read_back(path)
    except (OSError, UnreadableFile) as error:
        raise StorageFailed(_UNREADABLE) from error
    if not same:
        raise StorageFailed(
            f"The stored bytes are not those that arrived (of the first {hasher.size}). Send the file again "
            "and tell the administrator."
        )


def demand_stored(path: Path, digests: Digests) -> None:
    """Raises StorageFailed unless the whole file, read again, has these digests."""
    try:
        found = hash_file(path)
    except (OSError, UnreadableFile) as error:
        raise StorageFailed(_UNREADABLE) from error
    if found != digests:
        raise StorageFailed(
            f"The stored bytes are not those that arrived: expected {digests.size} bytes with SHA-256 "
            f"{digests.sha256}, found {found.size} with {found.sha256}. Send the file again and tell the "
            "administrator."
        )


def demand_blob(store: BlobStore, path: Path, digests: Digests) -> None:
    """Raises StorageFailed where the store has an earlier delivery of these bytes that is another by now."""
    if store.stat(digests.sha256) is None:
        return
    with store.get_local_path(digests.sha256) as stored:
        if not stored.samefile(path):
            demand_stored(stored, digests)


def demand_quota(session: Session, actor: Actor, size: int, quota: int) -> None:
    """Raises TooLarge when `size` more bytes exceed the quota. Open uploads count with their full length.

    The organisation's row is locked, so that two deliveries at once cannot both take the last room.
    """
    owner = supplier_of(actor)
    session.execute(select(Organisation.id).where(Organisation.id == owner).with_for_update())
    stored = session.scalar(
        select(func.coalesce(func.sum(Evidence.size), 0)).where(Evidence.supplier_id == owner, alive())
    )
    open_uploads = session.scalar(
        select(func.coalesce(func.sum(Upload.length), 0)).where(
            Upload.supplier_id == owner, Upload.state == UploadState.OPEN
        )
    )
    used = int(stored or 0) + int(open_uploads or 0)
    if used + size > quota:
        raise TooLarge(
            f"Your company's quota is {quota} bytes, of which {used} are in use; this file needs {size}. "
            "End uploads that you do not need, or ask the buyer for more room."
        )
