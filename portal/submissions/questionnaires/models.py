"""Tables of answers: full history, newest revision counts."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Id, SupplierOwned
from portal.evidence.models import Evidence
from portal.submissions.models import Submission


class QuestionnaireResponse(SupplierOwned, Base):
    """Which questionnaire (id, version, digest of its text) a submission answers."""

    __tablename__ = "questionnaire_responses"
    id: Mapped[Id]
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), unique=True)
    questionnaire_id: Mapped[str] = mapped_column(String(64))
    questionnaire_digest: Mapped[str] = mapped_column(String(80))
    submission: Mapped[Submission] = relationship(lazy="joined", innerjoin=True)


class Answer(SupplierOwned, Base):
    """One revision of one answer; never edited. `value` None means: cleared."""

    __tablename__ = "answers"
    __table_args__ = (UniqueConstraint("submission_id", "question_id", "revision"),)
    id: Mapped[Id]
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), index=True)
    question_id: Mapped[str] = mapped_column(String(64))
    revision: Mapped[int]
    value: Mapped[Any] = mapped_column(JSON, nullable=True)
    answered_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    answered_at: Mapped[datetime]
    method: Mapped[str] = mapped_column(String(8))  # web or api


class AnswerEvidence(SupplierOwned, Base):
    """A file that backs an answer."""

    __tablename__ = "answer_evidence"
    id: Mapped[Id]
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), index=True)
    question_id: Mapped[str] = mapped_column(String(64))
    evidence_id: Mapped[str] = mapped_column(ForeignKey("evidence.id"), index=True)
    valid_until: Mapped[date | None]
    attached_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]
    evidence: Mapped[Evidence] = relationship(lazy="joined", innerjoin=True)
