"""The blueprint that every reviewer page hangs on, and what their templates share."""

from typing import Any

from flask import Blueprint, current_app, g, url_for
from flask.blueprints import BlueprintSetupState

from portal.accounts.permissions import Permission
from portal.web.review.words import CAUSES, DECISIONS
from portal.web.words import CHANGES, KINDS, ROLES

blueprint = Blueprint("review", __name__, url_prefix="/r")


@blueprint.app_template_global()
def may(permission: str) -> bool:
    """Whether who looks at the page may do this; buttons of what they may not are not drawn."""
    return g.get("actor") is not None and g.actor.may(Permission(permission))


@blueprint.app_template_global()
def url_if(endpoint: str, **values: Any) -> str | None:
    """The address of a page, None while there is no such page."""
    return url_for(endpoint, **values) if endpoint in current_app.view_functions else None


@blueprint.app_template_filter()
def sentence(text: str) -> str:
    """With a capital at the start, unless that is a name (`fw_signing`), and a full stop at the end."""
    text = text.strip()
    if not text:
        return ""
    first = text.split(maxsplit=1)[0]
    start = text[:1] if {"_", "."} & set(first.rstrip(".")) else text[:1].upper()
    return start + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")


@blueprint.record_once
def _words(state: BlueprintSetupState) -> None:
    """What stable names are called, for macros too (they see globals only)."""
    state.app.jinja_env.globals.update(
        CAUSES=CAUSES, CHANGES=CHANGES, DECISIONS=DECISIONS, KINDS=KINDS, ROLES=ROLES
    )
