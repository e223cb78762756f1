"""The table of ledger entries."""

from datetime import datetime

from sqlalchemy import CheckConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Digest


class Entry(Base):
    """One line of the append-only ledger.

    `body` is canonical JSON (RFC 8785) of at most 65,535 bytes and holds digests, never evidence itself;
    `hash` = SHA-256 over 0x00 ‖ previous hash ‖ body. Triggers refuse UPDATE and DELETE.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (CheckConstraint("seq >= 0", name="seq"),)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(40), index=True)
    subject_id: Mapped[str] = mapped_column(String(64), index=True)
    supplier_id: Mapped[str | None] = mapped_column(String(32), index=True)
    body: Mapped[str] = mapped_column(Text)
    previous: Mapped[Digest]
    hash: Mapped[Digest] = mapped_column(unique=True)
