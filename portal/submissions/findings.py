"""What an examination brings back: made while only reading, written down in one short transaction."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.submissions.models import CheckRecord, Submission
from portal.verification import Check

_TURN: Final = 0x4C6F7468  # PostgreSQL advisory lock: one verification is written down at a time


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a lot manifest is read: bytes of each file, and units; where the buyer keeps YARA rules."""

    manifest_bytes: int = 64 << 20
    manifest_units: int = 100_000
    rules_folder: Path | None = None


class KindFindings(Protocol):
    """The findings of one kind of submission."""

    @property
    def trust_before(self) -> int | None:
        """Whom it believed is what entries of the ledger before this number tell; None: nobody had to be
        believed."""
        ...

    def settle(self, session: Session, submission: Submission) -> tuple[Check, ...]:
        """All checks, in order. Here, under the write lock, belongs every comparison with what others
        offered: two submissions examined at the same moment would both find themselves the first."""
        ...

    def record(self, session: Session, clock: Clock, submission: Submission) -> None:
        """Write what is peculiar to the kind. The checks of `submission.run` and its outcome are there."""
        ...


@dataclass(frozen=True, slots=True)
class Findings:
    submission_id: str
    of_kind: KindFindings


def take_turns(session: Session) -> None:
    """From here to the commit nobody else records findings. SQLite's write lock does that by itself."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TURN})


def last_check(session: Session, submission: Submission, check_id: str) -> Check | None:
    """How a check of this submission came out last, if it was ever made."""
    row = session.scalars(
        select(CheckRecord)
        .where(CheckRecord.submission_id == submission.id, CheckRecord.check_id == check_id)
        .order_by(CheckRecord.run.desc())
        .limit(1)
    ).first()
    return None if row is None else Check(row.check_id, row.outcome, row.reason)
