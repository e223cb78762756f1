"""The upload field of the supplier's pages, in a real Chromium against `lotgate serve`, on a slow line.

Progress, pause, a page that is closed, a server that is killed, a session that ends, files that are refused.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Cookie, Dialog, Page, Request, ViewportSize, expect
from sqlalchemy import Engine, select

from portal.accounts.models import RoleName
from portal.cli.demo.stage import Login
from portal.db import open_engine, reading
from portal.evidence.models import Upload, UploadState
from portal.suppliers import service as suppliers
from tests.journeys.browsing import Site, needs_chromium, scene
from tests.journeys.commands import lotgate
from tests.journeys.screens import PATIENCE, RULES

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

MIB = 1 << 20
SIZE = 48 * MIB
LIMIT = 64 * MIB
SLOW, FAST = 6 * MIB, -1  # bytes a second; -1: as fast as it goes
PHONE = ViewportSize(width=390, height=844)


@dataclass
class Field:
    """The field for the image on the page that submits firmware, and what it sends."""

    page: Page
    sent: list[int] = field(default_factory=list)  # offset of each piece, in order

    def __post_init__(self) -> None:
        self.page.on("request", self._note)
        self.line = self.page.context.new_cdp_session(self.page)
        self.line.send("Network.enable")
        self.place = self.page.locator("#image")
        self.state = self.place.locator("[data-upload-state]")
        self.told = self.state.get_by_role("status")
        self.bar = self.state.locator("progress")
        self.submit = self.page.get_by_role("button", name="Submit", exact=True)

    def _note(self, request: Request) -> None:
        if request.method == "PATCH":
            self.sent.append(int(request.headers["upload-offset"]))

    def speed(self, bytes_a_second: int) -> None:
        conditions = {
            "offline": False,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": bytes_a_second,
        }
        self.line.send("Network.emulateNetworkConditions", conditions)

    def choose(self, file: Path) -> None:
        self.place.locator("input[type=file]").set_input_files(file)

    def press(self, name: str) -> None:
        self.state.get_by_role("button", name=name).click()

    def value(self) -> int:
        return int(self.bar.evaluate("bar => bar.value"))

    def grows(self) -> None:
        """Until more has been sent than now."""
        self.page.wait_for_function(
            "([bar, before]) => bar.value > before", arg=[self.bar.element_handle(), self.value()]
        )

    def spoken(self) -> tuple[str, int, int]:
        """The progress bar as a screen reader has it: name, value and maximum."""
        (found,) = [
            node
            for node in self.line.send("Accessibility.getFullAXTree")["nodes"]
            if node.get("role", {}).get("value") == "progressbar"
        ]
        most = next(item for item in found["properties"] if item["name"] == "valuemax")
        return found["name"]["value"], int(found["value"]["value"]), int(most["value"]["value"])


@dataclass
class Works:
    """The served portal, one supplier's person in it, and a look into its database."""

    site: Site
    login: Login
    component: str
    product: str
    engine: Engine
    cookies: list[Cookie] = field(default_factory=list)

    def enter(self) -> Page:
        """A browser of its own, in which the person has signed in."""
        if not self.cookies:
            self.cookies = self.site.enter(self.login).context.cookies()
        page = self.site.visitor()
        page.context.add_cookies(self.cookies)  # type: ignore[arg-type]
        return page

    def field(self, page: Page | None = None) -> Field:
        """The page with the upload field, filled in as far as it can be."""
        page = page or self.enter()
        page.goto(f"/s/submissions/new/firmware?component={self.component}")
        page.get_by_label("Version").fill("2.4.0")
        page.get_by_label("Release notes").fill("The charger keeps its limit.")
        return Field(page)

    def upload(self) -> Upload | None:
        """The newest one, as the server has committed it."""
        with reading(self.engine) as session:
            return session.scalars(select(Upload).order_by(Upload.created_at.desc())).first()

    def begun(self, page: Page, at_least: int = 4 * MIB) -> int:
        """Wait until so many bytes of the newest upload are recorded; how many are."""
        self.until(page, lambda: self.offset() >= at_least)
        return self.offset()

    def settled(self, page: Page) -> int:
        """The recorded offset once the server has written what was on its way."""
        found = [self.offset()]

        def same() -> bool:
            page.wait_for_timeout(200)
            found.append(self.offset())
            return found[-1] == found[-2]

        self.until(page, same)
        return found[-1]

    def offset(self) -> int:
        found = self.upload()
        return found.offset if found is not None and found.state is UploadState.OPEN else 0

    def until(self, page: Page, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE / 1000
        while not condition():
            assert time.monotonic() < deadline
            page.wait_for_timeout(20)

    def stored(self, file: Path) -> bool:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        path = self.site.settings.store / "sha256" / digest[:2] / digest[2:4] / digest
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    site = Site(tmp_path_factory.mktemp("uploads"), upload_max_bytes=LIMIT)
    with scene(site.settings) as script:
        script.hire_buyer()
        company = script.company("Nordhaven Cells", "NO", admin="Ingrid Solberg")
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
            ids = product.components[0].id, product.id
        login = script.login(RoleName.SUPPLIER_ADMIN)
    engine = open_engine(site.settings.database)
    with site:
        yield Works(site, login, *ids, engine)
    engine.dispose()


@pytest.fixture
def works(served: Works) -> Iterator[Works]:
    yield served
    assert served.site.faults == []


def make(folder: Path, size: int = SIZE, name: str = "bms-2.4.0.bin") -> Path:
    file = folder / name
    file.write_bytes(os.urandom(size))
    return file


def sign_in(page: Page, login: Login) -> None:
    page.get_by_label("E-mail address").fill(login.email)
    page.get_by_label("Password", exact=True).fill(login.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nordhaven Cells")


def test_progress_is_told_and_pause_holds(works: Works, tmp_path: Path) -> None:
    file = make(tmp_path)
    image = works.field()
    image.speed(SLOW)
    image.choose(file)
    expect(image.state).to_contain_text(re.compile(r"\d+\s% of 48\.0\sMiB, \d[\d.]*\s[KM]iB/s, \d+\ss left"))
    image.grows()
    name, before, most = image.spoken()
    assert (name, most) == ("Upload of bms-2.4.0.bin", SIZE)
    image.grows()
    assert before < image.spoken()[1] < SIZE
    expect(image.submit).to_be_disabled()
    works.begun(image.page)

    image.press("Pause")
    expect(image.told).to_contain_text(re.compile(r"Paused at \d+\s%"))
    held, pieces, shown = works.settled(image.page), len(image.sent), image.value()
    image.page.wait_for_timeout(1000)  # nothing happens, however long one looks
    assert (works.offset(), len(image.sent), image.value()) == (held, pieces, shown)
    assert 0 < held < SIZE

    image.press("Resume")
    image.grows()
    assert image.sent[pieces] == held
    image.speed(FAST)
    expect(image.told).to_contain_text("bms-2.4.0.bin, 48.0 MiB, has arrived.")
    image.submit.click()
    expect(image.page.get_by_role("heading", level=1)).to_have_text("BMS 2.4.0")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    expect(image.page.locator(".file-list")).to_contain_text(digest)
    assert works.stored(file)


def test_a_page_that_was_closed_goes_on_where_it_was(works: Works, tmp_path: Path) -> None:
    file = make(tmp_path)
    image = works.field()
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    image.page.on("dialog", leave)
    image.speed(SLOW)
    image.choose(file)
    works.begun(image.page)
    image.page.get_by_label("Version").click()
    image.page.reload()
    assert asked == ["beforeunload"]
    held = works.settled(image.page)
    assert 0 < held < SIZE
    image.page.reload()
    expect(image.told).to_contain_text(
        f"bms-2.4.0.bin arrived in part: {held / MIB:.1f} MiB of 48.0 MiB. Choose it again"
    )
    pieces = len(image.sent)
    image.choose(file)
    image.grows()
    assert image.sent[pieces] == held

    works.begun(image.page, held + 4 * MIB)
    context = image.page.context
    image.page.close(run_before_unload=False)
    again = works.field(context.new_page())
    held = works.settled(again.page)
    again.choose(file)
    expect(again.told).to_contain_text("has arrived")
    assert again.sent[0] == held
    assert sorted(again.sent) == again.sent
    found = works.upload()
    assert found is not None
    assert found.state is UploadState.COMPLETE
    assert works.stored(file)


def test_a_killed_server_is_waited_for(works: Works, tmp_path: Path) -> None:
    file = make(tmp_path)
    image = works.field()
    image.speed(SLOW)
    image.choose(file)
    held = works.begun(image.page)
    works.site.kill()
    pieces = len(image.sent)
    expect(image.told).to_contain_text("No answer from the portal. Trying again")
    assert works.offset() >= held
    held = works.offset()
    works.site.start()
    image.speed(FAST)
    expect(image.told).to_contain_text("has arrived")  # nobody pressed anything
    answered = [offset for offset in image.sent[pieces:] if offset >= held]
    assert answered == image.sent[pieces:]
    assert works.stored(file)
    checked = lotgate(works.site.var, "fsck")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (0, "The file is empty. An empty file proves nothing: choose another."),
        (LIMIT + 1, "The file is too large: 67,108,865 bytes (64.0 MiB). The limit is 67,108,864 bytes"),
    ],
    ids=["empty", "above the limit"],
)
def test_a_file_that_cannot_be_taken_is_refused_at_its_field(
    works: Works, tmp_path: Path, size: int, reason: str
) -> None:
    refused = tmp_path / "refused.bin"
    refused.touch()
    os.truncate(refused, size)
    before = works.upload()
    image = works.field()
    image.choose(refused)
    expect(image.told).to_contain_text(reason)
    control = image.place.get_by_label("Image")
    expect(control).to_have_attribute("aria-invalid", "true")
    expect(control).to_have_accessible_description(re.compile(re.escape(reason)))
    expect(image.page.get_by_label("Version")).to_have_value("2.4.0")
    expect(image.page.get_by_label("Release notes")).to_have_value("The charger keeps its limit.")
    after = works.upload()
    assert image.sent == []
    assert (after and after.id) == (before and before.id)
    image.choose(make(tmp_path, MIB))
    expect(image.told).to_contain_text("has arrived")
    expect(control).to_have_attribute("aria-invalid", "false")
    expect(image.submit).to_be_enabled()


