"""Signing in: password, code, recovery code, lock-out, what a stranger learns, how a session ends."""

import re
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import Select, select

from portal.accounts.models import AccountEvent, RoleName
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.notices.models import Message
from portal.settings import Settings
from tests.unit.web.conftest import Person
from tests.unit.web.visitor import Visitor, without_tokens

People = Callable[..., Person]
STEP = timedelta(seconds=30)


def _all(session: TenantSession, query: Select[tuple[str]]) -> list[str]:
    """What is there now; the transaction ends, or the next request would wait for it."""
    session.rollback()
    found = list(session.scalars(query))
    session.rollback()
    return found


def _kinds(session: TenantSession) -> list[str]:
    return _all(session, select(AccountEvent.kind).order_by(AccountEvent.id))


def test_a_supplier_signs_in_with_a_password(
    visitor: Visitor, person: People, session: TenantSession
) -> None:
    someone = person()
    answer = visitor.give_password(someone.email.upper(), someone.password)
    assert (answer.status_code, answer.location) == (302, "/")
    assert visitor.is_in()
    assert "sign_in.done" in _kinds(session)


def test_the_password_is_stored_as_argon2id(person: People) -> None:
    stored = person().user.password
    assert stored is not None
    assert stored.startswith("$argon2id$")


def test_a_reviewer_needs_the_code_as_well(visitor: Visitor, person: People) -> None:
    someone = person(RoleName.REVIEWER)
    answer = visitor.give_password(someone.email, someone.password)
    assert answer.location.startswith("/account/code?")
    assert not visitor.is_in()
    assert visitor.give_code(someone.secret or "").status_code == 302
    assert visitor.is_in()


def test_a_code_works_once(app: Flask, clock: FixedClock, visitor: Visitor, person: People) -> None:
    someone = person(RoleName.REVIEWER)
    visitor.give_password(someone.email, someone.password)
    visitor.give_code(someone.secret or "")
    thief = Visitor(app, clock)
    thief.give_password(someone.email, someone.password)
    refused = thief.give_code(someone.secret or "")
    assert refused.status_code == 200
    assert "was used before" in refused.text
    assert not thief.is_in()
    clock.advance(STEP)
    assert thief.give_code(someone.secret or "").status_code == 302


def test_a_buyer_without_second_factor_sets_one_up_before_anything_else(
    visitor: Visitor, person: People, clock: FixedClock, session: TenantSession
) -> None:
    someone = person(RoleName.APPROVER, second_factor=False)
    assert visitor.give_password(someone.email, someone.password).location == "/account/second-factor"
    assert not visitor.is_in()
    shown = visitor.post("/account/second-factor", {"setup": "authenticator"})
    found = re.search(r"<code>((?:[A-Z2-7]{4}-?)+)</code>", shown.text)
    assert found, shown.text
    assert "data:image/svg+xml;base64," in shown.text
    token = re.search(r'name="csrf_token" value="([^"]+)"', shown.text)
    assert token
    data = {"csrf_token": token[1], "code": "000000"}
    assert visitor.client.post("/account/code", data=data).status_code == 200
    assert not visitor.is_in()
    data["code"] = visitor.code(found[1].replace("-", ""))
    assert visitor.client.post("/account/code", data=data).status_code == 302
    # Once, the way leads by the recovery codes.
    assert visitor.get("/").location == "/account/recovery-codes"
    codes = re.findall(r"<li><code>([0-9a-f-]{14})</code></li>", visitor.post("/account/recovery-codes").text)
    assert len(set(codes)) == 10
    assert codes[0] not in visitor.get("/account/recovery-codes?show_codes=1").text
    session.refresh(someone.user)
    assert someone.user.has_second_factor
    assert codes[0] not in str(someone.user.mf_recovery_codes)


