"""Passkeys as a second factor: added, used, removed, and every way in that must stay shut."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts import service
from portal.accounts.actors import actor_of
from portal.accounts.models import AccountEvent, Passkey, RoleName, User
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.settings import Settings
from tests.factories import Make
from tests.factories.authenticator import Authenticator
from tests.unit.web.conftest import Person
from tests.unit.web.visitor import Visitor

R = RoleName
People = Callable[..., Person]
SignInAs = Callable[[User], FlaskClient]
HERE = "http://localhost:8000"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, public_url=HERE)


def _arrive(app: Flask, clock: FixedClock) -> Visitor:
    """Somebody at the sign-in page, with a browser that sends its CSRF token along."""
    visitor = Visitor(app, clock)
    token = re.search(r'name="csrf-token" content="([^"]+)"', visitor.get("/account/sign-in").text)
    assert token
    visitor.client.environ_base["HTTP_X_CSRFTOKEN"] = token[1]
    return visitor


@pytest.fixture
def visitor(app: Flask, clock: FixedClock) -> Visitor:
    return _arrive(app, clock)


def _asked(page: TestResponse) -> tuple[str, dict[str, Any]]:
    """Where the page sends the answer, and what it asks the authenticator."""
    form = re.search(r'<form method="post" action="([^"]+)" data-passkey="([^"]+)">', page.text)
    assert form, page.status_code
    return unescape(form[1]), json.loads(unescape(form[2]))


def _add(client: FlaskClient, name: str = "grey key", key: Authenticator | None = None) -> Authenticator:
    key = key or Authenticator(HERE)
    action, options = _asked(client.post("/account/passkeys", data={"name": name}))
    answer = client.post(action, data={"credential": key.create(options)})
    assert (answer.status_code, answer.location) == (302, "/account/passkeys")
    return key


def _page(client: FlaskClient) -> str:
    """The passkeys page; the first leads by the recovery codes where there are none."""
    client.get("/account/passkeys")
    return client.get("/account/passkeys").text


def _begin(visitor: Visitor, someone: Person) -> tuple[str, dict[str, Any]]:
    """After the password, asked for the passkey."""
    answer = visitor.give_password(someone.email, someone.password)
    if answer.location.startswith("/account/code-choice"):
        visitor.client.post(answer.location, data={"which": "webauthn"})
    return _asked(visitor.post("/account/passkey"))


def _answer(visitor: Visitor, action: str, credential: str) -> TestResponse:
    return visitor.client.post(action, data={"credential": credential})


def _names(session: TenantSession) -> list[str]:
    session.rollback()
    found = list(session.scalars(select(Passkey.name).order_by(Passkey.name)))
    session.rollback()
    return found


def _kinds(session: TenantSession) -> list[str]:
    session.rollback()
    found = list(session.scalars(select(AccountEvent.kind).order_by(AccountEvent.id)))
    session.rollback()
    return found


@pytest.fixture
def supplier(person: People) -> Person:
    """Without any second factor yet."""
    return person(R.SUPPLIER_ADMIN)


# --- Adding and using ------------------------------------------------------------------------------


def test_a_supplier_adds_a_passkey_and_signs_in_with_it(
    app: Flask,
    supplier: Person,
    sign_in: SignInAs,
    visitor: Visitor,
    session: TenantSession,
    clock: FixedClock,
) -> None:
    client = sign_in(supplier.user)
    assert "No passkeys yet" in client.get("/account/passkeys").text
    key = _add(client)
    assert key.handle() == supplier.user.id
    assert client.get("/account/").location == "/account/recovery-codes"  # once: there are none yet
    assert "grey key" in client.get("/account/passkeys").text
    assert "Passkey" in client.get("/account/").text

    answer = visitor.give_password(supplier.email, supplier.password)
    assert answer.location.startswith("/account/passkey")
    assert not visitor.is_in()
    action, options = _asked(visitor.post("/account/passkey"))
    assert key.knows(options)
    assert options["rpId"] == "localhost"
    assert _answer(visitor, action, key.get(options)).status_code == 302
    assert visitor.is_in()
    session.rollback()
    row = session.scalars(select(Passkey)).one()
    assert (row.sign_count, row.lastuse_datetime) == (1, clock.now())
    session.rollback()
    assert "passkey.added" in _kinds(session)
    assert _kinds(session)[-1] == "sign_in.done"


def test_a_reviewer_chooses_between_app_and_passkey(
    app: Flask, clock: FixedClock, person: People, sign_in: SignInAs
) -> None:
    someone = person(R.REVIEWER)
    key = _add(sign_in(someone.user))
    by_key, by_code = _arrive(app, clock), _arrive(app, clock)
    for visitor in (by_key, by_code):
        answer = visitor.give_password(someone.email, someone.password)
        assert answer.location.startswith("/account/code-choice")
        assert "Use a passkey" in visitor.get(answer.location).text
        assert not visitor.is_in()
    action, options = _begin(by_key, someone)
    _answer(by_key, action, key.get(options))
    assert by_key.is_in()
    chosen = by_code.client.post("/account/code-choice", data={"which": "authenticator"})
    assert chosen.location.startswith("/account/code")
    assert "Use your other second factor" in by_code.get("/account/code").text
    by_code.give_code(someone.secret or "")
    assert by_code.is_in()


def test_recovery_codes_stand_in_for_a_passkey(supplier: Person, sign_in: SignInAs, visitor: Visitor) -> None:
    client = sign_in(supplier.user)
    _add(client)
    page = client.post("/account/recovery-codes").text
    codes = re.findall(r"<li><code>([0-9a-f-]{14})</code></li>", page)
    visitor.give_password(supplier.email, supplier.password)
    assert "Back to your passkey" in visitor.get("/account/recovery-code").text
    visitor.post("/account/recovery-code", {"code": codes[0]})
    assert visitor.is_in()


@pytest.mark.parametrize("name", ["", "   ", "grey key", "x" * 65, "<b>bold</b>", "tab\there", "null\0"])
def test_a_name_that_does_not_do_is_refused_with_words(
    name: str, supplier: Person, sign_in: SignInAs, session: TenantSession
) -> None:
    client = sign_in(supplier.user)
    _add(client)
    page = client.post("/account/passkeys", data={"name": name})
    assert page.status_code == 200
    assert "Please correct this" in page.text
    assert _names(session) == ["grey key"]


def test_one_authenticator_is_not_added_twice(
    supplier: Person, person: People, sign_in: SignInAs, session: TenantSession
) -> None:
    client = sign_in(supplier.user)
    key = _add(client)
    page = client.post("/account/passkeys", data={"name": "again"})
    action, options = _asked(page)
    assert [item["id"] for item in options["excludeCredentials"]] == [json.loads(key.create(options))["id"]]
    client.post(action, data={"credential": key.create(options)})
    other = sign_in(person(R.REVIEWER).user)  # nor by somebody else
    action, options = _asked(other.post("/account/passkeys", data={"name": "mine"}))
    other.post(action, data={"credential": key.create(options)})
    assert "registered already" in other.get("/account/passkeys").text
    assert _names(session) == ["grey key"]


# --- What must stay shut ---------------------------------------------------------------------------


def test_a_passkey_opens_nothing_without_its_owners_password(
    app: Flask, clock: FixedClock, person: People, supplier: Person, sign_in: SignInAs, session: TenantSession
) -> None:
    """Somebody with an account of their own has found a reviewer's security key."""
    reviewer = person(R.REVIEWER)
    found = _add(sign_in(reviewer.user), "found")
    _add(sign_in(supplier.user), "own")
    thief = _arrive(app, clock)
    action, options = _begin(thief, supplier)
    assert not found.knows(options)
    _answer(thief, action, found.get(options))
    assert not thief.is_in()
    assert "not one of yours" in thief.get("/account/passkey").text
    assert _kinds(session).count("sign_in.done") == 0


