"""The frame of the pages: values, icons, menus, headers, errors, vendored files, colours that can be read."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from portal import errors, formats
from portal.accounts.models import RoleName, User
from portal.app import create_app
from portal.http.access import ACCESS, PUBLIC
from portal.http.status import status_of
from portal.settings import Settings
from portal.web import filters, headers, navigation, vendor
from portal.web.icons import icon
from tests.factories import Make, RecordingQueue

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
PAGES = [path for path in TEMPLATES if not {"report", "email"} & set(path.parts)]


# --- Values ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("moment", datetime(2026, 3, 1, 23, 5, tzinfo=UTC), "1 Mar 2026, 23:05\N{NO-BREAK SPACE}UTC"),
        ("moment", None, "–"),
        ("iso", datetime(2026, 3, 1, 23, 5, tzinfo=UTC), "2026-03-01T23:05:00Z"),
        ("iso", date(2026, 3, 1), "2026-03-01"),
        ("iso", None, ""),
        ("day", date(2026, 3, 1), "1 Mar 2026"),
        ("bytes", 0, "0 B"),
        ("bytes", 1023, "1023 B"),
        ("bytes", 1536, "1.5 KiB"),
        ("bytes", 200 * 1024**2, "200 MiB"),
        ("bytes", 5000 * 1024**4, "5000 TiB"),
        ("number", 1234567, "1,234,567"),
        ("duration", 0.0123, "12 ms"),
        ("duration", 5, "5 s"),
        ("duration", timedelta(days=2, hours=3, minutes=9), "2 d 3 h"),
        ("duration", 3601, "1 h 1 s"),
        ("words", errors.LotgateError.code, "error"),
        ("words", RoleName.SUPPLIER_ADMIN, "supplier admin"),
        ("label", "not_run", "Not run"),
        ("label", "bom", "BOM"),
        ("label", None, ""),
    ],
)
def test_values_are_written_as_promised(name: str, value: object, text: str) -> None:
    assert filters.FILTERS[name](value) == text  # type: ignore[operator]


def test_a_moment_is_shown_in_utc_whatever_its_zone() -> None:
    elsewhere = datetime.fromisoformat("2026-03-02T01:05:00+02:00")
    assert formats.moment(elsewhere) == formats.moment(datetime(2026, 3, 1, 23, 5, tzinfo=UTC))


# --- Icons ----------------------------------------------------------------------------------------
def test_an_icon_is_decoration_unless_it_has_a_title() -> None:
    assert 'aria-hidden="true"' in icon("check-circle")
    assert 'aria-label="a &lt;b&gt;"' in icon("check-circle", "a <b>")


def test_an_unknown_icon_is_refused() -> None:
    with pytest.raises(KeyError):
        icon("no-such-icon")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_every_icon_in_a_template_exists(path: Path) -> None:
    for name in re.findall(r"""icon\(\s*["']([a-z0-9-]+)["']""", path.read_text("utf-8")):
        icon(name)


def test_every_badge_can_be_drawn(app: Flask) -> None:
    ui = app.jinja_env.get_template("includes/ui.html").module
    for table, draw in (
        ("OUTCOMES", "outcome_badge"),
        ("RATINGS", "rating_badge"),
        ("STATES", "state_badge"),
    ):
        for name in getattr(ui, table):
            drawn = str(getattr(ui, draw)(name))
            # A sign and a word, so that nothing depends on colour alone.
            assert "<svg" in drawn
            assert re.sub(r"<[^>]*>", "", drawn).strip()


# --- What the content security policy would break -----------------------------------------------
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_a_page_has_nothing_inline(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"<style\b", text)
    assert not re.search(r"<script\b(?![^>]*\bsrc=)", text)
    assert not re.search(r"""\s(style|on[a-z]+|hx-on[:a-z-]*)\s*=\s*["']""", text)
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", text)
    assert "javascript:" not in text


def test_pages_carry_the_headers(client: FlaskClient) -> None:
    response = client.get("/")
    for name, value in headers.HEADERS.items():
        assert response.headers[name] == value
    assert "Strict-Transport-Security" not in response.headers


def test_https_is_kept_once_seen(settings: Settings, jobs: RecordingQueue) -> None:
    app = create_app(replace(settings, public_url="https://gate.example"), jobs=jobs)
    assert "max-age" in app.test_client().get("/").headers["Strict-Transport-Security"]


def test_pages_of_a_person_are_not_kept(
    make: Make, sign_in: Callable[[User], FlaskClient], client: FlaskClient
) -> None:
    assert "Cache-Control" not in client.get("/").headers
    person = make.user(RoleName.SUPPLIER_ADMIN, make.supplier())
    assert sign_in(person).get("/").headers["Cache-Control"] == "no-store"


def test_static_files_may_be_kept_when_their_address_names_their_content(app: Flask) -> None:
    with app.test_request_context():
        address = app.url_for("static", filename="lotgate.css")
    client = app.test_client()
    with client.get(address) as stamped, client.get(address.split("?")[0]) as bare:
        assert "immutable" in stamped.headers["Cache-Control"]
        assert "immutable" not in bare.headers["Cache-Control"]
    with app.test_request_context():
        assert "?" not in app.url_for("static", filename="not-there.css")


# --- Home and health ------------------------------------------------------------------------------
def test_a_visitor_learns_what_this_is(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "batteries, UPS and power components" in page.text
    assert "Skip to content" in page.text


@pytest.mark.parametrize("role", list(RoleName))
def test_everyone_is_sent_to_the_first_page_of_their_menu(
    role: RoleName, app: Flask, make: Make, sign_in: Callable[[User], FlaskClient]
) -> None:
    person = make.user(role, make.supplier() if role.value.startswith("supplier") else None)
    first = {
        RoleName.SUPPLIER_ADMIN: "supplier.home",
        RoleName.SUPPLIER_CONTRIBUTOR: "supplier.home",
        RoleName.ADMINISTRATOR: "admin.users",
    }.get(role, "review.queue")
    response = sign_in(person).get("/")
    with app.test_request_context():
        assert response.location == app.url_for(first)


def test_health_says_whether_the_database_answers(client: FlaskClient) -> None:
    assert client.get("/health").get_json() == {"status": "ok"}


# --- Menus ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("role", list(RoleName))
def test_the_menu_offers_only_what_opens(
    role: RoleName, app: Flask, make: Make, sign_in: Callable[[User], FlaskClient]
) -> None:
    person = make.user(role, make.supplier() if role.value.startswith("supplier") else None)
    client = sign_in(person)
    with app.test_request_context():
        addresses = {
            name: app.url_for(name)
            for name, _ in (*navigation.MAIN, *navigation.PERSONAL)
            if name in app.view_functions
        }
    page = client.get("/", follow_redirects=True)
    assert page.status_code == 200
    offered = {name for name, address in addresses.items() if f'<a href="{address}"' in page.text}
    assert offered
    assert 'aria-current="page"' in page.text
    for name, address in addresses.items():
        assert client.get(address).status_code == (200 if name in offered else 403), name


# --- Errors ---------------------------------------------------------------------------------------
@pytest.fixture
def broken(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """`broken(path, error)` adds a page that raises `error`."""

    def add(path: str, error: Exception) -> None:
        def view() -> str:
            raise error

        app.add_url_rule(path, endpoint=path, view_func=view)
        monkeypatch.setitem(ACCESS, path, {"GET": PUBLIC})

    return add


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound("no such lot"), 404),
        (errors.NotAllowed("this needs the permission x"), 403),
        (errors.Conflict("claimed by another"), 409),
        (errors.Gone("the upload expired"), 410),
        (errors.TooLarge("over 64 MiB"), 413),
        (errors.TooMany("wait a minute"), 429),
        (errors.InvalidInput("the manifest is wrong"), 422),
        (errors.ChecksumMismatch("expected a, found b"), 460),
        (errors.StorageFailed("the disk is full"), 507),
        (errors.TrustError("not a public key"), 422),
    ],
)
def test_our_errors_become_pages_that_say_what_happened(
    error: errors.LotgateError, status: int, broken: Callable[[str, Exception], None], client: FlaskClient
) -> None:
    broken("/broken", error)
    page = client.get("/broken")
    assert page.status_code == status == status_of(error)
    assert error.message in page.text
    assert "Traceback" not in page.text


def test_problems_are_listed_and_escaped(
    broken: Callable[[str, Exception], None], client: FlaskClient
) -> None:
    problem = errors.Problem("units[17].serial", "a text", "<b>", "Put it in quotes.")
    broken("/broken", errors.InvalidInput("wrong", (problem,)))
    page = client.get("/broken").text
    assert "units[17].serial" in page
    assert "&lt;b&gt;" in page
    assert "Put it in quotes." in page


@pytest.mark.parametrize("error", [RuntimeError("secret detail"), errors.VerifierFault("secret detail")])
def test_a_fault_of_ours_shows_a_reference_and_nothing_else(
    error: Exception, broken: Callable[[str, Exception], None], client: FlaskClient
) -> None:
    broken("/broken", error)
    page = client.get("/broken")
    assert page.status_code == 500
    assert re.search(r"Reference: <code>[0-9a-f]{12}</code>", page.text)
    assert "secret detail" not in page.text


def test_a_database_that_does_not_answer_is_a_503(
    broken: Callable[[str, Exception], None], client: FlaskClient
) -> None:
    broken("/broken", OperationalError("SELECT 1", {}, RuntimeError("database is locked")))
    page = client.get("/broken")
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "5"
    assert "SELECT" not in page.text


def test_a_page_that_is_not_there_and_one_that_cannot_be_posted_to(client: FlaskClient) -> None:
    assert client.get("/nowhere").status_code == 404
    response = client.post("/")
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]


