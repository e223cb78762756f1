"""What becomes of old evidence: rules, a preview, a hold that keeps a file, a deletion, an auditor."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import open_engine, open_session
from portal.settings import Settings
from tests.factories import Make
from tests.factories.kept import Kept
from tests.journeys.browsing import Site, needs_chromium, scene
from tests.journeys.commands import lotgate

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]
GOES, HELD = b"what goes", b"what is held"


def old_files(settings: Settings) -> tuple[str, str]:
    """Two files of products whose support ended long ago. Returns the id of the one that will go, and the
    address of the product of the other one."""
    engine, store = open_engine(settings.database), LocalBlobStore(settings.store)
    spool = settings.store / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    clock = FixedClock(datetime.now(UTC))
    with open_session(engine) as session:
        kept = Kept(session, clock, Make(session, clock, Flask("journey"), entered=True), store, spool)
        supplier = kept.make.supplier("Nordhaven Cells")
        goes = kept.delivered(kept.ended(supplier, name="Gateway 1"), GOES, filename="gateway-1.0.bin")
        held = kept.ended(supplier, name="Rack battery 1")
        kept.delivered(held, HELD, filename="rack-battery-1.0.bin")
        found = goes.id, f"/r/products/{held.id}"
    engine.dispose()
    return found


def delete(page: Page) -> None:
    page.get_by_role("button", name="Delete these files…").click()
    page.get_by_role("button", name="Delete for good").click()


def until(page: Page, text: str) -> None:
    """Load the page again until it says so: the worker takes its time."""
    for _ in range(60):
        if page.get_by_text(text, exact=True).count():
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(f"{page.url} never said {text!r}")


def test_old_evidence_goes_as_seen_and_what_is_held_stays(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with scene(site.settings) as script:
        script.hire_buyer()
        logins = {
            role: script.login(role) for role in (RoleName.ADMINISTRATOR, RoleName.APPROVER, RoleName.AUDITOR)
        }
    evidence_id, held = old_files(site.settings)
    assert lotgate(site.var, "ledger", "create").returncode == 0
    with site:
        # Given an administrator who puts rules in force, and sees what they would let go
        page = site.enter(logins[RoleName.ADMINISTRATOR])
        page.goto("/vault/retention")
        page.get_by_label("Lot: years").fill("12")
        page.get_by_label("Why").fill("Contract of 2026.")
        page.get_by_role("button", name="Put them in force").click()
        expect(page.get_by_text("Version 1 of the rules is in force. Nothing was deleted.")).to_be_visible()
        page.get_by_role("link", name="What would go").click()
        for name in ("gateway-1.0.bin", "rack-battery-1.0.bin"):
            expect(page.locator("#goes").get_by_text(name)).to_be_visible()

        # When an approver puts one of the two on hold meanwhile
        approver = site.enter(logins[RoleName.APPROVER])
        approver.goto(held)
        approver.get_by_role("link", name="Place a hold").click()
        approver.get_by_label("Reference").fill("INC-2026-014")
        approver.get_by_label("Why").fill("Fire in hall 3.")
        approver.get_by_role("button", name="Place the hold").click()
        expect(approver.get_by_text("The hold for INC-2026-014 is in force.")).to_be_visible()

        # Then what was seen is not deleted any more, and what is seen now goes without the held file
        delete(page)
        expect(page.get_by_text("What would go has changed since you saw it.")).to_be_visible()
        page.goto("/vault/preview")
        expect(page.locator("#stays").get_by_text("On hold: INC-2026-014.")).to_be_visible()
        expect(page.locator("#goes").get_by_text("gateway-1.0.bin")).to_be_visible()
        delete(page)
        expect(page.get_by_text("1 file was deleted.")).to_be_visible()
        until(page, "Gone")

        # And the auditor finds who deleted what under which rule, and a receipt that still verifies
        auditor = site.enter(logins[RoleName.AUDITOR])
        auditor.goto("/vault/deleted")
        expect(auditor.get_by_role("row", name=re.compile("gateway-1.0.bin"))).to_contain_text(
            "rules, version 1"
        )
        answer = auditor.request.get(f"{site.url}/r/evidence/{evidence_id}")
        assert answer.status == 410
        assert "gateway-1.0.bin was deleted on" in answer.text()
        (tmp_path / "policy").write_bytes(auditor.request.get(f"{site.url}/ledger/policy").body())
        (tmp_path / "receipt").write_bytes(
            auditor.request.get(f"{site.url}/r/evidence/{evidence_id}/receipt").body()
        )
        (tmp_path / "kept-at-home.bin").write_bytes(GOES)
        words = ("verify-receipt", str(tmp_path / "receipt"), "--policy", str(tmp_path / "policy"))
        proven = lotgate(site.var, *words, "--file", str(tmp_path / "kept-at-home.bin"))
        assert proven.returncode == 0, proven.stdout + proven.stderr

        # And two people end the hold
        approver.goto("/vault/holds")
        approver.get_by_role("button", name="Ask for release…").click()
        approver.get_by_label("Why").fill("The insurer has paid.")
        approver.get_by_role("button", name="Ask for its release").click()
        expect(approver.get_by_text("Another person releases it.")).to_be_visible()
        page.goto("/vault/holds")
        page.get_by_role("button", name="Release…").click()
        page.get_by_label("Why").fill("Seen the letter.")
        page.get_by_role("button", name="Release it").click()
        expect(page.get_by_text("Nothing is on hold")).to_be_visible()
        page.goto("/vault/preview")
        expect(page.locator("#goes").get_by_text("rack-battery-1.0.bin")).to_be_visible()
        assert site.faults == []
    checked = lotgate(site.var, "fsck")
    assert checked.returncode == 0, checked.stdout
