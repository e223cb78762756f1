"""Tables of attestation batches: totals, failures line by line, passes as columns (decisions/0013)."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Id, SupplierOwned, enum_column
from portal.submissions.lots.models import Lot
from portal.submissions.models import Submission
from portal.verification import Outcome


class AttestationBatch(SupplierOwned, Base):
    """One file of DSSE envelopes about the units of one lot."""

    __tablename__ = "attestation_batches"
    id: Mapped[Id]
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), unique=True)
    lot_id: Mapped[str] = mapped_column(ForeignKey("lots.id"), index=True)
    total: Mapped[int] = mapped_column(default=0)
    passed: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    unreadable: Mapped[int] = mapped_column(default=0)
    unmatched: Mapped[int] = mapped_column(default=0)  # valid signatures about no unit of this lot
    submission: Mapped[Submission] = relationship(lazy="joined", innerjoin=True)
    lot: Mapped[Lot] = relationship(lazy="joined", innerjoin=True)


class AttestationFailure(SupplierOwned, Base):
    """One line of a batch that did not pass, or passed about the wrong thing. Lines count from 1."""

    __tablename__ = "attestation_failures"
    __table_args__ = (UniqueConstraint("submission_id", "run", "line"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), index=True)
    run: Mapped[int]
    line: Mapped[int]
    outcome: Mapped[Outcome] = mapped_column(enum_column(Outcome))
    reason: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(String(200), default="")


class AttestationPasses(SupplierOwned, Base):
    """The lines from `first_line` on that passed in one run, as many as the verifier told of at once.

    Columns, little-endian, in the order of the lines: `lines` (u32, how many lines after the first),
    `signers` (u8, how many different approved keys signed), `keys` (u16, the place of each of them among the
    approved keys). `key_names` gives id and fingerprint of the keys by their places.
    """

    __tablename__ = "attestation_passes"
    __table_args__ = (UniqueConstraint("submission_id", "run", "first_line"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"))
    run: Mapped[int]
    first_line: Mapped[int]
    lines: Mapped[bytes] = mapped_column(LargeBinary)
    signers: Mapped[bytes] = mapped_column(LargeBinary)
    keys: Mapped[bytes] = mapped_column(LargeBinary)
    key_names: Mapped[dict[str, Any]] = mapped_column(JSON)