def test_a_session_that_ends_loses_nothing(works: Works, tmp_path: Path) -> None:
    file = make(tmp_path)
    image = works.field()
    image.speed(SLOW)
    image.choose(file)
    works.begun(image.page)
    image.page.context.clear_cookies()
    expect(image.told).to_contain_text("Your session has ended; what has arrived is kept.")
    held = works.settled(image.page)
    image.press("Resume")  # too early: it says the same again
    expect(image.told).to_contain_text("Your session has ended")
    assert works.offset() == held > 0
    with image.page.context.expect_page() as opened:
        image.told.get_by_role("link", name="Sign in again in another tab").click()
    sign_in(opened.value, works.login)
    pieces = len(image.sent)
    image.speed(FAST)
    image.press("Resume")
    expect(image.told).to_contain_text("has arrived")
    assert image.sent[pieces] == held
    image.submit.click()  # the form has the new session's token, and all that was filled in
    expect(image.page.get_by_role("heading", level=1)).to_have_text("BMS 2.4.0")
    expect(image.page.get_by_text("The charger keeps its limit.")).to_be_visible()


def test_an_answer_can_be_saved_after_signing_in_again(works: Works) -> None:
    page = works.enter()
    page.goto(f"/s/products/{works.product}")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url(re.compile("/answers"))
    page.context.clear_cookies()
    answer = page.get_by_label("In which country is the maker registered?")
    answer.fill("NO")
    answer.press("Tab")
    expect(page.locator("#s-sup_maker_country")).to_contain_text("Your session has ended")
    other = page.context.new_page()
    other.goto("/account/sign-in")
    sign_in(other, works.login)
    answer.fill("SE")
    answer.press("Tab")
    expect(page.locator("#s-sup_maker_country")).to_have_text("Saved")


