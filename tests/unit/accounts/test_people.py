"""Users and roles: who may change whom, and that an organisation keeps an administrator."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts import service
from portal.accounts.actors import actor_of
from portal.accounts.models import AccountEvent, RoleName
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from tests.factories import Make

R = RoleName


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def test_a_user_is_made_with_a_fresh_password(session: TenantSession, clock: FixedClock, make: Make) -> None:
    supplier = make.supplier()
    values = {"organisation_id": supplier.id, "name": " Ada  Lovelace ", "role": R.SUPPLIER_ADMIN}
    one, first = service.create_user(session, clock, email="Ada@Example.COM", **values)
    _, second = service.create_user(session, clock, email="b@example.com", **values)
    assert (one.name, one.email, one.role) == ("Ada Lovelace", "ada@example.com", R.SUPPLIER_ADMIN)
    assert first != second
    assert one.password is not None
    assert first not in one.password


@pytest.mark.parametrize(
    "email", ["ada", "ada@", "@example.com", "a b@example.com", "ada@example.com\nBcc: x@y.z"]
)
def test_what_is_no_address_is_refused(
    email: str, session: TenantSession, clock: FixedClock, make: Make
) -> None:
    with pytest.raises(InvalidInput, match="not an e-mail address"):
        service.create_user(
            session, clock, organisation_id=make.buyer().id, email=email, name="A", role=R.AUDITOR
        )


def test_a_second_account_of_an_address_is_refused(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    taken = make.user(email="ada@example.com")
    with pytest.raises(Conflict, match="has an account already"):
        service.create_user(
            session,
            clock,
            organisation_id=taken.organisation_id,
            email="ADA@example.com",
            name="A",
            role=R.AUDITOR,
        )


@pytest.mark.parametrize("role", [R.SUPPLIER_ADMIN, R.SUPPLIER_CONTRIBUTOR])
def test_a_suppliers_role_at_the_buyer_is_refused(
    role: RoleName, session: TenantSession, clock: FixedClock, make: Make
) -> None:
    with pytest.raises(InvalidInput, match="is not a role at"):
        service.create_user(
            session, clock, organisation_id=make.buyer().id, email="a@example.com", name="A", role=role
        )


def test_a_buyers_role_at_a_supplier_is_refused(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    supplier = make.supplier()
    person = make.user(R.SUPPLIER_CONTRIBUTOR, supplier)
    with pytest.raises(InvalidInput, match="is not a role at"):
        service.change_role(session, make.actor(R.ADMINISTRATOR), clock, person.id, R.ADMINISTRATOR)


def test_there_is_one_buyer(session: TenantSession, clock: FixedClock) -> None:
    service.create_buyer(session, clock, "Meridian")
    with pytest.raises(Conflict, match="Meridian"):
        service.create_buyer(session, clock, "Another")


def test_a_role_change_ends_sessions_and_is_recorded(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    admin, person = make.actor(R.ADMINISTRATOR), make.user(R.REVIEWER)
    before = person.fs_uniquifier
    service.change_role(session, admin, clock, person.id, R.APPROVER)
    assert person.role == R.APPROVER
    assert person.fs_uniquifier != before
    event = session.scalars(select(AccountEvent).where(AccountEvent.kind == "account.role")).one()
    assert (event.user_id, event.actor_id, event.detail) == (person.id, admin.user_id, "reviewer to approver")


@pytest.mark.parametrize("role", [R.REVIEWER, R.APPROVER, R.AUDITOR])
def test_only_administrators_change_people(
    role: RoleName, session: TenantSession, clock: FixedClock, make: Make
) -> None:
    person = make.user(R.REVIEWER)
    for verb in (service.disable, service.enable, service.reset_second_factor):
        with pytest.raises(NotAllowed):
            verb(session, make.actor(role), clock, person.id)


def test_a_contributor_manages_nobody(session: TenantSession, clock: FixedClock, make: Make) -> None:
    supplier = make.supplier()
    actor, person = make.actor(R.SUPPLIER_CONTRIBUTOR, supplier), make.user(R.SUPPLIER_CONTRIBUTOR, supplier)
    with pytest.raises(NotAllowed):
        service.disable(session, actor, clock, person.id)


def test_another_suppliers_people_do_not_exist(session: TenantSession, clock: FixedClock, make: Make) -> None:
    actor, stranger = make.supplier_actor(), make.user(R.SUPPLIER_ADMIN, make.supplier())
    for user_id in (stranger.id, make.user(R.REVIEWER).id, "0" * 32):
        with pytest.raises(NotFound, match=r"^there is no such person$"):
            service.disable(session, actor, clock, user_id)
        with pytest.raises(NotFound, match=r"^there is no such person$"):
            service.change_role(session, actor, clock, user_id, R.SUPPLIER_CONTRIBUTOR)


def test_nobody_changes_themselves(session: TenantSession, clock: FixedClock, make: Make) -> None:
    make.user(R.ADMINISTRATOR)
    me = make.user(R.ADMINISTRATOR)
    for act in (service.disable, service.reset_second_factor):
        with pytest.raises(NotAllowed):
            act(session, actor_of(me), clock, me.id)
    with pytest.raises(NotAllowed, match="their own role"):
        service.change_role(session, actor_of(me), clock, me.id, R.APPROVER)


def test_the_last_administrator_of_a_supplier_stays(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    supplier = make.supplier()
    last, off = make.user(R.SUPPLIER_ADMIN, supplier), make.user(R.SUPPLIER_ADMIN, supplier)
    off.active = False
    make.user(R.SUPPLIER_CONTRIBUTOR, supplier)
    make.user(R.SUPPLIER_ADMIN, make.supplier())
    admin = make.actor(R.ADMINISTRATOR)
    with pytest.raises(Conflict, match="last administrator"):
        service.disable(session, admin, clock, last.id)
    with pytest.raises(Conflict, match="last administrator"):
        service.change_role(session, admin, clock, last.id, R.SUPPLIER_CONTRIBUTOR)
    service.enable(session, admin, clock, off.id)
    service.disable(session, admin, clock, last.id)
    assert not last.active


def test_the_last_administrator_of_the_buyer_stays(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    one, two = make.user(R.ADMINISTRATOR), make.user(R.ADMINISTRATOR)
    service.disable(session, actor_of(one), clock, two.id)
    with pytest.raises(Conflict, match="last administrator"):
        service.change_role(session, actor_of(two), clock, one.id, R.AUDITOR)


def test_a_reset_second_factor_leaves_none(session: TenantSession, clock: FixedClock, make: Make) -> None:
    person = make.user(R.REVIEWER)
    service.enrol_totp(session, person)
    assert person.has_second_factor
    before = person.fs_uniquifier
    service.reset_second_factor(session, make.actor(R.ADMINISTRATOR), clock, person.id)
    assert not person.has_second_factor
    assert person.recovery_codes_left == 0
    assert person.fs_uniquifier != before


def test_the_totp_secret_is_encrypted_at_rest(session: TenantSession, make: Make) -> None:
    person = make.user(R.REVIEWER)
    secret = service.enrol_totp(session, person)
    assert person.tf_totp_secret is not None
    assert secret not in person.tf_totp_secret
    assert len(person.tf_totp_secret) <= 255
