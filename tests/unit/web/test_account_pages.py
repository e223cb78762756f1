"""Team, tokens, administration, invitations: the pages as people use them."""

import re
import time
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import ApiToken, Invitation, Organisation, RoleName, User
from portal.db import TenantSession
from portal.notices.models import Message
from portal.suppliers.models import Supplier
from tests.factories import Make
from tests.unit.web.visitor import Visitor, without_tokens

R = RoleName
SignIn = Callable[[User], FlaskClient]


@pytest.fixture
def supplier(make: Make) -> Supplier:
    return make.supplier("Kestrel UPS")


@pytest.fixture
def boss(make: Make, supplier: Supplier, sign_in: SignIn) -> FlaskClient:
    """The signed-in administrator of the supplier."""
    return sign_in(make.user(R.SUPPLIER_ADMIN, supplier, name="Ada", email="ada@example.com"))


@pytest.fixture
def admin(make: Make, sign_in: SignIn) -> FlaskClient:
    return sign_in(make.user(R.ADMINISTRATOR, name="Grace", email="grace@example.com"))


def _link(session: TenantSession) -> str:
    session.rollback()
    body = session.scalars(select(Message.body).order_by(Message.created_at.desc())).first()
    session.rollback()
    found = re.search(r"http://127\.0\.0\.1:8000(/account/invitation/\S+)", body or "")
    assert found, body
    return found[1]


def test_a_colleague_is_invited_and_takes_it_up(
    boss: FlaskClient, visitor: Visitor, session: TenantSession, supplier: Supplier
) -> None:
    answer = boss.post(
        "/account/team/invitations", data={"email": "new@example.com", "role": "supplier_contributor"}
    )
    assert (answer.status_code, answer.location) == (302, "/account/team")
    assert "new@example.com" in boss.get("/account/team").text
    link = _link(session)
    page = visitor.get(link)
    assert "Kestrel UPS" in page.text
    password = "seven copper otters sleeping"
    mismatch = visitor.post(link, {"name": "New", "password": password, "again": password + "x"})
    assert (mismatch.status_code, "not the same" in mismatch.text) == (422, True)
    weak = visitor.post(link, {"name": "New", "password": "password1234", "again": "password1234"})
    assert (weak.status_code, "guessed too soon" in weak.text) == (422, True)
    done = visitor.post(link, {"name": "New", "password": password, "again": password})
    assert (done.status_code, done.location) == (302, "/account/sign-in")
    assert visitor.give_password("new@example.com", password).status_code == 302
    assert visitor.is_in()
    again = visitor.get(link)
    assert (again.status_code, "has been used" in again.text) == (410, True)


@pytest.mark.parametrize(
    "data", [{"email": "nonsense"}, {"email": ""}, {"role": "administrator"}, {"role": ""}]
)
def test_a_wrong_invitation_comes_back_with_the_reason(
    data: dict[str, str], boss: FlaskClient, session: TenantSession
) -> None:
    values = {"email": "new@example.com", "role": "supplier_contributor"} | data
    answer = boss.post("/account/team/invitations", data=values)
    assert answer.status_code == 422
    assert "field-errors" in answer.text
    assert session.scalars(select(Invitation)).all() == []


def test_an_invitation_is_sent_again_and_revoked(
    boss: FlaskClient, visitor: Visitor, session: TenantSession
) -> None:
    boss.post("/account/team/invitations", data={"email": "new@example.com", "role": "supplier_admin"})
    first = _link(session)
    number = session.scalars(select(Invitation.id)).one()
    session.rollback()
    assert boss.post(f"/account/team/invitations/{number}/resend").status_code == 302
    assert visitor.get(first).status_code == 410
    newest = session.scalars(select(Invitation.id).where(Invitation.revoked_at.is_(None))).one()
    session.rollback()
    assert boss.post(f"/account/team/invitations/{newest}/revoke").status_code == 302
    assert "Open invitations" not in boss.get("/account/team").text


