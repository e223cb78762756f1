"""Which checkpoint a report names, and the receipts that it carries: those of the first checkpoint over all
entries of the ledger that it tells of.

That one stays, so that a report has the same bytes as long as no witness adds its line to it.
"""

import base64
from collections.abc import Sequence

from sqlalchemy.orm import Session

from portal.ledger import logs, stamps
from portal.ledger.models import Entry
from portal.ledger.notes import Note
from portal.reports.view import CheckpointView, LedgerRow, Receipt
from portal.suppliers import timestamping

SIGNATURE_SHOWN = 24  # characters


def checkpoint_of(session: Session, rows: Sequence[LedgerRow]) -> CheckpointView | None:
    """None while no checkpoint has all of them."""
    entry = session.get(Entry, max(row.seq for row in rows)) if rows else None
    log = logs.log_of(session, entry) if entry is not None else None
    if entry is None or log is None:
        return None
    first = logs.first_checkpoint(session, log, entry.seq - log.first_seq)
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


def receipts_of(session: Session, rows: Sequence[LedgerRow]) -> dict[int, Receipt]:
    """A receipt for each, all of one log under the same checkpoint. Every entry has been published."""
    found: dict[int, Receipt] = {}
    newest: dict[int, int] = {}  # of each log, the last entry that is told
    for row in sorted(rows, key=lambda row: row.seq, reverse=True):
        entry = session.get_one(Entry, row.seq)
        log = logs.log_of(session, entry)
        if log is None:
            continue
        last = newest.setdefault(log.number, row.seq)
        proof = logs.proof(session, log, entry, logs.first_checkpoint(session, log, last - log.first_seq))
        what = entry.kind.partition(".")[0]
        found[row.seq] = Receipt(f"entry-{row.seq}-{what}.tlog-proof", row.title, str(proof))
    return dict(sorted(found.items()))
