"""Tables of firmware releases, and of the one-time keys that signed them."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Id, SupplierOwned
from portal.submissions.models import Submission
from portal.suppliers.models import Component


class FirmwareRelease(SupplierOwned, Base):
    """One image of one component: what was declared, and what the verifier found in it.

    `accepted_at` is set when the image may run in the field: by the machine when every check passed, else by
    a reviewer's decision. `withdrawn_at` takes that back (a distrusted key, a refusal).
    """

    __tablename__ = "firmware_releases"
    __table_args__ = (
        CheckConstraint("withdrawn_at IS NULL OR accepted_at IS NOT NULL", name="withdrawn"),
        Index("ix_firmware_releases_component_accepted", "component_id", "accepted_at"),
    )
    id: Mapped[Id]
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), unique=True)
    component_id: Mapped[str] = mapped_column(ForeignKey("components.id"), index=True)
    declared_version: Mapped[str] = mapped_column(String(64))
    declared_sha256: Mapped[str | None] = mapped_column(String(64))
    release_notes: Mapped[str] = mapped_column(String(4000), default="")
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    format: Mapped[str | None] = mapped_column(String(32))
    image_version: Mapped[str | None] = mapped_column(String(64))
    security_counter: Mapped[int | None] = mapped_column(BigInteger)
    signing_key_id: Mapped[str | None] = mapped_column(ForeignKey("signing_keys.id"), index=True)
    report: Mapped[str | None] = mapped_column(String)  # the verifier's document of the newest run, JSON text
    accepted_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]

    submission: Mapped[Submission] = relationship(lazy="joined", innerjoin=True)
    component: Mapped[Component] = relationship(lazy="joined", innerjoin=True)


class OneTimeKey(SupplierOwned, Base):
    """A one-time key of an HSS key (RFC 8554) that signed an image, and what it signed first.

    It may never sign anything else: see firmware.one_time.
    """

    __tablename__ = "one_time_keys"
    __table_args__ = (
        # In this order, because keys are looked up by it.
        UniqueConstraint("supplier_id", "fingerprint", "identifier", "leaf"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(80))  # of the public key at the top
    identifier: Mapped[str] = mapped_column(String(32))  # I: the tree, in hexadecimal
    leaf: Mapped[int]  # q: the place in the tree
    signed: Mapped[str] = mapped_column(String(64))  # Q: what was signed, in hexadecimal
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), index=True)
    seen_at: Mapped[datetime]