def test_another_suppliers_people_and_invitations_are_404(
    boss: FlaskClient, make: Make, session: TenantSession, admin: FlaskClient
) -> None:
    other = make.supplier()
    stranger = make.user(R.SUPPLIER_ADMIN, other)
    theirs, email = stranger.id, stranger.email
    admin.post(
        f"/admin/suppliers/{other.id}/invitations", data={"email": "x@example.com", "role": "supplier_admin"}
    )
    number = session.scalars(select(Invitation.id)).one()
    session.rollback()
    for url in (
        f"/account/team/{theirs}",
        f"/account/team/invitations/{number}/revoke",
        f"/account/team/invitations/{number}/resend",
    ):
        foreign = boss.post(url, data={"act": "disable"})
        none = boss.post(url.replace(theirs, "0" * 32).replace(number, "0" * 32), data={"act": "disable"})
        assert (foreign.status_code, none.status_code) == (404, 404), url
        assert without_tokens(foreign.text) == without_tokens(none.text)
    assert email not in boss.get("/account/team").text


def test_the_team_page_changes_a_member_and_says_why_not(
    boss: FlaskClient, make: Make, supplier: Supplier, session: TenantSession
) -> None:
    member = make.user(R.SUPPLIER_CONTRIBUTOR, supplier)
    url = f"/account/team/{member.id}"
    boss.post(url, data={"act": "role", "role": "supplier_admin"})
    session.refresh(member)
    assert member.role == R.SUPPLIER_ADMIN
    session.rollback()
    boss.post(url, data={"act": "disable"})
    session.refresh(member)
    assert not member.active
    session.rollback()
    me = session.scalars(select(User.id).where(User.email == "ada@example.com")).one()
    session.rollback()
    told = boss.post(f"/account/team/{me}", data={"act": "disable"}, follow_redirects=True)
    assert "nobody disables their own account" in told.text
    for wrong in ({"act": "role", "role": "administrator"}, {"act": "role"}, {"act": "delete"}, {}):
        assert "Nothing was changed" in boss.post(url, data=wrong, follow_redirects=True).text


def test_a_contributor_sees_neither_team_nor_tokens(make: Make, supplier: Supplier, sign_in: SignIn) -> None:
    client = sign_in(make.user(R.SUPPLIER_CONTRIBUTOR, supplier))
    assert client.get("/account/team").status_code == 403
    assert client.get("/account/tokens").status_code == 403
    assert client.get("/account/").status_code == 200


# --- Tokens ----------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_revoked(boss: FlaskClient, session: TenantSession) -> None:
    data = {"name": "Build server", "scopes": ["supplier:upload:write"], "days": "30"}
    page = boss.post("/account/tokens", data=data)
    (token,) = set(re.findall(r"lgt_[\w-]{43}", page.text))
    listed = boss.get("/account/tokens").text
    assert token not in listed
    assert token[:12] in listed
    number = session.scalars(select(ApiToken.id)).one()
    session.rollback()
    assert boss.post(f"/account/tokens/{number}/revoke").status_code == 302
    assert session.scalars(select(ApiToken.revoked_at)).one() is not None


@pytest.mark.parametrize(
    "data", [{"name": ""}, {"scopes": []}, {"scopes": ["admin:user:manage"]}, {"days": "0"}, {"days": "x"}]
)
def test_a_wrong_token_form_makes_none(
    data: dict[str, object], boss: FlaskClient, session: TenantSession
) -> None:
    values = {"name": "ci", "scopes": ["supplier:upload:write"], "days": "30"} | data
    answer = boss.post("/account/tokens", data=values)
    assert (answer.status_code, "field-errors" in answer.text) == (422, True)
    assert session.scalars(select(ApiToken)).all() == []


def test_what_hands_out_access_asks_for_the_password_again_after_a_while(
    boss: FlaskClient, session: TenantSession
) -> None:
    with boss.session_transaction() as kept:
        kept["fs_paa"] = time.time() - 3600
    data = {"name": "ci", "scopes": ["supplier:upload:write"], "days": "30"}
    answer = boss.post("/account/tokens", data=data)
    assert answer.location.startswith("/account/confirm?")
    assert session.scalars(select(ApiToken)).all() == []


# --- Administration --------------------------------------------------------------------------------


