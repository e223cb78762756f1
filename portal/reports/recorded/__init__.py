"""Do the rows say what their ledger entries do? A module for each room of the portal; rows.py has the tables
whose every row has one entry that tells of it, the others what takes more than a row to tell.

Rows from before a kind of entry existed have none. They are known by entries of that time, never by a date
that stands beside them: those could be moved.
"""

from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy.orm import Session

from portal.ledger.service import Fault
from portal.reports.recorded import cases, judging, retained, submissions, vendors
from portal.reports.recorded.rows import LEDGERED, both_ways, owners

RULES: tuple[tuple[str, Callable[[Session], Iterator[Fault]]], ...] = (
    *((rule.kind, partial(both_ways, rule=rule)) for rule in LEDGERED),
    ("whose rows are whose", owners),
    *vendors.RULES,
    *submissions.RULES,
    *judging.RULES,
    *cases.RULES,
    *retained.RULES,
)
"""What is looked at (kinds of entries), and the function that yields every fault in it."""
