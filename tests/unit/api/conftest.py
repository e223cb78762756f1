"""A machine with a token, and the supplier it belongs to."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.suppliers.models import Supplier
from tests.factories import Make
from tests.factories.tokens import bearer

PREFIX = "/api/v1"


class Machine:
    """Speaks JSON with a token."""

    def __init__(self, client: FlaskClient, supplier: Supplier, token: dict[str, str]) -> None:
        self.client, self.supplier, self.token = client, supplier, token

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.client.get(PREFIX + path, headers=self.token, query_string=query)

    def post(self, path: str, body: Any = None) -> TestResponse:
        return self.client.post(PREFIX + path, headers=self.token, json=body)

    def patch(self, path: str, body: Any) -> TestResponse:
        return self.client.patch(PREFIX + path, headers=self.token, json=body)

    def delete(self, path: str) -> TestResponse:
        return self.client.delete(PREFIX + path, headers=self.token)

    def raw(self, path: str, data: bytes, kind: str = "application/json", **headers: str) -> TestResponse:
        given = self.token | {"Content-Type": kind} | headers
        return self.client.post(PREFIX + path, headers=given, data=data)

    def send(self, data: bytes, name: str = "file.bin", **query: str) -> str:
        """Deliver a file; its evidence id."""
        response = self.client.post(
            f"{PREFIX}/evidence",
            headers=self.token | {"Content-Type": "application/octet-stream"},
            query_string={"filename": name} | query,
            data=data,
        )
        assert response.status_code == 201, response.text
        return str(response.get_json()["id"])


@pytest.fixture
def machine(app: Flask, make: Make) -> Machine:
    supplier = make.supplier()
    return Machine(app.test_client(), supplier, bearer(make, supplier))


@pytest.fixture
def stranger(app: Flask, make: Make) -> Machine:
    """The machine of another supplier."""
    supplier = make.supplier()
    return Machine(app.test_client(), supplier, bearer(make, supplier))
