"""The reviewer's keys, in a real Chromium: next, previous, claim, help; and never while somebody types."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect, sync_playwright

from portal.accounts.models import RoleName, User
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.review.models import Case, CaseState
from tests.factories import Make
from tests.factories.offered import Offered
from tests.journeys.screens import CHROMIUM, FLAGS, PATIENCE, cookie_of, served
from tests.unit.review.conftest import Desk

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here"),
]


@pytest.fixture
def cases(session: TenantSession, clock: FixedClock, make: Make) -> list[Case]:
    """Three cases that nobody holds; the second has a gap to accept."""
    desk = Desk(session, clock, make, Offered(session, clock))
    found = [desk.case(), desk.case(inc_contact_hours="unknown"), desk.case()]
    session.commit()
    return found


@pytest.fixture
def reviewer(make: Make) -> User:
    user = make.user(RoleName.REVIEWER)
    make.session.commit()
    return user


@pytest.fixture
def page(app: Flask, reviewer: User) -> Iterator[Page]:
    agent = str(app.test_client().environ_base["HTTP_USER_AGENT"])  # a session works in one browser only
    cookie = {"name": app.config["SESSION_COOKIE_NAME"], "value": cookie_of(app, reviewer)}
    with served(app) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(base_url=base, user_agent=agent)
        context.add_cookies([cookie | {"url": base}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page
        browser.close()


def test_keys_walk_the_queue_and_claim(page: Page, cases: list[Case], session: TenantSession) -> None:
    page.goto("/r/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".row-link:focus")).to_contain_text(f"{cases[1].number} ·")
    page.keyboard.press("k")
    expect(page.locator(".row-link:focus")).to_contain_text(f"{cases[0].number} ·")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/r/cases/{cases[0].number}")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/r/cases/{cases[1].number}")
    page.keyboard.press("k")
    page.wait_for_url(f"**/r/cases/{cases[0].number}")
    page.keyboard.press("c")
    expect(page.get_by_role("button", name="Release")).to_be_visible()
    session.refresh(cases[0])
    session.commit()
    assert cases[0].state is CaseState.CLAIMED
    page.keyboard.press("u")
    page.wait_for_url("**/r/")


def test_keys_are_letters_while_somebody_types(page: Page, cases: list[Case], session: TenantSession) -> None:
    url = f"/r/cases/{cases[0].number}"
    page.goto(url)
    page.get_by_label("Comment", exact=True).press_sequentially("jack ?")
    expect(page.get_by_label("Comment", exact=True)).to_have_value("jack ?")
    assert page.url.endswith(url)
    session.refresh(cases[0])
    session.commit()
    assert cases[0].claimed_by is None


def test_the_list_of_keys_opens_and_takes_the_keys(page: Page, cases: list[Case]) -> None:
    page.goto("/r/")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Next case")
    page.keyboard.press("j")
    expect(page.locator(".row-link:focus")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_the_decision_form_shows_what_the_decision_needs(page: Page, cases: list[Case]) -> None:
    page.goto(f"/r/cases/{cases[1].number}")
    page.keyboard.press("c")
    page.get_by_label("Approve with conditions").check()
    expect(page.get_by_label("What the supplier must put right")).to_be_hidden()
    row = page.locator("fieldset.condition", has_text="INC-01")
    expect(row.get_by_label("Owner")).to_be_hidden()
    row.get_by_label("Accept this gap").check()
    row.get_by_label("Condition").fill("Our desk forwards calls.")
    row.get_by_label("Owner").fill("OT security")
    page.get_by_label("Request changes").check()
    expect(row).to_be_hidden()
    page.get_by_role("button", name="INC-01").click()
    expect(page.get_by_label("What the supplier must put right")).to_have_value(
        page.get_by_role("button", name="INC-01").get_attribute("data-ask") or ""
    )
    page.get_by_label("What the supplier must put right").fill("")
    page.get_by_label("Approve with conditions").check()
    page.get_by_label("Reason").fill("Contact hours follow.")
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_text(f"Case {cases[1].number} is decided.")).to_be_visible()
