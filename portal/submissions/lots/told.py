"""What the ledger says of a lot: its units and its custody, and which attestations cover which units."""

import hashlib
import json
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.ledger.service import digest_of
from portal.submissions.lots.models import CustodyEvent, Lot, Unit

RECORDED: Final = "lot.recorded"
_AT_ONCE: Final = 5000  # units


def says(session: Session, lot: Lot) -> dict[str, object]:
    """The entry of a lot that was read: its own facts, and the digests of all units and of all hand-offs."""
    return {
        "submission": lot.submission_id,
        "lot": lot.lot_number,
        "maker": lot.maker,
        "site": lot.site,
        "manufactured_on": lot.manufactured_on.isoformat() if lot.manufactured_on else None,
        "declared": lot.declared_count,
        "count": lot.unit_count,
        "units": _units(session, lot),
        "custody": _custody(session, lot),
    }


def _units(session: Session, lot: Lot) -> str:
    """SHA-256 over a line of JSON for each unit, in the order of the manifest."""
    rows = session.execute(
        select(
            Unit.position,
            Unit.serial,
            Unit.serial_key,
            Unit.digest,
            Unit.firmware,
            Unit.capacity_ah,
            Unit.resistance_mohm,
            Unit.ocv_v,
        )
        .where(Unit.lot_id == lot.id)
        .order_by(Unit.position)
        .execution_options(yield_per=_AT_ONCE)
    )
    hasher = hashlib.sha256()
    for row in rows:
        hasher.update(json.dumps(tuple(row), sort_keys=True).encode() + b"\n")
    return "sha256:" + hasher.hexdigest()


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
