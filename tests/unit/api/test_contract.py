"""What holds for every route: tokens, strict JSON, problem+json, and a document that tells the truth."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import RoleName, User
from portal.accounts.permissions import Permission
from portal.api.blueprint import PREFIX, contract
from portal.http.access import ACCESS
from tests.factories import Make
from tests.factories.tokens import bearer
from tests.unit.api.conftest import Machine

GOOD = b'{"model": "NH-280", "name": "Cell"}'


def problem(response: Any) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    told: dict[str, Any] = response.get_json()
    assert told["status"] == response.status_code
    return told


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(GOOD, 201, id="good"),
        pytest.param(b'{"model": "a", "model": "b", "name": "c"}', 400, id="J1 duplicate member"),
        pytest.param(b'{"model": "a", "name": NaN}', 400, id="J2 NaN"),
        pytest.param(b'{"model": "a", "name": -Infinity}', 400, id="J2 Infinity"),
        pytest.param(b'{"model": "a", "name": 1e400}', 400, id="J3 number out of range"),
        pytest.param(b'{"model": "a", "name": ' + b"9" * 5000 + b"}", 400, id="J4 huge number"),
        pytest.param(b'{"model": "a", "name": "\\ud800"}', 422, id="J5 lone surrogate"),
        pytest.param(b"[" * 100_000, 400, id="J6 nesting"),
        pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, 400, id="J7 depth 65"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, 400, id="J8 byte-order mark"),
        pytest.param(GOOD.decode().encode("utf-16"), 400, id="J9 UTF-16"),
        pytest.param(b'{"model": "a\\u0000", "name": "b"}', 422, id="J10 NUL"),
        pytest.param(b'{"model": "a", "name": "b",}', 400, id="J12 trailing comma"),
        pytest.param(GOOD + b"x", 400, id="J12 trailing garbage"),
        pytest.param(b"// no\n" + GOOD, 400, id="J12 comment"),
        pytest.param(b'"text"', 422, id="J13 scalar"),
        pytest.param(b"null", 422, id="J13 null"),
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b'{"model": "\xc0\xaf", "name": "b"}', 400, id="J14 overlong UTF-8"),
        pytest.param(b'{"__proto__": 1, "model": "a", "name": "b"}', 422, id="J16 unknown member"),
        pytest.param(b'{"model": "a", "name": "' + b"x" * (1 << 20) + b'"}', 413, id="J17 over 1 MiB"),
        pytest.param(b'{"model": "a", "name": "b", "supplier_id": "x"}', 422, id="J19 supplier_id"),
        pytest.param(b'{"model": "a", "name": "b", "tier": 3}', 422, id="J19 tier"),
        pytest.param(b'{"model": 5, "name": "b"}', 422, id="number for text"),
        pytest.param(b'{"model": "a", "name": null}', 422, id="null for text"),
        pytest.param(b'{"model": "a"}', 422, id="missing member"),
        pytest.param(b'{"model": "a", "name": "b", "end_of_sale": "2026-02-30"}', 422, id="no such day"),
        pytest.param(b'{"model": "a", "name": "b", "end_of_sale": 5}', 422, id="number for date"),
    ],
)
def test_only_strict_json_is_taken(machine: Machine, data: bytes, status: int) -> None:
    response = machine.raw("/products", data)
    assert response.status_code == status, response.text
    if status != 201:
        problem(response)
        assert machine.get("/products").get_json()["total"] == 0


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("text/plain", {}),
        ("application/x-www-form-urlencoded", {}),
        ("application/json; charset=utf-16", {}),
        ("application/json", {"Content-Encoding": "gzip"}),
    ],
)
def test_another_content_type_is_415(machine: Machine, kind: str, headers: dict[str, str]) -> None:
    response = machine.raw("/products", GOOD, kind, **headers)
    assert problem(response)["status"] == 415


def test_every_fault_is_named_with_its_place(machine: Machine) -> None:
    told = problem(machine.post("/products", {"name": 5, "components": ["ok", 7], "more": 1}))
    assert told["code"] == "invalid_input"
    assert {part["where"] for part in told["problems"]} == {"model", "name", "components.1", "more"}


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "size=201", "page=1&page=2", "more=1", "kind=nonsense", "page=%D9%A3"]
)
def test_a_wrong_query_is_refused(machine: Machine, query: str) -> None:
    response = machine.client.get(f"{PREFIX}/submissions?{query}", headers=machine.token)
    assert problem(response)["status"] in {400, 422}


def test_a_query_where_none_is_known_is_refused(machine: Machine) -> None:
    assert problem(machine.get("/keys", more=1))["status"] == 400


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", "Basic dXNlcjpwdw==", "bearer lgt_" + "0" * 64]
)
def test_without_a_good_token_every_route_is_401(app: Flask, header: str) -> None:
    client = app.test_client()
    for route in contract.routes:
        path = PREFIX + re.sub(r"\{\w+\}", "0" * 32, route.path)
        response = client.open(path, method=route.method, headers={"Authorization": header} if header else {})
        assert problem(response)["status"] == 401, route
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_browsers_cookie_opens_nothing_here(make: Make, sign_in: Callable[[User], FlaskClient]) -> None:
    client = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    assert client.get(f"{PREFIX}/products").status_code == 401
    assert client.post(f"{PREFIX}/products", data=GOOD, content_type="application/json").status_code == 401


def test_a_token_does_what_its_scopes_allow(app: Flask, make: Make) -> None:
    supplier = make.supplier()
    reader = Machine(
        app.test_client(), supplier, bearer(make, supplier, [Permission.SUPPLIER_SUBMISSION_READ])
    )
    for route in contract.routes:
        path = PREFIX + re.sub(r"\{\w+\}", "0" * 32, route.path)
        response = reader.client.open(path, method=route.method, headers=reader.token)
        allowed = route.permission is Permission.SUPPLIER_SUBMISSION_READ
        assert (response.status_code == 403) is not allowed, route


def test_the_access_table_says_what_the_document_says() -> None:
    rows = {name.removeprefix("api."): rule for name, rule in ACCESS.items() if name.startswith("api.")}
    del rows["document"]
    assert rows == {route.name: {route.method: route.permission} for route in contract.routes}


def test_the_document_is_public_and_complete(client: FlaskClient) -> None:
    document = client.get(f"{PREFIX}/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    routes = {(path, method) for path, operations in document["paths"].items() for method in operations}
    assert routes == {(route.path, route.method.lower()) for route in contract.routes}
    names = set(document["components"]["schemas"])
    references = re.findall(r"#/components/schemas/(\w+)", str(document))
    assert references
    assert set(references) <= names


def test_an_address_that_is_none_is_404_and_a_wrong_method_405(machine: Machine) -> None:
    assert problem(machine.get("/nothing"))["status"] == 404
    assert problem(machine.delete("/products"))["status"] == 405
