"""Tables of judging: assessments, cases, findings, decisions, exceptions, comments."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Digest, Id, SupplierOwned, enum_column
from portal.suppliers.models import Product


class Assessment(SupplierOwned, Base):
    """The policy applied to the evidence about one product at one time. Immutable; a newer one supersedes it.

    `facts` and `result` are canonical JSON: the same facts and policy give the same bytes.
    """

    __tablename__ = "assessments"
    __table_args__ = (UniqueConstraint("product_id", "number"),)
    id: Mapped[Id]
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"), index=True)
    number: Mapped[int]
    tier: Mapped[int]
    rating: Mapped[str] = mapped_column(String(32))
    score: Mapped[int | None]  # 0..100, for orientation only: the rating decides
    knock_outs: Mapped[int]
    cause: Mapped[str] = mapped_column(String(200))
    policy_id: Mapped[str] = mapped_column(String(64))
    policy_version: Mapped[str] = mapped_column(String(32))
    policy_digest: Mapped[str] = mapped_column(String(80))
    facts: Mapped[str] = mapped_column(Text)
    facts_digest: Mapped[Digest]
    result: Mapped[str] = mapped_column(Text)
    result_digest: Mapped[Digest]
    created_at: Mapped[datetime] = mapped_column(index=True)
    product: Mapped[Product] = relationship(lazy="joined", innerjoin=True)


class PolicyVersion(Base):
    """The text of a policy that was applied, from the moment of its first use. Immutable.

    `text` is canonical JSON; `digest` (hex) is its SHA-256.
    """

    __tablename__ = "policy_versions"
    digest: Mapped[Digest] = mapped_column(primary_key=True)
    policy_id: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(32))
    text: Mapped[str] = mapped_column(Text)
    first_used_at: Mapped[datetime]


class CaseState(StrEnum):
    """open (nobody has it) → claimed → waiting (for the supplier) or second (for a second approver) → closed.

    Waiting and second cases may be held by somebody or by nobody; what they wait for stays the same.
    """

    OPEN = "open"
    CLAIMED = "claimed"
    SECOND = "second"
    WAITING = "waiting"
    CLOSED = "closed"


class CaseCause(StrEnum):
    FIRST = "first"
    SUBMISSION = "submission"
    CHANGE = "change"
    DUE = "due"
    FAILURE = "failure"


class Case(SupplierOwned, Base):
    """Something that a person must decide about one product."""

    __tablename__ = "cases"
    __table_args__ = (
        Index(
            "uq_cases_one_open",
            "product_id",
            unique=True,
            sqlite_where=text("state <> 'closed'"),
            postgresql_where=text("state <> 'closed'"),
        ),
        CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed"),
        CheckConstraint("(claimed_by IS NULL) = (claimed_at IS NULL)", name="claimed"),
        CheckConstraint("state <> 'open' OR claimed_by IS NULL", name="open"),
        # The queue's orders; and what its counts are read from.
        Index("ix_cases_due", "due_on", "number"),
        Index("ix_cases_opened", "opened_at", "number"),
        Index("ix_cases_rating", "rating", "due_on", "number"),
        Index("ix_cases_counts", "state", "claimed_by", "due_on", "number"),
    )
    id: Mapped[Id]
    number: Mapped[int] = mapped_column(unique=True)
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"), index=True)
    state: Mapped[CaseState] = mapped_column(enum_column(CaseState), default=CaseState.OPEN)
    cause: Mapped[CaseCause] = mapped_column(enum_column(CaseCause))
    title: Mapped[str] = mapped_column(String(200))
    why: Mapped[str] = mapped_column(String(500))  # why a person is needed
    tier: Mapped[int]
    rating: Mapped[str] = mapped_column(String(32))  # of the newest assessment, for the queue
    assessment_id: Mapped[str] = mapped_column(ForeignKey("assessments.id"))
    claimed_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    claimed_at: Mapped[datetime | None]
    opened_at: Mapped[datetime]
    due_on: Mapped[date]
    closed_at: Mapped[datetime | None]
    product: Mapped[Product] = relationship(lazy="joined", innerjoin=True)
    assessment: Mapped[Assessment] = relationship(lazy="joined", innerjoin=True)


class Finding(SupplierOwned, Base):
    """A problem in a case: a check that did not pass, or a control that is not met."""

    __tablename__ = "findings"
    id: Mapped[Id]
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    assessment_id: Mapped[str] = mapped_column(ForeignKey("assessments.id"), index=True)
    source: Mapped[str] = mapped_column(String(64))  # check id or control id
    severity: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    submission_id: Mapped[str | None] = mapped_column(ForeignKey("submissions.id"))


class DecisionKind(StrEnum):
    APPROVE = "approve"
    APPROVE_WITH_CONDITIONS = "approve_with_conditions"
    REQUEST_CHANGES = "request_changes"
    REJECT = "reject"
    QUARANTINE = "quarantine"


class Decision(SupplierOwned, Base):
    """What named people decided on a case and why. Immutable.

    In tier 1 an approval takes effect with the second row by another approver (`seconds_id` names the first).
    `settled_id` is there when the decision closed its case: the assessment with the decision itself in force
    (its exceptions granted, its changes decided on). Later assessments are compared with that one.
    """

    __tablename__ = "decisions"
    __table_args__ = (
        CheckConstraint("length(trim(reason)) > 0", name="reason"),
        CheckConstraint("settled_id IS NULL OR effective", name="settled"),
        Index("ix_decisions_product", "product_id", "decided_at"),
    )
    id: Mapped[Id]
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"))
    assessment_id: Mapped[str] = mapped_column(ForeignKey("assessments.id"), index=True)
    settled_id: Mapped[str | None] = mapped_column(ForeignKey("assessments.id"))
    kind: Mapped[DecisionKind] = mapped_column(enum_column(DecisionKind))
    reason: Mapped[str] = mapped_column(Text)
    decided_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime] = mapped_column(index=True)
    seconds_id: Mapped[str | None] = mapped_column(ForeignKey("decisions.id"), unique=True)
    effective: Mapped[bool]


class ChangeRequest(SupplierOwned, Base):
    """One item that a supplier must put right before a case goes on."""

    __tablename__ = "change_requests"
    id: Mapped[Id]
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    decision_id: Mapped[str] = mapped_column(ForeignKey("decisions.id"), index=True)
    position: Mapped[int]
    text: Mapped[str] = mapped_column(String(1000))
    due_on: Mapped[date | None]  # by when the supplier is asked to answer
    answered_at: Mapped[datetime | None]
    answer: Mapped[str] = mapped_column(String(1000), default="")


class GrantedException(SupplierOwned, Base):
    """An accepted gap with owner, compensating control and expiry (the condition of an approval).

    It counts up to and including `expires_on`, once the approval that grants it has taken effect.
    """

    __tablename__ = "exceptions"
    id: Mapped[Id]
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"), index=True)
    decision_id: Mapped[str] = mapped_column(ForeignKey("decisions.id"), index=True)
    control_id: Mapped[str] = mapped_column(String(16))
    condition: Mapped[str] = mapped_column(String(1000))
    owner: Mapped[str] = mapped_column(String(200))
    expires_on: Mapped[date] = mapped_column(index=True)
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Comment(SupplierOwned, Base):
    """A remark on a case. Internal ones never leave the buyer's side."""

    __tablename__ = "comments"
    id: Mapped[Id]
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    internal: Mapped[bool]
    text: Mapped[str] = mapped_column(Text)
    author_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]