def test_a_session_of_a_buyer_without_second_factor_reaches_nothing_else(
    app: Flask, person: People, sign_in: Callable
) -> None:
    client = sign_in(person(RoleName.ADMINISTRATOR, second_factor=False).user)
    for url in ("/", "/account/", "/admin/users", "/account/password", "/account/recovery-codes"):
        assert client.get(url).location == "/account/second-factor", url
    assert client.post("/admin/users/invitations").location == "/account/second-factor"
    assert client.get("/files/x", headers={"Tus-Resumable": "1.0.0"}).status_code == 403
    assert client.get("/account/second-factor").status_code == 200
    assert client.post("/account/sign-out").status_code == 302


def test_a_buyer_cannot_switch_the_second_factor_off(
    person: People, sign_in: Callable, session: TenantSession
) -> None:
    someone = person(RoleName.REVIEWER)
    client = sign_in(someone.user)
    assert "Switch it off" not in client.get("/account/second-factor").text
    client.post("/account/second-factor", data={"setup": "disable"})
    session.refresh(someone.user)
    assert someone.user.has_second_factor


def test_a_recovery_code_works_once(
    app: Flask, clock: FixedClock, person: People, sign_in: Callable, session: TenantSession
) -> None:
    someone = person(RoleName.REVIEWER)
    page = sign_in(someone.user).post("/account/recovery-codes").text
    codes = re.findall(r"<li><code>([0-9a-f-]{14})</code></li>", page)
    first = Visitor(app, clock)
    first.give_password(someone.email, someone.password)
    typed = codes[3].upper().replace("-", " ")
    assert first.post("/account/recovery-code", {"code": typed}).status_code == 302
    assert first.is_in()
    second = Visitor(app, clock)
    second.give_password(someone.email, someone.password)
    refused = second.post("/account/recovery-code", {"code": codes[3]})
    assert "was used before" in refused.text
    assert not second.is_in()
    session.refresh(someone.user)
    assert someone.user.recovery_codes_left == 9
    assert "recovery_code.used" in _kinds(session)


# --- What a stranger learns ------------------------------------------------------------------------


def test_wrong_password_and_unknown_address_get_the_same_answer(visitor: Visitor, person: People) -> None:
    known = person().email
    unknown = "x" * (len(known) - len("@example.com")) + "@example.com"
    pages, times = [], []
    for email in (known, unknown):
        begun = time.process_time()
        answer = visitor.give_password(email, "not the password at all")
        times.append(time.process_time() - begun)
        pages.append((answer.status_code, without_tokens(answer.text).replace(email, "")))
    assert pages[0] == pages[1]
    assert max(times) < 4 * min(times)  # of work done, however busy the machine is


def test_a_reset_tells_nothing_about_an_address(
    visitor: Visitor, person: People, session: TenantSession
) -> None:
    known = person().email
    answers = [
        without_tokens(visitor.post("/account/reset", {"email": email}).text).replace(email, "")
        for email in (known, "nobody@example.com")
    ]
    assert answers[0] == answers[1]
    assert _all(session, select(Message.recipient)) == [known]


def test_a_disabled_account_gets_the_answer_of_a_wrong_password(
    visitor: Visitor, person: People, session: TenantSession
) -> None:
    someone = person()
    someone.user.active = False
    session.commit()
    right = visitor.give_password(someone.email, someone.password)
    wrong = visitor.give_password(someone.email, "not the password at all")
    assert without_tokens(right.text) == without_tokens(wrong.text)


# --- Lock-out and limits ---------------------------------------------------------------------------


def test_wrong_passwords_in_a_row_lock_the_account_for_a_while(
    visitor: Visitor, person: People, session: TenantSession, settings: Settings, clock: FixedClock
) -> None:
    someone = person()
    for _ in range(settings.lockout_failures):
        wrong = visitor.give_password(someone.email, "not the password at all")
    right = visitor.give_password(someone.email, someone.password)
    assert without_tokens(right.text) == without_tokens(
        wrong.text
    )  # nor does the lock say that the password fits
    assert not visitor.is_in()
    assert _kinds(session).count("account.locked") == 1
    assert _all(session, select(Message.kind)) == ["account_locked"]
    clock.advance(timedelta(minutes=settings.lockout_minutes))
    assert visitor.give_password(someone.email, someone.password).status_code == 302


