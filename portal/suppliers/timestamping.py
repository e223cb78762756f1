"""Time-stamp authorities whose word counts for everybody's evidence: a setting of the administrator."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock, rfc3339
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound, Problem, TrustError
from portal.ledger import service as ledger
from portal.suppliers.models import TimestampAuthority
from portal.suppliers.rules import demand, text_problem
from portal.verification import TimestampAuthority as Entry
from portal.verification import Trust, inspect_key

PEM_MAX: Final = 64 * 1024
LABEL_MAX: Final = 100
AUTHORITIES_MAX: Final = 100
ADDED: Final = "timestamp_authority.added"
REMOVED: Final = "timestamp_authority.removed"
_REFUSED: Final = "The time-stamp authority was not added."


def add_authority(
    session: Session, actor: Actor, clock: Clock, *, label: str, pem: str
) -> TimestampAuthority:
    """Believe this authority, or those below this root, about when something existed.

    Raises InvalidInput, Conflict when it is there already.
    """
    actor.must(Permission.ADMIN_TRUST_MANAGE)
    if actor.user_id is None:
        raise NotAllowed("a time-stamp authority is added by a person")
    label = label.strip()
    long = Problem("pem", f"at most {PEM_MAX} characters", str(len(pem))) if len(pem) > PEM_MAX else None
    demand(_REFUSED, (text_problem("label", label, LABEL_MAX), long))
    try:
        info = inspect_key(pem)
        Trust.build([], timestamp_authorities=[Entry(label, pem)])
    except TrustError as error:
        problem = Problem("pem", "one X.509 certificate (PEM)", error.message)
        raise InvalidInput(_REFUSED, (problem,)) from None
    rows = authorities(session)
    if len(rows) >= AUTHORITIES_MAX:
        raise Conflict(f"There are {AUTHORITIES_MAX} already, which is the most: remove one first.")
    if known := next((row for row in rows if row.label == label), None):
        raise InvalidInput(_REFUSED, (Problem("label", "a name of its own", f"that of {known.subject}"),))
    if known := next((row for row in rows if row.fingerprint == info.fingerprint), None):
        raise InvalidInput(_REFUSED, (Problem("pem", "a new one", f"that of “{known.label}”"),))
    row = TimestampAuthority(
        label=label,
        pem=pem.strip() + "\n",
        subject=(info.subject or "")[:500],
        fingerprint=info.fingerprint,
        not_before=_moment(info.not_before),
        not_after=_moment(info.not_after),
        added_by=actor.user_id,
        added_at=clock.now(),
    )
    session.add(row)
    session.flush()
    ledger.append(session, clock, ADDED, row.id, says(row) | {"by": actor.user_id})
    return row


def remove_authority(session: Session, actor: Actor, clock: Clock, authority_id: str) -> TimestampAuthority:
    """Believe it no more: from the next verification on its stamps prove nothing. Its row stays, for bundles
    of what was verified while it counted. Raises NotFound."""
    actor.must(Permission.ADMIN_TRUST_MANAGE)
    if actor.user_id is None:
        raise NotAllowed("a time-stamp authority is removed by a person")
    row = session.get(TimestampAuthority, authority_id, with_for_update=True, populate_existing=True)
    if row is None or row.removed_at is not None:
        raise NotFound("There is no such time-stamp authority.")
    row.removed_by, row.removed_at = actor.user_id, clock.now()
    session.flush()
    about = says(row) | {"added": rfc3339(row.added_at)}
    ledger.append(session, clock, REMOVED, row.id, about | {"by": actor.user_id})
    return row


def authorities(session: Session) -> Sequence[TimestampAuthority]:
    """Those that count now."""
    wanted = select(TimestampAuthority).where(TimestampAuthority.removed_at.is_(None))
    return session.scalars(wanted.order_by(TimestampAuthority.label)).all()


def ever(session: Session) -> Sequence[TimestampAuthority]:
    """Those that count and those that were removed."""
    return session.scalars(
        select(TimestampAuthority).order_by(TimestampAuthority.added_at, TimestampAuthority.id)
    ).all()


def entries(session: Session) -> list[Entry]:
    """Those that count now, as the verifier takes them."""
    return [Entry(row.label, row.pem) for row in authorities(session)]


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def says(row: TimestampAuthority) -> dict[str, object]:
    """What the entries of its addition and its removal say of it."""
    return {
        "label": row.label,
        "certificate": row.subject,
        "fingerprint": row.fingerprint,
        "not_before": rfc3339(row.not_before) if row.not_before else None,
        "not_after": rfc3339(row.not_after) if row.not_after else None,
        "key": ledger.digest(row.pem),
    }
