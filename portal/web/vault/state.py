"""The state of the vault: what is stored, when it was last read again, and what is damaged."""

from flask import render_template

from portal.evidence import scrub
from portal.http.context import parts, session
from portal.web.vault.blueprint import blueprint


@blueprint.get("/")
def state() -> str:
    days = parts().settings.scrub_days
    return render_template("vault/state.html", found=scrub.state(session(), days), days=days)
