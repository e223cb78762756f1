"""Two approvers of a tier 1 product, one by keyboard alone, and an auditor who sees all, changes nothing."""

import re
from collections import deque
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.cli.demo.makers import Workshop
from portal.review.models import Case, Decision
from portal.suppliers.models import SigningKey
from tests.journeys.browsing import Script, Site, needs_chromium, press, scene

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

MOST_TABS = 250
FILES = re.compile(r"/r/evidence/|/receipt$|\.pdf$|\.csv$|\.json$|\.zip$|/static/")


def set_scene(script: Script, folder: Path) -> None:
    """A tier 1 product with a full questionnaire and firmware signed with an approved key."""
    script.hire_buyer()
    company = script.company("Nordhaven Cells", "NO", admin="Ingrid Solberg")
    workshop = Workshop(folder / "work", "Nordhaven Cells")
    product = company.product("NH-100", "NH-100 rack battery", components=("BMS",), tier=1)
    signing = workshop.imgtool_key("firmware")
    company.approved_key("Release key", signing.public_pem, "firmware")
    paper = workshop.document("evidence-package", "Evidence of Nordhaven Cells", ["All that is asked."])
    company.questionnaire(product, paper)
    company.firmware(product, "BMS", "2.4.0", workshop.image("bms-2.4.0", "2.4.0", counter=12, key=signing))


def wait_for_case(page: Page) -> None:
    """Until the worker has opened the one case there will be, verified in full."""
    page.goto("/r/")
    for _ in range(60):
        if page.locator("a.row-link").count():
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError("no case came up")


