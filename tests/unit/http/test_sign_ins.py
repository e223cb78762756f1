"""Every session stands on a row of its own: what the gate makes of it, and when it writes to it."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text

from portal.accounts import service
from portal.accounts.actors import actor_of
from portal.accounts.models import RoleName, SignIn, User
from portal.accounts.sign_ins import begin_sign_in, end_sign_ins
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.settings import Settings
from portal.suppliers.models import Supplier
from tests.factories import Make

R = RoleName
SignInAs = Callable[[User], FlaskClient]
SECOND = timedelta(seconds=1)


@pytest.fixture
def supplier(make: Make) -> Supplier:
    return make.supplier()


@pytest.fixture
def person(make: Make, supplier: Supplier) -> User:
    return make.user(R.SUPPLIER_ADMIN, supplier)


def _seen(session: TenantSession) -> datetime:
    """Of the only row; the transaction ends, or the next request would wait for it."""
    session.rollback()
    found = session.scalars(select(SignIn.seen_at)).one()
    session.rollback()
    return found


def _is_out(client: FlaskClient) -> bool:
    answer = client.get("/account/")
    return answer.status_code == 302 and answer.location.startswith("/account/sign-in?")


def test_a_cookie_that_names_no_row_is_refused_and_says_why(person: User, sign_in: SignInAs) -> None:
    client = sign_in(person)
    assert client.get("/account/").status_code == 200
    with client.session_transaction() as kept:
        del kept["sign_in"]
    assert _is_out(client)
    assert "Your session has ended" in client.get("/account/sign-in").text


@pytest.mark.parametrize("named", ["0" * 32, "", None])
def test_a_cookie_that_names_a_row_that_is_not_there_is_refused(
    named: str | None, person: User, sign_in: SignInAs
) -> None:
    client = sign_in(person)
    with client.session_transaction() as kept:
        kept["sign_in"] = named
    assert _is_out(client)


def test_a_row_of_somebody_else_is_no_sign_in(make: Make, person: User, sign_in: SignInAs) -> None:
    client, other = sign_in(person), sign_in(make.user(R.REVIEWER))
    with other.session_transaction() as kept:
        theirs = kept["sign_in"]
    with client.session_transaction() as kept:
        kept["sign_in"] = theirs
    assert _is_out(client)
    assert other.get("/account/").status_code == 200


def test_an_ended_row_ends_its_session_only(
    person: User, sign_in: SignInAs, session: TenantSession, clock: FixedClock
) -> None:
    one, two = sign_in(person), sign_in(person)
    with one.session_transaction() as kept:
        row = session.get_one(SignIn, kept["sign_in"])
    row.ended_at = clock.now()
    session.commit()
    assert _is_out(one)
    assert two.get("/account/").status_code == 200


def test_programs_with_a_cookie_are_told_401(
    person: User, sign_in: SignInAs, session: TenantSession, clock: FixedClock
) -> None:
    client = sign_in(person)
    ask = {"path": f"/files/{'0' * 32}", "headers": {"Tus-Resumable": "1.0.0"}}
    assert client.head(**ask).status_code == 404
    end_sign_ins(session, clock, person)
    session.commit()
    assert client.head(**ask).status_code == 401


def test_the_last_use_is_noted_to_the_minute(
    person: User, sign_in: SignInAs, session: TenantSession, clock: FixedClock
) -> None:
    client, begun = sign_in(person), clock.now()
    clock.advance(59 * SECOND)
    client.get("/account/")
    assert _seen(session) == begun
    clock.advance(SECOND)
    client.get("/account/")
    assert _seen(session) == begun + 60 * SECOND
    clock.advance(60 * SECOND)
    client.post("/account/sign-ins/end-others")  # one that writes
    assert _seen(session) == begun + 120 * SECOND


def test_a_reader_does_not_wait_for_a_writer_to_have_it_noted(
    person: User, sign_in: SignInAs, session: TenantSession, clock: FixedClock
) -> None:
    client, begun = sign_in(person), clock.now()
    clock.advance(timedelta(minutes=5))
    session.execute(text("SELECT 1"))  # holds SQLite's write lock from here
    answer = client.get("/account/", buffered=False)
    assert answer.status_code == 200
    assert "Where you are signed in" in answer.text
    assert _seen(session) == begun
    answer.close()
    assert _seen(session) == begun + timedelta(minutes=5)


def test_a_session_that_has_run_out_is_not_revived_by_its_use(
    person: User, sign_in: SignInAs, session: TenantSession, clock: FixedClock, settings: Settings
) -> None:
    client, begun = sign_in(person), clock.now()
    with client.session_transaction() as kept:
        before = dict(kept)
    clock.advance(timedelta(minutes=settings.session_idle_minutes))
    assert _is_out(client)
    with client.session_transaction() as kept:
        kept.update(before)  # an old cookie, shown again
    assert _is_out(client)
    assert _seen(session) == begun


@pytest.mark.parametrize("act", ["change_role", "disable", "renew_password"])
def test_what_ends_all_sessions_ends_their_rows(
    act: str,
    app: Flask,
    make: Make,
    supplier: Supplier,
    person: User,
    sign_in: SignInAs,
    session: TenantSession,
    clock: FixedClock,
) -> None:
    boss = make.user(R.SUPPLIER_ADMIN, supplier)
    clients = [sign_in(person), sign_in(person)]
    stays = sign_in(boss)
    actor = actor_of(boss)
    if act == "change_role":
        service.change_role(session, actor, clock, person.id, R.SUPPLIER_CONTRIBUTOR)
    elif act == "disable":
        service.disable(session, actor, clock, person.id)
    else:
        with app.app_context():
            service.renew_password(session, clock, person)
    session.commit()
    ended = session.scalars(select(SignIn.ended_at).where(SignIn.user_id == person.id)).all()
    session.rollback()
    assert ended == [clock.now()] * 2
    assert all(_is_out(client) for client in clients)
    assert stays.get("/account/").status_code == 200


def test_a_row_keeps_what_fits_of_a_long_user_agent(
    person: User, session: TenantSession, clock: FixedClock
) -> None:
    row = begin_sign_in(session, clock, person, address=None, user_agent="x" * 5000)
    session.commit()
    assert (row.user_agent, row.address) == ("x" * 200, "")
