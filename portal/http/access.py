"""The one table of who may do what: a row for every endpoint and method, pages, API and uploads.

Enforced before every request (portal/http/gate.py). A route without a row answers 404 and fails the build.
Keep the blocks in the order of the blueprints and the rows sorted.
"""

from typing import Final

from portal.accounts.permissions import Permission as P

PUBLIC: Final = "public"  # anyone, signed in or not
SIGNED_IN: Final = "signed in"  # any account
Rule = P | str | tuple[P, ...]  # a tuple: any one of these

ACCESS: Final[dict[str, dict[str, Rule]]] = {
    # --- the ground
    "static": {"GET": PUBLIC},
    "bootstrap.static": {"GET": PUBLIC},
    "health": {"GET": PUBLIC},
    "home.index": {"GET": PUBLIC},  # sends each to their own home
    # --- account pages (portal/web/account.py and flask_security)
    # --- uploads (portal/web/files.py)
    # --- supplier pages (portal/web/supplier/)
    # --- reviewer pages (portal/web/review/)
    # --- administration (portal/web/admin.py)
    # --- API (portal/api/)
}
