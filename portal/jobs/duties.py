"""What one worker does for all of them on a database: each duty is lent for a while, and lent again.

A worker that dies keeps its duties for SECONDS at most; one that ends gives them back. Should two have a duty
for a moment (a host that stood still, clocks that differ), nothing is recorded twice: whatever a duty writes
is a compare-and-swap, or a row with a key of its own.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import delete, or_, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.db import reading, writing
from portal.jobs.models import DutyLoan
from portal.jobs.tasks import Bench

SECONDS: Final = 30
_RENEWED: Final = timedelta(seconds=SECONDS * 2 / 3)  # before its end, so that a busy moment loses none


class Duty(StrEnum):
    HOUSE = "house"  # mail, jobs of lost hosts, failures, the daily job
    LEDGER = "ledger"  # checkpoints and their witnesses, where the keys are
    STAMPS = "stamps"
    SCRUB = "scrub"


class Duties:
    """Those of one worker. `executor_id` is no other worker's."""

    def __init__(self, bench: Bench, executor_id: str) -> None:
        self._bench, self._executor_id = bench, executor_id
        self._until: dict[Duty, datetime] = {}

    def mine(self, duty: Duty, fit: Callable[[], bool] = lambda: True) -> bool:
        """Whether this worker has a duty: taken where nobody has it, renewed in time while it is fit."""
        now = self._bench.clock.now()
        if now < self._until.get(duty, now) - _RENEWED:
            return True
        self._until.pop(duty, None)
        with reading(self._bench.engine) as session:
            loan = session.get(DutyLoan, duty.value)
        if (loan and loan.executor_id != self._executor_id and loan.until > now) or not fit():
            return False
        until = now + timedelta(seconds=SECONDS)
        with writing(self._bench.engine) as session:
            if not self._take(session, duty, now, until):
                return False
        self._until[duty] = until
        return True

    def give_back(self) -> None:
        """All of them: the next worker begins at once."""
        self._until.clear()
        with writing(self._bench.engine) as session:
            session.execute(delete(DutyLoan).where(DutyLoan.executor_id == self._executor_id))

    def _take(self, session: Session, duty: Duty, now: datetime, until: datetime) -> bool:
        taken = session.execute(
            update(DutyLoan)
            .where(
                DutyLoan.duty == duty.value,
                or_(DutyLoan.executor_id == self._executor_id, DutyLoan.until <= now),
            )
            .values(executor_id=self._executor_id, until=until)
        )
        if isinstance(taken, CursorResult) and taken.rowcount == 1:
            return True
        if session.get(DutyLoan, duty.value) is not None:
            return False
        try:
            with session.begin_nested():
                session.add(DutyLoan(duty=duty.value, executor_id=self._executor_id, until=until))
        except IntegrityError:  # another worker was faster
            return False
        return True
