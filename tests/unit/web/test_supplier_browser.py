"""Supplier pages in a real Chromium: autosave, follow-ups and uploads in pieces."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect, sync_playwright

from portal.accounts.models import RoleName
from portal.db import TenantSession
from portal.evidence.models import Evidence
from portal.submissions.models import Submission
from portal.submissions.questionnaires.service import current_answers, current_evidence
from portal.suppliers.models import Product, Supplier
from tests.factories import Make
from tests.journeys.screens import CHROMIUM, FLAGS, PATIENCE, cookie_of, served

pytestmark = [
    pytest.mark.browser,
    # The test server leaves a static file open when the browser goes on to another page before it came.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="no Chromium here"),  # noqa: PTH110
]


@pytest.fixture
def product(make: Make) -> Product:
    return make.product(make.supplier(), name="NH rack")


@pytest.fixture
def page(app: Flask, make: Make, product: Product) -> Iterator[Page]:
    supplier = make.session.get_one(Supplier, product.supplier_id)
    value = cookie_of(app, make.user(RoleName.SUPPLIER_ADMIN, supplier))
    make.session.commit()  # on SQLite an open transaction would keep the server waiting
    agent = str(app.test_client().environ_base["HTTP_USER_AGENT"])
    with served(app) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(base_url=base, user_agent=agent)
        context.add_cookies([{"name": app.config["SESSION_COOKIE_NAME"], "value": value, "url": base}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page
        browser.close()


def test_answers_are_kept_as_they_are_given(page: Page, session: TenantSession, product: Product) -> None:
    page.goto(f"/s/products/{product.id}")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url(re.compile("/answers"))
    page.goto(page.url + "?section=FW")
    algorithm = page.locator("#q-fw_algorithm")
    expect(algorithm).to_be_hidden()
    page.locator("#q-fw_signing").get_by_label("Yes").check()
    expect(page.locator("#s-fw_signing")).to_have_text("Saved")
    expect(algorithm).to_be_visible()
    expect(page.locator("#q-fw_signing [data-needs-file]")).to_be_visible()
    page.locator("#q-fw_signing").get_by_label("No").check()
    expect(algorithm).to_be_hidden()
    page.goto(page.url.replace("FW", "SUP"))
    page.get_by_label("In which country is the maker registered?").fill("nowhere")
    expect(page.locator("#s-sup_maker_country")).to_contain_text("Not saved")
    page.get_by_label("In which country is the maker registered?").fill("NO")
    expect(page.locator("#s-sup_maker_country")).to_have_text("Saved")
    draft = page.url.split("/")[-2]
    assert current_answers(session, draft) == {"fw_signing": "no", "sup_maker_country": "NO"}


def test_a_file_beside_an_answer_arrives_and_goes(
    page: Page, session: TenantSession, product: Product, tmp_path: Path
) -> None:
    file = tmp_path / "extract.pdf"
    file.write_bytes(os.urandom(300_000))
    page.goto(f"/s/products/{product.id}")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url(re.compile("/answers"))
    question = page.locator("#q-sup_maker_name")
    question.get_by_label("Valid until").fill("2027-06-30")
    question.locator("input[type=file]").set_input_files(file)
    expect(question.locator("[data-files]")).to_contain_text("extract.pdf")
    expect(question.locator("[data-files]")).to_contain_text("valid until 30 Jun 2027")
    draft = page.url.split("/")[-2]
    (kept,) = current_evidence(session, draft)
    assert kept.evidence.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    session.rollback()
    question.get_by_role("button", name=re.compile("Remove")).click()
    expect(question.locator("[data-files] li")).to_have_count(0)
    assert current_evidence(session, draft) == []


def test_firmware_goes_up_in_pieces(
    page: Page, session: TenantSession, product: Product, tmp_path: Path
) -> None:
    image = tmp_path / "bms.bin"
    image.write_bytes(os.urandom(200_000))
    component = product.components[0].id
    session.rollback()
    page.goto(f"/s/submissions/new/firmware?component={component}")
    page.get_by_label("Version").fill("1.0.0")
    page.locator("#image-file").set_input_files(image)
    expect(page.locator("#image [data-upload-state]")).to_contain_text("has arrived")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("BMS 1.0.0")
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()
    row = session.get_one(Submission, page.url.split("/")[-1])
    assert [file.evidence.sha256 for file in row.attachments] == [
        hashlib.sha256(image.read_bytes()).hexdigest()
    ]


def test_an_empty_file_is_refused_with_its_reason(
    page: Page, session: TenantSession, product: Product, tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing.bin"
    nothing.write_bytes(b"")
    page.goto("/s/submissions/new/firmware")
    page.locator("#image-file").set_input_files(nothing)
    expect(page.locator("#image.failed [data-upload-state]")).to_contain_text("empty")
    assert session.query(Evidence).count() == 0
