"""Invitations: one address, one organisation, one role, one use."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts import service
from portal.accounts.actors import Actor
from portal.accounts.models import Invitation, RoleName, User
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import Conflict, Gone, InvalidInput, NotAllowed, NotFound
from tests.factories import Make

R = RoleName
PASSWORD = "seven copper otters sleeping"


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def admin(make: Make) -> Actor:
    return make.supplier_actor()


def _invite(
    session: TenantSession, clock: FixedClock, actor: Actor, **values: object
) -> tuple[Invitation, str]:
    chosen = {
        "organisation_id": actor.supplier_id,
        "email": "new@example.com",
        "role": R.SUPPLIER_CONTRIBUTOR,
        "hours": 168,
    } | values
    return service.invite(session, actor, clock, **chosen)  # type: ignore[arg-type]


def test_an_invitation_becomes_an_account_once(
    session: TenantSession, clock: FixedClock, admin: Actor
) -> None:
    invitation, token = _invite(session, clock, admin)
    user = service.accept_invitation(session, clock, token, name="New", password=PASSWORD)
    assert (user.email, user.role, user.organisation_id) == (
        "new@example.com",
        R.SUPPLIER_CONTRIBUTOR,
        admin.supplier_id,
    )
    session.refresh(invitation)
    assert invitation.accepted_by == user.id
    with pytest.raises(Gone, match="has been used"):
        service.accept_invitation(session, clock, token, name="Again", password=PASSWORD)


def test_the_token_is_not_stored(session: TenantSession, clock: FixedClock, admin: Actor) -> None:
    invitation, token = _invite(session, clock, admin)
    assert len(token) == 43
    assert token not in (invitation.id, invitation.token_sha256)


def test_an_expired_invitation_is_refused(session: TenantSession, clock: FixedClock, admin: Actor) -> None:
    _, token = _invite(session, clock, admin, hours=1)
    clock.advance(timedelta(hours=1))
    with pytest.raises(Gone, match="has ended"):
        service.accept_invitation(session, clock, token, name="New", password=PASSWORD)


def test_a_revoked_invitation_is_refused(session: TenantSession, clock: FixedClock, admin: Actor) -> None:
    invitation, token = _invite(session, clock, admin)
    service.revoke_invitation(session, admin, clock, invitation.id)
    with pytest.raises(Gone, match="has ended"):
        service.accept_invitation(session, clock, token, name="New", password=PASSWORD)


def test_an_unknown_link_is_refused(session: TenantSession, clock: FixedClock) -> None:
    with pytest.raises(NotFound):
        service.accept_invitation(session, clock, "x" * 43, name="New", password=PASSWORD)


def test_a_new_link_ends_the_old_one(session: TenantSession, clock: FixedClock, admin: Actor) -> None:
    invitation, old = _invite(session, clock, admin)
    _, new = service.resend_invitation(session, admin, clock, invitation.id, hours=1)
    with pytest.raises(Gone):
        service.open_invitation(session, clock, old)
    assert service.open_invitation(session, clock, new).email == "new@example.com"
    _, newest = _invite(session, clock, admin, email="New@Example.com")
    with pytest.raises(Gone):
        service.open_invitation(session, clock, new)
    service.open_invitation(session, clock, newest)


def test_a_weak_password_leaves_the_invitation_open(
    session: TenantSession, clock: FixedClock, admin: Actor
) -> None:
    _, token = _invite(session, clock, admin)
    session.commit()
    with pytest.raises(InvalidInput, match="guessed"):
        service.accept_invitation(session, clock, token, name="New", password="password1234")
    assert session.scalar(select(User.id).where(User.email == "new@example.com")) is None
    service.open_invitation(session, clock, token)


def test_whoever_has_an_account_is_not_invited(
    session: TenantSession, clock: FixedClock, admin: Actor, make: Make
) -> None:
    make.user(R.SUPPLIER_ADMIN, make.supplier(), email="new@example.com")
    with pytest.raises(Conflict, match="has an account already"):
        _invite(session, clock, admin)


def test_a_supplier_invites_to_its_own_organisation_only(
    session: TenantSession, clock: FixedClock, admin: Actor, make: Make
) -> None:
    for organisation_id in (make.supplier().id, make.buyer().id, "0" * 32):
        with pytest.raises(NotFound, match="no such organisation"):
            _invite(session, clock, admin, organisation_id=organisation_id)


def test_a_supplier_cannot_invite_a_reviewer(session: TenantSession, clock: FixedClock, admin: Actor) -> None:
    with pytest.raises(InvalidInput, match="is not a role at"):
        _invite(session, clock, admin, role=R.REVIEWER)


def test_another_suppliers_invitations_do_not_exist(
    session: TenantSession, clock: FixedClock, admin: Actor, make: Make
) -> None:
    foreign, _ = _invite(session, clock, make.supplier_actor())
    for invitation_id in (foreign.id, "0" * 32):
        with pytest.raises(NotFound, match=r"^there is no such invitation$"):
            service.revoke_invitation(session, admin, clock, invitation_id)
        with pytest.raises(NotFound, match=r"^there is no such invitation$"):
            service.resend_invitation(session, admin, clock, invitation_id, hours=1)


def test_reviewers_and_contributors_invite_nobody(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    supplier = make.supplier()
    for actor in (make.actor(R.REVIEWER), make.actor(R.SUPPLIER_CONTRIBUTOR, supplier)):
        with pytest.raises(NotAllowed):
            _invite(session, clock, actor, organisation_id=supplier.id)


def test_the_administrator_invites_on_both_sides(
    session: TenantSession, clock: FixedClock, make: Make
) -> None:
    actor = make.actor(R.ADMINISTRATOR)
    _invite(session, clock, actor, organisation_id=make.buyer().id, role=R.AUDITOR)
    _invite(
        session,
        clock,
        actor,
        organisation_id=make.supplier().id,
        role=R.SUPPLIER_ADMIN,
        email="b@example.com",
    )
    assert session.query(Invitation).count() == 2
