"""Forms of the supplier pages: what they do, and that nothing typed or sent is lost when they come back."""

import re
from collections.abc import Callable
from datetime import date
from html import unescape
from io import BytesIO
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.accounts.models import RoleName, User
from portal.db import TenantSession
from portal.evidence.models import Evidence
from portal.reassessment.models import ChangeNotice
from portal.review.assessing import open_case
from portal.review.models import CaseCause, ChangeRequest, DecisionKind
from portal.review.service import assess, claim, comment, decide
from portal.submissions.lots.manifest import schema_text
from portal.submissions.models import Submission, SubmissionState
from portal.submissions.questionnaires.service import current_answers, current_evidence
from portal.suppliers.models import Entity, KeyState, Product, SigningKey, Supplier
from portal.verification import Outcome
from tests.factories import Make, RecordingQueue
from tests.factories.offered import Offered

SignIn = Callable[[User], FlaskClient]
NEW_FIRMWARE = "/s/submissions/new/firmware"


@pytest.fixture
def supplier(make: Make) -> Supplier:
    return make.supplier("Nordhaven Cells")


@pytest.fixture
def product(make: Make, supplier: Supplier) -> Product:
    return make.product(supplier, name="NH rack", model="NH-1")


@pytest.fixture
def client(make: Make, supplier: Supplier, sign_in: SignIn, session: TenantSession) -> FlaskClient:
    client = sign_in(make.user(RoleName.SUPPLIER_ADMIN, supplier))
    send = client.open

    def open_(*arguments: Any, **options: Any) -> Any:
        session.rollback()  # what a test has looked at must not keep the portal from writing
        return send(*arguments, **options)

    client.open = open_  # type: ignore[method-assign]
    return client


@pytest.fixture
def offered(session: TenantSession, make: Make) -> Offered:
    return Offered(session, make.clock)


def upload(client: FlaskClient, url: str, data: dict[str, Any], **files: tuple[bytes, str]) -> Any:
    sent = {name: (BytesIO(content), filename) for name, (content, filename) in files.items()}
    return client.post(url, data=data | sent, content_type="multipart/form-data")


def errors(page: str) -> str:
    return unescape(" ".join(re.findall(r'class="field-errors".*?<span>(.*?)</span>', page, re.DOTALL)))


# --- Products, chain, keys -----------------------------------------------------------------------------


def test_a_product_is_added_with_its_components(client: FlaskClient, session: TenantSession) -> None:
    data = {
        "model": "NH-2",
        "name": "NH module",
        "components": "BMS\n\n Gateway ",
        "end_of_support": "2036-01-01",
    }
    answer = client.post("/s/products/new", data=data)
    assert answer.status_code == 302
    made = session.scalars(select(Product).where(Product.model == "NH-2")).one()
    assert answer.location == f"/s/products/{made.id}"
    assert [part.name for part in made.components] == ["BMS", "Gateway"]
    assert made.end_of_support == date(2036, 1, 1)


def test_a_product_form_that_is_wrong_comes_back_as_typed(
    client: FlaskClient, product: Product, session: TenantSession
) -> None:
    answer = client.post("/s/products/new", data={"model": "NH-9", "name": "", "chemistry": "LFP, really"})
    assert answer.status_code == 422
    assert 'value="NH-9"' in answer.text
    assert "LFP, really" in answer.text
    assert "Give the name." in errors(answer.text)
    taken = client.post("/s/products/new", data={"model": product.model, "name": "Another"})
    assert taken.status_code == 422
    assert "already" in taken.text
    assert session.scalar(select(func.count()).select_from(Product)) == 1


def test_two_components_of_one_name_are_refused(client: FlaskClient, product: Product) -> None:
    url = f"/s/products/{product.id}/components"
    assert client.post(url, data={"name": "Gateway"}).status_code == 302
    again = client.post(url, data={"name": "Gateway"})
    assert again.status_code == 422
    assert "already" in errors(again.text)


def test_a_supplier_cannot_set_the_tier(
    client: FlaskClient, product: Product, session: TenantSession
) -> None:
    data = {"name": "New name", "tier": "3", "limits": "{}"}
    assert client.post(f"/s/products/{product.id}", data=data).status_code == 302
    session.refresh(product)
    assert (product.name, product.tier) == ("New name", 2)