def test_a_supplier_account_is_made_with_its_first_invitation(
    admin: FlaskClient, session: TenantSession, visitor: Visitor
) -> None:
    data = {"name": "Nordhaven Cells", "country": "no", "email": "first@example.com"}
    answer = admin.post("/admin/suppliers", data=data)
    supplier = session.scalars(select(Supplier)).one()
    session.rollback()
    assert answer.location == f"/admin/suppliers/{supplier.id}"
    assert supplier.country == "NO"
    page = admin.get(answer.location).text
    assert "first@example.com" in page
    assert visitor.get(_link(session)).status_code == 200
    assert "Nordhaven Cells" in admin.get("/admin/suppliers?q=haven").text
    assert "No supplier found" in admin.get("/admin/suppliers?q=%25").text


@pytest.mark.parametrize(
    "data", [{"name": ""}, {"country": "Norway"}, {"country": "1!"}, {"email": "x"}, {"name": "Kestrel UPS"}]
)
def test_a_wrong_supplier_form_makes_nothing(
    data: dict[str, str], admin: FlaskClient, session: TenantSession, supplier: Supplier
) -> None:
    values = {"name": "Nordhaven Cells", "country": "NO", "email": "first@example.com"} | data
    answer = admin.post("/admin/suppliers", data=values)
    assert answer.status_code == 422
    assert "problems" in answer.text
    assert session.scalars(select(Supplier.name)).all() == ["Kestrel UPS"]
    assert session.scalars(select(Message)).all() == []


def test_the_administrator_invites_a_reviewer(admin: FlaskClient, session: TenantSession) -> None:
    assert (
        admin.post(
            "/admin/users/invitations", data={"email": "r@example.com", "role": "reviewer"}
        ).status_code
        == 302
    )
    assert "as reviewer of Meridian" in session.scalars(select(Message.body)).one()
    session.rollback()
    wrong = admin.post("/admin/users/invitations", data={"email": "r@example.com", "role": "supplier_admin"})
    assert wrong.status_code == 422


def test_people_are_found_and_paged(admin: FlaskClient, make: Make, supplier: Supplier) -> None:
    for number in range(51):
        make.user(R.SUPPLIER_CONTRIBUTOR, supplier, name=f"Member {number:02}")
    page = admin.get("/admin/users?role=supplier_contributor").text
    assert "1–50 of 51" in page
    assert "Member 50" not in page
    assert "51–51 of 51" in admin.get("/admin/users?role=supplier_contributor&page=2").text
    found = admin.get("/admin/users?q=member+07").text
    assert ("Member 07" in found, "Member 08" in found) == (True, False)
    for odd in ("page=0", "page=-3", "page=x", "page=99999999999999999999", "role=king", "q=%00"):
        assert admin.get(f"/admin/users?{odd}").status_code == 200, odd


def test_a_persons_page_shows_events_and_acts(
    admin: FlaskClient, make: Make, supplier: Supplier, session: TenantSession
) -> None:
    person = make.user(R.REVIEWER)
    url = f"/admin/users/{person.id}"
    admin.post(url, data={"act": "role", "role": "approver"})
    admin.post(url, data={"act": "reset_second_factor"})
    page = admin.get(url).text
    assert "reviewer to approver" in page
    assert "Grace" in page
    session.refresh(person)
    assert (person.role, person.has_second_factor) == (R.APPROVER, False)
    assert admin.get(f"/admin/users/{'0' * 32}").status_code == 404
    buyer = session.scalars(select(Organisation.id).where(Organisation.kind == "buyer")).one()
    session.rollback()
    assert admin.get(f"/admin/suppliers/{buyer}").status_code == 404


@pytest.mark.parametrize("role", [role for role in RoleName if role is not R.ADMINISTRATOR])
def test_nobody_else_reaches_administration(
    role: RoleName, make: Make, supplier: Supplier, sign_in: SignIn
) -> None:
    client = sign_in(make.user(role, supplier if role.value.startswith("supplier") else None))
    for url in ("/admin/users", "/admin/suppliers", f"/admin/suppliers/{supplier.id}"):
        assert client.get(url).status_code == 403, (role, url)
    assert client.post("/admin/suppliers", data={"name": "X"}).status_code == 403
