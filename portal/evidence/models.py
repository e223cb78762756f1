"""Tables of the vault: evidence that was accepted, and uploads on their way."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Digest, Id, SupplierOwned, enum_column


class Evidence(SupplierOwned, Base):
    """One stored file, named by its digest, never changed. The bytes are in the blob store under `sha256`.

    The same bytes delivered twice are two rows (two acts of delivery) and one blob.
    """

    __tablename__ = "evidence"
    id: Mapped[Id]
    sha256: Mapped[Digest] = mapped_column(index=True)
    blake3: Mapped[Digest]
    size: Mapped[int] = mapped_column(BigInteger)
    filename: Mapped[str] = mapped_column(String(255))  # for display only
    received_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    received_at: Mapped[datetime] = mapped_column(index=True)


class UploadState(StrEnum):
    OPEN = "open"
    COMPLETE = "complete"
    TERMINATED = "terminated"
    REFUSED = "refused"


class Upload(SupplierOwned, Base):
    """A tus 1.0 upload. Bytes below `offset` are on disk (fsync) and are in `hash_state`."""

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint('"offset" >= 0 AND length >= 0 AND "offset" <= length', name="offset"),
        CheckConstraint("(state = 'complete') = (evidence_id IS NOT NULL)", name="complete"),
    )
    id: Mapped[Id]
    length: Mapped[int] = mapped_column(BigInteger)
    offset: Mapped[int] = mapped_column(BigInteger, default=0)
    filename: Mapped[str] = mapped_column(String(255))
    declared_sha256: Mapped[str | None] = mapped_column(String(64))
    tus_metadata: Mapped[str] = mapped_column(String(4096), default="")  # as given; HEAD must repeat it
    hash_state: Mapped[bytes | None] = mapped_column(LargeBinary)
    # The spool file's ctime (ns) when these bytes were read back: until it changes, they are still the same.
    read_back_at: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[UploadState] = mapped_column(enum_column(UploadState), default=UploadState.OPEN)
    refusal: Mapped[str] = mapped_column(String(500), default="")
    evidence_id: Mapped[str | None] = mapped_column(ForeignKey("evidence.id"))
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
