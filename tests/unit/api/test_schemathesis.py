"""Requests made up from the API's document: no failure of ours, and no answer that it does not announce."""

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from portal.api.blueprint import PREFIX, contract
from portal.api.contract import Route
from tests.unit.api.conftest import Machine

CHECKS = [
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.mark.slow
@pytest.mark.parametrize("route", contract.routes, ids=lambda route: route.name)
def test_made_up_requests_are_answered_as_announced(app: Flask, machine: Machine, route: Route) -> None:
    schema = schemathesis.openapi.from_wsgi(f"{PREFIX}/openapi.json", app)

    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[route.path][route.method].as_strategy())
    def explore(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=machine.token, checks=CHECKS)

    explore()
