"""Tables of change: what changed, who said so, and what it did to each assessment."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Id, SupplierOwned, enum_column


class ChangeKind(StrEnum):
    """What changed. `date`: a date passed that something depends on; `due`: the yearly re-assessment."""

    FIRMWARE = "firmware"
    BOM = "bom"
    OWNERSHIP = "ownership"
    SITE = "site"
    KEY = "key"
    DATE = "date"
    DUE = "due"
    OTHER = "other"


class ChangeSource(StrEnum):
    SUPPLIER = "supplier"
    BUYER = "buyer"
    MACHINE = "machine"


class ChangeNotice(SupplierOwned, Base):
    """A change told by a supplier or a reviewer, or seen by the machine."""

    __tablename__ = "change_notices"
    __table_args__ = (
        CheckConstraint("(source = 'machine') = (filed_by IS NULL)", name="filed_by"),
        CheckConstraint("kind <> 'key' OR signing_key_id IS NOT NULL", name="key"),
    )
    id: Mapped[Id]
    kind: Mapped[ChangeKind] = mapped_column(enum_column(ChangeKind))
    source: Mapped[ChangeSource] = mapped_column(enum_column(ChangeSource))
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    effective_on: Mapped[date | None]
    product_id: Mapped[str | None] = mapped_column(ForeignKey("products.id"), index=True)  # None: all of them
    signing_key_id: Mapped[str | None] = mapped_column(ForeignKey("signing_keys.id"))
    submission_id: Mapped[str | None] = mapped_column(ForeignKey("submissions.id"))
    filed_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    filed_at: Mapped[datetime] = mapped_column(index=True)
    handled_at: Mapped[datetime | None]


class Reassessment(SupplierOwned, Base):
    """What one change did to one product: was, is, why."""

    __tablename__ = "reassessments"
    __table_args__ = (UniqueConstraint("change_notice_id", "product_id"),)
    id: Mapped[Id]
    change_notice_id: Mapped[str] = mapped_column(ForeignKey("change_notices.id"), index=True)
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"), index=True)
    before_id: Mapped[str | None] = mapped_column(ForeignKey("assessments.id"))
    after_id: Mapped[str] = mapped_column(ForeignKey("assessments.id"))
    difference: Mapped[str] = mapped_column(Text)  # JSON of portal.policy's Difference
    material: Mapped[bool]  # the rating or a knock-out changed, or the kind of change demands a person
    case_id: Mapped[str | None] = mapped_column(ForeignKey("cases.id"))
    at: Mapped[datetime]
