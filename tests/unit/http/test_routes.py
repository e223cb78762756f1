"""The access table: every route has its row, every row its route."""

from flask import Flask

from portal.http.access import ACCESS


def test_every_account_route_has_a_row_for_each_method(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith(("account.", "admin.", "security.")):
            continue
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        assert methods == set(ACCESS.get(rule.endpoint, {})), rule.endpoint


def test_no_account_row_is_without_a_route(app: Flask) -> None:
    ours = {name for name in ACCESS if name.startswith(("account.", "admin.", "security."))}
    assert ours <= set(app.view_functions)
