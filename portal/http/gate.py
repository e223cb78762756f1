"""The gate: before every request, who is it, and does the access table let them in?"""

from flask import Flask, Response, abort, g, redirect, request, url_for
from flask_security import current_user

from portal.accounts.actors import Actor, actor_of
from portal.accounts.permissions import Permission
from portal.db import begin_reading, end_reading, set_scope
from portal.http.access import ACCESS, PUBLIC, SIGNED_IN, Rule
from portal.http.context import db


def init_app(app: Flask) -> None:
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


def _admit() -> Response | None:
    g.reading = begin_reading() if request.method in {"GET", "HEAD", "OPTIONS"} else None
    g.actor = None
    if request.routing_exception is not None:
        return None  # 404 and 405 are answered by the error pages
    g.actor = identify()
    if g.actor is not None:
        set_scope(db.session, g.actor.scope)
    rule = rule_for(request.endpoint, request.method)
    if rule is None:
        abort(404)
    if allows(rule, g.actor):
        return None
    if g.actor is None:
        if wants_page():
            return redirect(url_for("security.login", next=request.full_path.rstrip("?")))  # type: ignore[return-value]
        abort(401)
    abort(403)


def identify() -> Actor | None:
    """The actor by session cookie. (Bearer tokens: see portal/http/tokens.py once there.)"""
    if current_user.is_authenticated:
        return actor_of(current_user)
    return None


def wants_page() -> bool:
    """Whether the asker is a person with a browser rather than a program."""
    return not request.path.startswith(("/api/", "/files/"))


def _leave(_error: BaseException | None) -> None:
    token = g.pop("reading", None)
    if token is not None:
        end_reading(token)


