"""The transparency logs for everybody: checkpoint, tiles and entry bundles where C2SP tlog-tiles has them.

Nothing here tells one supplier of another (portal/ledger/leaves.py), so nobody needs to sign in.
"""

import re
from typing import Final

from flask import Blueprint, Response, g, render_template, request
from sqlalchemy import select

from portal.errors import NotFound
from portal.evidence.models import Evidence
from portal.http.context import clock, parts, session
from portal.ledger import logs, stamps, witnesses
from portal.ledger.models import Log, Stamp
from portal.ledger.tree import WIDTH
from portal.suppliers import timestamping

blueprint = Blueprint("log", __name__, url_prefix="/ledger")
# Without leading zeroes where a number has one spelling only: each tile has one address.
_TILE: Final = re.compile(
    r"(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])/"
    r"(?P<number>(?!x000)(?:x[0-9]{3}/){0,5}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@blueprint.after_request
def for_everybody(response: Response) -> Response:
    """Pages of others may read the log's files; what is not there yet may be there a second later."""
    if request.endpoint != "log.index":
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers.setdefault("Cache-Control", "no-store")
    return response


@blueprint.get("/")
def index() -> str:
    found = session().scalars(select(Log).order_by(Log.number.desc())).all()
    return render_template(
        "ledger.html",
        logs=[(log, logs.verifier_keys(log), witnesses.standings(session(), log)) for log in found],
        stamps={log.number: stamps.newest(session(), log) for log in found},
        overdue=logs.overdue_since(session(), clock()),
        silent=witnesses.silent(session(), witnesses.configured(parts().settings.witnesses)),
    )


@blueprint.get("/policy")
def policy() -> Response:
    """The keys of all logs and of the configured witnesses, as C2SP tlog-policy."""
    trust = witnesses.configured(parts().settings.witnesses)
    return _text(logs.policy_text(session(), parts().settings.public_url, trust))


@blueprint.get("/<int:number>/checkpoint")
def checkpoint(number: int) -> Response:
    """The newest one, with what witnesses have said of it."""
    newest = logs.checkpoint(session(), logs.find(session(), number))
    return _text(logs.signed_note(session(), newest))


@blueprint.get("/<int:number>/tile/<path:path>")
def tile(number: int, path: str) -> Response:
    """A tile of hashes or a bundle of entries. Raises NotFound for what no checkpoint has."""
    wanted = _TILE.fullmatch(path)
    if wanted is None:
        raise NotFound("There is no such tile.")
    place = int(wanted["number"].replace("x", "").replace("/", ""))
    width = int(wanted["width"] or WIDTH)
    if wanted["width"] and width >= WIDTH:
        raise NotFound("There is no such tile.")
    log = logs.find(session(), number)
    if wanted["level"] == "entries":
        data = logs.entry_bundle(session(), log, place, width)
    else:
        data = logs.tile(session(), log, int(wanted["level"]), place, width)
    return Response(data, mimetype="application/octet-stream", headers={"Cache-Control": _FOR_EVER})


@blueprint.get("/<int:number>/stamps/<int:size>.tsr")
def stamp(number: int, size: int) -> Response:
    """The time stamp over the checkpoint of a size, as the authority sent it (RFC 3161). Raises NotFound."""
    response = _stamp(number, size).response
    headers = {
        "Cache-Control": _FOR_EVER,
        "Content-Disposition": f'attachment; filename="ledger-{number}-{size}.tsr"',
    }
    return Response(response, mimetype="application/timestamp-reply", headers=headers)


@blueprint.get("/<int:number>/stamps/<int:size>.checkpoint")
def stamped(number: int, size: int) -> Response:
    """The bytes that are stamped: the signed note as the log made it. Raises NotFound."""
    note = stamps.stamped_bytes(session(), _stamp(number, size))
    return Response(note, content_type="text/plain; charset=utf-8", headers={"Cache-Control": _FOR_EVER})


@blueprint.app_template_global()
def receipts_given() -> bool:
    """Whether there is a log: without one, pages offer no receipts and no bundles."""
    if "receipts_given" not in g:
        g.receipts_given = session().scalars(select(Log.number).limit(1)).first() is not None
    return bool(g.receipts_given)


@blueprint.app_template_global()
def time_of_delivery(evidence_id: str) -> stamps.EntryTime | None:
    """When a file was delivered, as far as the session may see it."""
    entry = logs.entry_about(session(), "evidence.accepted", evidence_id)
    if entry is None or session().get(Evidence, evidence_id) is None:
        return None
    return stamps.time_of(session(), entry, timestamping.entries(session()))


def _stamp(number: int, size: int) -> Stamp:
    found = session().get(Stamp, (number, size))
    if found is None:
        raise NotFound("There is no such time stamp.")
    return found


def _text(text: str) -> Response:
    return Response(text, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})
