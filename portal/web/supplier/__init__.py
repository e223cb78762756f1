"""Supplier pages: what is asked, what was offered, what was found."""

from portal.web.supplier import (  # noqa: F401  # each hangs its pages on the blueprint
    changes,
    company,
    home,
    keys,
    offers,
    products,
    questionnaires,
    submissions,
)
from portal.web.supplier.blueprint import blueprint

__all__ = ["blueprint"]
