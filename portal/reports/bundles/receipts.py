"""The receipts of a bundle: every entry about something in it, under one checkpoint of each log."""

import base64
from collections.abc import Iterator
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.db import chunks
from portal.errors import Conflict
from portal.ledger import logs
from portal.ledger.models import Entry, Log, Stamp
from portal.ledger.proofs import Proof
from portal.reports.bundles import form
from portal.suppliers.timestamping import authorities

_WAITS: Final = (
    "Entries of the ledger about this wait for their checkpoint, which is signed within seconds: try again."
)


class Receipts:
    """The entries about something, with the proof of each under one checkpoint of each log."""

    def __init__(self, session: Session, subjects: set[str]) -> None:
        self._session = session
        self._found: dict[int, list[Entry]] = {}
        self._logs: dict[int, Log] = {}
        seqs = sorted(
            seq
            for ids in chunks(sorted(subjects))
            for seq in session.scalars(select(Entry.seq).where(Entry.subject_id.in_(ids)))
        )
        if logs.open_log(session) is None and not session.scalars(select(Log)).first():
            raise Conflict("There are no receipts yet: no transparency log is open. `lotgate ledger create`.")
        for ids in chunks(seqs):
            for entry in session.scalars(select(Entry).where(Entry.seq.in_(ids)).order_by(Entry.seq)):
                log = logs.log_of(session, entry)
                if log is None:
                    raise Conflict(_WAITS)
                self._logs[log.number] = log
                self._found.setdefault(log.number, []).append(entry)

    def documents(self) -> Iterator[tuple[str, str, bytes]]:
        for number, entries in sorted(self._found.items()):
            log = self._logs[number]
            last = entries[-1].seq - log.first_seq
            checkpoint = logs.best_checkpoint(self._session, log, last)
            note = logs.signed_note(self._session, checkpoint)
            yield form.checkpoint(number), f"checkpoint of {log.origin}", note.encode()
            tree = logs.tree(self._session, log, checkpoint.size)
            yield from self._stamp(log, checkpoint.size, last)
            for entry in entries:
                index = entry.seq - log.first_seq
                proof = Proof.of(index, tree.inclusion(index), note, logs.opening(entry).dump())
                yield form.receipt(number, index), f"receipt: {entry.kind}", str(proof).encode()

    def _stamp(self, log: Log, size: int, last: int) -> Iterator[tuple[str, str, bytes]]:
        """The first time stamp over everything here, else the newest; and that the log grew from the one
        checkpoint to the other."""
        believed = {row.fingerprint for row in authorities(self._session)}
        found = self._session.scalars(select(Stamp).where(Stamp.log == log.number).order_by(Stamp.size)).all()
        found = [row for row in found if row.fingerprint in believed]
        if not found:
            return
        stamp = next((row for row in found if row.size > last), found[-1])
        sizes = sorted((stamp.size, size))
        path = logs.tree(self._session, log, sizes[1]).consistency(sizes[0]) if sizes[0] < sizes[1] else []
        yield form.stamped(log.number, stamp.size, "tsr"), f"time stamp by {stamp.authority}", stamp.response
        note = logs.checkpoint(self._session, log, stamp.size).note.encode()
        yield form.stamped(log.number, stamp.size, "checkpoint"), "what the time stamp is over", note
        hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in path).encode()
        yield form.stamped(log.number, stamp.size, "consistency"), "both checkpoints are of one log", hashes
