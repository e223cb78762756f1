"""Evidence handed out under an incident: who gave what to whom and what for, and all that is known of it.

The manifest is kept in the transaction of its ledger entry; archive and form (portal/reports/custody.py)
are made from it whenever they are fetched.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.clock import Clock, rfc3339
from portal.db import chunks, new_id
from portal.errors import InvalidInput, NotAllowed, NotFound, Problem
from portal.evidence.models import Evidence
from portal.evidence.state import unusable
from portal.ledger import logs
from portal.ledger import service as ledger
from portal.ledger.models import Entry
from portal.policy.codec import canonical
from portal.retention.models import Access, Export, ExportItem, Hold
from portal.review.models import Case
from portal.submissions.models import Attachment, CheckRecord, Submission, SubmissionState
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.suppliers.models import Supplier

MOST: Final = 1_000  # files of one export
_LIMITS: Final = {"reference": 100, "purpose": 500, "recipient": 200}


def of_case(session: Session, case: Case) -> list[str]:
    """Evidence of everything that was submitted about the product of a case, oldest first."""
    about = (Submission.product_id == case.product_id) & (Submission.state != SubmissionState.DRAFT)
    attached = (
        select(Attachment.evidence_id)
        .join(Submission, Submission.id == Attachment.submission_id)
        .where(about)
    )
    answered = (
        select(AnswerEvidence.evidence_id)
        .join(Submission, Submission.id == AnswerEvidence.submission_id)
        .where(about, AnswerEvidence.removed_at.is_(None))
    )
    return list(
        session.scalars(
            select(Evidence.id)
            .where(or_(Evidence.id.in_(attached), Evidence.id.in_(answered)))
            .order_by(Evidence.received_at, Evidence.id)
        )
    )


def export(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    evidence_ids: Sequence[str],
    case: Case | None = None,
    reference: str,
    purpose: str,
    recipient: str,
) -> Export:
    """Record that these files of one supplier are handed out. Raises NotAllowed, NotFound, InvalidInput."""
    actor.must(Permission.REVIEW_EVIDENCE_EXPORT)
    if actor.user_id is None:
        raise NotAllowed("an export needs a person")
    given = {"reference": reference.strip(), "purpose": purpose.strip(), "recipient": recipient.strip()}
    problems = [
        Problem(name, f"1 to {most} characters", str(len(given[name])))
        for name, most in _LIMITS.items()
        if not 1 <= len(given[name]) <= most
    ]
    if not 1 <= len(set(evidence_ids)) <= MOST:
        problems.append(Problem("files", f"1 to {MOST:,} files", f"{len(set(evidence_ids)):,}"))
    if problems:
        raise InvalidInput("Nothing was exported.", tuple(problems))
    ledger.take_turn(session)
    files = _files(session, evidence_ids)
    number = (session.scalar(select(func.max(Export.number))) or 0) + 1
    now, export_id = clock.now(), new_id()
    manifest = canonical(
        {
            "version": 1,
            "export": export_id,
            "number": number,
            "supplier": session.get_one(Supplier, files[0].supplier_id).name,
            "product": f"{case.product.name} ({case.product.model})" if case else None,
            "case": case.number if case else None,
            **given,
            "exported_by": actor.name,
            "exported_at": rfc3339(now),
            "files": list(_told(session, files)),
        }
    ).decode()
    row = Export(
        id=export_id,
        supplier_id=files[0].supplier_id,
        number=number,
        case_id=case.id if case else None,
        exported_by=actor.user_id,
        exported_at=now,
        manifest=manifest,
        digest=ledger.digest(manifest).removeprefix("sha256:"),
        **given,
    )
    session.add(row)
    session.flush()
    session.add_all(
        ExportItem(supplier_id=row.supplier_id, export_id=row.id, evidence_id=file.id) for file in files
    )
    session.flush()
    ledger.append(session, clock, "evidence.exported", row.id, says(row), supplier_id=row.supplier_id)
    return row


def says(row: Export) -> dict[str, object]:
    """What the ledger says of an export; the manifest names the files."""
    return {
        "number": row.number,
        "case": row.case_id,
        "reference": row.reference,
        "recipient": ledger.digest(row.recipient),
        "purpose": ledger.digest(row.purpose),
        "manifest": ledger.digest(row.manifest),
        "by": row.exported_by,
    }


def _files(session: Session, evidence_ids: Sequence[str]) -> list[Evidence]:
    rows = [
        row
        for ids in chunks(sorted(set(evidence_ids)))
        for row in session.scalars(select(Evidence).where(Evidence.id.in_(ids)))
    ]
    if len(rows) != len(set(evidence_ids)) or len({row.supplier_id for row in rows}) != 1:
        raise NotFound("There is no such file, or they belong to several suppliers.")
    return sorted(rows, key=lambda row: (row.received_at, row.id))


def _told(session: Session, files: Sequence[Evidence]) -> Iterator[dict[str, Any]]:
    """Everything known of each file: its digests, where it came from, what was done with it, its receipt.

    `name` is that in the archive; there is none for bytes that are deleted or damaged.
    """
    lost = unusable(session, [file.id for file in files])
    people = {
        row.id: row.name
        for row in session.execute(
            select(User.id, User.name).where(User.id.in_({file.received_by for file in files}))
        )
    }
    for number, file in enumerate(files, 1):
        receipt = None
        accesses = select(Access.id).where(Access.evidence_id == file.id)
        if (accepted := logs.entry_about(session, "evidence.accepted", file.id)) is not None:
            receipt = logs.receipt(session, accepted)
        yield {
            "id": file.id,
            "name": None if file.id in lost else f"files/{number:04}-{_safe(file.filename)}",
            "missing": lost.get(file.id),
            "filename": file.filename,
            "sha256": file.sha256,
            "blake3": file.blake3,
            "size": file.size,
            "received_at": rfc3339(file.received_at),
            "received_from": people.get(file.received_by or "", "unknown"),
            "history": _history(session, file),
            "entries": [
                {"seq": entry.seq, "kind": entry.kind, "hash": entry.hash, "text": entry.body}
                for entry in session.scalars(
                    select(Entry)
                    .where(or_(Entry.subject_id == file.id, Entry.subject_id.in_(accesses)))
                    .order_by(Entry.seq)
                )
            ],
            "receipt": str(receipt) if receipt else None,
        }


def _history(session: Session, file: Evidence) -> list[dict[str, Any]]:
    """What the portal knows of every later access, in order of time. Downloads are recorded under a hold."""
    found: list[tuple[Any, str]] = []
    uses = session.scalars(
        select(Submission)
        .join(Attachment, Attachment.submission_id == Submission.id)
        .where(Attachment.evidence_id == file.id)
    )
    for submission in uses:
        if submission.submitted_at:
            found.append((submission.submitted_at, f"submitted with “{submission.title}”"))
        runs = session.execute(
            select(CheckRecord.run, func.max(CheckRecord.at))
            .where(CheckRecord.submission_id == submission.id)
            .group_by(CheckRecord.run)
        )
        found += [(at, f"verified with “{submission.title}”, run {run}") for run, at in runs]
    for kind, what in (("evidence.damaged", "found damaged"), ("evidence.mended", "found right again")):
        found += [
            (at, what)
            for at in session.scalars(select(Entry.at).where(Entry.kind == kind, Entry.subject_id == file.id))
        ]
    for hold in session.scalars(select(Hold).where(Hold.evidence_id == file.id)):
        found.append((hold.placed_at, f"put on hold for {hold.reference}"))
    earlier = session.execute(
        select(Export.exported_at, Export.number, Export.recipient, User.name)
        .join(ExportItem, ExportItem.export_id == Export.id)
        .join(User, User.id == Export.exported_by)
        .where(ExportItem.evidence_id == file.id)
    )
    found += [
        (at, f"exported by {by} to {recipient} (export {number})") for at, number, recipient, by in earlier
    ]
    found += [
        (at, f"downloaded by {by} while on hold for {held_for}")
        for at, by, held_for in session.execute(
            select(Access.at, User.name, Access.reference)
            .join(User, User.id == Access.by)
            .where(Access.evidence_id == file.id)
        )
    ]
    if file.tombstone is not None:
        found.append((file.tombstone.deleted_at, file.tombstone.told))
    return [{"at": rfc3339(at), "what": what} for at, what in sorted(found)]


def _safe(filename: str) -> str:
    """An ASCII name that is no path: letters, digits, dot, hyphen, underscore."""
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    return re.sub("[^A-Za-z0-9._-]+", "-", plain)[-100:] or "file"