def test_a_passkey_is_no_first_factor(
    app: Flask, clock: FixedClock, supplier: Person, sign_in: SignInAs, session: TenantSession
) -> None:
    client = sign_in(supplier.user)
    action, options = _asked(client.post("/account/passkeys", data={"name": "k", "usage": "first"}))
    key = Authenticator(HERE)
    client.post(action, data={"credential": key.create(options)})
    stranger = _arrive(app, clock)
    assert stranger.get("/account/passkey").status_code == 404
    assert stranger.client.post("/account/passkey", data={"identity": supplier.email}).status_code == 404
    # Not even with a challenge that was given to somebody with the password.
    action, options = _begin(_arrive(app, clock), supplier)
    _answer(stranger, action, key.get(options))
    assert not stranger.is_in()


def test_a_passkey_does_not_confirm_the_password(supplier: Person, sign_in: SignInAs) -> None:
    client = sign_in(supplier.user)
    _add(client)
    assert client.post("/wan-verify").status_code == 404


def test_a_challenge_is_good_for_one_session_and_one_try(
    app: Flask, clock: FixedClock, supplier: Person, sign_in: SignInAs
) -> None:
    key = _add(sign_in(supplier.user))
    one, two = _arrive(app, clock), _arrive(app, clock)
    action, options = _begin(one, supplier)
    _begin(two, supplier)
    credential = key.get(options)
    _answer(two, action, credential)  # of another session
    assert not two.is_in()
    _answer(one, action, "{}")
    _answer(one, action, credential)  # a second try
    assert not one.is_in()
    assert "Please begin again" in one.get("/account/passkey").text


