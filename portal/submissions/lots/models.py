"""Tables of lots, units and custody."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Digest, Id, SupplierOwned
from portal.submissions.models import Submission
from portal.suppliers.models import SamplingSeed


class Lot(SupplierOwned, Base):
    """What a manifest says of itself. `live` is false once superseded, refused or withdrawn."""

    __tablename__ = "lots"
    __table_args__ = (CheckConstraint("unit_count >= 0", name="unit_count"),)
    id: Mapped[Id]
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), unique=True)
    lot_number: Mapped[str] = mapped_column(String(100), index=True)
    maker: Mapped[str] = mapped_column(String(200))
    site: Mapped[str] = mapped_column(String(200))
    manufactured_on: Mapped[date | None]
    declared_count: Mapped[int]
    unit_count: Mapped[int]
    live: Mapped[bool] = mapped_column(default=True)
    submission: Mapped[Submission] = relationship(lazy="joined", innerjoin=True)


class Unit(SupplierOwned, Base):
    """One serial of one lot. `digest` is SHA-256 of the unit's record in canonical JSON (RFC 8785): what an
    attestation's subject must match. `serial_key` is the serial made comparable (NFKC, capitals, no blanks).
    """

    __tablename__ = "units"
    __table_args__ = (
        UniqueConstraint("lot_id", "position"),
        Index("ix_units_lot_serial", "lot_id", "serial_key"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    lot_id: Mapped[str] = mapped_column(ForeignKey("lots.id"))
    position: Mapped[int]
    serial: Mapped[str] = mapped_column(String(100))
    serial_key: Mapped[str] = mapped_column(String(100), index=True)
    digest: Mapped[Digest]
    firmware: Mapped[dict[str, Any]] = mapped_column(JSON)  # {component name: version}
    capacity_ah: Mapped[float | None] = mapped_column(Float)
    resistance_mohm: Mapped[float | None] = mapped_column(Float)
    ocv_v: Mapped[float | None] = mapped_column(Float)
    attested_by: Mapped[str | None] = mapped_column(ForeignKey("submissions.id"), index=True)
    attested_line: Mapped[int | None]


class CustodyEvent(SupplierOwned, Base):
    """One hand-off of a lot."""

    __tablename__ = "custody_events"
    __table_args__ = (UniqueConstraint("lot_id", "position"),)
    id: Mapped[Id]
    lot_id: Mapped[str] = mapped_column(ForeignKey("lots.id"))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(40))
    from_holder: Mapped[str] = mapped_column(String(200))
    to_holder: Mapped[str] = mapped_column(String(200))
    location: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime]
    seal: Mapped[str] = mapped_column(String(100), default="")


class Sample(SupplierOwned, Base):
    """The units of a lot to be tested, one serial a line, as sampling.py drew them."""

    __tablename__ = "samples"
    __table_args__ = (UniqueConstraint("lot_id", "size"), CheckConstraint("size > 0", name="size"))
    id: Mapped[Id]
    lot_id: Mapped[str] = mapped_column(ForeignKey("lots.id"))
    seed_id: Mapped[str] = mapped_column(ForeignKey("sampling_seeds.id"))
    size: Mapped[int]
    serials: Mapped[str] = mapped_column(Text)
    drawn_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    drawn_at: Mapped[datetime]
    lot: Mapped[Lot] = relationship()
    seed: Mapped[SamplingSeed] = relationship()