def test_a_company_joins_and_leaves_the_chain(client: FlaskClient, session: TenantSession) -> None:
    wrong = client.post(
        "/s/company/entities", data={"role": "manufacturer", "name": "Cells AS", "country": "1"}
    )
    assert wrong.status_code == 422
    assert "two letters" in errors(wrong.text)
    assert 'value="Cells AS"' in wrong.text
    data = {"role": "manufacturer", "name": "Cells AS", "country": "no"}
    assert client.post("/s/company/entities", data=data).status_code == 302
    row = session.scalars(select(Entity)).one()
    assert (row.name, row.country) == ("Cells AS", "NO")
    assert client.post(f"/s/company/entities/{row.id}/remove").status_code == 302
    assert session.scalar(select(func.count()).select_from(Entity)) == 0


def pems() -> tuple[str, str]:
    """The private and the public half of a fresh key."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def test_a_key_is_registered_and_its_fingerprint_shown_in_full(
    client: FlaskClient, session: TenantSession
) -> None:
    data = {"label": "Release key", "purposes": ["firmware", "attestation"], "pem": pems()[1]}
    answer = client.post("/s/keys/new", data=data)
    assert answer.status_code == 302
    key = session.scalars(select(SigningKey)).one()
    assert key.state is KeyState.PENDING
    assert key.purposes == ["firmware", "attestation"]
    assert key.fingerprint in client.get(answer.location).text


def test_how_a_key_signs_is_told_and_shown(client: FlaskClient, session: TenantSession) -> None:
    private = rsa.generate_private_key(65537, 3072)
    pem = (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    data = {
        "label": "Update key", "purposes": ["firmware"], "pem": pem, "method": "pss-max", "hash": "sha512",
        "builders": "https://build.example/1\r\nhttps://build.example/2\r\n",
    }  # fmt: skip
    answer = client.post("/s/keys/new", data=data)
    assert answer.status_code == 302
    assert session.scalars(select(SigningKey)).one().options == {
        "rsa_padding": "pss",
        "pss_salt": "max",
        "hash": "sha512",
        "builders": ["https://build.example/1", "https://build.example/2"],
    }
    page = client.get(answer.location).text
    assert "the longest salt that fits, over SHA-512" in page


def test_a_way_to_sign_that_the_key_cannot_is_refused_beside_its_field(client: FlaskClient) -> None:
    data = {"label": "Release key", "purposes": ["firmware"], "pem": pems()[1], "method": "pss"}
    answer = client.post("/s/keys/new", data=data)
    assert answer.status_code == 422
    assert "rsa_padding does not apply to Ed25519" in errors(answer.text)


def test_a_private_key_is_refused_and_not_shown_again(client: FlaskClient, session: TenantSession) -> None:
    private = pems()[0]
    answer = client.post("/s/keys/new", data={"label": "Oops", "purposes": ["firmware"], "pem": private})
    assert answer.status_code == 422
    assert "private key" in errors(answer.text).lower()
    assert private.splitlines()[1] not in answer.text
    assert 'value="Oops"' in answer.text
    assert session.scalar(select(func.count()).select_from(SigningKey)) == 0


# --- Submissions ---------------------------------------------------------------------------------------


def test_firmware_without_scripts_goes_with_the_form(
    client: FlaskClient, product: Product, session: TenantSession, jobs: RecordingQueue
) -> None:
    component = product.components[0].id
    data = {"component": component, "version": "1.0.0"}
    answer = upload(client, NEW_FIRMWARE, data, image_file=(b"an image", "bms.bin"))
    assert answer.status_code == 302
    row = session.scalars(select(Submission)).one()
    assert answer.location == f"/s/submissions/{row.id}"
    assert row.state is SubmissionState.SUBMITTED
    assert [file.evidence.filename for file in row.attachments] == ["bms.bin"]
    assert jobs.waiting == [("verify_submission", (row.id,))]


def test_certificates_and_a_time_stamp_go_with_the_form_and_are_shown(
    client: FlaskClient, product: Product, session: TenantSession
) -> None:
    data = {"component": product.components[0].id, "version": "1.0.0"}
    files = {
        "image_file": (b"an image", "bms.bin"),
        "certificates_file": (b"chain", "chain.pem"),
        "timestamp_file": (b"token", "bms.tsr"),
    }
    back = upload(client, NEW_FIRMWARE, data | {"version": ""}, **files)
    assert back.status_code == 422
    assert '<details class="mb-3" open>' in back.text  # what arrived is not hidden
    answer = upload(client, NEW_FIRMWARE, data, **files)
    row = session.scalars(select(Submission)).one()
    session.rollback()
    page = client.get(answer.location).text
    for name, role in (("chain.pem", "Certificates"), ("bms.tsr", "Timestamp")):
        assert name in page
        assert role in page
    assert len(row.attachments) == 3


def test_a_file_that_arrived_is_kept_when_the_form_comes_back(
    client: FlaskClient, product: Product, session: TenantSession
) -> None:
    component = product.components[0].id
    data = {"component": component, "version": "", "release_notes": "Repairs the balancer"}
    answer = upload(client, NEW_FIRMWARE, data, image_file=(b"an image", "bms.bin"))
    assert answer.status_code == 422
    assert "Give the version." in errors(answer.text)
    assert "Repairs the balancer" in answer.text
    kept = session.scalars(select(Evidence)).one()
    assert f'name="image" value="{kept.id}"' in answer.text
    assert "bms.bin" in answer.text
    again = client.post(NEW_FIRMWARE, data=data | {"version": "1.0.0", "image": kept.id})
    assert again.status_code == 302
    assert session.scalar(select(func.count()).select_from(Evidence)) == 1


def test_another_suppliers_file_is_not_there(
    client: FlaskClient, product: Product, session: TenantSession, make: Make, offered: Offered
) -> None:
    foreign = offered.evidence(make.supplier().id, "theirs.bin")
    component = product.components[0].id
    session.commit()
    data = {"component": component, "version": "1.0.0", "image": foreign.id}
    answer = client.post(NEW_FIRMWARE, data=data)
    assert answer.status_code == 422
    assert "not there any more" in errors(answer.text)
    assert "theirs.bin" not in answer.text
    assert session.scalar(select(func.count()).select_from(Submission)) == 0


def test_another_suppliers_component_cannot_be_chosen(
    client: FlaskClient, product: Product, session: TenantSession, make: Make
) -> None:
    foreign = make.product().components[0].id
    session.commit()
    data = {"component": foreign, "version": "1"}
    answer = upload(client, NEW_FIRMWARE, data, image_file=(b"x", "x.bin"))
    assert answer.status_code == 422
    assert session.scalar(select(func.count()).select_from(Submission)) == 0


@pytest.mark.parametrize("digest", ["abc", "g" * 64, "a" * 65])
def test_a_declared_digest_that_is_none_is_refused(
    client: FlaskClient, product: Product, digest: str
) -> None:
    answer = client.post(NEW_FIRMWARE, data={"version": "1", "declared_sha256": digest})
    assert answer.status_code == 422
    assert "64 hexadecimal digits" in errors(answer.text)
    assert "Choose the image." in errors(answer.text)


def test_the_schema_of_the_manifest_is_on_the_page_that_takes_it(
    client: FlaskClient, product: Product
) -> None:
    link = re.search('href="([^"]+)" download>JSON Schema', client.get("/s/submissions/new/lot").text)
    assert link is not None
    answer = client.get(link[1])
    assert answer.mimetype == "application/schema+json"
    assert answer.text == schema_text()


def test_an_unreadable_manifest_is_shown_with_its_reasons(
    client: FlaskClient, product: Product, session: TenantSession, jobs: RecordingQueue
) -> None:
    data = {"product": product.id, "lot_number": "L-1"}
    answer = upload(client, "/s/submissions/new/lot", data, manifest_file=(b'{"lot": NaN}', "lot.json"))
    assert answer.status_code == 302
    pending = client.get(answer.location)
    assert 'hx-trigger="every 1s"' in pending.text
    progress = client.get(answer.location + "/progress")
    assert "Waiting for its turn" in progress.text
    assert "HX-Refresh" not in progress.headers
    jobs.run_all()
    assert client.get(answer.location + "/progress").headers["HX-Refresh"] == "true"
    done = client.get(answer.location)
    assert "lot.manifest" in done.text
    assert "Unreadable" in done.text
    assert "every 1s" not in done.text
    assert "L-1" in client.get("/s/").text


def test_a_submission_can_be_withdrawn_once(
    client: FlaskClient, product: Product, session: TenantSession, offered: Offered
) -> None:
    row = offered.firmware(product, outcomes={"firmware.signed": Outcome.FAIL})
    session.commit()
    url = f"/s/submissions/{row.id}"
    assert "Withdraw" in client.get(url).text
    assert client.post(url + "/withdraw").status_code == 302
    assert client.post(url + "/withdraw").status_code == 409
    session.refresh(row)
    assert row.state is SubmissionState.WITHDRAWN


def test_the_list_filters_sorts_and_pages(
    client: FlaskClient, product: Product, session: TenantSession, offered: Offered
) -> None:
    for number in range(55):
        offered.firmware(product, f"1.0.{number}")
    offered.firmware(product, "9.9.9", outcomes={"firmware.signed": Outcome.FAIL})
    session.commit()

    def titles(query: str) -> list[str]:
        return re.findall(r'href="/s/submissions/[0-9a-f]{32}">([^<]+)</a>', client.get(query).text)

    assert len(titles("/s/submissions")) == 50
    assert len(titles("/s/submissions?page=2")) == 6
    assert titles("/s/submissions?outcome=fail") == ["BMS 9.9.9"]
    assert titles("/s/submissions?q=9.9.9") == ["BMS 9.9.9"]
    assert titles("/s/submissions?kind=lot") == []
    assert titles("/s/submissions?sort=-title")[0] == "BMS 9.9.9"
    assert titles("/s/submissions?sort=nonsense&page=-3&kind=nonsense")[0].startswith("BMS")


# --- Questionnaire, changes, requests ------------------------------------------------------------------


def begin(client: FlaskClient, product: Product) -> str:
    return str(client.post(f"/s/products/{product.id}/questionnaire").location)


def test_without_scripts_a_section_is_saved_by_its_button(
    client: FlaskClient, product: Product, session: TenantSession
) -> None:
    url = begin(client, product)
    data = {
        "answer.sup_maker_name": "Cells AS",
        "answer.sup_maker_country": "nn",
        "until.sup_maker_name": "2027-06-30",
        "next": "PRV",
    }
    file = {"file.sup_maker_name_file": (b"extract", "extract.pdf")}
    answer = upload(client, url + "/SUP", data, **file)
    assert answer.status_code == 422
    assert 'value="nn"' in answer.text
    assert "two capital letters" in answer.text
    draft = url.split("/")[-2]
    assert current_answers(session, draft) == {"sup_maker_name": "Cells AS"}
    (kept,) = current_evidence(session, draft)
    assert (kept.evidence.filename, kept.valid_until) == ("extract.pdf", date(2027, 6, 30))
    onward = client.post(url + "/SUP", data={"answer.sup_maker_country": "NO", "next": "PRV"})
    assert onward.location == f"{url}?section=PRV"
    assert client.post(url + "/SUP", data={"remove": kept.id}).status_code == 302
    assert current_evidence(session, draft) == []


def test_what_is_missing_is_listed_with_links(client: FlaskClient, product: Product) -> None:
    url = begin(client, product)
    answer = client.post(url.replace("/answers", "/submit"))
    assert answer.status_code == 422
    assert "Not submitted yet" in answer.text
    assert f'href="{url}?section=SUP#q-sup_maker_name"' in answer.text


def test_a_submitted_questionnaire_does_not_change(
    client: FlaskClient, product: Product, session: TenantSession, offered: Offered
) -> None:
    row = offered.questionnaire(product)
    session.commit()
    before = current_answers(session, row.id)
    url = f"/s/submissions/{row.id}/answers"
    assert 'name="answer.sup_maker_name"' not in client.get(url).text
    assert client.post(url + "/SUP", data={"answer.sup_maker_name": "Others"}).status_code == 409
    assert current_answers(session, row.id) == before


def test_a_change_is_told_and_the_buyers_notes_are_not_shown(
    client: FlaskClient, product: Product, session: TenantSession, make: Make, sign_in: SignIn
) -> None:
    empty = client.post("/s/changes/new", data={"kind": "bom", "product": product.id, "title": ""})
    assert empty.status_code == 422
    data = {"kind": "bom", "product": product.id, "title": "Other cells", "description": "From A to B"}
    answer = client.post("/s/changes/new", data=data)
    assert answer.status_code == 302
    assert "From A to B" in client.get(answer.location).text
    reviewer = sign_in(make.user(RoleName.REVIEWER))
    noted = {"kind": "ownership", "subject": product.id, "title": "We heard of a sale"}
    assert reviewer.post(f"/r/suppliers/{product.supplier_id}/changes/new", data=noted).status_code == 302
    theirs = session.scalars(select(ChangeNotice).where(ChangeNotice.title == "We heard of a sale")).one()
    assert "We heard" not in client.get("/s/changes").text
    assert client.get(f"/s/changes/{theirs.id}").status_code == 404


def test_a_form_over_its_limit_is_refused(client: FlaskClient) -> None:
    answer = client.post("/s/changes/new", data={"title": "x" * (2 << 20)})
    assert answer.status_code == 413


def test_a_form_without_its_token_is_refused(client: FlaskClient, product: Product) -> None:
    del client.environ_base["HTTP_X_CSRFTOKEN"]
    answer = client.post(f"/s/products/{product.id}/components", data={"name": "Gateway"})
    assert answer.status_code == 400


def test_what_a_reviewer_asks_is_answered_on_the_home_page(
    client: FlaskClient, product: Product, session: TenantSession, make: Make, offered: Offered
) -> None:
    offered.firmware(product, outcomes={"firmware.signed": Outcome.FAIL})
    assess(session, make.clock, product.id, cause="test", case_cause=CaseCause.SUBMISSION)
    case, reviewer = open_case(session, product.id), make.actor(RoleName.REVIEWER)
    assert case is not None
    claim(session, reviewer, make.clock, case.id)
    decide(
        session, reviewer, make.clock, case.id, assessment_id=case.assessment_id,
        kind=DecisionKind.REQUEST_CHANGES, reason="Not for the supplier to read.", items=["Sign the image"],
    )  # fmt: skip
    session.commit()
    asked = session.scalars(select(ChangeRequest)).one().id
    home = client.get("/s/")
    assert "Sign the image" in home.text
    assert "Not for the supplier" not in home.text
    assert "by <time" in home.text
    comment(session, reviewer, make.clock, case.id, text="Which site is it?", internal=False)
    comment(session, reviewer, make.clock, case.id, text="I doubt it.", internal=True)
    session.commit()
    page = client.get(f"/s/products/{product.id}").text
    assert "Sign the image" in page
    assert "Which site is it?" in page
    assert "Not for the supplier" not in page
    assert "I doubt it." not in page
    assert client.post(f"/s/requests/{asked}", data={"answer": " "}).status_code == 422
    blank = client.post(f"/s/requests/{asked}", data={"answer": ""})
    assert blank.status_code == 422
    assert "Write your answer." in errors(blank.text)
    assert client.post(f"/s/requests/{asked}", data={"answer": "Signed in 1.0.1"}).status_code == 302
    assert client.post(f"/s/requests/{asked}", data={"answer": "Again"}).status_code == 409
    assert "Signed in 1.0.1" in client.get("/s/").text
    assert client.post(f"/s/requests/{'0' * 32}", data={"answer": "x"}).status_code == 404


def test_own_evidence_comes_as_a_download(
    client: FlaskClient, product: Product, session: TenantSession
) -> None:
    component = product.components[0].id
    upload(
        client, NEW_FIRMWARE, {"component": component, "version": "1"}, image_file=(b"<html>", "page.html")
    )
    kept = session.scalars(select(Evidence)).one().id
    answer = client.get(f"/s/evidence/{kept}")
    assert answer.data == b"<html>"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.mimetype == "application/octet-stream"
