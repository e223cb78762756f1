"""What an examination brings back: made while only reading, written down in one short transaction."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.errors import Outdated
from portal.ledger import service as ledger
from portal.ledger.logs import entry_about
from portal.submissions.models import CheckRecord, Submission
from portal.suppliers.keys import changed_since
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
    """From here to the commit nobody else records findings or makes an entry in the ledger: whom to believe
    stays as it is. SQLite's write lock does that by itself."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TURN})
    ledger.take_turn(session)


def demand_current(session: Session, submission: Submission, found: KindFindings) -> None:
    """Call it after `take_turns`. Raises Outdated for findings that rest on whom nobody may believe any more,
    or would replace later ones by earlier ones."""
    if found.trust_before is None:
        return
    if changed_since(session, submission.supplier_id, found.trust_before):
        raise Outdated(f"whom to believe changed while submission {submission.id} was examined")
    last = trust_of_last(session, submission)
    if last is not None and found.trust_before < last:
        raise Outdated(f"submission {submission.id} was examined by others later, and recorded before")


def trust_of_last(session: Session, submission: Submission) -> int | None:
    """`trust_before` of the newest run that is recorded."""
    ended = entry_about(session, "verification.ended", submission.id)
    said = json.loads(ended.body) if ended is not None else {}
    found: int | None = said.get("trust_before") if said.get("run") == submission.run else None
    return found


def last_check(session: Session, submission: Submission, check_id: str) -> Check | None:
    """How a check of this submission came out last, if it was ever made."""
    row = session.scalars(
        select(CheckRecord)
        .where(CheckRecord.submission_id == submission.id, CheckRecord.check_id == check_id)
        .order_by(CheckRecord.run.desc())
        .limit(1)
    ).first()
    return None if row is None else Check(row.check_id, row.outcome, row.reason)
