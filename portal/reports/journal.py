"""What a client noted when it delivered, against what is here now (`lotgate fsck --journal`).

A journal is kept by whoever need not trust the portal's memory: lines of JSON, each an answer of the API
about a piece of evidence or with a receipt, and receipt files. What was acknowledged once must still be so.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.errors import LedgerError
from portal.evidence.models import Evidence
from portal.ledger import logs
from portal.ledger.leaves import Opening
from portal.ledger.models import Entry, Log
from portal.ledger.proofs import MAX_PROOF_FILE, Proof
from portal.ledger.service import Fault

MAX_LINE: Final = 1 << 20
RECEIPT: Final = ".tlog-proof"


def compare(session: Session, journal: Path) -> Iterator[Fault]:
    """Everything in a file, or in the files of a folder, that is not so here. For a session that sees all."""
    files = sorted(path for path in journal.rglob("*") if path.is_file()) if journal.is_dir() else [journal]
    if not files:
        yield Fault(str(journal), "has no files: nothing was compared")
    for path in files:
        try:
            if path.suffix == RECEIPT:
                with path.open(encoding="utf-8") as file:
                    yield from _receipt(session, str(path), file.read(MAX_PROOF_FILE + 1))
            else:
                yield from _lines(session, path)
        except (OSError, UnicodeDecodeError) as error:
            yield Fault(str(path), f"cannot be read: {error}")


def _lines(session: Session, path: Path) -> Iterator[Fault]:
    with path.open(encoding="utf-8") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                found: Any = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            match found:
                case {"proof": str(text)}:
                    yield from _receipt(session, where, text)
                case {"id": str(_), "sha256": str(_), "size": int(_)}:
                    yield from _evidence(session, where, found)
                case _:
                    yield Fault(where, "is neither evidence (id, sha256, size) nor a receipt (proof) as JSON")


def _evidence(session: Session, where: str, told: dict[str, Any]) -> Iterator[Fault]:
    row = session.get(Evidence, told["id"])
    if row is None:
        yield Fault(where, f"evidence {told['id'][:80]} was acknowledged; the database does not have it")
        return
    here = {
        "sha256": row.sha256,
        "blake3": row.blake3,
        "size": row.size,
        "filename": row.filename,
    }
    for name, value in here.items():
        if name in told and told[name] != value:
            yield Fault(where, f"{name}: acknowledged was {told[name]}, the database says {value}")
    if "received_at" in told and _moment(told["received_at"]) != row.received_at:
        yield Fault(
            where, f"received_at: acknowledged was {told['received_at']}, the database says {row.received_at}"
        )
    session.expunge(row)


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _receipt(session: Session, where: str, text: str) -> Iterator[Fault]:
    try:
        proof = Proof.parse(text)
        opening = Opening.load(proof.extra)
        checkpoint = proof.note.checkpoint
        log = session.scalars(select(Log).where(Log.origin == checkpoint.origin)).first()
        if log is None:
            yield Fault(where, f"is of the log {checkpoint.origin}, which is not one of ours")
            return
        proof.check(opening.leaf(), logs.verifier_keys(log))
    except LedgerError as error:
        yield Fault(where, f"is not a receipt of ours: {error.message}")
        return
    if checkpoint.size > log.head:
        yield Fault(
            where, f"was signed over {checkpoint.size} entries, the log has {log.head}: it was put back"
        )
    elif logs.tree(session, log).root_at(checkpoint.size) != checkpoint.root:
        yield Fault(where, "was signed over another history than the log has now: it was rewritten")
    entry = session.get(Entry, log.first_seq + proof.index)
    if entry is None:
        yield Fault(where, f"proves ledger entry {log.first_seq + proof.index}, which is not there any more")
    elif logs.opening(entry) != opening:
        yield Fault(where, f"ledger entry {entry.seq} has another text than was proven")
