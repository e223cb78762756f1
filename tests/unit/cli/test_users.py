"""`lotgate users add`: the first account of an installation, and every next one."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from portal.accounts.models import Organisation, OrganisationKind, User
from portal.cli.main import main
from portal.db import open_engine, open_session
from portal.settings import Settings


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("LOTGATE_VAR_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(email: str, role: str, *more: str) -> Result:
        return CliRunner().invoke(
            main, ["users", "add", "--email", email, "--name", "Ada", "--role", role, *more]
        )

    return run


def _rows(tmp_path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    engine = open_engine(Settings(var_dir=tmp_path).database)
    with open_session(engine) as session:
        people = list(session.scalars(select(User.email).order_by(User.email)))
        companies = [
            (row.kind.value, row.name)
            for row in session.scalars(select(Organisation).order_by(Organisation.name))
        ]
    engine.dispose()
    return people, companies


def test_accounts_on_both_sides_from_an_empty_folder(add, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first = add("Admin@Example.com", "administrator", "--organisation", "Meridian")
    assert first.exit_code == 0, first.output
    password = re.search(r"password  (\S{20})$", first.output, re.MULTILINE)
    assert password
    assert "second factor" in first.output
    again = add("admin@example.com", "reviewer")
    assert (again.exit_code, again.output) == (1, "Error: admin@example.com has an account already\n")
    assert add("rev@example.com", "reviewer").exit_code == 0
    assert "one buying organisation" in add("x@example.com", "reviewer", "--organisation", "Other").output
    assert "needs its company" in add("sup@example.com", "supplier_admin").output
    for email in ("sup@example.com", "sup2@example.com"):
        assert add(email, "supplier_admin", "--organisation", "Kestrel UPS").exit_code == 0
    assert add("y@example.com", "king").exit_code == 2
    people, companies = _rows(tmp_path)
    assert people == ["admin@example.com", "rev@example.com", "sup2@example.com", "sup@example.com"]
    assert companies == [
        (OrganisationKind.SUPPLIER.value, "Kestrel UPS"),
        (OrganisationKind.BUYER.value, "Meridian"),
    ]
