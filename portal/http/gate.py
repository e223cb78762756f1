"""The gate: before every request, who is it, and does the access table let them in?

In this order: tries are counted, the asker is identified (by token or by cookie, never both), sent to set up
a second factor where theirs is missing, held against the access table, and asked for the CSRF token unless
they showed a bearer token.
"""

from contextlib import suppress
from typing import Final

from flask import Flask, abort, after_this_request, flash, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask_security import current_user, logout_user
from flask_wtf.csrf import CSRFProtect
from sqlalchemy.exc import OperationalError
from werkzeug.wrappers import Response

from portal.accounts.actors import Actor, actor_of
from portal.accounts.models import SignIn, User
from portal.accounts.permissions import Permission
from portal.accounts.service import is_admitted
from portal.accounts.sign_ins import SEEN_EVERY, begin_sign_in, note_seen, open_sign_ins
from portal.db import begin_reading, end_reading, open_session, set_scope
from portal.http import limits
from portal.http.access import ACCESS, CLOSED, PUBLIC, SIGNED_IN, Rule
from portal.http.context import db, parts
from portal.http.tokens import challenge, has_bearer, identify_bearer

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Where something could be guessed by trying: the tries from one address are limited, all of these together.
GUESSABLE: Final = frozenset(
    {
        "account.accept",
        "security.change_password",
        "security.forgot_password",
        "security.login",
        "security.mf_recovery",
        "security.reset_password",
        "security.two_factor_setup_validate",
        "security.two_factor_token_validation",
        "security.verify",
        "security.wan_signin_response",
    }
)
# What a person whose second factor is missing can reach.
CONFINED_TO: Final = frozenset(
    {
        "health",
        "security.logout",
        "security.two_factor_setup",
        "security.two_factor_setup_validate",
        "security.two_factor_token_validation",
        "security.verify",
    }
)
# The same for everyone: nobody is asked who they are, and caches between need not care either.
STATIC: Final = frozenset(
    {
        "static",
        "bootstrap.static",
        "log.checkpoint",
        "log.policy",
        "log.stamp",
        "log.stamped",
        "log.tile",
    }
)
csrf = CSRFProtect()


class Sessions(SecureCookieSessionInterface):
    """Sessions in signed cookies, for what depends on who asks; the rest may be cached for everybody."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if request.endpoint not in STATIC:
            super().save_session(app, session, response)  # type: ignore[arg-type]


def init_app(app: Flask) -> None:
    app.config.update(
        WTF_CSRF_CHECK_DEFAULT=False,  # the gate asks, once it knows who it is
        WTF_CSRF_TIME_LIMIT=None,  # lives as long as the session
    )
    app.session_interface = Sessions()
    csrf.init_app(app)
    limits.init_app(app)
    app.before_request(_begin)  # before anybody asks the database
    app.before_request(_admit)
    app.teardown_request(_leave)


def allows(rule: Rule, actor: Actor | None) -> bool:
    if rule == PUBLIC:
        return True
    if actor is None:
        return False
    if rule == SIGNED_IN:
        return True
    wanted = rule if isinstance(rule, tuple) else (rule,)
    return any(isinstance(permission, Permission) and actor.may(permission) for permission in wanted)


def rule_for(endpoint: str | None, method: str) -> Rule | None:
    """The row for this route; HEAD is GET, OPTIONS reveals nothing and is public."""
    if endpoint is None:
        return None
    rows = ACCESS.get(endpoint, {})
    if method == "OPTIONS" and endpoint in ACCESS:
        return rows.get("OPTIONS", PUBLIC)
    return rows.get(method) or (rows.get("GET") if method == "HEAD" else None)


def begin_session(user: User) -> None:
    """A session of `user` in this browser; called where they have shown all their factors."""
    row = begin_sign_in(
        db.session,
        parts().clock,
        user,
        address=request.remote_addr,
        user_agent=request.user_agent.string,
    )
    session["sign_in"] = row.id


def identify() -> Actor | None:
    """The actor of this request: of its token where it shows one, else of its cookie."""
    return identify_bearer() if has_bearer() else _identify_cookie()


def wants_page() -> bool:
    """Whether the asker is a person with a browser rather than a program."""
    return not request.path.startswith(("/api/", "/files/", "/ledger/")) or request.endpoint == "log.index"


def _begin() -> None:
    """What only reads never waits for a writer."""
    g.reading = begin_reading() if request.method in SAFE else None


def _admit() -> Response | None:
    g.actor = None
    g.confined = False
    if request.routing_exception is not None or request.endpoint in STATIC:
        return None  # 404 and 405 are answered by the error pages
    if request.method == "POST" and request.endpoint in GUESSABLE:
        limits.guess_limit()
    g.actor = identify()
    if g.actor is not None:
        set_scope(db.session, g.actor.scope)
    rule = rule_for(request.endpoint, request.method)
    if rule is None or rule == CLOSED:
        abort(404)
    if g.confined and request.endpoint not in CONFINED_TO:
        return redirect(url_for("security.two_factor_setup")) if wants_page() else abort(403)
    if not allows(rule, g.actor):
        return _refuse()
    if request.method not in SAFE:
        db.session.commit()  # asking who it is began a transaction: a slow body must not hold up all writers
        if not has_bearer():
            csrf.protect()
    if _shows_a_page() and session.pop("codes_due", False):
        return redirect(url_for("security.mf_recovery_codes"))
    return None


def _identify_cookie() -> Actor | None:
    if not current_user.is_authenticated:
        return None
    user: User = current_user._get_current_object()  # noqa: SLF001  # the row itself, not the proxy
    if not is_admitted(user) or not _is_open(user):
        session.pop("sign_in", None)  # nothing is left to end
        logout_user()
        session.clear()
        if wants_page():
            flash("Your session has ended. Please sign in again.", "info")
        return None
    g.confined = user.needs_second_factor and not user.has_second_factor
    return actor_of(user)


def _is_open(user: User) -> bool:
    """Whether the sign-in that this session stands on is there, `user`'s, not ended and not run out."""
    clock, settings = parts().clock, parts().settings
    query = open_sign_ins(
        clock, user.id, idle_minutes=settings.session_idle_minutes, hours=settings.session_hours
    )
    row = db.session.scalar(query.where(SignIn.id == session.get("sign_in")))
    if row is None:
        return False
    if clock.now() - row.seen_at >= SEEN_EVERY:
        _note_seen_after(row.id)
    return True


def _note_seen_after(sign_in_id: str) -> None:
    """Write it down once the answer is on its way: who only reads never waits for a writer."""
    engine, at = db.engine, parts().clock.now()

    def note() -> None:
        with suppress(OperationalError), open_session(engine) as own:  # too busy: the next request notes it
            note_seen(own, sign_in_id, at)
            own.commit()

    @after_this_request
    def schedule(response: Response) -> Response:
        response.call_on_close(note)
        return response


def _refuse() -> Response:
    if g.actor is not None:
        abort(403)
    if not wants_page():
        raise challenge()
    target = request.full_path.rstrip("?") if request.method in SAFE else None
    return redirect(url_for("security.login", next=target))


def _shows_a_page() -> bool:
    return request.method == "GET" and wants_page()


def _leave(_error: BaseException | None) -> None:
    token = g.pop("reading", None)
    if token is not None:
        end_reading(token)