def tab_to(page: Page, selector: str) -> None:
    """Tab until what `selector` names has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached with Tab on {page.url}")


def approve_by_keyboard(page: Page, reason: str) -> None:
    """From the queue to the decision without a pointer."""
    page.goto("/r/")
    press(page, "j")
    expect(page.locator("a.row-link").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("form[data-claim]")).to_be_visible()
    press(page, "c")
    expect(page.locator("form[data-decision]")).to_be_visible()
    tab_to(page, "form[data-decision] input[name=kind]")
    page.keyboard.press("Space")
    expect(page.get_by_label("Approve", exact=True)).to_be_checked()
    tab_to(page, "form[data-decision] textarea[name=reason]")
    page.keyboard.type(reason)
    tab_to(page, "form[data-decision] button[type=submit]")
    page.keyboard.press("Enter")


def look_at_everything(page: Page, base: str) -> set[str]:
    """Follow every link from the queue on; no page may fail or offer to change anything. The paths."""
    seen: set[str] = set()
    known = {"/r/"}
    waiting = deque(["/r/?view=all"])
    while waiting:
        path = waiting.popleft()
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, f"{path} answered {answer.status}"
        acts = page.eval_on_selector_all(
            "main form[method=post i], dialog form[method=post i]", "forms => forms.map(form => form.action)"
        )
        assert [act for act in acts if not act.endswith("/logout")] == [], f"{path} offers {acts}"
        seen.add(urlsplit(path).path)
        links = page.eval_on_selector_all("main a[href], header a[href]", "all => all.map(a => a.href)")
        for link in links:
            parts = urlsplit(urljoin(page.url, link))
            ours = f"{parts.scheme}://{parts.netloc}" == base and parts.path.startswith("/r/")
            if ours and parts.path not in known and not FILES.search(parts.path):
                known.add(parts.path)
                waiting.append(parts.path)
    return seen


def post(page: Page, path: str) -> int:
    """Send what a button would send, with the session and the token of the page; the status."""
    status = page.evaluate(
        """async path => (await fetch(path, {
             method: "POST",
             redirect: "manual",
             headers: {"X-CSRFToken": document.querySelector('meta[name="csrf-token"]').content},
           })).status""",
        path,
    )
    assert isinstance(status, int)
    return status


def test_two_approve_and_an_auditor_sees_it_all(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with scene(site.settings) as script:
        set_scene(script, tmp_path)
        logins = {role: script.login(role) for role in RoleName if role.value != "supplier_contributor"}
        approvers = [login for login in script.logins if login.role == RoleName.APPROVER.value]
        with script.looking() as session:
            key_id = session.scalars(select(SigningKey.id)).one()
    with site:
        # Given a reviewer, who may not approve in tier 1
        reviewer = site.enter(logins[RoleName.REVIEWER])
        wait_for_case(reviewer)
        reviewer.wait_for_timeout(3000)  # both submissions are verified; the case has its last assessment
        reviewer.goto("/r/")
        reviewer.locator("a.row-link").click()
        case_path = urlsplit(reviewer.url).path
        reviewer.get_by_role("button", name="Claim").click()
        form = reviewer.locator("form[data-decision]")
        form.get_by_label("Approve", exact=True).check()
        form.get_by_label("Reason").fill("It all holds.")
        form.get_by_role("button", name="Decide").click()
        expect(reviewer.get_by_role("heading", level=1)).to_have_text("Your role does not allow this")
        reviewer.goto(case_path)
        reviewer.get_by_role("button", name="Release").click()

        # When an approver approves by keyboard alone, the case waits for a second one, who is not the first
        first = site.enter(approvers[0])
        approve_by_keyboard(first, "Documents, firmware and signatures hold.")
        expect(first.get_by_text("waits for a second approver")).to_be_visible()
        first.get_by_role("button", name="Claim").click()
        form = first.locator("form[data-decision]")
        form.get_by_label("Approve", exact=True).check()
        form.get_by_label("Reason").fill("Once more.")
        form.get_by_role("button", name="Decide").click()
        expect(first.locator("main")).to_contain_text("you gave the first approval yourself")
        first.goto(case_path)
        first.get_by_role("button", name="Release").click()

        # When another approver agrees, it is decided
        second = site.enter(approvers[1])
        second.goto(case_path)
        second.get_by_role("button", name="Claim").click()
        form = second.locator("form[data-decision]")
        expect(form).to_be_visible()
        form.get_by_label("Approve", exact=True).check()
        form.get_by_label("Reason").fill("I agree.")
        form.get_by_role("button", name="Decide").click()
        expect(second.get_by_text("is decided")).to_be_visible()

        # Then an auditor sees everything, and no button that changes anything
        auditor = site.enter(logins[RoleName.AUDITOR])
        seen = look_at_everything(auditor, site.url)
        for path in (case_path, "/r/suppliers", "/r/keys", "/r/changes", "/r/exceptions", "/r/ledger"):
            assert path in seen
        for kind in ("/r/submissions/", "/r/assessments/", "/r/products/", f"/r/keys/{key_id}"):
            assert any(path.startswith(kind) for path in seen), kind
        auditor.goto(case_path)
        with auditor.expect_download() as report:
            auditor.get_by_role("link", name="Report", exact=True).click()
        assert report.value.path().read_bytes().startswith(b"%PDF-")

        # And whatever they send is refused
        product_path = next(path for path in seen if path.startswith("/r/products/"))
        supplier_path = next(path for path in seen if re.fullmatch(r"/r/suppliers/\w+", path))
        acts = [f"{case_path}/{act}" for act in ("claim", "release", "take-over", "assess", "comments")]
        acts += [f"{case_path}/decision", product_path, f"{supplier_path}/changes/new"]
        acts += [f"/r/keys/{key_id}/decision", f"/r/keys/{key_id}/distrust", "/admin/suppliers"]
        assert {path: post(auditor, path) for path in acts} == dict.fromkeys(acts, 403)
        assert site.faults == []
    with scene(site.settings) as script, script.looking() as session:
        kept = session.scalars(select(Decision).order_by(Decision.decided_at)).all()
        assert [decision.effective for decision in kept] == [False, True]
        assert len({decision.decided_by for decision in kept}) == 2
        assert session.scalars(select(Case)).one().closed_at is not None
