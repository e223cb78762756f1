"""Where somebody is signed in: the list on the profile page, and ending one or all others."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import AccountEvent, RoleName, SignIn, User
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.settings import Settings
from tests.factories import Make
from tests.unit.web.conftest import Person
from tests.unit.web.visitor import Visitor, without_tokens

R = RoleName
People = Callable[..., Person]
SignInAs = Callable[[User], FlaskClient]
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/18.6 Safari/604.1"
)
NEW_PASSWORD = "seven copper otters sleeping"


def _visitor(app: Flask, clock: FixedClock, agent: str, address: str = "192.0.2.7") -> Visitor:
    visitor = Visitor(app, clock)
    visitor.client.environ_base |= {"HTTP_USER_AGENT": agent, "REMOTE_ADDR": address}
    return visitor


def _open(session: TenantSession) -> dict[str, str]:
    """Ids of what is not ended, by the end of their user agent."""
    session.rollback()
    session.expire_all()
    rows = session.scalars(select(SignIn).where(SignIn.ended_at.is_(None)))
    found = {row.user_agent.rsplit(" ", 1)[-1]: row.id for row in rows}
    session.rollback()
    return found


def _events(session: TenantSession) -> list[tuple[str, str]]:
    session.rollback()
    rows = session.scalars(
        select(AccountEvent)
        .where(AccountEvent.kind.startswith("sign_in."), AccountEvent.kind != "sign_in.done")
        .order_by(AccountEvent.id)
    )
    found = [(row.kind, row.detail) for row in rows]
    session.rollback()
    return found


@pytest.fixture
def devices(app: Flask, clock: FixedClock, person: People) -> tuple[Person, Visitor, Visitor]:
    """One person, signed in by the real pages on two devices."""
    someone = person(R.REVIEWER)
    found = []
    for agent in (FIREFOX, PHONE):
        visitor = _visitor(app, clock, agent)
        visitor.give_password(someone.email, someone.password)
        assert visitor.give_code(someone.secret or "").status_code == 302
        clock.advance(timedelta(seconds=30))
        found.append(visitor)
    return someone, *found


def test_there_is_a_row_for_each_sign_in_and_none_before_the_code(
    app: Flask, clock: FixedClock, person: People, session: TenantSession
) -> None:
    someone = person(R.REVIEWER)
    visitor = _visitor(app, clock, FIREFOX)
    visitor.give_password(someone.email, someone.password)
    assert _open(session) == {}
    visitor.give_code(someone.secret or "")
    (row,) = session.scalars(select(SignIn))
    assert (row.user_id, row.begun_at, row.seen_at) == (someone.user.id, clock.now(), clock.now())
    assert (row.address, row.user_agent, row.ended_at) == ("192.0.2.7", FIREFOX, None)


def test_the_profile_tells_where_one_is_signed_in(devices: tuple[Person, Visitor, Visitor]) -> None:
    _, laptop, phone = devices
    for visitor, here, other in (
        (laptop, "Firefox on Linux", "Safari on iOS"),
        (phone, "Safari on iOS", "Firefox on Linux"),
    ):
        visitor.is_in()
        page = visitor.get("/account/").text
        rows = re.findall(r'<th scope="row">([^<]+)</th>(.*?)</tr>', page, re.DOTALL)
        assert sorted(device for device, _ in rows) == ["Firefox on Linux", "Safari on iOS"]
        said = {device: ("This device" in cells, "Sign out" in cells) for device, cells in rows}
        assert said == {here: (True, False), other: (False, True)}
        assert all("192.0.2.7" in cells for _, cells in rows)


def test_another_device_is_signed_out_with_its_next_request(
    devices: tuple[Person, Visitor, Visitor], session: TenantSession
) -> None:
    _, laptop, phone = devices
    number = _open(session)["Safari/604.1"]
    answer = laptop.post(f"/account/sign-ins/{number}/end", page="/account/password")
    assert (answer.status_code, answer.location) == (302, "/account/")
    assert "Safari on iOS is signed out." in laptop.get("/account/").text
    assert phone.get("/r/").location.startswith("/account/sign-in?next=")
    assert "Your session has ended" in phone.get("/account/sign-in").text
    assert laptop.is_in()
    assert _events(session) == [("sign_in.ended", "Safari on iOS, 192.0.2.7")]
    laptop.post(f"/account/sign-ins/{number}/end", page="/account/password")
    assert len(_events(session)) == 1  # it was over already


def test_everywhere_else_is_signed_out_at_once(
    devices: tuple[Person, Visitor, Visitor], session: TenantSession
) -> None:
    _, laptop, phone = devices
    assert laptop.post("/account/sign-ins/end-others", page="/account/password").location == "/account/"
    assert "everywhere but here" in laptop.get("/account/").text
    assert phone.get("/account/").status_code == 302
    assert list(_open(session)) == ["Firefox/140.0"]
    assert _events(session) == [("sign_in.others_ended", "1 ended")]


def test_nobody_ends_anothers_sign_in(
    devices: tuple[Person, Visitor, Visitor], make: Make, sign_in: SignInAs, session: TenantSession
) -> None:
    _, laptop, phone = devices
    number = _open(session)["Firefox/140.0"]
    for role in (R.ADMINISTRATOR, R.SUPPLIER_ADMIN):
        other = sign_in(make.user(role, make.supplier() if role == R.SUPPLIER_ADMIN else None))
        theirs = other.post(f"/account/sign-ins/{number}/end")
        none = other.post(f"/account/sign-ins/{'0' * 32}/end")
        assert (theirs.status_code, none.status_code) == (404, 404)
        assert without_tokens(theirs.text) == without_tokens(none.text)
        other.post("/account/sign-ins/end-others")
        assert other.get("/account/").text.count("192.0.2.7") == 0
    assert laptop.is_in()
    assert phone.is_in()


def test_signing_out_needs_the_forms_token(
    devices: tuple[Person, Visitor, Visitor], session: TenantSession
) -> None:
    _, laptop, phone = devices
    for url in (f"/account/sign-ins/{_open(session)['Safari/604.1']}/end", "/account/sign-ins/end-others"):
        assert laptop.client.post(url).status_code == 400
    assert phone.is_in()


def test_signing_out_here_ends_the_row_and_the_cookie_is_worth_nothing(
    devices: tuple[Person, Visitor, Visitor], session: TenantSession
) -> None:
    _, laptop, phone = devices
    with laptop.client.session_transaction() as kept:
        before = dict(kept)
    laptop.post("/account/sign-out", page="/account/password")
    assert list(_open(session)) == ["Safari/604.1"]
    with laptop.client.session_transaction() as kept:
        kept.update(before)  # copied while it was good
    assert not laptop.is_in()
    assert phone.is_in()


def test_a_password_change_ends_all_others_and_renews_this_one(
    devices: tuple[Person, Visitor, Visitor], session: TenantSession
) -> None:
    someone, laptop, phone = devices
    before = _open(session)
    laptop.post(
        "/account/password",
        {"password": someone.password, "new_password": NEW_PASSWORD, "new_password_confirm": NEW_PASSWORD},
    )
    after = _open(session)
    assert list(after) == ["Firefox/140.0"]
    assert after["Firefox/140.0"] != before["Firefox/140.0"]
    assert laptop.is_in()
    assert not phone.is_in()


def test_what_has_run_out_is_not_listed(
    app: Flask,
    clock: FixedClock,
    devices: tuple[Person, Visitor, Visitor],
    settings: Settings,
) -> None:
    _, laptop, phone = devices
    clock.advance(timedelta(minutes=settings.session_idle_minutes - 2))
    assert laptop.is_in()
    clock.advance(timedelta(minutes=2))
    page = laptop.get("/account/").text
    assert "Firefox on Linux" in page
    assert "Safari on iOS" not in page
    assert "Sign out everywhere else" not in page
    assert not phone.is_in()
