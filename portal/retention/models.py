"""Tables of retention: versions of the rules, holds, and how holds ended."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Digest, Id, SupplierOwned, enum_column


class RetentionRules(Base):
    """One version of the rules (canonical JSON, see rules.py). Immutable; the highest version counts."""

    __tablename__ = "retention_rules"
    id: Mapped[Id]
    version: Mapped[int] = mapped_column(unique=True)
    rules: Mapped[str] = mapped_column(Text)
    digest: Mapped[Digest]
    why: Mapped[str] = mapped_column(String(500))
    set_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    set_at: Mapped[datetime]


class Hold(SupplierOwned, Base):
    """Nothing of a supplier, of one product or of one file may go (one of the two, or none). Immutable.

    It is in force until there is a step `released`.
    """

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("product_id IS NULL OR evidence_id IS NULL", name="about"),
        CheckConstraint("length(trim(reference)) > 0 AND length(trim(why)) > 0", name="why"),
    )
    id: Mapped[Id]
    product_id: Mapped[str | None] = mapped_column(ForeignKey("products.id"), index=True)
    evidence_id: Mapped[str | None] = mapped_column(ForeignKey("evidence.id"), index=True)
    reference: Mapped[str] = mapped_column(String(100))  # the case, incident or court file that it is for
    why: Mapped[str] = mapped_column(String(500))
    placed_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    placed_at: Mapped[datetime]


class HoldStep(StrEnum):
    RELEASE_ASKED = "release_asked"
    RELEASED = "released"


class HoldAct(SupplierOwned, Base):
    """A step towards the end of a hold: one person asks for its release, another releases it. Immutable."""

    __tablename__ = "hold_acts"
    __table_args__ = (UniqueConstraint("hold_id", "step"),)
    id: Mapped[Id]
    hold_id: Mapped[str] = mapped_column(ForeignKey("holds.id"))
    step: Mapped[HoldStep] = mapped_column(enum_column(HoldStep))
    why: Mapped[str] = mapped_column(String(500))
    by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]


class Access(SupplierOwned, Base):
    """A download of a file that was on hold, by one of the buyer's people. Immutable.

    `reference` is that of the (oldest) hold.
    """

    __tablename__ = "hold_accesses"
    id: Mapped[Id]
    evidence_id: Mapped[str] = mapped_column(ForeignKey("evidence.id"), index=True)
    reference: Mapped[str] = mapped_column(String(100))
    by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]


class Export(SupplierOwned, Base):
    """Evidence that was handed out with a chain-of-custody form: to whom and what for. Immutable.

    `manifest` (canonical JSON) is what was known then; the archive is made from it whenever it is fetched.
    """

    __tablename__ = "exports"
    id: Mapped[Id]
    number: Mapped[int] = mapped_column(unique=True)
    case_id: Mapped[str | None] = mapped_column(ForeignKey("cases.id"), index=True)
    reference: Mapped[str] = mapped_column(String(100))
    purpose: Mapped[str] = mapped_column(String(500))
    recipient: Mapped[str] = mapped_column(String(200))
    exported_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    exported_at: Mapped[datetime]
    manifest: Mapped[str] = mapped_column(Text)
    digest: Mapped[Digest]  # of the manifest


class ExportItem(SupplierOwned, Base):
    """One file of an export. Immutable."""

    __tablename__ = "export_items"
    __table_args__ = (UniqueConstraint("export_id", "evidence_id"),)
    id: Mapped[Id]
    export_id: Mapped[str] = mapped_column(ForeignKey("exports.id"), index=True)
    evidence_id: Mapped[str] = mapped_column(ForeignKey("evidence.id"), index=True)
