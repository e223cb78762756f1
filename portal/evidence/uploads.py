"""Verbs of the vault for files that grow: resumable uploads, as tus 1.0 wants them, without any HTTP.

What is acknowledged is durable: a stride of bytes is written and hashed in one pass, fsynced, and only then
recorded with the hash state, in one row. The process may die anywhere; the next one cuts the spool file back
to the recorded offset and goes on hashing from the recorded state. Each stride is read back and hashed again
while the disk's cache still has it; the file's ctime then tells whether anybody has touched it since.
"""

import hashlib
import hmac
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import formats
from portal.accounts.actors import Actor
from portal.clock import Clock
from portal.db import new_id
from portal.errors import (
    ChecksumMismatch,
    Conflict,
    Gone,
    InvalidInput,
    NotFound,
    Problem,
    StorageFailed,
    TooLarge,
    TooMany,
    UnreadableFile,
    VerifierStateError,
)
from portal.evidence.models import Evidence, Upload, UploadState
from portal.evidence.names import display_name
from portal.evidence.ports import BlobStore
from portal.evidence.service import (
    BLOCK,
    accept,
    demand_blob,
    demand_declared,
    demand_quota,
    demand_read_back,
    demand_stored,
    supplier_of,
)
from portal.evidence.spool import SpoolFile, demand_room, open_spool, remove_spool
from portal.verification import Digests, Hasher

CommitPoints = Generator[None, None, None]
"""A verb that takes long yields wherever its caller must commit; abandoned, it lets go of its lock."""

STRIDE = 16 << 20  # bytes between two points from which an interrupted piece can go on
MOST_OPEN = 500  # uploads that one supplier may have open at once
CHECKSUMS = ("sha1", "sha256")


@dataclass(frozen=True, slots=True)
class Vault:
    """Where uploads live, and the limits of this installation. `key`: 32 bytes that seal hash states."""

    store: BlobStore
    spool: Path
    key: bytes
    max_bytes: int
    quota_bytes: int
    expiry: timedelta

    def seal(self, upload: Upload) -> bytes:
        """The key that seals the hash states of one upload, so that they count for no other."""
        return hmac.digest(self.key, upload.id.encode(), "sha256")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one piece must hash to (tus checksum extension)."""

    algorithm: str
    digest: bytes


class Source(Protocol):
    """Where bytes come from. `read` returns fewer than asked, or none, when the sender is gone."""

    def read(self, size: int, /) -> bytes: ...


def create_upload(
    session: Session,
    actor: Actor,
    clock: Clock,
    vault: Vault,
    *,
    length: int,
    filename: str,
    declared_sha256: str | None = None,
    tus_metadata: str = "",
) -> Upload:
    """Open an upload of `length` bytes and reserve its room in the supplier's quota."""
    owner = supplier_of(actor)
    if length == 0:
        raise InvalidInput(
            "The file is empty.",
            (Problem("length", "at least one byte", "0", "An empty file proves nothing: choose another."),),
        )
    if length > vault.max_bytes:
        raise TooLarge(f"The file is too large: {_told(length)}. The limit is {_told(vault.max_bytes)}.")
    demand_quota(session, actor, length, vault.quota_bytes)
    still_open = session.scalar(
        select(func.count())
        .select_from(Upload)
        .where(Upload.supplier_id == owner, Upload.state == UploadState.OPEN)
    )
    if (still_open or 0) >= MOST_OPEN:
        raise TooMany(f"Your company has {still_open} unfinished uploads: finish or end some of them first.")
    demand_room(vault.spool, length)
    upload = Upload(
        id=new_id(),
        supplier_id=owner,
        length=length,
        offset=0,
        filename=display_name(filename),
        declared_sha256=declared_sha256.lower() if declared_sha256 else None,
        tus_metadata=tus_metadata,
        created_by=actor.user_id,
        created_at=clock.now(),
        expires_at=clock.now() + vault.expiry,
    )
    session.add(upload)
    return upload


def load_upload(session: Session, clock: Clock, upload_id: str) -> Upload:
    """The upload, open or complete. Raises NotFound (no such, or another supplier's) or Gone (ended)."""
    upload = session.get(Upload, upload_id, populate_existing=True)
    if upload is None:
        raise NotFound("There is no such upload.")
    if upload.state is UploadState.REFUSED:
        raise Gone(f"This upload was refused and its bytes are gone. {upload.refusal}")
    expired = upload.state is UploadState.OPEN and upload.expires_at <= clock.now()
    if expired or upload.state is UploadState.TERMINATED:
        raise Gone("This upload has expired or was ended. Start it again.")
    return upload


