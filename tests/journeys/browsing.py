"""A portal as it runs in earnest, `lotgate serve` with its worker, and people in front of a real Chromium."""

import os
import re
import signal
import subprocess
import time
from base64 import b32decode
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from portal.accounts.models import RoleName
from portal.app import create_app
from portal.cli.database import upgrade_database
from portal.cli.demo.stage import Login, Stage
from portal.jobs.worker import Worker
from portal.settings import Settings
from tests.journeys.commands import command_line, environment
from tests.journeys.running import START_SECONDS, free_port, wait_for
from tests.journeys.screens import CHROMIUM, FLAGS, PATIENCE

needs_chromium = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here")


def code_of(secret: str) -> str:
    """What an authenticator app shows now for a secret in base32 (RFC 6238)."""
    padded = secret.replace(" ", "").replace("-", "").upper()
    padded += "=" * (-len(padded) % 8)
    key = b32decode(padded)
    return TOTP(key, 6, SHA1(), 30, enforce_key_length=False).generate(int(time.time())).decode()


class Script(Stage):
    """The demo's stage to set a scene with: what it submits waits for the worker of the served portal."""

    def wait(self) -> None:
        """Nothing works yet."""

    def login(self, role: RoleName) -> Login:
        return next(login for login in self.logins if login.role == role.value)


@contextmanager
def scene(settings: Settings) -> Iterator[Script]:
    """Set a scene in an empty portal, before it is served."""
    upgrade_database(settings)
    worker = Worker(settings)  # never started
    try:
        yield Script(settings, create_app(settings), worker)
    finally:
        worker.engine.dispose()
        worker.place.leave()


def press(page: Page, key: str) -> None:
    """A key on a page that is all there: before its scripts have come, it means nothing yet."""
    page.wait_for_load_state("load")
    page.keyboard.press(key)


class Site:
    """`with Site(folder) as site:` serves what is in the folder. One browser; each person has a context.

    `chosen`: settings. `kill()` is -9, `start()` begins again on the same port.
    """

    def __init__(self, folder: Path, **chosen: int) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.var = folder / "var"
        self.chosen = {"port": port, "upload_piece_bytes": 1 << 20} | chosen
        self.settings = Settings(var_dir=self.var, public_url=self.url, **self.chosen)  # type: ignore[arg-type]
        self.log = folder / "server.log"
        self.faults: list[str] = []

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command_line("serve"),
                env=environment(
                    self.var, public_url=self.url, **{name: str(self.chosen[name]) for name in self.chosen}
                ),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.url, self.process, self.log)

    def __enter__(self) -> Self:
        self.start()
        expect.set_options(timeout=PATIENCE)
        self._playwright = sync_playwright().start()
        self.browser: Browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.close()
        self._playwright.stop()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Web server, worker and supervisor at once: nothing can be tidied up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def visitor(self) -> Page:
        """A page of somebody new. What scripts and the content security policy complain about is kept."""
        context: BrowserContext = self.browser.new_context(base_url=self.url, accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._console(page, message.text))
        return page

    def _console(self, page: Page, text: str) -> None:
        if "Content Security Policy" in text:
            self.faults.append(f"{page.url}: {text}")

    def sign_in(self, email: str, password: str, secret: str = "") -> Page:
        """With the second factor where there is one."""
        page = self.visitor()
        page.goto("/account/sign-in")
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password", exact=True).fill(password)
        page.get_by_role("button", name="Sign in").click()
        if secret:
            page.get_by_label("Code from your app").fill(code_of(secret))
            page.get_by_role("button", name="Confirm code").click()
        expect(page.get_by_role("heading", level=1)).not_to_have_text(re.compile("Sign in|Enter your code"))
        return page

    def enter(self, login: Login) -> Page:
        return self.sign_in(login.email, login.password, login.secret)

    def mail_to(self, recipient: str, subject: str) -> str:
        """The text of a mail that was delivered; waits for it."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for path in sorted((self.var / "mail").glob("*.eml")):
                mail = message_from_bytes(path.read_bytes())
                if mail["To"] == recipient and subject.lower() in str(mail["Subject"]).lower():
                    return mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
            time.sleep(0.1)
        raise AssertionError(f"no mail to {recipient} about {subject}:\n{self.log.read_text()[-2000:]}")
