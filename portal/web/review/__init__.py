"""Reviewer pages, under `/r/`: the queue, cases, suppliers, keys, changes, exceptions, evidence, the
ledger."""

from portal.web.review import cases, changes, evidence, exceptions, keys, ledger, queue, suppliers
from portal.web.review.blueprint import blueprint

__all__ = ["blueprint", "cases", "changes", "evidence", "exceptions", "keys", "ledger", "queue", "suppliers"]
