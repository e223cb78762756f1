"""Tables of the vault: evidence that was accepted, deleted or found damaged, and uploads on their way."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.accounts.models import User
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
    tombstone: Mapped["Tombstone | None"] = relationship(back_populates="evidence")


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


class Tombstone(SupplierOwned, Base):
    """Evidence (the same id) that was deleted under a retention rule: row and receipt stay, the bytes go.

    Immutable but for `removed_at`: when no row needed the bytes any more and they were taken from the store.
    """

    __tablename__ = "tombstones"
    __table_args__ = (
        Index(
            "ix_tombstones_waiting",
            "id",
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
    )
    id: Mapped[str] = mapped_column(String(32), ForeignKey("evidence.id"), primary_key=True)
    rule: Mapped[str] = mapped_column(String(200))  # as it is cited
    rules_version: Mapped[int]
    rules_digest: Mapped[Digest]
    kept_until: Mapped[date]  # the last day of its period
    deleted_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    deleted_at: Mapped[datetime] = mapped_column(index=True)
    removed_at: Mapped[datetime | None]
    evidence: Mapped[Evidence] = relationship(back_populates="tombstone", lazy="joined", innerjoin=True)
    person: Mapped[User] = relationship()

    @property
    def told(self) -> str:
        """For people, on pages and in refusals."""
        return (
            f"{self.evidence.filename} was deleted on {self.deleted_at.day} {self.deleted_at:%B %Y} by "
            f"{self.person.name} under the rule “{self.rule}”. Its digest and its receipt are kept."
        )


class Damage(Base):
    """A blob that was read again and is not what was delivered, or is missing. Nothing is deleted for it."""

    __tablename__ = "damages"
    id: Mapped[Id]
    sha256: Mapped[Digest] = mapped_column(index=True)
    what: Mapped[str] = mapped_column(String(500))
    found_at: Mapped[datetime]
    mended_at: Mapped[datetime | None]  # when the right bytes were there again


class Scrub(Base):
    """Where the rolling re-reading of the vault stands: one row (id 1). Sizes in bytes."""

    __tablename__ = "scrubs"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    cursor: Mapped[str] = mapped_column(String(64), default="")  # the digest last read; empty: at the start
    begun_at: Mapped[datetime]  # of this cycle
    files: Mapped[int] = mapped_column(BigInteger, default=0)  # read in this cycle
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    last_begun_at: Mapped[datetime | None]  # of the last full cycle
    last_ended_at: Mapped[datetime | None]
    last_files: Mapped[int] = mapped_column(BigInteger, default=0)
    last_size: Mapped[int] = mapped_column(BigInteger, default=0)
    last_damaged: Mapped[int] = mapped_column(default=0)
