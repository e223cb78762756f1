"""The blueprint that every page of the vault hangs on."""

from flask import Blueprint

blueprint = Blueprint("vault", __name__, url_prefix="/vault")
