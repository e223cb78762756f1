"""Bearer tokens (RFC 6750) for `/api/` and `/files/`. Who shows one acts as its maker, cookie or not."""

from datetime import timedelta

from flask import g, request
from sqlalchemy import update
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from portal.accounts.actors import Actor, actor_of
from portal.accounts.models import ApiToken
from portal.accounts.service import usable_token
from portal.db import open_session, reading
from portal.http.context import db, parts
from portal.http.limits import hit

TOUCH_AFTER = timedelta(minutes=1)  # "last used" is kept to the minute, not written with every request


def has_bearer() -> bool:
    """Whether this request comes with an Authorization header, of whatever kind, where one counts."""
    return request.path.startswith(("/api/", "/files/")) and "Authorization" in request.headers


def identify_bearer() -> Actor:
    """The actor of the request's token. Raises Unauthorized (401) whatever is wrong with it."""
    scheme, _, token = request.headers["Authorization"].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _refusal("invalid_request", "expected the header `Authorization: Bearer lgt_…`")
    found = _resolve(token.strip())
    if found is None:
        raise _refusal("invalid_token", "this token is unknown, expired or revoked")
    actor, token_id = found
    if request.endpoint != "files.append":  # which counts by itself: a fast upload has many pieces a second
        hit(parts().settings.api_rate, "api", token_id)
    g.token_id = token_id
    return actor


def challenge() -> Unauthorized:
    """For a request without any proof of who asks."""
    return _refusal("", "sign in, or send a token in the header `Authorization: Bearer lgt_…`")


def _resolve(token: str) -> tuple[Actor, str] | None:
    # A session of its own, closed before the request's begins: noting the use must neither wait for the
    # request's write lock nor be undone with it.
    clock = parts().clock
    with reading(db.engine) as session:
        found = usable_token(session, clock, token)
        if found is None:
            return None
        row, maker = found
        actor = actor_of(maker, "api", row.scopes)
        stale = row.last_used_at is None or clock.now() - row.last_used_at >= TOUCH_AFTER
    if stale:
        with open_session(db.engine) as session:
            session.execute(update(ApiToken).where(ApiToken.id == row.id).values(last_used_at=clock.now()))
            session.commit()
    return actor, row.id


def _refusal(error: str, why: str) -> Unauthorized:
    values: dict[str, str | None] = {"realm": "Lotgate"}
    if error:
        values["error"] = error
    return Unauthorized(why, www_authenticate=WWWAuthenticate("Bearer", values))