@pytest.mark.parametrize("origin", ["https://localhost:8000", "http://localhost", "http://evil.example"])
def test_a_page_elsewhere_gets_nothing(
    origin: str, supplier: Person, sign_in: SignInAs, visitor: Visitor, session: TenantSession
) -> None:
    client = sign_in(supplier.user)
    action, options = _asked(client.post("/account/passkeys", data={"name": "k"}))
    client.post(action, data={"credential": Authenticator(origin).create(options)})
    assert _names(session) == []
    key = _add(client)
    action, options = _begin(visitor, supplier)
    key.origin = origin
    _answer(visitor, action, key.get(options))
    assert not visitor.is_in()
    assert "sign_in.refused" in _kinds(session)


def test_a_host_that_is_not_the_public_address_is_no_domain_of_ours(
    app: Flask, supplier: Person, sign_in: SignInAs, visitor: Visitor
) -> None:
    """The request's Host is the asker's to choose; the settings are not."""
    client = sign_in(supplier.user)
    key = _add(client)
    object.__setattr__(app.extensions["lotgate"].settings, "public_url", "https://lotgate.example.com")
    page = client.post("/account/passkeys", data={"name": "k"})
    assert "Passkeys work only at https://lotgate.example.com" in page.text
    assert "data-passkey=" not in page.text
    visitor.give_password(supplier.email, supplier.password)
    page = visitor.post("/account/passkey")
    assert "Passkeys work only at https://lotgate.example.com" in page.text
    assert "data-passkey=" not in page.text
    assert key.count == 0


def test_a_copied_passkey_is_found_out_by_its_counter(
    app: Flask, clock: FixedClock, supplier: Person, sign_in: SignInAs
) -> None:
    key = _add(sign_in(supplier.user))
    for count, gets_in in ((5, True), (3, False)):
        visitor = _arrive(app, clock)
        action, options = _begin(visitor, supplier)
        key.count = count - 1
        _answer(visitor, action, key.get(options))
        assert visitor.is_in() is gets_in


def test_wrong_passkeys_lock_the_account(
    app: Flask,
    clock: FixedClock,
    supplier: Person,
    sign_in: SignInAs,
    settings: Settings,
    session: TenantSession,
) -> None:
    key = _add(sign_in(supplier.user))
    visitor = _arrive(app, clock)
    visitor.give_password(supplier.email, supplier.password)
    key.origin = "http://evil.example"
    for _ in range(settings.lockout_failures):
        action, options = _asked(visitor.post("/account/passkey"))
        _answer(visitor, action, key.get(options))
    assert "account.locked" in _kinds(session)
    key.origin = HERE
    action, options = _asked(visitor.post("/account/passkey"))
    _answer(visitor, action, key.get(options))
    assert not visitor.is_in()
    assert "locked for a while" in visitor.get("/account/passkey").text


