"""Scrub: stored bytes are read again in a rolling cycle. Damage is told and marked, and never deleted.

Digests are spread evenly, so the place of a digest among all digests is its time in the cycle: a file is due
when the cycle has run as far as its digest, and comes up once a cycle however many files there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.accounts.read import administrators
from portal.clock import Clock
from portal.errors import LotgateError
from portal.evidence.models import Damage, Evidence, Scrub
from portal.evidence.ports import BlobStore
from portal.evidence.state import alive
from portal.ledger import service as ledger
from portal.notices.service import queue_mail
from portal.verification import hash_file

_LAST: Final = "f" * 64
Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Turn:
    """The blob that is read next; `after`: the one that was read before it."""

    sha256: str
    blake3: str
    size: int
    after: str


def due(session: Session, clock: Clock, days: int) -> Turn | None:
    """The blob whose time has come in a cycle of `days`; None: too early for the next one. Reads only."""
    row = session.get(Scrub, 1)
    after, begun_at = (row.cursor, row.begun_at) if row else ("", clock.now())
    found = session.execute(
        select(Evidence.sha256, Evidence.blake3, Evidence.size)
        .where(Evidence.sha256 > after, Evidence.sha256 <= _place(clock.now() - begun_at, days), alive())
        .order_by(Evidence.sha256)
        .limit(1)
    ).first()
    return Turn(found.sha256, found.blake3, found.size, after) if found else None


def _place(run: timedelta, days: int) -> str:
    """How far a cycle has come after `run`, as a digest."""
    share = run / timedelta(days=days)
    return _LAST if share >= 1 else f"{int(max(share, 0) * (1 << 64)):016x}".ljust(64, "0")


def read_again(store: BlobStore, turn: Turn, progress: Progress) -> str:
    """What is wrong with the stored bytes; empty when they are those that were delivered."""
    try:
        with store.get_local_path(turn.sha256) as path:
            found = hash_file(path, progress)
    except (OSError, LotgateError) as error:
        return f"it cannot be read: {error}"[:500]
    if (found.size, found.sha256, found.blake3) == (turn.size, turn.sha256, turn.blake3):
        return ""
    return f"expected {turn.size:,} bytes with this SHA-256, found {found.size:,} with {found.sha256}"


def record(session: Session, clock: Clock, turn: Turn, wrong: str) -> Sequence[str]:
    """Keep what was found. Returns the evidence whose state has changed: now damaged, or right again.

    Does nothing where another worker has read the same meanwhile.
    """
    row = _row(session, clock)
    if row.cursor != turn.after:
        return ()
    row.cursor, row.files, row.size = turn.sha256, row.files + 1, row.size + turn.size
    damage = session.scalars(
        select(Damage).where(Damage.sha256 == turn.sha256, Damage.mended_at.is_(None))
    ).first()
    rows = session.scalars(
        select(Evidence).where(Evidence.sha256 == turn.sha256, alive()).order_by(Evidence.id)
    ).all()
    if not rows or bool(wrong) == (damage is not None):  # deleted while it was read, or known already
        return ()
    if damage is None:
        session.add(Damage(sha256=turn.sha256, what=wrong, found_at=clock.now()))
    else:
        damage.mended_at = clock.now()
    session.flush()
    ledger.append_all(
        session,
        clock,
        [
            ledger.New(
                "evidence.damaged" if wrong else "evidence.mended",
                evidence.id,
                {"sha256": evidence.sha256, "size": evidence.size},
                evidence.supplier_id,
            )
            for evidence in rows
        ],
    )
    _tell(session, clock, rows, wrong)
    return [evidence.id for evidence in rows]


def is_over(session: Session, clock: Clock, days: int) -> bool:
    """Whether everything was read and its time is up, or no cycle was ever begun. Reads only."""
    row = session.get(Scrub, 1)
    return row is None or (
        clock.now() >= row.begun_at + timedelta(days=days) and due(session, clock, days) is None
    )


def end_cycle(session: Session, clock: Clock, days: int) -> None:
    """Keep what a cycle that is over has read, and begin the next one: when this one was to end."""
    row = _row(session, clock)
    if not is_over(session, clock, days):
        return
    length = timedelta(days=days)
    row.last_begun_at, row.last_ended_at = row.begun_at, clock.now()
    row.last_files, row.last_size = row.files, row.size
    row.last_damaged = len(damages(session))
    late = clock.now() >= row.begun_at + 2 * length
    row.begun_at = clock.now() if late else row.begun_at + length
    row.cursor, row.files, row.size = "", 0, 0
    session.flush()


def damages(session: Session) -> Sequence[Damage]:
    """What is damaged now."""
    return session.scalars(select(Damage).where(Damage.mended_at.is_(None)).order_by(Damage.found_at)).all()


def _row(session: Session, clock: Clock) -> Scrub:
    row = session.get(Scrub, 1, with_for_update=True)
    if row is None:
        row = Scrub(
            id=1, cursor="", begun_at=clock.now(), files=0, size=0, last_files=0, last_size=0, last_damaged=0
        )
        session.add(row)
        session.flush()
    return row


def _tell(session: Session, clock: Clock, rows: Sequence[Evidence], wrong: str) -> None:
    """A mail to every administrator."""
    names = "\n".join(f"{row.filename} (SHA-256 {row.sha256})" for row in rows[:20])
    subject = "Damage in the evidence store" if wrong else "Damage in the evidence store is mended"
    body = (
        f"The evidence store was read again, and this is not what was delivered:\n\n{names}\n\n{wrong}.\n\n"
        "Nothing was deleted. Checks over it no longer count as a pass. Put the right bytes back from a "
        "backup, and look at the disk: others may follow. `lotgate fsck` reads everything.\n"
        if wrong
        else f"The right bytes are there again:\n\n{names}\n"
    )
    for email in administrators(session):
        queue_mail(session, clock, kind="vault_damage", recipient=email, subject=subject, body=body)


@dataclass(frozen=True, slots=True)
class VaultState:
    """For the page: what is stored (each blob once; bytes), the cycle that reads it, and what is wrong."""

    files: int
    size: int
    scrub: Scrub | None
    ends_at: datetime | None
    damaged: tuple[tuple[Damage, str], ...]  # with the names of the files


def state(session: Session, days: int) -> VaultState:
    once = select(Evidence.sha256, Evidence.size).where(alive()).distinct().subquery()
    files, size = session.execute(
        select(func.count(), func.coalesce(func.sum(once.c.size), 0)).select_from(once)
    ).one()
    row = session.get(Scrub, 1)
    found = []
    for damage in damages(session):
        names = session.scalars(
            select(Evidence.filename).where(Evidence.sha256 == damage.sha256, alive()).distinct()
        )
        found.append((damage, ", ".join(sorted(names))))
    ends_at = row.begun_at + timedelta(days=days) if row and days else None
    return VaultState(int(files), int(size), row, ends_at, tuple(found))
