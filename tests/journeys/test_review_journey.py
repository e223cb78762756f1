"""A reviewer's work on one product, from a key to a report, with the supplier at the other end."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from pypdf import PdfReader
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.cli.demo.makers import Workshop
from portal.cli.demo.stage import Login
from portal.suppliers import service as suppliers
from portal.suppliers.models import Product
from tests.journeys.browsing import Script, Site, needs_chromium, scene
from tests.journeys.commands import lotgate
from tests.journeys.screens import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]


def set_scene(script: Script, folder: Path) -> tuple[str, Path, Login]:
    """A supplier who answered everything and submitted firmware, signed with a key that nobody approved yet.

    Returns the key's fingerprint, the image, and how the supplier signs in."""
    script.hire_buyer()
    company = script.company("Nordhaven Cells", "NO", admin="Ingrid Solberg")
    workshop = Workshop(folder / "work", "Nordhaven Cells")
    with script.acting(company.actor) as session:
        product = suppliers.create_product(
            session,
            company.actor,
            script.clock,
            model="NH-100",
            name="NH-100 rack battery",
            components=("BMS",),
        )
        session.flush()
        product_id = product.id
    signing = workshop.imgtool_key("firmware")
    with script.acting(company.actor) as session:
        key = suppliers.register_key(
            session,
            company.actor,
            script.clock,
            label="Release key",
            pem=signing.public_pem,
            purposes=("firmware",),
        )
        fingerprint = key.fingerprint
    with script.looking() as session:
        product = session.scalars(select(Product).where(Product.id == product_id)).one()
        _ = [component.name for component in product.components]
    paper = workshop.document("evidence-package", "Evidence of Nordhaven Cells", ["All that is asked."])
    company.questionnaire(product, paper, fw_disclosure="no")  # a gap that stays
    image = workshop.image("bms-2.4.0", "2.4.0", counter=12, key=signing)
    company.firmware(product, "BMS", "2.4.0", image)
    return fingerprint, image, script.login(RoleName.SUPPLIER_ADMIN)


def decide(page: Page, reason: str) -> None:
    """Send the decision form, in which the rest is filled in already."""
    form = page.locator("form[data-decision]")
    form.get_by_label("Reason").fill(reason)
    form.get_by_role("button", name="Decide").click()


def test_a_reviewer_decides_with_the_supplier_at_the_other_end(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with scene(site.settings) as script:
        fingerprint, image, supplier_login = set_scene(script, tmp_path)
        reviewer_login = script.login(RoleName.REVIEWER)
    with site:
        # Given a reviewer, signed in with the second factor, and a case in the queue
        page = site.enter(reviewer_login)
        page.goto("/r/")
        for _ in range(60):  # the worker has just begun
            if page.locator("a.row-link").count():
                break
            page.wait_for_timeout(500)
            page.reload()
        case_link = page.locator("a.row-link")
        expect(case_link).to_have_count(1)

        # When they set the tier and the acceptance limits
        case_link.click()
        case_url = page.url
        page.get_by_role("link", name="NH-100 rack battery").first.click()
        page.get_by_label("Tier").select_option("2")
        page.get_by_label("Capacity, at least (Ah)").fill("98")
        page.get_by_label("Capacity, at most (Ah)").fill("108.5")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".facts")).to_contain_text("Capacity (Ah): 98.0 to 108.5")

        # When they approve the key: not by wrong characters, only by those that they heard
        page.goto("/r/keys")
        page.get_by_role("link", name="Release key").click()
        heard = page.get_by_label("Last 8 characters of the fingerprint")
        for typed in ("00000000", fingerprint[-8:]):
            heard.fill(typed)
            page.get_by_label("How it was confirmed").fill("Telephone, number from the contract")
            page.get_by_label("Approve this key").check()
            page.get_by_role("button", name="Decide").click()
            if typed == "00000000":
                expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_label("Approve this key")).to_have_count(0)

        # When they claim the case, they see claim, evidence and checks on one page
        page.goto(case_url)
        page.get_by_role("button", name="Claim").click()
        expect(page.get_by_text("is yours", exact=False).first).to_be_visible()
        for part in ("Claims and evidence", "What is missing", "Submissions", "Timeline"):
            expect(page.get_by_role("heading", name=part, exact=True)).to_be_visible()
        expect(page.locator("main")).to_contain_text("FW-02")
        expect(page.locator("main")).to_contain_text("firmware.key")

        # When they ask for a change, a decision without items is refused first
        page.locator("form[data-decision]").get_by_label("Request changes").check()
        decide(page, "The key was approved after the image arrived.")
        expect(page.locator("#decision")).to_contain_text("Say what the supplier must put right")
        page.locator("form[data-decision]").get_by_label("Request changes").check()
        page.get_by_label("What the supplier must put right").fill("Submit the image of 2.4.0 once more.")
        decide(page, "The key was approved after the image arrived.")
        expect(page.get_by_text("waits for them")).to_be_visible()

        # Then the supplier sees it, submits again, and answers
        supplier = site.enter(supplier_login)
        request = supplier.locator("#requests")
        expect(request).to_contain_text("Submit the image of 2.4.0 once more.")
        supplier.get_by_role("link", name=re.compile("^Submit.*firmware of BMS")).click()
        supplier.get_by_label("Version").fill("2.4.0")
        supplier.locator("#image-file").set_input_files(image)
        expect(supplier.locator("#image [data-upload-state]")).to_contain_text("has arrived")
        supplier.get_by_role("button", name="Submit", exact=True).click()
        expect(supplier.locator(".page-actions")).to_contain_text("Accepted", timeout=PATIENCE)
        supplier.goto("/s/")
        supplier.get_by_label("Your answer").fill("Submitted again; every check passes now.")
        supplier.get_by_role("button", name="Send the answer").click()
        expect(supplier.locator("#requests")).to_contain_text("every check passes now")

        # When the reviewer approves it with conditions
        page.goto(case_url)
        expect(page.locator("#requests")).to_contain_text("every check passes now")
        if page.get_by_role("button", name="Claim").count():
            page.get_by_role("button", name="Claim").click()
        form = page.locator("form[data-decision]")
        form.get_by_label("Approve with conditions").check()
        gaps = form.locator("fieldset.condition")
        assert gaps.count() > 0
        for number in range(gaps.count()):
            gap = gaps.nth(number)
            gap.get_by_label("Accept this gap").check()
            gap.get_by_label("Condition", exact=False).fill("Held behind our own gateway until it is closed.")
            gap.get_by_label("Owner").fill("OT security")
        decide(page, "Documents and firmware hold; the rest is contained.")
        expect(page.get_by_text("is decided")).to_be_visible()

        # Then the report tells it, to the buyer and to the supplier
        with page.expect_download() as report:
            page.get_by_role("link", name="Report", exact=False).first.click()
        text = read(report.value.path())
        assert "Nordhaven Cells" in text
        assert "Held behind our own gateway" in text
        supplier.goto("/s/products")
        supplier.get_by_role("link", name="NH-100 rack battery").first.click()
        with supplier.expect_download() as own:
            supplier.get_by_role("link", name=re.compile("Report")).first.click()
        assert "Nordhaven Cells" in read(own.value.path())
        assert site.faults == []
    found = lotgate(site.var, "fsck")
    assert found.returncode == 0, found.stdout


def read(path: Path) -> str:
    pages = PdfReader(path).pages
    assert len(pages) > 3
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))