def test_with_a_passkey_only_no_code_fits(supplier: Person, sign_in: SignInAs, visitor: Visitor) -> None:
    _add(sign_in(supplier.user))
    visitor.give_password(supplier.email, supplier.password)
    for code in ("000000", "", "None"):
        assert visitor.client.post("/account/code", data={"code": code}).status_code == 200
    assert visitor.client.post("/account/second-factor", data={"setup": "authenticator"}).status_code == 302
    assert not visitor.is_in()


RUBBISH = [
    "",
    "null",
    "[]",
    "{}",
    "{",
    '"x"',
    "\0",
    json.dumps({"id": "x", "rawId": "x", "type": "public-key", "response": {}}),
    json.dumps({"id": 1, "rawId": [], "type": None, "response": "x"}),
    json.dumps(
        {
            "id": "eHg",
            "rawId": "eHg",
            "type": "public-key",
            "response": {
                "clientDataJSON": "e30",
                "attestationObject": "oA",
                "authenticatorData": "oA",
                "signature": "AA",
            },
        }
    ),
    json.dumps(
        {
            "id": "eHg",
            "rawId": "eHg",
            "type": "public-key",
            "response": {
                "clientDataJSON": "/",
                "attestationObject": "=",
                "authenticatorData": "",
                "signature": "",
            },
        }
    ),
]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_is_refused_without_a_traceback(
    rubbish: str, supplier: Person, sign_in: SignInAs, visitor: Visitor, session: TenantSession
) -> None:
    client = sign_in(supplier.user)
    action, _ = _asked(client.post("/account/passkeys", data={"name": "k"}))
    assert client.post(action, data={"credential": rubbish}).location == "/account/passkeys"
    assert "alert-danger" in client.get("/account/passkeys").text
    assert _names(session) == []
    _add(client)
    action, _ = _begin(visitor, supplier)
    assert _answer(visitor, action, rubbish).location.startswith("/account/passkey")
    assert not visitor.is_in()


@pytest.mark.parametrize("where", ["clientDataJSON", "attestationObject"])
def test_a_changed_byte_never_makes_a_traceback(where: str, supplier: Person, sign_in: SignInAs) -> None:
    client = sign_in(supplier.user)
    for at in range(0, 200, 13):
        action, options = _asked(client.post("/account/passkeys", data={"name": f"key {at}"}))
        credential = json.loads(Authenticator(HERE).create(options))
        text = credential["response"][where]
        put = "A" if text[at : at + 1] != "A" else "B"
        credential["response"][where] = text[:at] + put + text[at + 1 :]
        answer = client.post(action, data={"credential": json.dumps(credential)})
        assert answer.location == "/account/passkeys", at


@pytest.mark.parametrize("where", ["clientDataJSON", "authenticatorData", "signature"])
def test_every_byte_of_what_was_signed_counts(
    where: str, supplier: Person, sign_in: SignInAs, visitor: Visitor, app: Flask
) -> None:
    object.__setattr__(app.extensions["lotgate"].settings, "lockout_failures", 1000)
    object.__setattr__(app.extensions["lotgate"].settings, "sign_in_rate", "1000 per minute")
    key = _add(sign_in(supplier.user))
    _begin(visitor, supplier)
    for at in (0, 7, 20, 33, 45):
        action, options = _asked(visitor.post("/account/passkey"))
        credential = json.loads(key.get(options))
        text = credential["response"][where]
        put = "A" if text[at] != "A" else "B"
        credential["response"][where] = text[:at] + put + text[at + 1 :]
        _answer(visitor, action, json.dumps(credential))
        assert not visitor.is_in(), at


def test_an_id_longer_than_the_standard_allows_is_refused(
    supplier: Person, sign_in: SignInAs, session: TenantSession
) -> None:
    client = sign_in(supplier.user)
    action, options = _asked(client.post("/account/passkeys", data={"name": "k"}))
    client.post(action, data={"credential": Authenticator(HERE, id_length=1024).create(options)})
    assert _names(session) == []


# --- Removing --------------------------------------------------------------------------------------