def append(
    session: Session,
    actor: Actor,
    clock: Clock,
    vault: Vault,
    upload: Upload,
    source: Source,
    *,
    offset: int,
    length: int | None,
    checksum: Checksum | None = None,
) -> CommitPoints:
    """Take one piece: `length` bytes at `offset`; None when only the end of `source` tells how many.

    Yields at each point where the caller must commit: before a byte is read (no transaction is open while a
    slow sender dribbles), then whenever a stride is durable. With a checksum nothing is recorded
    before all of the piece was compared. Raises Conflict (wrong offset, already complete), TooLarge,
    ChecksumMismatch, InvalidInput (the sender vanished: what arrived is kept), and what `finish` raises.
    """
    supplier_of(actor)
    yield  # no transaction waits for the lock, whose holder needs to commit
    with open_spool(vault.spool, upload.id) as file:
        upload = load_upload(session, clock, upload.id)
        _demand_offset(upload, offset)
        room = upload.length - offset
        if length is not None and length > room:
            raise TooLarge(f"This piece has {length} bytes, but only {room} are left of {upload.length}.")
        yield
        yield from _demand_whole(upload, file, offset)
        file.cut(offset)
        hasher = yield from _resume(upload, file, vault.seal(upload))
        piece = _Piece(file, hasher, source, checksum)
        wanted = room if length is None else length
        while piece.taken < wanted and not piece.ended:
            demand_room(vault.spool, min(STRIDE, wanted - piece.taken))
            piece.take(wanted - piece.taken if checksum else min(STRIDE, wanted - piece.taken))
            if checksum is None and piece.unrecorded:
                yield from _record(upload, clock, vault, piece)
        short = piece.broken or (length is not None and piece.taken < length)
        if checksum is not None and not short:
            piece.compare(checksum)
            yield from _record(upload, clock, vault, piece)
        if length is None and not piece.ended and source.read(1):
            raise TooLarge(
                f"The piece goes on beyond the announced {upload.length} bytes: nothing past it was kept."
            )
        if hasher.size == upload.length and not piece.unrecorded:
            yield from _finish(session, actor, clock, vault, upload, file, hasher)
        if short:
            raise _cut_short(piece, length, kept=checksum is None)


def complete(session: Session, actor: Actor, clock: Clock, vault: Vault, upload: Upload) -> CommitPoints:
    """Finish an upload whose bytes all arrived, but whose server died before it could say so.

    Yields where the caller must commit. Does nothing for any other upload; may be repeated.
    """
    supplier_of(actor)
    yield
    with open_spool(vault.spool, upload.id) as file:
        upload = load_upload(session, clock, upload.id)
        if not unfinished(upload):
            return
        yield from _demand_whole(upload, file, upload.length)
        hasher = yield from _resume(upload, file, vault.seal(upload))
        yield from _finish(session, actor, clock, vault, upload, file, hasher)


def unfinished(upload: Upload) -> bool:
    """All bytes are here, but the end was not recorded: `complete` is due."""
    return upload.state is UploadState.OPEN and upload.offset == upload.length


def terminate(session: Session, actor: Actor, clock: Clock, vault: Vault, upload: Upload) -> CommitPoints:
    """End an open upload and drop its bytes. Evidence that was accepted stays: it is never deleted here.

    Yields where the caller must commit.
    """
    supplier_of(actor)
    yield
    with open_spool(vault.spool, upload.id) as file:
        upload = load_upload(session, clock, upload.id)
        if upload.state is UploadState.COMPLETE:
            raise Conflict("This upload is complete and has become evidence, which cannot be deleted.")
        _end(upload, UploadState.TERMINATED)
        yield
        remove_spool(vault.spool, file.path.name)


def _told(size: int) -> str:
    return f"{formats.number(size)} bytes ({formats.size(size)})"


def _demand_offset(upload: Upload, offset: int) -> None:
    if upload.state is UploadState.COMPLETE:
        raise Conflict("This upload is complete: nothing can be added to it.")
    if upload.offset != offset:
        raise Conflict(
            f"Expected the piece at offset {upload.offset}, found {offset}. Go on from {upload.offset}."
        )


def _demand_whole(upload: Upload, file: SpoolFile, offset: int) -> CommitPoints:
    """Refuse the upload for good when the disk has lost bytes that were acknowledged."""
    found = file.size
    if found >= offset:
        return
    _end(upload, UploadState.REFUSED)
    upload.refusal = f"The store holds {found} of the {offset} bytes that were acknowledged."
    yield
    raise StorageFailed(f"{upload.refusal} Start the upload again and tell the administrator.")


def _cut_short(piece: "_Piece", length: int | None, *, kept: bool) -> InvalidInput:
    announced = "all of the piece" if length is None else f"{length} bytes as announced"
    outcome = f"The first {piece.taken} were kept" if kept else "Nothing of it was kept"
    return InvalidInput(
        "The connection ended too early.",
        (
            Problem(
                "body",
                announced,
                str(piece.taken),
                f"{outcome}: ask for the offset (HEAD) and go on from there.",
            ),
        ),
    )


