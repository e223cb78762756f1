"""What an examination brings back: made while only reading, written down in one short transaction."""

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.submissions.models import Submission
from portal.verification import Check


class KindFindings(Protocol):
    """The findings of one kind of submission."""

    @property
    def checks(self) -> tuple[Check, ...]: ...

    def record(self, session: Session, clock: Clock, submission: Submission, run: int) -> None:
        """Write what is peculiar to the kind (the checks are written for all kinds alike)."""
        ...


@dataclass(frozen=True, slots=True)
class Findings:
    submission_id: str
    of_kind: KindFindings

    @property
    def checks(self) -> tuple[Check, ...]:
        return self.of_kind.checks
