"""What the ledger says of a lot: its units and its custody, and which attestations cover which units."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.ledger.service import digest_of
from portal.submissions.lots.models import CustodyEvent, Lot, Unit

RECORDED: Final = "lot.recorded"
UNIT: Final = (
    "position",
    "serial",
    "serial_key",
    "digest",
    "firmware",
    "capacity_ah",
    "resistance_mohm",
    "ocv_v",
)
_AT_ONCE: Final = 5000  # units
_ENCODE: Final = json.JSONEncoder(sort_keys=True).encode


def says(session: Session, lot: Lot, units: str | None = None) -> dict[str, object]:
    """The entry of a lot that was read: its own facts, the digest of all its units (`units`, if it is known)
    and that of all hand-offs."""
    return {
        "submission": lot.submission_id,
        "lot": lot.lot_number,
        "maker": lot.maker,
        "site": lot.site,
        "manufactured_on": lot.manufactured_on.isoformat() if lot.manufactured_on else None,
        "declared": lot.declared_count,
        "count": lot.unit_count,
        "units": units or _kept_units(session, lot),
        "custody": _custody(session, lot),
    }


def digest_of_units(units: Iterable[Sequence[Any]]) -> str:
    """SHA-256 over a line of JSON for each unit: its columns as UNIT names them."""
    hasher = hashlib.sha256()
    for *texts, capacity_ah, resistance_mohm, ocv_v in units:
        measured = [None if n is None else float(n) for n in (capacity_ah, resistance_mohm, ocv_v)]
        hasher.update(_ENCODE([*texts, *measured]).encode() + b"\n")
    return "sha256:" + hasher.hexdigest()


def _kept_units(session: Session, lot: Lot) -> str:
    rows = session.execute(
        select(*(getattr(Unit, name) for name in UNIT))
        .where(Unit.lot_id == lot.id)
        .order_by(Unit.position)
        .execution_options(yield_per=_AT_ONCE)
    )
    return digest_of_units(tuple(row) for row in rows)


def _custody(session: Session, lot: Lot) -> str:
    rows = session.scalars(
        select(CustodyEvent).where(CustodyEvent.lot_id == lot.id).order_by(CustodyEvent.position)
    )
    return digest_of(
        [
            [row.position, row.kind, row.from_holder, row.to_holder, row.location, rfc3339(row.at), row.seal]
            for row in rows
        ]
    )


def coverage(session: Session, lot_id: str) -> str:
    """SHA-256 over a line for each unit of a lot that an attestation covers: position, submission, line."""
    rows = session.execute(
        select(Unit.position, Unit.attested_by, Unit.attested_line)
        .where(Unit.lot_id == lot_id, Unit.attested_by.is_not(None) | Unit.attested_line.is_not(None))
        .order_by(Unit.position)
        .execution_options(yield_per=_AT_ONCE)
    )
    hasher = hashlib.sha256()
    for row in rows:
        hasher.update("{} {} {}\n".format(*row).encode())
    return "sha256:" + hasher.hexdigest()