def test_a_passkey_is_removed_and_opens_nothing_any_more(
    app: Flask, clock: FixedClock, person: People, sign_in: SignInAs, session: TenantSession
) -> None:
    someone = person(R.REVIEWER)
    client = sign_in(someone.user)
    _add(client, "kept")
    gone = _add(client, "lost")
    client.post("/account/passkeys/remove", data={"name": "lost"})
    assert _names(session) == ["kept"]
    assert "passkey.removed" in _kinds(session)
    visitor = _arrive(app, clock)
    action, options = _begin(visitor, someone)
    assert not gone.knows(options)
    _answer(visitor, action, gone.get(options))
    assert not visitor.is_in()


def test_nobody_removes_anothers_passkey(person: People, sign_in: SignInAs, session: TenantSession) -> None:
    _add(sign_in(person(R.REVIEWER).user), "theirs")
    other = sign_in(person(R.ADMINISTRATOR).user)
    other.post("/account/passkeys/remove", data={"name": "theirs"})
    assert "no passkey called theirs" in other.get("/account/passkeys").text
    assert "theirs" not in other.get("/account/passkeys").text.split("<main")[1]
    assert _names(session) == ["theirs"]


def test_adding_and_removing_ask_for_the_password_again_after_a_while(
    supplier: Person, sign_in: SignInAs, session: TenantSession
) -> None:
    client = sign_in(supplier.user)
    _add(client)
    with client.session_transaction() as kept:
        kept["fs_paa"] = time.time() - 3600
        del kept["fs_gexp"]  # nor is it the grace after the last such act
    for url in ("/account/passkeys", "/account/passkeys/remove"):
        assert client.post(url, data={"name": "grey key"}).location.startswith("/account/confirm")
    assert _names(session) == ["grey key"]


def test_a_buyer_keeps_at_least_one_second_factor(
    person: People, sign_in: SignInAs, session: TenantSession
) -> None:
    someone = person(R.REVIEWER)
    client = sign_in(someone.user)
    client.post("/account/second-factor", data={"setup": "disable"})
    session.refresh(someone.user)
    assert someone.user.has_authenticator_app
    session.rollback()
    _add(client)
    client.post("/account/recovery-codes")
    client.post("/account/second-factor", data={"setup": "disable"})  # now there is another
    session.refresh(someone.user)
    assert (someone.user.has_authenticator_app, someone.user.has_second_factor) == (False, True)
    assert someone.user.recovery_codes_left == 10
    session.rollback()
    client.post("/account/passkeys/remove", data={"name": "grey key"})
    assert "your only second factor" in _page(client)
    assert _names(session) == ["grey key"]
    assert client.get("/account/").status_code == 200


def test_a_supplier_may_go_back_to_the_password_alone(
    supplier: Person, sign_in: SignInAs, visitor: Visitor, session: TenantSession
) -> None:
    client = sign_in(supplier.user)
    _add(client)
    client.post("/account/recovery-codes")
    client.post("/account/passkeys/remove", data={"name": "grey key"})
    assert _names(session) == []
    session.refresh(supplier.user)
    assert supplier.user.recovery_codes_left == 0
    session.rollback()
    visitor.give_password(supplier.email, supplier.password)
    assert visitor.is_in()


def test_a_reset_by_an_administrator_takes_passkeys_as_well(
    person: People, make: Make, sign_in: SignInAs, session: TenantSession, clock: FixedClock
) -> None:
    someone = person(R.REVIEWER)
    _add(sign_in(someone.user))
    session.expire_all()
    service.reset_second_factor(session, actor_of(make.user(R.ADMINISTRATOR)), clock, someone.user.id)
    session.commit()
    assert _names(session) == []
    assert not someone.user.has_second_factor


# --- Where browsers allow them ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://lotgate.example.com", "lotgate.example.com"),
        ("https://Lotgate.Example.com:8443/", "lotgate.example.com"),
        ("http://localhost:8000", "localhost"),
        ("http://lotgate.example.com", None),
        ("http://127.0.0.1:8000", None),
        ("https://192.0.2.7", None),
        ("https://[2001:db8::7]", None),
        ("", None),
    ],
)
def test_a_domain_for_passkeys_is_a_name_over_tls(url: str, domain: str | None, settings: Settings) -> None:
    assert replace(settings, public_url=url).passkey_domain == domain
