"""Reviewer pages: who sees what, what can be done on them, and what is refused."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import TypeVar

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts.models import RoleName, User
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence.models import Evidence
from portal.evidence.service import receive_bytes
from portal.http.access import ACCESS
from portal.ledger import logs as ledger
from portal.ledger.models import Entry
from portal.reassessment.models import ChangeKind, ChangeNotice
from portal.reassessment.service import file_notice, handle
from portal.review.assessing import open_case
from portal.review.models import (
    Case,
    CaseState,
    ChangeRequest,
    Comment,
    Decision,
    DecisionKind,
    GrantedException,
)
from portal.settings import Settings
from portal.submissions.lots import sampling
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.models import Submission
from portal.suppliers.models import KeyState, SigningKey, Supplier
from portal.verification import Outcome
from tests.factories import Make, RecordingQueue
from tests.factories.offered import Offered
from tests.unit.review.conftest import Desk

SignIn = Callable[[User], FlaskClient]
T = TypeVar("T")
R = RoleName
CONDITION = {
    "accept": "y",
    "text": "Our desk forwards calls.",
    "owner": "OT security",
    "expires_on": "2027-02-01",
}


@pytest.fixture
def desk(session: TenantSession, clock: FixedClock, make: Make, offered: Offered) -> Desk:
    return Desk(session, clock, make, offered)


@pytest.fixture
def case(desk: Desk) -> Case:
    """A case of tier 2 with one knock-out that a condition can accept."""
    found = desk.case(inc_contact_hours="unknown")
    desk.session.commit()
    return found


@pytest.fixture
def reviewer(make: Make, sign_in: SignIn) -> FlaskClient:
    return sign_in(make.user(R.REVIEWER, name="Ana Ferreira"))


def text_of(response: TestResponse) -> str:
    """What a reader sees, blanks made single."""
    body = re.sub(r"<(script|style|svg).*?</\1>", " ", response.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def actions_of(response: TestResponse) -> set[str]:
    """The last words of where the forms of a page post to, sign-out aside."""
    forms = re.findall(r"<form[^>]*>", response.text)
    found = {
        (re.search(r'action="([^"?#]*)', form) or re.search(r"()", form))[1].rsplit("/", 1)[-1]
        for form in forms
        if 'method="post"' in form
    }
    return found - {"sign-out"}


def decision_form(response: TestResponse) -> dict[str, str]:
    """What a browser would send of the decision form if nothing were touched."""
    form = response.text.split("data-decision", 1)[1].split("</form>", 1)[0]
    inputs = re.findall(r"<input[^>]*>", form)
    values = {}
    for tag in inputs:
        kind = re.search(r'type="(\w+)"', tag)
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and kind and kind[1] in ("hidden", "date", "text"):
            values[name[1]] = unescape(value[1]) if value else ""
    return values


def condition_for(form: dict[str, str], control_id: str) -> dict[str, str]:
    """The fields of the row of `control_id`, filled in and ticked."""
    row = next(name for name, value in form.items() if value == control_id).removesuffix("control_id")
    return {row + name: value for name, value in CONDITION.items()}


def fresh(session: TenantSession, case: Case) -> Case:
    """The case as it is now. Ends the transaction: on SQLite an open one would keep the next request out."""
    session.refresh(case)
    session.commit()
    return case


def read(session: TenantSession, row: T) -> T:
    """Any row as it is now, likewise."""
    session.refresh(row)
    session.commit()
    return row


# --- Who sees what -------------------------------------------------------------------------------

READ = {
    "assessment", "case", "change", "changes", "evidence", "exceptions", "image_report", "key", "keys",
    "product", "queue", "reassessments", "receipt", "sample", "submission", "supplier", "suppliers",
}  # fmt: skip
SEES: dict[RoleName, set[str]] = {
    R.REVIEWER: READ | {"new_change"},
    R.APPROVER: READ | {"new_change"},
    R.AUDITOR: READ | {"ledger"},
    R.ADMINISTRATOR: {"ledger", "product", "supplier", "suppliers"},
    R.SUPPLIER_ADMIN: set(),
    R.SUPPLIER_CONTRIBUTOR: set(),
}


@pytest.fixture
def addresses(
    desk: Desk, case: Case, jobs: RecordingQueue, store: LocalBlobStore, spool: Path, tmp_path: Path
) -> dict[str, str]:
    """One address of every page of the blueprint."""
    supplier = desk.session.get_one(Supplier, case.supplier_id)
    actor = desk.make.supplier_actor(supplier)
    evidence = receive_bytes(
        desk.session, actor, desk.clock, store, spool, b"a report", filename="report.pdf", limit=100
    )
    key = desk.offered.key(supplier.id, desk.make.user(R.SUPPLIER_ADMIN, supplier))
    submission = desk.session.scalars(select(Submission).where(Submission.kind == "lot")).one()
    image = desk.session.scalars(select(Submission).where(Submission.kind == "firmware")).first()
    assert image is not None
    notice = file_notice(
        desk.session,
        desk.reviewer(),
        desk.clock,
        jobs,
        kind=ChangeKind.BOM,
        title="Other cells",
        product_id=case.product_id,
    )
    handle(desk.session, desk.clock, store, notice.id)
    lot = desk.offered.lot(case.product, serials=("SN-1",))
    sampling.draw(
        desk.session,
        desk.reviewer(),
        desk.clock,
        desk.session.scalars(select(Lot).where(Lot.submission_id == lot.id)).one(),
        1,
    )
    signer = signer_in(Settings(ledger_dir=tmp_path / "ledger"), 1, "gate.example/ledger/1")
    ledger.create(desk.session, desk.clock, signer)
    ledger.publish(desk.session, desk.clock, signer)
    desk.session.commit()
    return {
        "assessment": f"/r/assessments/{case.assessment_id}",
        "case": f"/r/cases/{case.number}",
        "change": f"/r/changes/{notice.id}",
        "changes": "/r/changes",
        "evidence": f"/r/evidence/{evidence.id}",
        "exceptions": "/r/exceptions",
        "image_report": f"/r/submissions/{image.id}/image.json",
        "key": f"/r/keys/{key.id}",
        "keys": "/r/keys",
        "ledger": "/r/ledger",
        "new_change": f"/r/suppliers/{case.supplier_id}/changes/new",
        "product": f"/r/products/{case.product_id}",
        "queue": "/r/",
        "reassessments": "/r/reassessments",
        "receipt": f"/r/evidence/{evidence.id}/receipt",
        "sample": f"/r/submissions/{lot.id}/sample.csv",
        "submission": f"/r/submissions/{submission.id}",
        "supplier": f"/r/suppliers/{case.supplier_id}",
        "suppliers": "/r/suppliers",
    }


def test_every_page_that_can_be_read_is_in_this_table(app: Flask, addresses: dict[str, str]) -> None:
    readable = {
        name.removeprefix("review.")
        for name, rule in ACCESS.items()
        if name.startswith("review.") and "GET" in rule
    }
    assert set(addresses) == readable


@pytest.mark.parametrize("role", list(RoleName))
def test_each_role_sees_its_pages_and_no_others(
    make: Make, case: Case, sign_in: SignIn, addresses: dict[str, str], role: RoleName
) -> None:
    supplier = make.session.get(Supplier, case.supplier_id) if role.value.startswith("supplier") else None
    client = sign_in(make.user(role, supplier))
    make.session.commit()
    answers = {name: client.get(address).status_code for name, address in addresses.items()}
    assert answers == {name: 200 if name in SEES[role] else 403 for name in addresses}


def test_a_visitor_is_sent_to_sign_in(client: FlaskClient, addresses: dict[str, str]) -> None:
    for address in addresses.values():
        response = client.get(address)
        assert (response.status_code, response.location.split("?")[0]) == (302, "/account/sign-in")


POSTS = {
    "cases/1/assess", "cases/1/claim", "cases/1/comments", "cases/1/decision", "cases/1/release",
    "cases/1/take-over", "exceptions/x/close", "keys/x/decision", "keys/x/distrust", "products/x",
    "keys/x/revocation-list", "submissions/x/sample", "suppliers/x/changes/new",
}  # fmt: skip


@pytest.mark.parametrize("role", [R.AUDITOR, R.ADMINISTRATOR, R.SUPPLIER_ADMIN, R.SUPPLIER_CONTRIBUTOR])
def test_roles_that_decide_nothing_are_refused_every_act(
    make: Make, sign_in: SignIn, case: Case, role: RoleName
) -> None:
    supplier = make.session.get(Supplier, case.supplier_id) if role.value.startswith("supplier") else None
    client = sign_in(make.user(role, supplier))
    make.session.commit()
    assert {client.post(f"/r/{path}").status_code for path in POSTS} == {403}


def test_only_an_approver_takes_over(reviewer: FlaskClient, case: Case) -> None:
    assert reviewer.post(f"/r/cases/{case.number}/take-over", data={"reason": "x"}).status_code == 403


def test_an_act_without_the_token_is_refused(make: Make, sign_in: SignIn, case: Case) -> None:
    client = sign_in(make.user(R.REVIEWER))
    del client.environ_base["HTTP_X_CSRFTOKEN"]
    assert client.post(f"/r/cases/{case.number}/claim").status_code == 400
    assert fresh(make.session, case).claimed_by is None


def test_an_auditor_sees_everything_and_not_one_button(
    make: Make, sign_in: SignIn, addresses: dict[str, str]
) -> None:
    client = sign_in(make.user(R.AUDITOR))
    for name in SEES[R.AUDITOR] - {"evidence"}:
        assert actions_of(client.get(addresses[name])) == set(), name


@pytest.mark.parametrize(
    "path",
    [
        "cases/99",
        "assessments/" + "0" * 32,
        "changes/" + "0" * 32,
        "evidence/" + "0" * 32,
        "keys/" + "0" * 32,
        "products/" + "0" * 32,
        "submissions/" + "0" * 32,
        "suppliers/" + "0" * 32,
        "suppliers/" + "0" * 32 + "/changes/new",
    ],
)
def test_what_is_not_there_is_404(reviewer: FlaskClient, path: str) -> None:
    assert reviewer.get(f"/r/{path}").status_code == 404


def test_drafts_are_not_shown(desk: Desk, reviewer: FlaskClient, case: Case) -> None:
    draft = desk.offered.lot(case.product)
    draft.state, draft.submitted_at = "draft", None
    desk.session.commit()
    assert reviewer.get(f"/r/submissions/{draft.id}").status_code == 404
    assert draft.title not in reviewer.get(f"/r/cases/{case.number}").text
    assert draft.title not in reviewer.get(f"/r/products/{case.product_id}").text


# --- The queue -----------------------------------------------------------------------------------


def test_the_queue_links_to_cases_and_keeps_its_filter(reviewer: FlaskClient, case: Case) -> None:
    response = reviewer.get("/r/?rating=high_risk&sort=rating")
    assert f"1 · {case.title}" in text_of(response)
    assert f"/r/cases/{case.number}?rating=high_risk&amp;sort=rating" in response.text
    assert "No cases here" in text_of(reviewer.get("/r/?rating=approvable"))


def test_neighbours_follow_the_filter(desk: Desk, reviewer: FlaskClient) -> None:
    numbers = [desk.case(tier=tier).number for tier in (1, 2, 1)]
    desk.session.commit()
    page = reviewer.get(f"/r/cases/{numbers[0]}").text
    assert re.search(rf'data-next-case[^>]*href="/r/cases/{numbers[1]}"', page)
    narrowed = reviewer.get(f"/r/cases/{numbers[0]}?tier=1").text
    assert re.search(rf'data-next-case[^>]*href="/r/cases/{numbers[2]}\?tier=1"', narrowed)
    assert "data-previous-case" not in narrowed


def test_arguments_that_mean_nothing_show_the_queue(reviewer: FlaskClient, case: Case) -> None:
    response = reviewer.get("/r/?view=x&rating=y&tier=z&sort=%27&after=-5&before=nan&cause=1")
    assert response.status_code == 200 and case.title in text_of(response)


# --- The case ------------------------------------------------------------------------------------


def test_the_case_page_puts_claims_beside_evidence_and_checks(reviewer: FlaskClient, case: Case) -> None:
    page = reviewer.get(f"/r/cases/{case.number}")
    text = text_of(page)
    assert "Who verifies the firmware before it is installed or started?" in text
    assert "Secure boot from a hardware root of trust" in text  # the answer as people read it
    assert "fw_secure_boot.pdf" in text
    assert "firmware.signature pass in a test" in text
    assert "INC-01" in text and "Knock-out" in text
    assert case.assessment.cause in text
    for download in re.findall(r"/r/evidence/([0-9a-f]+)", page.text):
        assert len(download) == 32


def test_claim_and_release_by_buttons(
    session: TenantSession, reviewer: FlaskClient, make: Make, sign_in: SignIn, case: Case
) -> None:
    url = f"/r/cases/{case.number}"
    assert actions_of(reviewer.get(url)) == {"claim", "assess", "comments"}
    response = reviewer.post(url + "/claim?tier=2")
    assert (response.status_code, response.location) == (302, url + "?tier=2")
    assert fresh(session, case).state is CaseState.CLAIMED
    assert actions_of(reviewer.get(url)) == {"release", "assess", "comments", "decision"}

    other = sign_in(make.user(R.REVIEWER))
    assert actions_of(other.get(url)) == {"assess", "comments"}
    assert "Ana Ferreira holds this case" in text_of(other.get(url))
    refused = other.post(url + "/claim")
    assert refused.status_code == 409 and "held by Ana Ferreira" in text_of(refused)

    reviewer.post(url + "/release")
    assert fresh(session, case).state is CaseState.OPEN


def test_an_approver_takes_over_by_button(
    session: TenantSession, reviewer: FlaskClient, make: Make, sign_in: SignIn, case: Case
) -> None:
    url = f"/r/cases/{case.number}"
    reviewer.post(url + "/claim")
    user = make.user(R.APPROVER)
    approver = sign_in(user)
    assert "take-over" in actions_of(approver.get(url))
    assert approver.post(url + "/take-over", data={"reason": " "}).status_code == 422
    assert approver.post(url + "/take-over", data={"reason": "On leave"}).status_code == 302
    assert fresh(session, case).claimed_by == user.id
    assert "Taken over from Ana Ferreira: On leave" in text_of(reviewer.get(url))


def test_comments_are_internal_unless_told_otherwise(
    session: TenantSession, reviewer: FlaskClient, case: Case
) -> None:
    url = f"/r/cases/{case.number}/comments"
    assert reviewer.post(url, data={"text": "Called <b>them</b>."}).status_code == 302
    reviewer.post(url, data={"text": "Please hurry.", "audience": "supplier"})
    assert session.scalars(select(Comment.internal).order_by(Comment.text)).all() == [True, False]
    session.commit()
    page = reviewer.get(f"/r/cases/{case.number}")
    assert "Called &lt;b&gt;them&lt;/b&gt;." in page.text
    empty = reviewer.post(url, data={"text": " ", "audience": "internal"})
    assert empty.status_code == 422 and "Expected a text, found none" in text_of(empty)


def test_assess_again_says_whether_anything_is_new(desk: Desk, reviewer: FlaskClient, case: Case) -> None:
    url = f"/r/cases/{case.number}/assess"
    assert "Nothing has changed since" in text_of(reviewer.post(url, follow_redirects=True))
    desk.offered.firmware(case.product, "2.0.0")
    assert "Assessment 2 was made" in text_of(reviewer.post(url, follow_redirects=True))


# --- Deciding ------------------------------------------------------------------------------------


def held(client: FlaskClient, case: Case) -> tuple[str, dict[str, str]]:
    """Claim the case; where to decide it, and the untouched form."""
    url = f"/r/cases/{case.number}"
    client.post(url + "/claim")
    return url + "/decision", decision_form(client.get(url))


def test_approving_with_a_condition_by_the_form(
    session: TenantSession, reviewer: FlaskClient, case: Case
) -> None:
    url, form = held(reviewer, case)
    form |= {"kind": "approve_with_conditions", "reason": "Contact hours follow."}
    response = reviewer.post(url, data=form | condition_for(form, "INC-01"))
    assert response.status_code == 302
    assert fresh(session, case).state is CaseState.CLOSED
    (exception,) = session.scalars(select(GrantedException))
    assert (exception.control_id, exception.owner, str(exception.expires_on)) == (
        "INC-01",
        "OT security",
        "2027-02-01",
    )
    listed = text_of(reviewer.get("/r/exceptions"))
    assert "Our desk forwards calls." in listed
    page = text_of(reviewer.get(f"/r/cases/{case.number}"))
    assert "Contact hours follow." in page and "Decide on" not in page


def test_what_keeps_a_decision_from_being_made_is_told_and_nothing_typed_is_lost(
    session: TenantSession, reviewer: FlaskClient, case: Case
) -> None:
    url, form = held(reviewer, case)
    response = reviewer.post(url, data=form | {"kind": "approve", "reason": "It looks fine to me."})
    assert response.status_code == 422
    text = text_of(response)
    assert "This decision cannot be made yet" in text and "INC-01" in text
    assert "It looks fine to me." in response.text
    assert session.scalars(select(Decision)).all() == []


def test_a_condition_that_does_not_hold_is_marked_where_it_is(
    session: TenantSession, reviewer: FlaskClient, case: Case
) -> None:
    url, form = held(reviewer, case)
    row = condition_for(form, "INC-01")
    (date_field,) = (name for name in row if name.endswith("expires_on"))
    form |= row | {"kind": "approve_with_conditions", "reason": "x", date_field: "2030-01-01"}
    response = reviewer.post(url, data=form)
    assert response.status_code == 422
    assert re.search(rf'id="{date_field}-errors"', response.text)
    assert "at the latest 2027-11-21" in text_of(response)
    assert session.scalars(select(Decision)).all() == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"reason": "x"}, "Choose one."),
        ({"kind": "approve", "reason": ""}, "Say why"),
        ({"kind": "nonsense", "reason": "x"}, "Not a valid choice"),
        ({"kind": "request_changes", "reason": "x", "items": " \n "}, "Say what the supplier must put right"),
    ],
)
def test_a_form_that_says_too_little_comes_back(
    reviewer: FlaskClient, case: Case, values: dict[str, str], told: str
) -> None:
    url, form = held(reviewer, case)
    response = reviewer.post(url, data=form | values)
    assert response.status_code == 422 and told in text_of(response)


def test_asking_for_changes_takes_one_item_a_line(
    session: TenantSession, reviewer: FlaskClient, case: Case
) -> None:
    url, form = held(reviewer, case)
    form |= {"kind": "request_changes", "reason": "Two things.", "items": "The report\r\n\r\n The site \r\n"}
    assert reviewer.post(url, data=form).status_code == 302
    rows = session.scalars(select(ChangeRequest).order_by(ChangeRequest.position))
    assert [row.text for row in rows] == ["The report", "The site"]
    assert "Waiting for supplier" in text_of(reviewer.get(f"/r/cases/{case.number}"))


def test_a_decision_on_what_is_no_longer_in_front_is_refused(
    desk: Desk, reviewer: FlaskClient, case: Case
) -> None:
    url, form = held(reviewer, case)
    desk.offered.firmware(case.product, "2.0.0")
    desk.assessed(case.product)
    desk.session.commit()
    response = reviewer.post(url, data=form | {"kind": "reject", "reason": "x"})
    assert response.status_code == 409 and "assessment 2 arrived meanwhile" in text_of(response)


def test_a_decision_without_the_claim_is_refused(reviewer: FlaskClient, case: Case) -> None:
    url = f"/r/cases/{case.number}/decision"
    data = {"kind": "reject", "reason": "x", "assessment_id": case.assessment_id}
    assert reviewer.post(url, data=data).status_code == 403


def test_the_second_approver_sees_the_first_and_confirms(
    desk: Desk, make: Make, sign_in: SignIn, session: TenantSession
) -> None:
    case = desk.case(tier=1, inc_contact_hours="business_hours")
    session.commit()
    first, second = sign_in(make.user(R.APPROVER, name="Jonas Lind")), sign_in(make.user(R.APPROVER))
    url, form = held(first, case)
    form |= {"kind": "approve_with_conditions", "reason": "Until they staff nights."}
    told = first.post(url, data=form | condition_for(form, "INC-01"), follow_redirects=True)
    assert "waits for a second approver" in text_of(told)
    url, form = held(second, case)
    page = text_of(second.get(f"/r/cases/{case.number}"))
    assert "Jonas Lind gave the first approval" in page and "Until they staff nights." in page
    assert not any(name.startswith("conditions") for name in form)
    response = second.post(url, data=form | {"kind": "approve_with_conditions", "reason": "Agreed."})
    assert response.status_code == 302
    assert fresh(session, case).state is CaseState.CLOSED


def test_the_difference_since_the_last_decision_is_shown(desk: Desk, reviewer: FlaskClient) -> None:
    case = desk.case()
    desk.decide(case, DecisionKind.APPROVE)
    desk.offered.questionnaire(case.product, {"acc_remote_access": "standing", "acc_mfa": "no"})
    lot = desk.offered.lot(case.product, {"lot.custody": Outcome.FAIL})
    again = desk.assessed(case.product)
    desk.session.commit()
    text = text_of(reviewer.get(f"/r/cases/{again.number}"))
    assert "Since the last decision Approve" in text
    assert "Rating Approvable High risk" in text
    assert "What remote access do your people have to delivered equipment? None" in text
    assert "Standing access" in text
    assert f"lot.custody {lot.title} not there Fail lot.custody fail in a test" in text
    assert "PRV-04" in text and "No longer met" in text
    assert f"Checks that did not pass 1 Fail lot.custody {lot.title}: lot.custody fail in a test" in text


# --- Suppliers, products, keys -------------------------------------------------------------------


def test_suppliers_are_searched_and_filtered(make: Make, reviewer: FlaskClient) -> None:
    make.supplier("Kestrel UPS")
    make.supplier("Aldgate BMS")
    assert "Aldgate" not in text_of(reviewer.get("/r/suppliers?q=kestrel"))
    assert "No suppliers here" in text_of(reviewer.get("/r/suppliers?standing=rejected"))
    assert "Kestrel" in text_of(reviewer.get("/r/suppliers?standing=new&page=99"))


def test_setting_tier_and_limits_assesses_again(
    session: TenantSession, reviewer: FlaskClient, case: Case
) -> None:
    url = f"/r/products/{case.product_id}"
    data = {"tier": "1", "capacity_ah_min": "98.5", "capacity_ah_max": "110"}
    assert reviewer.post(url, data=data).status_code == 302
    found, product = fresh(session, case), read(session, case.product)
    assert (found.tier, found.assessment.number, product.tier) == (1, 2, 1)
    assert product.limits == {"capacity_ah": {"min": 98.5, "max": 110.0}}
    page = reviewer.get(url)
    assert "98.5 to 110.0" in text_of(page) and 'value="98.5"' in page.text


@pytest.mark.parametrize(
    "data",
    [{"tier": "4"}, {"tier": "2", "ocv_v_min": "many"}, {"tier": "2", "ocv_v_min": "4", "ocv_v_max": "3"}],
)
def test_product_settings_that_do_not_hold_come_back(
    session: TenantSession, reviewer: FlaskClient, case: Case, data: dict[str, str]
) -> None:
    assert reviewer.post(f"/r/products/{case.product_id}", data=data).status_code == 422
    product = read(session, case.product)
    assert (product.tier, product.limits) == (2, {})


@pytest.fixture
def key(desk: Desk, case: Case) -> SigningKey:
    supplier = desk.session.get_one(Supplier, case.supplier_id)
    return desk.offered.key(supplier.id, desk.make.user(R.SUPPLIER_ADMIN, supplier))


def test_a_key_is_approved_by_typing_its_fingerprint(
    session: TenantSession, reviewer: FlaskClient, key: SigningKey
) -> None:
    url = f"/r/keys/{key.id}"
    assert "by a channel that you know already" in text_of(reviewer.get(url))
    data = {"fingerprint": "00000000", "note": "By telephone", "answer": "approve"}
    wrong = reviewer.post(url + "/decision", data=data)
    assert wrong.status_code == 422 and "Expected the last 8 characters" in text_of(wrong)
    assert read(session, key).state is KeyState.PENDING
    data["fingerprint"] = key.fingerprint[-8:].upper()
    assert reviewer.post(url + "/decision", data=data).status_code == 302
    assert (read(session, key).state, key.decision_note) == (KeyState.APPROVED, "By telephone")


@pytest.mark.parametrize("data", [{"answer": "approve"}, {"note": "x"}, {"note": " ", "answer": "reject"}])
def test_a_key_form_that_says_too_little_comes_back(
    session: TenantSession, reviewer: FlaskClient, key: SigningKey, data: dict[str, str]
) -> None:
    assert reviewer.post(f"/r/keys/{key.id}/decision", data=data).status_code == 422
    assert read(session, key).state is KeyState.PENDING


def test_distrusting_a_key_files_the_change_in_the_same_act(
    session: TenantSession, reviewer: FlaskClient, key: SigningKey, jobs: RecordingQueue
) -> None:
    key.state, key.decided_by, key.decided_at = KeyState.APPROVED, key.registered_by, key.registered_at
    session.commit()
    url = f"/r/keys/{key.id}/distrust"
    assert reviewer.post(url, data={"since": "yesterday", "reason": "x"}).status_code == 422
    assert reviewer.post(url, data={"since": "2026-11-01T08:00", "reason": " "}).status_code == 422
    assert jobs.waiting == []
    response = reviewer.post(url, data={"since": "2026-11-01T08:00", "reason": "It leaked"})
    assert response.status_code == 302
    notice = session.scalars(select(ChangeNotice)).one()
    read(session, key)
    assert key.distrusted_from is not None and key.distrusted_from.isoformat() == "2026-11-01T08:00:00+00:00"
    assert (notice.kind, notice.signing_key_id) == (ChangeKind.KEY, key.id)
    assert jobs.waiting == [("reassess", (notice.id,))]
    again = reviewer.post(url, data={"since": "2026-11-02T08:00", "reason": "Later"})
    assert again.status_code == 409


# --- Changes, exceptions, evidence, ledger -------------------------------------------------------


def test_a_reviewer_files_a_change_and_sees_what_it_did(
    session: TenantSession, reviewer: FlaskClient, case: Case, jobs: RecordingQueue
) -> None:
    url = f"/r/suppliers/{case.supplier_id}/changes/new"
    data = {"kind": "bom", "subject": case.product_id, "title": "Other cells", "description": "From lot 118"}
    response = reviewer.post(url, data=data)
    assert response.status_code == 302
    assert "Being assessed" in text_of(reviewer.get("/r/changes"))
    jobs.run_all()
    page = text_of(reviewer.get(response.location))
    assert "Other cells" in page and "From lot 118" in page and "Needs a person" in page
    assert "Other cells" in text_of(reviewer.get("/r/changes?kind=bom&q=other"))
    assert "No changes here" in text_of(reviewer.get("/r/changes?kind=site"))
    assert "Needs a person" in text_of(reviewer.get("/r/reassessments"))
    assert reviewer.post(url, data=data | {"title": " "}).status_code == 422
    assert reviewer.post(url, data=data | {"kind": "key"}).status_code == 422
    assert reviewer.post(url, data=data | {"subject": "0" * 32}).status_code == 404


def test_ending_an_exception_by_button(
    desk: Desk, reviewer: FlaskClient, sign_in: SignIn, case: Case
) -> None:
    url, form = held(reviewer, case)
    form |= {"kind": "approve_with_conditions", "reason": "x"}
    reviewer.post(url, data=form | condition_for(form, "INC-01"))
    (exception_id,) = desk.session.scalars(select(GrantedException.id))
    desk.session.commit()
    desk.clock.advance(timedelta(days=60))
    reviewer = sign_in(desk.make.user(R.REVIEWER))
    assert "12 days left" in text_of(reviewer.get("/r/exceptions"))
    assert reviewer.post(f"/r/exceptions/{exception_id}/close").status_code == 302
    assert "No exceptions in force" in text_of(reviewer.get("/r/exceptions"))
    desk.session.expire_all()
    assert open_case(desk.session, case.product_id) is not None


def test_evidence_is_only_ever_a_download(
    desk: Desk, reviewer: FlaskClient, store: LocalBlobStore, spool: Path
) -> None:
    page = b"<script>alert(1)</script>"
    evidence = receive_bytes(
        desk.session,
        desk.make.supplier_actor(),
        desk.clock,
        store,
        spool,
        page,
        filename='r\u00e9sum\u00e9 "1".html',
        limit=100,
    )
    desk.session.commit()
    response = reviewer.get(f"/r/evidence/{evidence.id}")
    assert (response.status_code, response.data) == (200, page)
    assert response.mimetype == "application/octet-stream"
    headers = response.headers
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''r%C3%A9sum%C3%A9%20%221%22.html"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Length"] == str(len(page))
    assert headers["Cache-Control"] == "no-store"


def test_evidence_whose_blob_is_gone_is_404(desk: Desk, reviewer: FlaskClient, case: Case) -> None:
    evidence = desk.session.scalars(select(Evidence)).first()
    assert evidence is not None
    assert reviewer.get(f"/r/evidence/{evidence.id}").status_code == 404


def test_a_lot_shows_its_units_and_hand_offs(desk: Desk, reviewer: FlaskClient, case: Case) -> None:
    submission = desk.session.scalars(select(Submission).where(Submission.kind == "lot")).one()
    lot = desk.session.scalars(select(Lot)).one()
    owner = {"supplier_id": lot.supplier_id, "lot_id": lot.id}
    for position in range(103):
        desk.session.add(
            Unit(
                **owner,
                position=position,
                serial=f"NH-{position:04}",
                serial_key=f"NH-{position:04}",
                digest="0" * 64,
                firmware={"BMS": "1.0.0"},
                capacity_ah=100.5,
                attested_by=submission.id if position == 0 else None,
                attested_line=1 if position == 0 else None,
            )
        )
    desk.session.add(
        CustodyEvent(
            **owner,
            position=0,
            kind="handover",
            from_holder="Nordhaven Cells AS",
            to_holder="Fjord Freight",
            location="Narvik",
            at=desk.clock.now(),
        )
    )
    desk.session.commit()
    url = f"/r/submissions/{submission.id}"
    first = text_of(reviewer.get(url))
    assert "NH-0000" in first and "NH-0099" in first and "NH-0100" not in first
    assert "Nordhaven Cells AS" in first and "Fjord Freight" in first
    assert "1 of 0" in first  # the row says what the manifest declared
    assert "NH-0102" in text_of(reviewer.get(url + "?page=2"))
    found = text_of(reviewer.get(url + "?serial=0042"))
    assert "NH-0042" in found and "NH-0041" not in found


def test_the_ledger_shows_entries_and_checks_the_chain(
    session: TenantSession, make: Make, sign_in: SignIn, case: Case
) -> None:
    auditor = sign_in(make.user(R.AUDITOR))
    page = text_of(auditor.get("/r/ledger"))
    assert "assessment.made" in page
    assert "The whole chain holds" in text_of(auditor.get("/r/ledger?check=whole"))
    assert "No entries here" in text_of(auditor.get("/r/ledger?subject=nothing"))
    assert auditor.get("/r/ledger?below=x&kind=assessment.made").status_code == 200
    entry = session.scalars(select(Entry).where(Entry.kind == "assessment.made")).first()
    assert entry is not None
    entry.body = entry.body.replace("high_risk", "approvable")
    session.commit()
    broken = text_of(auditor.get("/r/ledger?check=whole"))
    assert "The chain does not hold" in broken and "it was altered" in broken
    assert "Altered" in text_of(auditor.get("/r/ledger"))
