"""The blueprint of the API, its contract, and what holds for each of its requests."""

from typing import Any, Final

from flask import Blueprint, Response, jsonify, request

from portal import __version__
from portal.api.contract import BODY_MAX_BYTES, Contract
from portal.http.context import actor
from portal.http.tokens import challenge, has_bearer
from portal.suppliers.rules import own_supplier

PREFIX: Final = "/api/v1"
PUBLIC_ENDPOINT: Final = "api.document"
FILE_MAX_BYTES: Final = 64 << 20  # larger files go through /files/

blueprint = Blueprint("api", __name__, url_prefix=PREFIX)
contract = Contract(blueprint)


@blueprint.url_value_preprocessor
def _limit_body(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    request.max_content_length = FILE_MAX_BYTES if endpoint == "api.send_evidence" else BODY_MAX_BYTES


@blueprint.before_request
def _demand_token() -> None:
    """Machines show a token; a browser's cookie opens nothing here, so no page can be made to use it."""
    if request.endpoint != PUBLIC_ENDPOINT and not has_bearer():
        raise challenge()


@blueprint.after_request
def _not_kept(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@blueprint.get("/openapi.json")
def document() -> Response:
    return jsonify(contract.document("Lotgate", __version__, PREFIX))


def own_id() -> str:
    """The supplier whose token this is. Raises NotAllowed for people of the buyer."""
    return own_supplier(actor())
