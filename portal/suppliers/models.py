"""Tables of the vendor record: who sells, what they sell, and which keys we accept from them."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Digest, Id, SupplierOwned, enum_column


class Standing(StrEnum):
    """Where a supplier stands with the buyer. Only the review room changes it."""

    NEW = "new"
    APPROVED = "approved"
    CONDITIONAL = "conditional"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"


class Supplier(Base):
    """A company that sells to us. Its id is its organisation's id."""

    __tablename__ = "suppliers"
    id: Mapped[str] = mapped_column(String(32), ForeignKey("organisations.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    country: Mapped[str | None] = mapped_column(String(2))
    standing: Mapped[Standing] = mapped_column(enum_column(Standing), default=Standing.NEW)
    created_at: Mapped[datetime]


class EntityRole(StrEnum):
    MANUFACTURER = "manufacturer"
    PACK_ASSEMBLER = "pack_assembler"
    FIRMWARE_MAINTAINER = "firmware_maintainer"
    CLOUD_OPERATOR = "cloud_operator"
    DISTRIBUTOR = "distributor"
    CARRIER = "carrier"
    SERVICE_PARTNER = "service_partner"
    INSTALLER = "installer"
    DISPOSAL_VENDOR = "disposal_vendor"


class Entity(SupplierOwned, Base):
    """Any company in a supplier's chain."""

    __tablename__ = "entities"
    id: Mapped[Id]
    role: Mapped[EntityRole] = mapped_column(enum_column(EntityRole))
    name: Mapped[str] = mapped_column(String(200))
    country: Mapped[str] = mapped_column(String(2))
    created_at: Mapped[datetime]


class Product(SupplierOwned, Base):
    """A model on offer. `limits` are the acceptance limits set before any lot arrives.

    limits: {"capacity_ah": {"min": .., "max": ..}, "resistance_mohm": {..}, "ocv_v": {..}}; units as named.
    """

    __tablename__ = "products"
    __table_args__ = (
        UniqueConstraint("supplier_id", "model"),
        CheckConstraint("tier IN (1, 2, 3)", name="tier"),
    )
    id: Mapped[Id]
    model: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    chemistry: Mapped[str | None] = mapped_column(String(40))
    tier: Mapped[int]
    limits: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    end_of_sale: Mapped[date | None]
    end_of_support: Mapped[date | None]
    created_at: Mapped[datetime]
    components: Mapped[list["Component"]] = relationship(back_populates="product", order_by="Component.name")


class Component(SupplierOwned, Base):
    """A firmware-bearing part of a product."""

    __tablename__ = "components"
    __table_args__ = (UniqueConstraint("product_id", "name"),)
    id: Mapped[Id]
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    product: Mapped[Product] = relationship(back_populates="components")


class SamplingSeed(SupplierOwned, Base):
    """256 bits (hex) that choose the units of lots to be tested: committed first, secret until spent."""

    __tablename__ = "sampling_seeds"
    id: Mapped[Id]
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"), index=True)
    seed: Mapped[Digest]
    committed_at: Mapped[datetime]
    spent_at: Mapped[datetime | None]


class KeyPurpose(StrEnum):
    FIRMWARE = "firmware"
    ATTESTATION = "attestation"
    MANIFEST = "manifest"


class KeyState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class SigningKey(SupplierOwned, Base):
    """A public key for named purposes, trusted only once a reviewer has checked its fingerprint elsewhere."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        UniqueConstraint("supplier_id", "fingerprint"),
        CheckConstraint(
            "(state = 'pending') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)",
            name="decided",
        ),
        CheckConstraint(
            "(distrusted_from IS NULL) = (distrusted_by IS NULL)",
            name="distrusted",
        ),
    )
    id: Mapped[Id]
    label: Mapped[str] = mapped_column(String(100))
    purposes: Mapped[list[str]] = mapped_column(JSON)
    pem: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))  # see portal.verification.KeyInfo
    algorithm: Mapped[str] = mapped_column(String(40))
    fingerprint: Mapped[str] = mapped_column(String(80), index=True)  # sha256:<hex of the SPKI DER>
    options: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    not_before: Mapped[datetime | None]
    not_after: Mapped[datetime | None]
    state: Mapped[KeyState] = mapped_column(enum_column(KeyState), default=KeyState.PENDING)
    registered_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    registered_at: Mapped[datetime]
    decided_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]
    decision_note: Mapped[str] = mapped_column(String(500), default="")  # how the fingerprint was checked
    distrusted_from: Mapped[datetime | None]
    distrusted_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    distrusted_at: Mapped[datetime | None]
    distrust_reason: Mapped[str] = mapped_column(String(500), default="")


class RevocationList(SupplierOwned, Base):
    """One revocation list of a certificate authority among the keys. Immutable; the highest number counts.

    The others stay: what was verified by them can be verified again.
    """

    __tablename__ = "revocation_lists"
    __table_args__ = (UniqueConstraint("key_id", "number"),)
    id: Mapped[Id]
    key_id: Mapped[str] = mapped_column(ForeignKey("signing_keys.id"))
    number: Mapped[int]
    sha256: Mapped[Digest]  # of the list in DER
    pem: Mapped[str] = mapped_column(Text)
    this_update: Mapped[datetime]
    next_update: Mapped[datetime]
    revoked: Mapped[int]  # certificates that it names
    brought_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    brought_at: Mapped[datetime]


def _in_use(column: str) -> Index:
    """Different among those that were not removed."""
    remains = text("removed_at IS NULL")
    name = f"ix_timestamp_authorities_{column}_in_use"
    return Index(name, column, unique=True, sqlite_where=remains, postgresql_where=remains)


class TimestampAuthority(Base):
    """A certificate whose time stamps count, its own or those of authorities below it; for all suppliers.

    The row stays when it is removed: what was verified by its word can be verified again.
    """

    __tablename__ = "timestamp_authorities"
    __table_args__ = (
        CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed"),
        _in_use("label"),
        _in_use("fingerprint"),
    )
    id: Mapped[Id]
    label: Mapped[str] = mapped_column(String(100))
    pem: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(String(500))
    fingerprint: Mapped[str] = mapped_column(String(80))
    not_before: Mapped[datetime | None]
    not_after: Mapped[datetime | None]
    added_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    added_at: Mapped[datetime]
    removed_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    removed_at: Mapped[datetime | None]
