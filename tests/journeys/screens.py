"""`python -m tests.journeys.screens OUT --var VAR`: every page, as each role sees it, in a real browser.

Serves the database under VAR (`lotgate demo --no-serve` fills one), follows every link that a role is shown,
and for each page writes a picture at 1280 and 390 pixels, says if it scrolls sideways, and runs axe-core.
Exit 1 if a page fails, scrolls sideways, breaks the content security policy or has a violation.
"""

import argparse
import re
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from flask import Flask
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import select
from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server

from portal.accounts.models import RoleName, User
from portal.app import create_app
from portal.db import open_engine, open_session
from portal.settings import Settings
from tests.factories.signing_in import signed_in_client

PATIENCE = 30_000  # ms: the machine may be busy with other tests
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]
WIDTHS = (1280, 390)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DOWNLOADS = re.compile(
    r"download|evidence/|\.zip|\.pdf|\.csv|\.json|receipt|watch-key|/static/|/files/|/api/"
    r"|/ledger/(policy|\d+/)"
)


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address of `app`, served on a free port until the block ends."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()


class Screens:
    """Walks the pages of one role after another and keeps what is wrong."""

    def __init__(self, app: Flask, base: str, browser: Browser, wanted: argparse.Namespace) -> None:
        self.app, self.base, self.browser, self.wanted = app, base, browser, wanted
        self.out: Path = wanted.out
        self.scheme: Literal["dark", "light"] = "dark" if wanted.dark else "light"
        # A session holds for one browser only: be the one that the test client says it is.
        self.agent = str(app.test_client().environ_base["HTTP_USER_AGENT"])
        self.routes = app.url_map.bind(urlsplit(base).netloc)
        self.faults: list[str] = []
        self.pictures = 0

    def walk(self, role: str, cookie: str | None) -> None:
        context = self.browser.new_context(color_scheme=self.scheme, user_agent=self.agent)
        if cookie is not None:
            context.add_cookies(
                [{"name": self.app.config["SESSION_COOKIE_NAME"], "value": cookie, "url": self.base}]
            )
        page = context.new_page()
        page.on("console", lambda message: self._console(role, page, message.type, message.text))
        page.on("pageerror", lambda error: self._fault(f"{role} {page.url}: script: {error}"))
        seen: Counter[str] = Counter()
        paths: set[str] = set()
        waiting = deque(["/", "/account/"])
        while waiting:
            path = waiting.popleft()
            endpoint = self._endpoint(path)
            if path in paths or endpoint is None or DOWNLOADS.search(path):
                continue
            paths.add(path)
            if seen[endpoint] >= self.wanted.examples:
                continue
            seen[endpoint] += 1
            suffix = f"-{seen[endpoint]}" if seen[endpoint] > 1 else ""
            picture = re.search(self.wanted.only, f"{role}-{endpoint}") is not None
            links = self._look(page, path, f"{role}-{endpoint}{suffix}", picture=picture)
            waiting.extend(links)
        context.close()

    def _look(self, page: Page, path: str, name: str, *, picture: bool) -> list[str]:
        response = page.goto(self.base + path, wait_until="load")
        if response is None or response.status >= 400:
            self._fault(f"{name}: {path} answered {response and response.status}")
        if urlsplit(page.url).path != path:
            return [urlsplit(page.url).path]  # sent elsewhere: that page has its own turn
        links = page.eval_on_selector_all("a[href]", "found => found.map(a => a.getAttribute('href'))")
        if picture:
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(150)
                page.screenshot(path=self.out / f"{name}-{width}-{self.scheme}.png", full_page=True)
                self.pictures += 1
                self._measure(page, name, width)
        found = (urlsplit(urljoin(page.url, link)) for link in links)
        return [link.path for link in found if f"{link.scheme}://{link.netloc}" == self.base]

    def _measure(self, page: Page, name: str, width: int) -> None:
        wide = page.evaluate(
            """() => document.documentElement.scrollWidth <= innerWidth ? [] :
               [...document.querySelectorAll("main *")]
                 .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
                 .slice(0, 3).map(e => e.outerHTML.slice(0, 100))"""
        )
        if wide:
            self._fault(f"{name} at {width}: scrolls sideways: {wide}")
        for found in Axe().run(page, options={"runOnly": RULES}).response["violations"]:
            where = [node["html"][:110] for node in found["nodes"][:3]]
            self._fault(f"{name} at {width}: axe {found['id']} ({found['impact']}): {where}")

    def _fault(self, text: str) -> None:
        if text not in self.faults:
            self.faults.append(text)
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def _console(self, role: str, page: Page, kind: str, text: str) -> None:
        if kind == "error":
            self._fault(f"{role} {page.url}: console: {text}")

    def _endpoint(self, path: str) -> str | None:
        try:
            return str(self.routes.match(path)[0])
        except HTTPException:
            return None


def cookie_of(app: Flask, user: User) -> str:
    """A session cookie of `user`, made as the tests make theirs: without the sign-in pages."""
    found = signed_in_client(app, user).get_cookie(app.config["SESSION_COOKIE_NAME"])
    if found is None:
        raise RuntimeError("the test client has no session cookie")
    return found.value


def people(settings: Settings, wanted: str) -> list[tuple[str, User]]:
    """One person for each role; for suppliers one of each company, named after it, as `wanted` selects."""
    engine = open_engine(settings.database)
    with open_session(engine) as session:
        users = list(session.scalars(select(User).where(User.active).order_by(User.created_at)))
    engine.dispose()
    found: dict[str, User] = {}
    for user in users:
        company = user.organisation.name.split()[0].lower()
        buyer = user.role not in (RoleName.SUPPLIER_ADMIN, RoleName.SUPPLIER_CONTRIBUTOR)
        found.setdefault(user.role.value if buyer else f"supplier_{company}", user)
    return [(name, user) for name, user in found.items() if wanted in name]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument(
        "--var", type=Path, required=True, help="folder with the portal's database and evidence"
    )
    parser.add_argument("--role", default="", help="only roles whose name contains this (supplier_nordhaven)")
    parser.add_argument("--only", default="", help="pictures only of pages whose name fits this expression")
    parser.add_argument(
        "--examples", type=int, default=2, help="pages per route and role, with other data each"
    )
    parser.add_argument("--dark", action="store_true", help="in dark colours")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = Settings(var_dir=arguments.var)
    app = create_app(settings)
    # Before Playwright: its event loop and Flask's clean-up after a request do not share a thread.
    cookies = {name: cookie_of(app, user) for name, user in people(settings, arguments.role)}
    with served(app) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        screens = Screens(app, base, browser, arguments)
        if arguments.role in "visitor":
            screens.walk("visitor", None)
        for name, cookie in cookies.items():
            screens.walk(name, cookie)
        browser.close()
    sys.stdout.write(f"{screens.pictures} pictures in {arguments.out}, {len(screens.faults)} faults\n")
    return 1 if screens.faults else 0


if __name__ == "__main__":
    sys.exit(main())
