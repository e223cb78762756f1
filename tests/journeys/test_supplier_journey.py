"""From nothing to an answered questionnaire: an administrator invites a supplier, who submits evidence."""

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from portal.policy.questionnaire import Question
from portal.submissions.questionnaires.service import builtin
from tests.factories.make import PASSWORD
from tests.factories.offered import GOOD_ANSWERS
from tests.journeys.browsing import Site, code_of, needs_chromium
from tests.journeys.commands import lotgate
from tests.journeys.screens import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

SIZE = 6 << 20
SLOWLY = 1 << 20  # bytes a second: so slow that a person can pause
ADMINISTRATOR, SUPPLIER = "noor@buyer.example", "ingrid@nordhaven.example"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def make_administrator(site: Site) -> str:
    """By the command, as the first one of an installation is; returns the password that it printed."""
    done = lotgate(
        site.var,
        *("users", "add", "--email", ADMINISTRATOR, "--name", "Noor Haddad", "--role", "administrator"),
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"password\s+(\S.*)", done.stdout)
    assert found is not None, done.stdout
    return found[1].strip()


def signed_firmware(folder: Path) -> tuple[Path, Path, str]:
    """An image, its detached signature and the public key, made by openssl."""
    image, key, signature = folder / "bms.bin", folder / "key.pem", folder / "bms.sig"
    image.write_bytes(os.urandom(SIZE))
    for command in (
        ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)],
        ["dgst", "-sha256", "-sign", str(key), "-out", str(signature), str(image)],
        ["pkey", "-in", str(key), "-pubout", "-out", str(folder / "key.pub")],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return image, signature, (folder / "key.pub").read_text("ascii")


def check_row(page: Page, check: str) -> Locator:
    return page.locator("ul.checks > li", has=page.locator("code", has_text=re.compile(f"^{check}$")))


def answer(page: Page, question: Question, document: Path) -> None:
    """Answer one question if it is shown, wait until it is saved, and attach the file that it needs."""
    block = page.locator(f"#q-{question.id}")
    value = GOOD_ANSWERS.get(question.id, "yes" if question.type == "yes_no" else "")
    if not value or not block.is_visible():
        return
    if question.options:
        block.locator(f"input[value='{value}']").check()
    else:
        field = block.locator(f"[name='answer.{question.id}']")
        field.fill(value)
        field.press("Tab")
    expect(block.locator("[data-state]")).to_have_text("Saved")
    if question.needs_file(value):
        block.locator("input[type=file]").set_input_files(document)
        expect(block.locator("[data-files]")).to_contain_text(document.name)


