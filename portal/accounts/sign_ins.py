"""Where somebody is signed in: one row for each session, so that one can be ended without the others."""

import re
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.guard import record
from portal.accounts.models import SignIn, User
from portal.clock import Clock
from portal.db import new_id
from portal.errors import NotFound

SEEN_EVERY: Final = timedelta(minutes=1)  # "last seen" is kept to the minute, not written with every request

# The first that fits counts: most browsers claim to be several others as well.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/|FxiOS/", "Firefox"),
    ("Chrome/|CriOS/|Chromium/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone|iPad|iPod", "iOS"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh|Mac OS X", "macOS"),
    ("Linux|X11", "Linux"),
)


def begin_sign_in(
    session: Session, clock: Clock, user: User, *, address: str | None, user_agent: str
) -> SignIn:
    """All factors were shown: the row that the new session stands on."""
    now = clock.now()
    row = SignIn(
        user_id=user.id, begun_at=now, seen_at=now, address=address or "", user_agent=user_agent[:200]
    )
    session.add(row)
    session.flush()
    return row


def open_sign_ins(clock: Clock, user_id: str, *, idle_minutes: int, hours: int) -> Select[SignIn]:
    """Those of one person that have neither been ended nor run out, either by idleness or by age."""
    now = clock.now()
    return select(SignIn).where(
        SignIn.user_id == user_id,
        SignIn.ended_at.is_(None),
        SignIn.seen_at > now - timedelta(minutes=idle_minutes),
        SignIn.begun_at > now - timedelta(hours=hours),
    )


def note_seen(session: Session, sign_in_id: str, at: datetime) -> None:
    """It was in use at `at`; never moves backwards, and of several requests at once one is written."""
    session.execute(
        update(SignIn)
        .where(SignIn.id == sign_in_id, SignIn.seen_at <= at - SEEN_EVERY)
        .values(seen_at=at)
        .execution_options(synchronize_session=False)
    )


def end_sign_in(session: Session, actor: Actor, clock: Clock, sign_in_id: str) -> SignIn:
    """Sign the actor out in one place; its next request is refused. Raises NotFound for another's."""
    row = session.get(SignIn, sign_in_id)
    if row is None or row.user_id != actor.user_id:
        raise NotFound("there is no such sign-in")
    if row.ended_at is None:
        row.ended_at = clock.now()
        record(
            session,
            clock,
            "sign_in.ended",
            user_id=row.user_id,
            actor_id=actor.user_id,
            detail=f"{device_words(row.user_agent)}, {row.address}",
        )
        session.flush()
    return row


def end_sign_ins(session: Session, clock: Clock, user: User, besides: str | None = None) -> int:
    """Sign `user` out everywhere, or everywhere but in the sign-in `besides`; returns how many ended.

    Without `besides` what is only half-way goes as well: a sign-in before its code, a link to a new password.
    """
    if besides is None:
        user.fs_uniquifier = new_id()
    ended = session.scalars(
        update(SignIn)
        .where(SignIn.user_id == user.id, SignIn.ended_at.is_(None), SignIn.id != (besides or ""))
        .values(ended_at=clock.now())
        .returning(SignIn.id)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())


def device_words(user_agent: str) -> str:
    """What a browser says of itself, in words such as "Firefox on Linux": a claim, fit to recognise it by."""
    browser = _first(_BROWSERS, user_agent) or "Another browser"
    system = _first(_SYSTEMS, user_agent)
    return f"{browser} on {system}" if system else browser


def _first(patterns: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((words for pattern, words in patterns if re.search(pattern, text)), None)
