"""Tables that every kind of submission shares. Each kind's own tables are in its package."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Id, SupplierOwned, enum_column
from portal.evidence.models import Evidence
from portal.suppliers.models import Product
from portal.verification import Outcome


class SubmissionKind(StrEnum):
    QUESTIONNAIRE = "questionnaire"
    LOT = "lot"
    FIRMWARE = "firmware"
    ATTESTATIONS = "attestations"


class SubmissionState(StrEnum):
    """draft → submitted → verifying → verified | failed; by decision accepted | refused; or withdrawn.

    `verified` means that every check was made, not that every check passed: see `outcome`.
    `accepted` is reached by a machine only when every check passed. `failed` means that the machine could not
    do its work (three deaths); it is never a pass.
    """

    DRAFT = "draft"
    SUBMITTED = "submitted"
    VERIFYING = "verifying"
    VERIFIED = "verified"
    FAILED = "failed"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class Submission(SupplierOwned, Base):
    """A supplier's act of offering evidence about one product."""

    __tablename__ = "submissions"
    __table_args__ = (
        CheckConstraint(
            "(state IN ('draft', 'withdrawn')) OR submitted_at IS NOT NULL",
            name="submitted",
        ),
        CheckConstraint(
            "state NOT IN ('verified', 'accepted', 'refused') OR outcome IS NOT NULL",
            name="has_outcome",
        ),
        Index("ix_submissions_product_kind", "product_id", "kind", "state"),
    )
    id: Mapped[Id]
    kind: Mapped[SubmissionKind] = mapped_column(enum_column(SubmissionKind))
    state: Mapped[SubmissionState] = mapped_column(
        enum_column(SubmissionState), default=SubmissionState.DRAFT, index=True
    )
    outcome: Mapped[Outcome | None] = mapped_column(enum_column(Outcome))
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"), index=True)
    title: Mapped[str] = mapped_column(String(200))  # "BMS controller 2.1.0", "Lot NH-2026-117"
    supersedes_id: Mapped[str | None] = mapped_column(ForeignKey("submissions.id"))
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(index=True)
    submitted_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    submitted_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    run: Mapped[int] = mapped_column(default=0)  # number of the newest verification run
    progress_done: Mapped[int] = mapped_column(default=0)
    progress_total: Mapped[int] = mapped_column(default=0)
    progress_note: Mapped[str] = mapped_column(String(200), default="")
    failure: Mapped[str] = mapped_column(String(500), default="")

    product: Mapped[Product] = relationship(lazy="joined", innerjoin=True)
    attachments: Mapped[list["Attachment"]] = relationship(
        back_populates="submission", order_by="Attachment.attached_at"
    )


class AttachmentRole(StrEnum):
    IMAGE = "image"
    SIGNATURE = "signature"
    CERTIFICATES = "certificates"
    TIMESTAMP = "timestamp"
    MANIFEST = "manifest"
    UNITS = "units"
    ATTESTATIONS = "attestations"
    DOCUMENT = "document"


class Attachment(SupplierOwned, Base):
    """Evidence offered with a submission, and as what."""

    __tablename__ = "attachments"
    __table_args__ = (
        Index(
            "uq_attachments_role",
            "submission_id",
            "role",
            unique=True,
            sqlite_where=text("role <> 'document'"),
            postgresql_where=text("role <> 'document'"),
        ),
    )
    id: Mapped[Id]
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), index=True)
    evidence_id: Mapped[str] = mapped_column(ForeignKey("evidence.id"), index=True)
    role: Mapped[AttachmentRole] = mapped_column(enum_column(AttachmentRole))
    attached_at: Mapped[datetime]
    submission: Mapped[Submission] = relationship(back_populates="attachments")
    evidence: Mapped[Evidence] = relationship(lazy="joined", innerjoin=True)


class CheckRecord(SupplierOwned, Base):
    """One machine finding of one verification run. Append-only: a new run adds rows, it edits none."""

    __tablename__ = "checks"
    __table_args__ = (UniqueConstraint("submission_id", "run", "check_id"),)
    id: Mapped[Id]
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), index=True)
    run: Mapped[int]
    position: Mapped[int]
    check_id: Mapped[str] = mapped_column(String(64), index=True)
    outcome: Mapped[Outcome] = mapped_column(enum_column(Outcome))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
