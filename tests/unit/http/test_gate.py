"""The gate: tokens, cookies, CSRF, and that the two kinds of proof are never mixed."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from portal.accounts import service
from portal.accounts.actors import actor_of
from portal.accounts.models import ApiToken, RoleName, User
from portal.accounts.permissions import Permission as P
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.http.access import ACCESS
from portal.suppliers.models import Supplier
from tests.factories import Make

R = RoleName
SignIn = Callable[[User], FlaskClient]


@pytest.fixture
def routes(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """One route under /api/ that says who asks, and one that needs a permission of the buyer."""

    def who() -> dict[str, object]:
        return {"actor": g.actor.user_id, "method": g.actor.method, "may": sorted(g.actor.permissions)}

    app.add_url_rule("/api/v1/who", "who", who, methods=["GET", "POST"])
    app.add_url_rule("/api/v1/decide", "decide", who)
    app.add_url_rule("/unlisted", "unlisted", who)
    rule = (P.SUPPLIER_SUBMISSION_READ, P.REVIEW_CASE_READ)
    monkeypatch.setitem(ACCESS, "who", {"GET": rule, "POST": rule})
    monkeypatch.setitem(ACCESS, "decide", {"GET": P.REVIEW_CASE_DECIDE})


@pytest.fixture
def supplier(make: Make) -> Supplier:
    return make.supplier()


@pytest.fixture
def maker(make: Make, supplier: Supplier) -> User:
    return make.user(R.SUPPLIER_ADMIN, supplier)


@pytest.fixture
def token(session: TenantSession, clock: FixedClock, maker: User) -> Iterator[str]:
    scopes = [P.SUPPLIER_SUBMISSION_READ]
    _, token = service.create_token(session, actor_of(maker), clock, name="ci", scopes=scopes, days=1)
    session.commit()
    return token


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


pytestmark = pytest.mark.usefixtures("routes")


def test_a_token_acts_for_its_maker_within_its_scopes(client: FlaskClient, token: str, maker: User) -> None:
    said = client.get("/api/v1/who", headers=_bearer(token)).get_json()
    assert said == {"actor": maker.id, "method": "api", "may": ["supplier:submission:read"]}


def test_a_token_needs_no_csrf_token(client: FlaskClient, token: str) -> None:
    assert client.post("/api/v1/who", headers=_bearer(token)).status_code == 200


def test_a_token_does_not_reach_beyond_its_scopes(client: FlaskClient, token: str) -> None:
    assert client.get("/api/v1/decide", headers=_bearer(token)).status_code == 403


def test_a_token_does_nothing_on_pages(client: FlaskClient, token: str) -> None:
    assert client.get("/account/", headers=_bearer(token)).status_code == 302


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer lgt_wrong", "bearer x", "Basic dXNlcjpwYXNz", "lgt_bare", "Bearer  "]
)
@pytest.mark.parametrize("signed_in", [False, True])
def test_a_wrong_token_is_401_even_beside_a_valid_cookie(
    header: str, signed_in: bool, client: FlaskClient, maker: User, sign_in: SignIn
) -> None:
    asker = sign_in(maker) if signed_in else client
    answer = asker.get("/api/v1/who", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=Lotgate")
    assert answer.content_type == "application/problem+json"


def test_a_token_beside_a_cookie_acts_for_its_own_maker(
    token: str, maker: User, make: Make, supplier: Supplier, sign_in: SignIn
) -> None:
    other = sign_in(make.user(R.REVIEWER))
    assert other.get("/api/v1/who").get_json()["method"] == "web"
    assert other.get("/api/v1/who", headers=_bearer(token)).get_json()["actor"] == maker.id


def test_without_any_proof_the_api_says_how(client: FlaskClient) -> None:
    answer = client.get("/api/v1/who")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer realm=Lotgate"


def test_a_revoked_token_is_refused_with_the_next_request(
    client: FlaskClient, token: str, session: TenantSession, clock: FixedClock, maker: User
) -> None:
    row = session.query(ApiToken).one()
    service.revoke_token(session, actor_of(maker), clock, row.id)
    session.commit()
    assert client.get("/api/v1/who", headers=_bearer(token)).status_code == 401


def test_an_expired_token_is_refused(client: FlaskClient, token: str, clock: FixedClock) -> None:
    clock.advance(timedelta(days=1))
    assert client.get("/api/v1/who", headers=_bearer(token)).status_code == 401


def test_the_token_of_a_disabled_person_is_refused_at_once(
    client: FlaskClient, token: str, session: TenantSession, maker: User
) -> None:
    assert client.get("/api/v1/who", headers=_bearer(token)).status_code == 200
    maker.active = False
    session.commit()
    assert client.get("/api/v1/who", headers=_bearer(token)).status_code == 401


def test_a_token_never_exceeds_its_makers_role_of_today(
    client: FlaskClient, session: TenantSession, clock: FixedClock, maker: User
) -> None:
    # A scope that the role has lost in the meantime, as if roles had been changed.
    row, token = service.create_token(
        session, actor_of(maker), clock, name="ci", scopes=[P.SUPPLIER_SUBMISSION_READ], days=1
    )
    row.scopes = [P.SUPPLIER_SUBMISSION_READ, P.REVIEW_CASE_DECIDE]
    session.commit()
    assert client.get("/api/v1/decide", headers=_bearer(token)).status_code == 403


def test_the_last_use_is_noted_to_the_minute(
    client: FlaskClient, token: str, session: TenantSession, clock: FixedClock
) -> None:
    def used() -> object:
        session.rollback()
        found = session.query(ApiToken.last_used_at).scalar()
        session.rollback()
        return found

    client.post("/api/v1/who", headers=_bearer(token))
    first = clock.now()
    assert used() == first
    clock.advance(timedelta(seconds=59))
    client.get("/api/v1/who", headers=_bearer(token))
    assert used() == first
    clock.advance(timedelta(seconds=1))
    client.get("/api/v1/who", headers=_bearer(token))
    assert used() == clock.now()


def test_requests_with_one_token_are_limited(
    settings: object, client: FlaskClient, token: str, app: Flask
) -> None:
    parts = app.extensions["lotgate"]
    object.__setattr__(parts.settings, "api_rate", "3 per minute")
    answers = [client.get("/api/v1/who", headers=_bearer(token)).status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]


# --- Cookies ---------------------------------------------------------------------------------------


def test_a_form_without_the_csrf_token_is_refused(
    maker: User, sign_in: SignIn, session: TenantSession
) -> None:
    client = sign_in(maker)
    token = client.environ_base.pop("HTTP_X_CSRFTOKEN")
    data = {"email": "new@example.com", "role": "supplier_contributor"}
    assert client.post("/account/team/invitations", data=data).status_code == 400
    assert client.post("/account/team/invitations", data=data | {"csrf_token": "forged"}).status_code == 400
    assert client.post("/api/v1/who").status_code == 400
    assert client.post("/account/team/invitations", data=data | {"csrf_token": token}).status_code == 302


def test_a_role_change_ends_the_session(
    make: Make, maker: User, supplier: Supplier, sign_in: SignIn, session: TenantSession, clock: FixedClock
) -> None:
    person = make.user(R.SUPPLIER_ADMIN, supplier)
    client = sign_in(person)
    assert client.get("/account/team").status_code == 200
    service.change_role(session, actor_of(maker), clock, person.id, R.SUPPLIER_CONTRIBUTOR)
    session.commit()
    assert client.get("/account/").status_code == 302


def test_disabling_ends_the_session(maker: User, sign_in: SignIn, session: TenantSession) -> None:
    client = sign_in(maker)
    assert client.get("/account/").status_code == 200
    maker.active = False
    session.commit()
    assert client.get("/account/").status_code == 302


def test_disabling_the_organisation_ends_its_sessions(
    maker: User, sign_in: SignIn, session: TenantSession, clock: FixedClock
) -> None:
    client = sign_in(maker)
    maker.organisation.disabled_at = clock.now()
    session.commit()
    assert client.get("/account/").status_code == 302


def test_static_files_neither_ask_nor_tell_who_it_is(maker: User, sign_in: SignIn, clock: FixedClock) -> None:
    client = sign_in(maker)
    clock.advance(timedelta(days=1))
    with client.get("/static/lotgate.css") as answer:
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    assert client.get("/account/").status_code == 302


def test_a_route_without_a_row_does_not_exist(maker: User, sign_in: SignIn, client: FlaskClient) -> None:
    assert sign_in(maker).get("/unlisted").status_code == 404
    assert client.get("/unlisted").status_code == 404


@pytest.mark.parametrize("url", ["/account/code-help", "/wan-verify"])
def test_pages_of_the_library_that_we_do_not_offer_do_not_exist(
    url: str, maker: User, sign_in: SignIn, client: FlaskClient
) -> None:
    assert client.get(url).status_code == 404
    assert sign_in(maker).post(url).status_code == 404


def test_a_visitor_comes_back_to_the_page_they_asked_for(client: FlaskClient) -> None:
    assert client.get("/account/team?x=1").location == "/account/sign-in?next=/account/team?x%3D1"
