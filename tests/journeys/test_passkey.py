"""A reviewer adds a passkey and signs in with it: Chromium's own authenticator, our script, our policy."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, Page, expect

from portal.accounts.models import RoleName
from portal.cli.demo.stage import Login
from tests.journeys.browsing import Site, needs_chromium, scene

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, Login]]:
    site = Site(tmp_path)
    site.url = site.url.replace("127.0.0.1", "localhost")  # browsers give no passkeys to an IP address
    with scene(site.settings) as script:
        script.hire_buyer()
        reviewer = script.login(RoleName.REVIEWER)
    with site:
        yield site, reviewer
    assert site.faults == []


def plug_in(page: Page) -> tuple[CDPSession, str]:
    """An authenticator in software for this page."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    made = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    return devtools, made["authenticatorId"]


def give_password(page: Page, login: Login) -> None:
    page.goto("/account/sign-in")
    page.get_by_label("E-mail address").fill(login.email)
    page.get_by_label("Password", exact=True).fill(login.password)
    page.get_by_role("button", name="Sign in").click()


def sign_out(page: Page, login: Login) -> None:
    page.get_by_role("button", name=login.name).click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("banner").get_by_role("link", name="Sign in")).to_be_visible()


def test_a_reviewer_signs_in_with_a_passkey(site: tuple[Site, Login]) -> None:
    portal, reviewer = site
    page = portal.enter(reviewer)
    devtools, authenticator = plug_in(page)

    # The first way leads by the recovery codes.
    page.get_by_role("button", name="Make new codes").click()
    code = page.locator("li code").first.inner_text()
    page.goto("/account/")
    page.get_by_role("link", name="Passkeys").click()
    expect(page.get_by_text("No passkeys yet")).to_be_visible()
    page.get_by_label("Name").fill("Ada's laptop")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("rowheader", name="Ada's laptop")).to_be_visible()
    (made,) = devtools.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert made["rpId"] == "localhost"

    # The same device cannot be added twice: the browser itself says so.
    page.get_by_label("Name").fill("again")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("holds a passkey for your account already")
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("heading", name="Your passkeys")).to_be_visible()

    sign_out(page, reviewer)
    give_password(page, reviewer)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your second factor")
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("button", name="Use your passkey").click()
    expect(page.get_by_role("button", name=reviewer.name)).to_be_visible()
    (used,) = devtools.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert used["signCount"] > made["signCount"]
    page.goto("/account/")
    expect(page.locator("#sign-ins")).to_contain_text(re.compile("Chrome on Linux"))

    # The device is lost: the page says what happened, and a recovery code stands in.
    sign_out(page, reviewer)
    devtools.send("WebAuthn.clearCredentials", {"authenticatorId": authenticator})
    give_password(page, reviewer)
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("button", name="Use your passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was confirmed")
    page.get_by_role("link", name="Use a recovery code instead").click()
    page.get_by_label("Recovery Code").fill(code)
    page.get_by_role("button", name="Sign in with this code").click()
    page.goto("/account/passkeys")
    page.get_by_role("button", name="Remove Ada's laptop").click()
    expect(page.get_by_text("No passkeys yet")).to_be_visible()
