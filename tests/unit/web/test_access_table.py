"""Every route × role × tenant against the one access table (portal/http/access.py)."""

import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule as Route

from portal.accounts.actors import actor_of
from portal.accounts.models import RoleName, User
from portal.accounts.permissions import GRANTS
from portal.http.access import ACCESS, PUBLIC, SIGNED_IN
from portal.http.gate import allows, rule_for
from tests.factories import Make

IGNORED = {"HEAD", "OPTIONS"}
NOWHERE = "0" * 32


def routes(app: Flask) -> Iterator[tuple[Route, str]]:
    for route in app.url_map.iter_rules():
        for method in sorted((route.methods or set()) - IGNORED):
            yield route, method


def path_of(route: Route) -> str:
    """A path with ids that exist nowhere."""
    return re.sub(r"<(?:[^:<>]+:)?[^<>]+>", NOWHERE, route.rule)


def test_every_route_and_method_has_a_row(app: Flask) -> None:
    without = [
        f"{route.endpoint} {method}"
        for route, method in routes(app)
        if rule_for(route.endpoint, method) is None
    ]
    assert without == []


def test_every_row_is_about_a_route(app: Flask) -> None:
    there = {(route.endpoint, method) for route, method in routes(app)}
    rows = {(endpoint, method) for endpoint, methods in ACCESS.items() for method in methods}
    assert {row for row in rows - there if row[1] not in IGNORED} == set()


def test_nothing_that_changes_state_is_open_to_everyone(app: Flask) -> None:
    open_to_all = {
        f"{route.endpoint} {method}"
        for route, method in routes(app)
        if method not in {"GET"} and rule_for(route.endpoint, method) == PUBLIC
    }
    # What people must reach before they are anyone here: signing in, a lost password, an invitation.
    assert all(
        name.startswith(("security.", "account.invitation", "account.accept")) for name in open_to_all
    ), open_to_all


def test_anonymous_reaches_only_what_is_public(app: Flask, client: FlaskClient) -> None:
    for route, method in routes(app):
        if rule_for(route.endpoint, method) == PUBLIC:
            continue
        response = client.open(path_of(route), method=method)
        where = f"{method} {route.rule}"
        if route.rule.startswith(("/api/", "/files/")):
            assert response.status_code == 401, where
        else:
            assert response.status_code in {302, 400, 401, 404}, (
                where
            )  # sign-in page; no CSRF token; not there
            assert b"<h1" not in response.data or response.status_code != 200, where


@pytest.mark.parametrize("role", list(RoleName))
def test_each_role_gets_what_the_table_grants_and_nothing_else(
    role: RoleName,
    app: Flask,
    make: Make,
    sign_in: Callable[[User], FlaskClient],
) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    person = make.user(role, make.supplier() if role.value.startswith("supplier") else None)
    actor = actor_of(person)
    make.session.commit()  # or its read lock out the requests' writes
    client = sign_in(person)
    for route, method in routes(app):
        if (
            route.endpoint.startswith(("security.", "static", "bootstrap."))
            or route.endpoint == "account.sign_out"
        ):
            continue
        if route.rule.startswith(("/api/", "/files/")):
            continue  # tokens, not sessions: tests/unit/api and the tus tests
        rule = rule_for(route.endpoint, method)
        assert rule is not None
        response = client.open(path_of(route), method=method)
        where = f"{role}: {method} {route.rule} gave {response.status_code}"
        if allows(rule, actor):
            assert response.status_code != 403 or rule in (SIGNED_IN, PUBLIC), where
            assert response.status_code < 500, where
        else:
            assert response.status_code == 403, where


def test_an_auditor_may_change_nothing() -> None:
    assert not [right for right in GRANTS[RoleName.AUDITOR] if not right.value.endswith(":read")]


def test_no_supplier_role_has_a_right_of_the_buyer() -> None:
    for role in (RoleName.SUPPLIER_ADMIN, RoleName.SUPPLIER_CONTRIBUTOR):
        assert all(right.value.startswith("supplier:") for right in GRANTS[role])