def test_a_right_sign_in_forgets_the_failures(
    app: Flask, clock: FixedClock, person: People, session: TenantSession, settings: Settings
) -> None:
    someone = person()
    visitor = Visitor(app, clock)
    for _ in range(settings.lockout_failures - 1):
        visitor.give_password(someone.email, "not the password at all")
    visitor.give_password(someone.email, someone.password)
    session.refresh(someone.user)
    assert (someone.user.failed_sign_ins, someone.user.locked_until) == (0, None)


@pytest.mark.parametrize(
    ("url", "wrong"), [("/account/code", "000000"), ("/account/recovery-code", "dead-beef-dead")]
)
def test_wrong_codes_lock_the_account_though_the_password_was_right(
    url: str, wrong: str, visitor: Visitor, person: People, session: TenantSession, settings: Settings
) -> None:
    someone = person(RoleName.REVIEWER)
    visitor.give_password(someone.email, someone.password)
    for _ in range(settings.lockout_failures):
        visitor.post(url, {"code": wrong})
    assert "account is locked" in visitor.give_code(someone.secret or "").text
    assert not visitor.is_in()
    assert "account.locked" in _kinds(session)


def test_a_stolen_session_cannot_guess_the_password(
    person: People, sign_in: Callable, session: TenantSession, settings: Settings
) -> None:
    someone = person()
    client = sign_in(someone.user)
    for number in range(settings.lockout_failures):
        if number % 2:
            client.post("/account/confirm", data={"password": "wrong wrong wrong"})
        else:
            new = "a violet tram sings"
            client.post(
                "/account/password",
                data={"password": "wrong wrong wrong", "new_password": new, "new_password_confirm": new},
            )
    assert "account is locked" in client.post("/account/confirm", data={"password": someone.password}).text


def test_tries_from_one_address_are_limited(visitor: Visitor, person: People, settings: Settings) -> None:
    person()
    answers = [visitor.give_password("nobody@example.com", "x").status_code for _ in range(21)]
    assert settings.sign_in_rate == "20 per minute"
    assert answers == [200] * 20 + [429]
    assert (
        visitor.post("/account/reset", {"email": "a@example.com"}).status_code == 429
    )  # one count for all guesses


# --- Reset and change of the password --------------------------------------------------------------


def _reset_link(session: TenantSession) -> str:
    (body,) = _all(session, select(Message.body).where(Message.kind == "reset_instructions"))
    found = re.search(r"http://127\.0\.0\.1:8000(/account/reset/\S+)", body)
    assert found, body
    return found[1]


def test_a_password_is_reset_by_mail_once_and_ends_every_session(
    app: Flask, clock: FixedClock, person: People, session: TenantSession, sign_in: Callable
) -> None:
    someone = person()
    before = sign_in(someone.user)
    assert before.get("/account/").status_code == 200
    visitor = Visitor(app, clock)
    visitor.client.environ_base["HTTP_HOST"] = "evil.example"
    visitor.post("/account/reset", {"email": someone.email})
    link = _reset_link(session)
    new = "seven copper otters sleeping"
    answer = visitor.post(link, {"password": new, "password_confirm": new})
    assert (answer.status_code, answer.location) == (302, "/account/sign-in")
    assert before.get("/account/").status_code == 302
    again = visitor.get(link)
    assert (again.status_code, again.location) == (302, "/account/reset")
    assert visitor.give_password(someone.email, someone.password).status_code == 200
    assert visitor.give_password(someone.email, new).status_code == 302


def test_a_locked_account_opens_by_reset(
    visitor: Visitor, person: People, session: TenantSession, settings: Settings
) -> None:
    someone = person()
    for _ in range(settings.lockout_failures):
        visitor.give_password(someone.email, "not the password at all")
    visitor.post("/account/reset", {"email": someone.email})
    new = "seven copper otters sleeping"
    visitor.post(_reset_link(session), {"password": new, "password_confirm": new})
    assert visitor.give_password(someone.email, new).status_code == 302