def test_cancel_and_a_changed_file_leave_nothing_behind(works: Works, tmp_path: Path) -> None:
    file = make(tmp_path)
    image = works.field()
    image.speed(SLOW)
    image.choose(file)
    works.begun(image.page, MIB)
    image.press("Cancel")
    expect(image.bar).to_be_hidden()
    expect(image.place.get_by_label("Image")).to_be_focused()
    expect(image.submit).to_be_enabled()
    works.until(image.page, lambda: (works.upload() or Upload()).state is UploadState.TERMINATED)

    image.choose(file)
    works.begun(image.page, MIB)
    file.write_bytes(os.urandom(MIB))
    expect(image.told).to_have_text("The file was changed or moved after it was chosen. Choose it again.")
    works.until(image.page, lambda: (works.upload() or Upload()).state is UploadState.TERMINATED)
    image.speed(FAST)
    image.choose(file)
    expect(image.told).to_contain_text("has arrived")
    assert works.stored(file)


def test_a_phone_shows_all_of_an_upload(works: Works, tmp_path: Path) -> None:
    file = make(tmp_path, name=f"{'battery-management-controller-' * 4}2.4.0.bin")
    image = works.field()
    image.page.set_viewport_size(PHONE)

    def fits() -> None:
        width = image.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"]

    def is_accessible() -> None:
        found = Axe().run(image.page, options={"runOnly": RULES}).response["violations"]
        assert [(item["id"], item["nodes"][0]["html"][:200]) for item in found] == []

    image.speed(SLOW)
    image.choose(file)
    expect(image.state).to_contain_text("left")
    fits()
    is_accessible()
    image.press("Pause")
    fits()
    image.page.context.clear_cookies()
    image.press("Resume")
    expect(image.told).to_contain_text("Your session has ended")
    fits()
    is_accessible()
    image.page.context.add_cookies(works.cookies)  # type: ignore[arg-type]
    image.page.on("dialog", lambda dialog: dialog.accept())
    works.field(image.page)
    expect(image.told).to_contain_text("arrived in part")
    fits()
    image.speed(FAST)
    image.choose(file)
    expect(image.told).to_contain_text("has arrived")
    fits()
    os.truncate(file, 0)
    image.choose(file)
    expect(image.told).to_contain_text("The file is empty")
    fits()
    is_accessible()
