"""Who got in and who did not: events, failures counted, lock-out."""

from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.accounts.models import AccountEvent, User
from portal.clock import Clock


def record(
    session: Session,
    clock: Clock,
    kind: str,
    *,
    user_id: str | None = None,
    actor_id: str | None = None,
    address: str | None = None,
    detail: str = "",
) -> AccountEvent:
    """Append one event. `kind` is `noun.verb` ("sign_in.refused"); `detail` never holds a secret."""
    event = AccountEvent(
        at=clock.now(),
        kind=kind,
        user_id=user_id,
        actor_id=actor_id,
        address=address,
        detail=detail[:500],
    )
    session.add(event)
    return event


def is_locked(clock: Clock, user: User) -> bool:
    return user.locked_until is not None and clock.now() < user.locked_until


def note_failure(
    session: Session,
    clock: Clock,
    user: User,
    *,
    what: str,
    address: str | None,
    limit: int,
    minutes: int,
) -> bool:
    """Count a wrong password or code (`what`); at `limit` in a row lock the account for `minutes`.

    Returns whether this failure locked it. While locked nothing is counted: the lock ends when it said.
    """
    record(session, clock, "sign_in.refused", user_id=user.id, address=address, detail=f"wrong {what}")
    if is_locked(clock, user):
        return False
    # In one statement: failures that arrive at the same moment must all count.
    session.execute(
        update(User)
        .where(User.id == user.id)
        .values(failed_sign_ins=User.failed_sign_ins + 1)
        .execution_options(synchronize_session=False)
    )
    session.refresh(user, ["failed_sign_ins"])
    if user.failed_sign_ins < limit:
        return False
    user.failed_sign_ins = 0
    user.locked_until = clock.now() + timedelta(minutes=minutes)
    record(
        session, clock, "account.locked", user_id=user.id, address=address, detail=f"for {minutes} minutes"
    )
    return True


def note_sign_in(session: Session, clock: Clock, user: User, *, address: str | None) -> None:
    """All factors were right: forget the failures."""
    user.failed_sign_ins = 0
    user.locked_until = None
    user.last_sign_in_at = clock.now()
    record(session, clock, "sign_in.done", user_id=user.id, address=address)


def take_totp_counter(session: Session, user: User, counter: int) -> bool:
    """Use up the time step of a code that fits; False if it or a later one was used (RFC 6238 §5.2)."""
    taken = session.execute(
        update(User)
        .where(User.id == user.id, (User.tf_last_counter.is_(None)) | (User.tf_last_counter < counter))
        .values(tf_last_counter=counter)
        .returning(User.id)
        .execution_options(synchronize_session=False)
    ).first()
    session.refresh(user, ["tf_last_counter"])
    return taken is not None