def test_a_supplier_is_invited_and_submits_evidence(site: Site, tmp_path: Path) -> None:
    image, signature, public_key = signed_firmware(tmp_path)
    document = tmp_path / "evidence-package.txt"
    document.write_text("Everything that backs the answers of Nordhaven Cells.\n")
    password = make_administrator(site)
    with site:
        # Given an administrator, who signs in for the first time and sets up the second factor
        admin = site.visitor()
        admin.goto("/account/sign-in")
        admin.get_by_label("E-mail address").fill(ADMINISTRATOR)
        admin.get_by_label("Password", exact=True).fill(password)
        admin.get_by_role("button", name="Sign in").click()
        expect(admin.get_by_role("heading", level=1)).to_have_text("Set up your second factor")
        admin.get_by_role("button", name="Begin").click()
        key = admin.locator("ol code").inner_text()
        admin.get_by_label("Code from your app").fill(code_of(key))
        admin.get_by_role("button", name="Confirm code").click()
        expect(admin.get_by_label("Code from your app")).to_have_count(0)

        # When they create the supplier, its first person gets a mail with a link that works once
        admin.goto("/admin/suppliers")
        new = admin.locator("#new")
        new.get_by_label("Company").fill("Nordhaven Cells")
        new.get_by_label("Country").fill("NO")
        new.get_by_label("First administrator's e-mail address").fill(SUPPLIER)
        new.get_by_role("button", name="Create and invite").click()
        expect(admin.get_by_role("heading", level=1)).to_have_text("Nordhaven Cells")
        mail = site.mail_to(SUPPLIER, "Lotgate")
        found = re.search(rf"{site.url}(/account/invitation/\S+)", mail)
        assert found is not None, mail
        person = site.visitor()
        person.goto(found[1])
        person.get_by_label("Your name").fill("Ingrid Solberg")
        person.get_by_label("Password", exact=True).fill(PASSWORD)
        person.get_by_label("Password again").fill(PASSWORD)
        person.get_by_role("button", name="Make my account").click()
        expect(person.get_by_text("Your account is ready")).to_be_visible()
        stranger = site.visitor()
        refused = stranger.goto(found[1])
        assert refused is not None
        assert refused.status in {404, 410}
        page = site.sign_in(SUPPLIER, PASSWORD)
        expect(page.get_by_role("heading", level=1)).to_have_text("Nordhaven Cells")

        # When they add a product with a component, and register the key that they sign with
        page.get_by_role("link", name="Add a product").first.click()
        page.get_by_label("Model").fill("NH-100")
        page.get_by_label("Name", exact=True).fill("NH-100 rack battery")
        page.get_by_label("Components with firmware").fill("BMS")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("NH-100 rack battery")
        product_url = page.url
        page.goto("/s/keys/new")
        page.get_by_label("Label").fill("Release key")
        page.get_by_label("Firmware images").check()
        page.get_by_label("Public key or certificate").fill(public_key)
        page.get_by_role("button", name="Register").click()
        expect(page.get_by_text("Not confirmed yet")).to_be_visible()

        # When they upload firmware over a slow line, and pause and resume it
        page.goto(product_url)
        page.get_by_role("link", name=re.compile("^Submit.*firmware of BMS")).click()
        page.get_by_label("Version").fill("1.0.0")
        line = page.context.new_cdp_session(page)
        line.send("Network.enable")
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": SLOWLY}
        line.send("Network.emulateNetworkConditions", slow)
        page.locator("#image-file").set_input_files(image)
        state = page.locator("#image [data-upload-state]")
        submit = page.get_by_role("button", name="Submit", exact=True)
        expect(state).to_contain_text(re.compile(r"[1-9]\d?\s% of 6\.0\sMiB"))
        expect(submit).to_be_disabled()
        state.get_by_role("button", name="Pause").click()
        expect(state).to_contain_text(re.compile(r"Paused at \d+\s%"))
        paused = state.locator("progress").evaluate("bar => bar.value")
        page.wait_for_timeout(1500)
        assert state.locator("progress").evaluate("bar => bar.value") == paused
        assert paused < SIZE
        line.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
        state.get_by_role("button", name="Resume").click()
        expect(state).to_contain_text("bms.bin, 6.0 MiB, has arrived", timeout=PATIENCE)
        page.locator("#signature-file").set_input_files(signature)
        expect(page.locator("#signature [data-upload-state]")).to_contain_text("has arrived")
        submit.click()

        # Then the checks appear by themselves: the signature is valid, the key not approved yet
        expect(page.get_by_role("heading", level=1)).to_have_text("BMS 1.0.0")
        expect(check_row(page, "firmware.signed")).to_contain_text("Pass", timeout=PATIENCE)
        expect(check_row(page, "firmware.key")).not_to_contain_text("Pass")
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        stored = site.var / "evidence" / "sha256" / digest[:2] / digest[2:4] / digest
        assert stored.read_bytes() == image.read_bytes()

        # When they begin the questionnaire, what they answered is there after a reload
        page.goto(product_url)
        page.get_by_role("button", name="Begin").click()
        page.wait_for_url(re.compile("/answers"))
        form = page.url.split("?")[0]
        asked = builtin()
        first, *others = asked.sections
        for question in asked.in_section(first.id):
            answer(page, question, document)
        page.reload()
        maker = page.locator("[name='answer.sup_maker_name']")
        expect(maker).to_have_value(GOOD_ANSWERS["sup_maker_name"])
        expect(page.locator("#q-sup_maker_name [data-files]")).to_contain_text(document.name)

        # When they submit too early, they are told everything that is missing, each with its place
        page.get_by_role("button", name="Submit the questionnaire").click()
        problems = page.locator(".problems")
        expect(problems).to_contain_text("Not submitted yet")
        assert problems.locator("li").count() > 10
        problems.get_by_role("link").first.click()
        expect(page.locator(":target")).to_be_visible()

        # When all is answered, it is submitted and checked
        for section in others:
            page.goto(f"{form}?section={section.id}")
            for question in asked.in_section(section.id):
                answer(page, question, document)
        page.get_by_role("button", name="Submit the questionnaire").click()
        expect(check_row(page, "questionnaire.complete")).to_contain_text("Pass", timeout=PATIENCE)
        assert site.faults == []
    found = lotgate(site.var, "fsck")
    assert found.returncode == 0, found.stdout
