"""People with passwords, and a browser for each."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask

from portal.accounts import service
from portal.accounts.models import BUYER_ROLES, RoleName, User
from portal.clock import FixedClock
from portal.db import TenantSession
from tests.factories import Make
from tests.unit.web.visitor import Visitor


@dataclass
class Person:
    user: User
    email: str
    password: str
    secret: str | None


@pytest.fixture
def visitor(app: Flask, clock: FixedClock) -> Visitor:
    return Visitor(app, clock)


@pytest.fixture
def person(app: Flask, session: TenantSession, clock: FixedClock, make: Make) -> Callable[..., Person]:
    """`person(role, organisation_id)`: an account by the real verbs; buyers get a second factor."""
    count = 0

    def create(
        role: RoleName = RoleName.SUPPLIER_ADMIN,
        organisation_id: str | None = None,
        *,
        second_factor: bool | None = None,
    ) -> Person:
        nonlocal count
        count += 1
        buyer = role in BUYER_ROLES
        with app.app_context():
            user, password = service.create_user(
                session,
                clock,
                organisation_id=organisation_id or (make.buyer().id if buyer else make.supplier().id),
                email=f"Someone{count}@Example.com",
                name=f"Someone {count}",
                role=role,
            )
            wanted = buyer if second_factor is None else second_factor
            secret = service.enrol_totp(session, user) if wanted else None
            session.commit()
        return Person(user, user.email, password, secret)

    return create
