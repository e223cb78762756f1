"""Which checkpoint a report names: the first one that has the newest entry of the ledger that it tells of.

That one never changes, so that a report has the same bytes from the first checkpoint over it on.
"""

import base64
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.ledger import logs, stamps
from portal.ledger.models import Entry, SignedCheckpoint
from portal.ledger.notes import Note
from portal.reports.view import CheckpointView, LedgerRow
from portal.suppliers import timestamping

SIGNATURE_SHOWN = 24  # characters


def checkpoint_of(session: Session, rows: Sequence[LedgerRow]) -> CheckpointView | None:
    """None while no checkpoint has all of them."""
    entry = session.get(Entry, max(row.seq for row in rows)) if rows else None
    log = logs.log_of(session, entry) if entry is not None else None
    if entry is None or log is None:
        return None
    index = entry.seq - log.first_seq
    first = session.scalars(
        select(SignedCheckpoint)
        .where(SignedCheckpoint.log == log.number, SignedCheckpoint.size > index)
        .order_by(SignedCheckpoint.size)
        .limit(1)
    ).one()
    stamp = stamps.time_of(session, entry, timestamping.entries(session)).stamp
    note = Note.parse(first.note)
    signature = base64.b64encode(note.signatures[0].data).decode()
    return CheckpointView(
        origin=log.origin,
        size=first.size,
        root=base64.b64encode(note.checkpoint.root).decode(),
        at=first.at,
        signature=signature[:SIGNATURE_SHOWN],
        stamped_at=stamp.time if stamp else None,
        stamped_by=stamp.authority if stamp else "",
        stamped_size=stamp.size if stamp else None,
    )