def test_a_password_change_ends_the_other_sessions_and_keeps_this_one(
    person: People, sign_in: Callable
) -> None:
    someone = person()
    here, elsewhere = sign_in(someone.user), sign_in(someone.user)
    new = "seven copper otters sleeping"
    data = {"password": someone.password, "new_password": new, "new_password_confirm": new}
    assert here.post("/account/password", data=data).location == "/account/"
    assert here.get("/account/").status_code == 200
    assert elsewhere.get("/account/").status_code == 302


@pytest.mark.parametrize(
    "weak", ["short", "password1234", "aaaaaaaaaaaaaaaaaa", "someone1example", "x" * 129]
)
def test_a_weak_password_is_refused(
    weak: str, person: People, sign_in: Callable, session: TenantSession
) -> None:
    someone = person()
    before = someone.user.password
    data = {"password": someone.password, "new_password": weak, "new_password_confirm": weak}
    answer = sign_in(someone.user).post("/account/password", data=data)
    assert "field-errors" in answer.text
    session.refresh(someone.user)
    assert someone.user.password == before


# --- Sessions --------------------------------------------------------------------------------------


def test_a_session_ends_when_idle(
    person: People, sign_in: Callable, clock: FixedClock, settings: Settings
) -> None:
    client = sign_in(person().user)
    clock.advance(timedelta(minutes=settings.session_idle_minutes - 1))
    assert client.get("/account/").status_code == 200
    clock.advance(timedelta(minutes=settings.session_idle_minutes - 1))
    assert client.get("/account/").status_code == 200  # each use keeps it alive
    clock.advance(timedelta(minutes=settings.session_idle_minutes))
    assert client.get("/account/").status_code == 302


def test_a_session_ends_in_any_case(
    person: People, sign_in: Callable, clock: FixedClock, settings: Settings
) -> None:
    client = sign_in(person().user)
    step = timedelta(minutes=settings.session_idle_minutes - 1)
    for _ in range(int(timedelta(hours=settings.session_hours) / step)):
        clock.advance(step)
        assert client.get("/account/").status_code == 200
    clock.advance(step)
    assert client.get("/account/").status_code == 302


def test_a_session_works_only_in_the_browser_it_was_given_to(person: People, sign_in: Callable) -> None:
    client = sign_in(person().user)
    assert client.get("/account/", headers={"User-Agent": "another"}).status_code == 302


def test_signing_out_ends_the_session_and_needs_the_token(person: People, sign_in: Callable) -> None:
    client = sign_in(person().user)
    token = client.environ_base.pop("HTTP_X_CSRFTOKEN")
    assert client.post("/account/sign-out").status_code == 400
    assert client.get("/account/").status_code == 200
    client.post("/account/sign-out", headers={"X-CSRFToken": token})
    assert client.get("/account/").status_code == 302


def test_cookies_are_for_this_site_and_its_server_only(visitor: Visitor) -> None:
    cookie = visitor.get("/account/sign-in").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_sign_in_does_not_lead_to_another_site(visitor: Visitor, person: People) -> None:
    someone = person()
    for target in ("https://evil.example/", "//evil.example", "\\\\evil.example"):
        answer = visitor.client.get("/account/sign-in", query_string={"next": target})
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', answer.text)
        assert token
        data = {"csrf_token": token[1], "email": someone.email, "password": someone.password, "next": target}
        done = visitor.client.post("/account/sign-in", data=data, query_string={"next": target})
        assert not (done.location or "").startswith(("http", "//", "\\"))


def test_the_library_takes_no_tokens_and_speaks_no_json(
    app: Flask, person: People, session: TenantSession
) -> None:
    someone = person()
    someone.user.fs_token_uniquifier = "0123456789abcdef"
    session.commit()
    with app.test_request_context():
        token = someone.user.get_auth_token()
    client = app.test_client()
    assert client.get("/account/", headers={"Authentication-Token": str(token)}).status_code == 302
    assert client.get(f"/account/?auth_token={token}").status_code == 302
    answer = client.post("/account/sign-in", json={"email": someone.email, "password": someone.password})
    assert answer.status_code == 400  # no CSRF token
