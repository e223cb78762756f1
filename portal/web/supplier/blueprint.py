"""The blueprint that every supplier page hangs on, and what their templates and handlers share."""

from typing import Any, Final

from flask import Blueprint, request
from sqlalchemy import select

from portal.errors import NotFound
from portal.http.context import actor, parts, session
from portal.suppliers.models import Product
from portal.suppliers.rules import own_supplier
from portal.web.supplier.words import DECISIONS, PURPOSES, STATES
from portal.web.words import CHANGES, KINDS, ROLES

FORM_MAX_BYTES: Final = 1 << 20
FILE_FORM_MAX_BYTES: Final = 65 << 20  # a form with files in it, for those without JavaScript
WITH_FILES: Final = frozenset(
    {
        "supplier.new_attestations",
        "supplier.new_firmware",
        "supplier.new_lot",
        "supplier.save_section",
    }
)

blueprint = Blueprint("supplier", __name__, url_prefix="/s")


@blueprint.url_value_preprocessor
def _limit_body(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """How much a form may send; said before the gate reads it for its token."""
    request.max_content_length = FILE_FORM_MAX_BYTES if endpoint in WITH_FILES else FORM_MAX_BYTES


@blueprint.context_processor
def words() -> dict[str, Any]:
    return {
        "CHANGES": CHANGES,
        "DECISIONS": DECISIONS,
        "KINDS": KINDS,
        "PURPOSES": PURPOSES,
        "ROLES": ROLES,
        "STATES": STATES,
    }


@blueprint.app_template_global()
def upload_piece() -> int:
    """How many bytes the upload field sends at a time."""
    return parts().settings.upload_piece_bytes


def own_id() -> str:
    """The supplier whose pages these are. Raises NotAllowed for people of the buyer."""
    return own_supplier(actor())


def own_products() -> list[Product]:
    return list(
        session().scalars(select(Product).where(Product.supplier_id == own_id()).order_by(Product.name))
    )


def load_product(product_id: str) -> Product:
    found = session().get(Product, product_id)
    if found is None:
        raise NotFound("There is no such product.")
    return found