def _resume(upload: Upload, file: SpoolFile, key: bytes) -> Generator[None, None, Hasher]:
    """The hasher as it was at the recorded offset; from the stored bytes when its state does not hold.

    Stored bytes that somebody may have touched since they were read back are read once more, and the upload
    is refused for good when they are others.
    """
    if upload.offset == 0:
        return Hasher()
    hasher = None
    # Another key (it was changed) or another version of the verifier: then the bytes themselves tell.
    with suppress(VerifierStateError):
        hasher = Hasher.resume(upload.hash_state or b"", key)
    if hasher is not None and hasher.size != upload.offset:
        hasher = None
    if hasher is not None and upload.read_back_at == file.changed:
        return hasher
    stored = Hasher()
    try:
        stored.update_from_file(file.path, 0, upload.offset)
    except (OSError, UnreadableFile) as error:
        raise StorageFailed("The bytes of this upload cannot be read again: start it anew.") from error
    if hasher is None:
        return stored
    if hasher.digests() == stored.digests():
        return hasher  # which knows that these bytes were read back
    _end(upload, UploadState.REFUSED)
    upload.refusal = f"The stored bytes are not the {upload.offset} that arrived."
    yield
    raise StorageFailed(f"{upload.refusal} Start the upload again and tell the administrator.")


class _Piece:
    """The bytes of one request, on their way from the sender through the hashers to the disk."""

    def __init__(self, file: SpoolFile, hasher: Hasher, source: Source, checksum: Checksum | None) -> None:
        self.file, self.hasher, self.source = file, hasher, source
        self.start = hasher.size
        self.taken = 0
        self.unrecorded = 0
        self.ended = False  # the source has no more
        self.broken = False  # ... because the sender is gone
        self.check = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None

    def take(self, stride: int) -> None:
        """Up to `stride` bytes: while one block is hashed, the next one is read and written."""
        end = self.taken + stride
        while self.taken < end and not self.ended:
            wanted = min(BLOCK, end - self.taken)
            block = self._read(wanted)
            if block:
                self.hasher.update_later(block)
                if self.check is not None:
                    self.check.update(block)
                self.file.write(block, self.start + self.taken)
                self.taken += len(block)
                self.unrecorded += len(block)
            self.ended = len(block) < wanted
        self.file.sync()
        demand_read_back(self.hasher, self.file.path)

    def _read(self, wanted: int) -> bytes:
        try:
            return self.source.read(wanted)
        except OSError:  # reset or timed out
            self.broken = True
            return b""

    def compare(self, checksum: Checksum) -> None:
        if self.check is not None and not hmac.compare_digest(self.check.digest(), checksum.digest):
            self.file.cut(self.start)
            raise ChecksumMismatch(
                f"The piece arrived damaged: expected {checksum.algorithm} {checksum.digest.hex()}, found "
                f"{self.check.hexdigest()}. The offset is unchanged: send the piece again."
            )


def _record(upload: Upload, clock: Clock, vault: Vault, piece: _Piece) -> CommitPoints:
    """Record what is durable by now, in a transaction of its own. The lock keeps every other writer out."""
    upload.offset = piece.hasher.size
    upload.hash_state = piece.hasher.export_state(vault.seal(upload))
    upload.read_back_at = piece.file.changed
    upload.expires_at = clock.now() + vault.expiry
    piece.unrecorded = 0
    yield


def _finish(
    session: Session,
    actor: Actor,
    clock: Clock,
    vault: Vault,
    upload: Upload,
    file: SpoolFile,
    hasher: Hasher,
) -> CommitPoints:
    """The last byte is durable, recorded and read back: store it; then one commit for the rest.

    Because the full offset is recorded before the bytes are linked into the store, no later request ever
    writes to a file that the store has.
    """
    digests = hasher.digests()
    why = _damage(upload, file, digests)
    if why is None:
        demand_blob(vault.store, file.path, digests)  # may take long: no transaction is open
    upload = load_upload(session, clock, upload.id)
    try:
        if why is not None:
            raise why
        demand_declared(digests, upload.declared_sha256)
    except (InvalidInput, StorageFailed) as error:
        _end(upload, UploadState.REFUSED)
        declared = f"Declared SHA-256 {upload.declared_sha256}, computed {digests.sha256}."
        upload.refusal = declared if isinstance(error, InvalidInput) else str(error)
        yield
        remove_spool(vault.spool, upload.id)
        raise
    evidence = accept(
        session, actor, clock, vault.store, path=file.path, digests=digests, filename=upload.filename
    )
    upload.state = UploadState.COMPLETE
    upload.evidence_id = evidence.id
    upload.hash_state = None
    yield
    remove_spool(vault.spool, upload.id)


def _damage(upload: Upload, file: SpoolFile, digests: Digests) -> StorageFailed | None:
    """What is wrong with the stored bytes. They are read once more where they may have changed since."""
    if (file.size, file.changed) == (digests.size, upload.read_back_at):
        return None
    try:
        demand_stored(file.path, digests)
    except StorageFailed as error:
        return error
    return None


def _end(upload: Upload, state: UploadState) -> None:
    upload.state = state
    upload.hash_state = None


def evidence_of(session: Session, upload: Upload) -> Evidence | None:
    """What a complete upload has become; None while it is open."""
    return session.get(Evidence, upload.evidence_id) if upload.evidence_id else None