def test_words_given_to_abort_are_shown_and_stock_words_are_not(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.add_url_rule("/own", endpoint="own", view_func=lambda: abort(409, "Held by Ingrid."))
    app.add_url_rule("/stock", endpoint="stock", view_func=lambda: abort(409))
    for name in ("own", "stock"):
        monkeypatch.setitem(ACCESS, name, {"GET": PUBLIC})
    assert "Held by Ingrid." in client.get("/own").text
    assert "A conflict happened" not in client.get("/stock").text


def test_programs_get_problem_json(client: FlaskClient) -> None:
    response = client.get("/api/v1/no-such-thing")
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert json.loads(response.text)["status"] == 404


def test_htmx_gets_only_the_message(broken: Callable[[str, Exception], None], client: FlaskClient) -> None:
    broken("/broken", errors.Conflict("claimed by another"))
    part = client.get("/broken", headers={"HX-Request": "true"}).text
    assert "claimed by another" in part
    assert "<html" not in part


def test_every_error_of_ours_has_a_status() -> None:
    def tree(kind: type[errors.LotgateError]) -> list[type[errors.LotgateError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in tree(child))]

    for kind in tree(errors.LotgateError):
        assert 400 <= status_of(kind("x")) <= 599


# --- Vendored browser code ------------------------------------------------------------------------
def _modules(folder: Path) -> Path:
    for item in vendor.FILES:
        path = folder / item.package / item.source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.name.encode())
        (folder / item.package / "package.json").write_text('{"version": "1.2.3", "license": "MIT"}')
    return folder


