"""What the header offers: only pages that exist and that the access table opens to this actor."""

from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app, g, request, url_for

from portal.accounts.actors import Actor
from portal.http.access import ACCESS
from portal.http.gate import allows

# endpoint, words in the menu
MAIN = (
    ("supplier.home", "Home"),
    ("supplier.products", "Products"),
    ("supplier.submissions", "Submissions"),
    ("supplier.keys", "Keys"),
    ("supplier.entities", "Chain"),
    ("supplier.changes", "Changes"),
    ("account.team", "Team"),
    ("admin.users", "People"),
    ("admin.suppliers", "Supplier accounts"),
    ("admin.time_stamps", "Time stamps"),
    ("review.queue", "Queue"),
    ("review.suppliers", "Suppliers"),
    ("review.keys", "Keys"),
    ("review.changes", "Changes"),
    ("review.exceptions", "Exceptions"),
    ("review.ledger", "Ledger"),
    ("vault.state", "Vault"),
)
# Pages whose address does not say under which entry of the menu they belong.
UNDER = {
    "review.product": "review.suppliers",
    "review.reassessments": "review.changes",
    "vault.deleted": "vault.state",
    "vault.export": "vault.state",
    "vault.exports": "vault.state",
    "vault.holds": "vault.state",
    "vault.new_export": "vault.state",
    "vault.new_hold": "vault.state",
    "vault.preview": "vault.state",
    "vault.retention": "vault.state",
}
PERSONAL = (
    ("account.profile", "Profile and security"),
    ("account.tokens", "API tokens"),
)


@dataclass(frozen=True, slots=True)
class NavItem:
    endpoint: str
    label: str
    url: str
    current: bool


def init_app(app: Flask) -> None:
    app.jinja_env.globals.update(
        nav_items=nav_items, personal_items=personal_items, sign_in_url=sign_in_url, here=here
    )


def nav_items(actor: Actor | None) -> list[NavItem]:
    """The main menu of this actor, in order; empty for a visitor."""
    return _items(actor, MAIN)


def personal_items(actor: Actor | None) -> list[NavItem]:
    """The menu behind the person's name."""
    return _items(actor, PERSONAL)


def home_url(actor: Actor | None) -> str | None:
    """The first page of this actor's menu; None for a visitor."""
    items = _items(actor, (*MAIN, *PERSONAL))
    return items[0].url if items else None


def sign_in_url() -> str | None:
    """Where to sign in; None while nobody is able to."""
    return url_for("security.login") if "security.login" in current_app.view_functions else None


def here(**changes: Any) -> str:
    """The address of this page with query arguments changed; None takes one away.

    Raises RuntimeError outside a request for a known page.
    """
    if request.endpoint is None:
        raise RuntimeError("here() needs a page that exists")
    arguments: dict[str, Any] = request.args.to_dict(flat=False) | (request.view_args or {}) | changes
    return url_for(
        request.endpoint, **{name: value for name, value in arguments.items() if value is not None}
    )


def _items(actor: Actor | None, entries: tuple[tuple[str, str], ...]) -> list[NavItem]:
    if actor is None or g.get("confined"):
        return []
    here_now = _current(tuple(endpoint for endpoint, _ in entries))
    return [
        NavItem(endpoint, label, url_for(endpoint), endpoint == here_now)
        for endpoint, label in entries
        if endpoint in current_app.view_functions and allows(ACCESS.get(endpoint, {}).get("GET", ()), actor)
    ]


def _current(endpoints: tuple[str, ...]) -> str | None:
    """The menu entry of the page being shown: itself, else the one whose address is the longest beginning."""
    endpoint = UNDER.get(request.endpoint or "", request.endpoint)
    if endpoint in endpoints:
        return endpoint
    found = [
        (len(address), name)
        for name in endpoints
        if name in current_app.view_functions
        and request.path.startswith((address := url_for(name)).rstrip("/") + "/")
    ]
    return max(found)[1] if found else None
