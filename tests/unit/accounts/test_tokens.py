"""API tokens: what they may, and how they end."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from portal.accounts import service
from portal.accounts.actors import actor_of
from portal.accounts.models import RoleName
from portal.accounts.permissions import Permission as P
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import InvalidInput, NotAllowed, NotFound
from tests.factories import Make

R = RoleName
SCOPES = [P.SUPPLIER_SUBMISSION_READ, P.SUPPLIER_UPLOAD_WRITE]


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def test_a_token_is_random_and_stored_as_digest(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    actor = make.supplier_actor()
    made = [service.create_token(session, actor, clock, name="ci", scopes=SCOPES, days=30) for _ in range(2)]
    (row, token), (_, other) = made
    assert token != other
    assert len(token) == len("lgt_") + 43
    assert token.startswith(row.prefix)
    assert token not in row.token_sha256
    assert service.usable_token(session, clock, token) is not None


@pytest.mark.parametrize(
    "scopes",
    [
        [],
        [P.SUPPLIER_KEY_REGISTER],
        [P.SUPPLIER_TEAM_MANAGE],
        [P.REVIEW_CASE_DECIDE],
        [*SCOPES, P.ADMIN_USER_MANAGE],
    ],
)
def test_scopes_that_are_not_offered_are_refused(
    scopes: list[P], session: TenantSession, clock: FixedClock, make: Make
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        service.create_token(session, make.supplier_actor(), clock, name="ci", scopes=scopes, days=30)
    assert [problem.where for problem in refusal.value.problems] == ["scopes"]


@pytest.mark.parametrize("days", [0, -1, 366])
def test_a_token_without_a_near_end_is_refused(
    days: int, session: TenantSession, clock: FixedClock, make: Make
) -> None:
    with pytest.raises(InvalidInput):
        service.create_token(session, make.supplier_actor(), clock, name="ci", scopes=SCOPES, days=days)


@pytest.mark.parametrize("role", [R.SUPPLIER_CONTRIBUTOR, R.ADMINISTRATOR, R.REVIEWER])
def test_only_a_suppliers_administrator_makes_tokens(
    role: RoleName, session: TenantSession, clock: FixedClock, make: Make
) -> None:
    actor = make.actor(role, make.supplier() if role == R.SUPPLIER_CONTRIBUTOR else None)
    with pytest.raises(NotAllowed):
        service.create_token(session, actor, clock, name="ci", scopes=SCOPES, days=1)


def test_a_token_ends_with_its_date(session: TenantSession, clock: FixedClock, make: Make) -> None:
    _, token = service.create_token(session, make.supplier_actor(), clock, name="ci", scopes=SCOPES, days=1)
    clock.advance(timedelta(days=1) - timedelta(seconds=1))
    assert service.usable_token(session, clock, token) is not None
    clock.advance(timedelta(seconds=1))
    assert service.usable_token(session, clock, token) is None


def test_a_token_ends_with_its_revocation(session: TenantSession, clock: FixedClock, make: Make) -> None:
    actor = make.supplier_actor()
    row, token = service.create_token(session, actor, clock, name="ci", scopes=SCOPES, days=1)
    service.revoke_token(session, actor, clock, row.id)
    assert service.usable_token(session, clock, token) is None


def test_a_token_ends_with_its_makers_account(session: TenantSession, clock: FixedClock, make: Make) -> None:
    supplier = make.supplier()
    maker = make.user(R.SUPPLIER_ADMIN, supplier)
    make.user(R.SUPPLIER_ADMIN, supplier)
    _, token = service.create_token(session, actor_of(maker), clock, name="ci", scopes=SCOPES, days=1)
    service.disable(session, make.actor(R.ADMINISTRATOR), clock, maker.id)
    assert service.usable_token(session, clock, token) is None


def test_a_token_ends_with_its_organisation(session: TenantSession, clock: FixedClock, make: Make) -> None:
    maker = make.user(R.SUPPLIER_ADMIN, make.supplier())
    _, token = service.create_token(session, actor_of(maker), clock, name="ci", scopes=SCOPES, days=1)
    maker.organisation.disabled_at = clock.now()
    session.flush()
    assert service.usable_token(session, clock, token) is None


def test_another_suppliers_token_does_not_exist(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    row, _ = service.create_token(session, make.supplier_actor(), clock, name="ci", scopes=SCOPES, days=1)
    with pytest.raises(NotFound):
        service.revoke_token(session, make.supplier_actor(), clock, row.id)
    assert row.revoked_at is None


@pytest.mark.parametrize("token", ["", "lgt_", "lgt_" + "x" * 43, "nonsense"])
def test_what_is_no_token_is_refused(token: str, session: TenantSession, clock: FixedClock) -> None:
    assert service.usable_token(session, clock, token) is None