def test_vendoring_copies_once(tmp_path: Path) -> None:
    modules, target = _modules(tmp_path / "node_modules"), tmp_path / "vendor"
    assert set(vendor.vendor(modules, target)) == {item.name for item in vendor.FILES} | {"README.md"}
    assert vendor.vendor(modules, target) == []
    assert "htmx.org 1.2.3 (MIT)" in (target / "README.md").read_text()


def test_vendoring_without_npm_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="npm ci"):
        vendor.vendor(tmp_path, tmp_path / "vendor")


def test_the_lock_file_names_no_server() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


# --- Colours --------------------------------------------------------------------------------------
def _tokens(theme: str) -> dict[str, str]:
    css = (ROOT / "portal/static/lotgate.css").read_text("utf-8")
    found: dict[str, str] = {}
    for selector in ('[data-bs-theme="light"]', f'[data-bs-theme="{theme}"]'):
        block = re.search(re.escape(selector) + r"\s*\{(.*?)\n\}", css, re.DOTALL)
        assert block
        found |= dict(re.findall(r"--lg-([a-z-]+):\s*(#[0-9a-f]{6})\b", block[1]))
    return found


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT_ON = [
    *((text, ground) for text in ("text", "quiet", "accent") for ground in ("ground", "surface", "sunken")),
    *(
        (tone, ground)
        for tone in ("ok", "warn", "bad", "info")
        for ground in ("ground", "surface", f"{tone}-soft")
    ),
    ("accent-strong", "accent-soft"),
    ("text", "muted-soft"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(theme: str) -> None:
    tokens = _tokens(theme)
    weak = {
        (a, b): round(_contrast(tokens[a], tokens[b]), 2)
        for a, b in TEXT_ON
        if _contrast(tokens[a], tokens[b]) < 4.5
    }
    assert not weak


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_edges_of_controls_can_be_seen(theme: str) -> None:
    tokens = _tokens(theme)
    for ground in ("ground", "surface"):
        assert _contrast(tokens["line-strong"], tokens[ground]) >= 3
        assert _contrast(tokens["accent"], tokens[ground]) >= 3
