"""What every verb of a supplier's rooms asks first: is it yours, and is the text fit to be kept?"""

import re
from collections.abc import Iterable
from typing import Final, TypeVar

from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.db import SupplierOwned
from portal.errors import InvalidInput, NotAllowed, NotFound, Problem
from portal.ledger import service as ledger

Row = TypeVar("Row", bound=SupplierOwned)
ID_LENGTH: Final = 32
_COUNTRY: Final = re.compile("[A-Z]{2}")


def own_supplier(actor: Actor) -> str:
    """The supplier for whom `actor` acts. Raises NotAllowed for people of the buyer."""
    if actor.supplier_id is None:
        raise NotAllowed("only people of a supplier may do this")
    return actor.supplier_id


def owned(
    session: Session, actor: Actor, model: type[Row], row_id: str, what: str, *, lock: bool = False
) -> Row:
    """The row with this id, as far as the actor may know of it. Raises NotFound.

    Asks for the owner itself, so that a session with a wider scope (jobs, the demo) is no way around. `lock`
    keeps others from changing the row until the end of the transaction, and reads it afresh; the turn at the
    ledger comes before the row, as where a verification is recorded.
    """
    if lock:
        ledger.take_turn(session)
    row = (
        session.get(model, row_id, with_for_update={"of": model}, populate_existing=True)
        if lock
        else session.get(model, row_id)
    )
    if row is None or (actor.supplier_id is not None and row.supplier_id != actor.supplier_id):
        raise NotFound(f"There is no such {what}.")
    return row


def text_problem(where: str, value: str, longest: int, *, required: bool = True) -> Problem | None:
    """What is wrong with one line of text; None when nothing is."""
    if not value.strip():
        return Problem(where, "some text", "nothing") if required else None
    if len(value) > longest:
        return Problem(where, f"at most {longest} characters", f"{len(value)}")
    if not value.isprintable():
        return Problem(where, "printable characters on one line", "control or invisible characters")
    return None


def clean_text(text: str, where: str, longest: int, *, needed: bool = True) -> str:
    """`text` without blanks around it. Line breaks and tabs may stand in it. Raises InvalidInput."""
    kept = text.strip()
    flat = kept.replace("\r", " ").replace("\n", " ").replace("\t", " ")
    demand(f"The {where} cannot be kept.", (text_problem(where, flat, longest, required=needed),))
    return kept


def country_problem(where: str, value: str) -> Problem | None:
    if _COUNTRY.fullmatch(value):
        return None
    return Problem(where, "a country as two capital letters (ISO 3166), such as DE", repr(value[:20]))


def demand(message: str, problems: Iterable[Problem | None]) -> None:
    """Raises InvalidInput with the problems that there are."""
    if found := tuple(problem for problem in problems if problem is not None):
        raise InvalidInput(message, found)
