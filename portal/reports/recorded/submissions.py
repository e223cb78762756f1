"""Submissions and their verification runs."""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest_of
from portal.reports.recorded.entries import (
    body_of,
    differences,
    entries_about,
    entries_of,
    first_of,
    from_before,
    owner,
    rows_of,
    same_time,
    without_row,
)
from portal.submissions.attestations.models import AttestationBatch, AttestationFailure, AttestationPasses
from portal.submissions.lots.models import Lot
from portal.submissions.lots.told import RECORDED, coverage, says
from portal.submissions.models import CheckRecord, Submission, SubmissionKind, SubmissionState
from portal.submissions.service import declared, kept, offered
from portal.submissions.verdicts import checks_document, run_checks, verdicts_digest
from portal.suppliers.keys import changed_since

_DECLARED: Final = frozenset({"answers", "component", "declared_version", "lot"})  # one of each kind
_LEFT: Final = frozenset({"counts", "image"})  # one of each kind that leaves something
MADE: Final = "submission.made"
ENDED: Final = "verification.ended"
_NOTHING: Final = "sha256:" + hashlib.sha256().hexdigest()
_STATES: Final = {
    MADE: "submitted or verifying",
    ENDED: "",  # its body tells
    "submission.failed": "failed",
    "submission.accepted": "accepted",
    "submission.refused": "refused",
    "submission.withdrawn": "withdrawn",
}
"""What an entry of a kind makes of a submission."""


def runs(session: Session) -> Iterator[Fault]:
    """Each verification run and the digest of all it found, both ways."""
    first = first_of(session, ENDED)
    submissions = select(Submission.id, Submission.kind, Submission.supplier_id)
    for submission_id, kind, supplier_id in session.execute(
        submissions.order_by(Submission.id).execution_options(yield_per=500)
    ):
        told: set[int] = set()
        believed: set[object] = set()
        for entry in entries_about(session, ENDED, submission_id):
            body = body_of(entry)
            if not isinstance(run := body.get("run"), int):
                continue
            where = f"run {run} of submission {submission_id}"
            if run in told:
                yield Fault(where, f"has more than one entry {ENDED} in the ledger")
            told.add(run)
            found: dict[str, object] = {
                "checks": digest_of(checks_document(run_checks(session, submission_id, run))),
                "verdicts": verdicts_digest(session, submission_id, run),
            }
            yield from differences(where, entry, body, found)
            before = body.get("trust_before")
            # A lot takes the check of its signature over into the runs that attestations make.
            over = kind is SubmissionKind.LOT and before in believed
            if (
                isinstance(before, int)
                and not over
                and changed_since(session, supplier_id, before, entry.seq)
            ):
                said = f"was recorded by what entries before {before} said, and later ones had changed that"
                yield Fault(where, said)
            believed.add(before)
        rows = session.execute(
            select(CheckRecord.run, func.max(Entry.seq))
            .outerjoin(Entry, (Entry.subject_id == CheckRecord.id) & (Entry.kind == "check.recorded"))
            .where(CheckRecord.submission_id == submission_id)
            .group_by(CheckRecord.run)
            .order_by(CheckRecord.run)
        ).all()
        for run, last in rows:
            # Runs of before the first such entry have none.
            if run not in told and last is not None and first is not None and last > first:
                yield Fault(f"run {run} of submission {submission_id}", f"has no entry {ENDED} in the ledger")
        session.expunge_all()
    yield from without_row(session, (ENDED,), Submission, "submission")


def verdicts(session: Session) -> Iterator[Fault]:
    """No verdict on an attestation belongs to a run that never was."""
    for table in (AttestationFailure, AttestationPasses):
        rows = session.execute(
            select(table.submission_id, table.run)
            .join(Submission, Submission.id == table.submission_id)
            .where((table.run > Submission.run) | (table.run < 1))
            .distinct()
        )
        for submission_id, run in rows:
            yield Fault(f"{table.__tablename__} of submission {submission_id}", f"there was no run {run}")


def submitted(session: Session) -> Iterator[Fault]:
    """What was offered, for what, by whom and when; and that it stands where its newest run or the decision
    of people left it."""
    twice = select(Entry.subject_id).where(Entry.kind == MADE).group_by(Entry.subject_id)
    for submission_id in session.scalars(twice.having(func.count() > 1)):
        yield Fault(f"submission {submission_id}", f"has more than one entry {MADE} in the ledger")
    for entry in entries_of(session, MADE):
        where = f"submission {entry.subject_id}"
        row = session.get(Submission, entry.subject_id)
        if row is None or row.submitted_at is None or row.state is SubmissionState.DRAFT:
            yield Fault(where, f"ledger entry {entry.seq} says that it was submitted, the database does not")
            continue
        yield from same_time(where, row.submitted_at, entry)
        found: dict[str, object] = {
            "submission": row.kind.value,
            "supplier": row.supplier_id,
            "product": row.product_id,
            "by": row.submitted_by,
        }
        yield from differences(where, entry, body := body_of(entry), found)
        yield from _as_declared(session, row, where, entry, body)
        yield from _as_it_ended(session, row, where)
        session.expunge_all()
    rows = select(Submission.id).where(
        Submission.submitted_at.is_not(None)
        | Submission.state.not_in((SubmissionState.DRAFT, SubmissionState.WITHDRAWN)),
        Submission.id.not_in(select(Entry.subject_id).where(Entry.kind == MADE)),
    )
    for submission_id in session.scalars(rows):
        yield Fault(f"submission {submission_id}", f"has no entry {MADE} in the ledger")


def _as_declared(
    session: Session, row: Submission, where: str, entry: Entry, body: dict[str, Any]
) -> Iterator[Fault]:
    """Its files, and what was said with them. Entries of the first form tell less."""
    try:
        found = offered(row)
        if _DECLARED & body.keys():
            found |= declared(session, row)
    except (NoResultFound, AttributeError):
        yield Fault(where, "what was declared with it is not in the database")
        return
    yield from differences(where, entry, body, {name: found[name] for name in found if name in body})


def _as_it_ended(session: Session, row: Submission, where: str) -> Iterator[Fault]:
    """Run, outcome, state and what the newest run left."""
    entries = session.scalars(
        select(Entry).where(Entry.subject_id == row.id, Entry.kind.in_(_STATES)).order_by(Entry.seq)
    ).all()
    ended = next((entry for entry in reversed(entries) if entry.kind == ENDED), None)
    failed = next((entry for entry in reversed(entries) if entry.kind == "submission.failed"), None)
    why = body_of(failed).get("why") if failed else ""
    if row.failure != why:
        yield Fault(where, f"failure: the database says {row.failure!r}, the ledger {why!r}")
    if ended is None:
        if row.run or row.outcome or row.verified_at:
            yield Fault(where, "was never verified by the ledger, the database says that it was")
    else:
        body = body_of(ended)
        yield from same_time(where, row.verified_at, ended)
        outcome = row.outcome.value if row.outcome else None
        yield from differences(where, ended, body, {"run": row.run, "outcome": outcome})
        yield from _as_it_left(session, row, where, ended, body)
    last = entries[-1]
    said = _STATES[last.kind] or body_of(last).get("state")
    pending = last.kind == MADE and row.state in (
        SubmissionState.SUBMITTED,
        SubmissionState.VERIFYING,
    )
    if said is not None and not pending and row.state != said:
        yield Fault(where, f"state: the database says {row.state}, ledger entry {last.seq} says {said}")


def _as_it_left(
    session: Session, row: Submission, where: str, entry: Entry, body: dict[str, Any]
) -> Iterator[Fault]:
    """What the newest run left. What is covered changes with other batches of the lot: see `lots`."""
    if not _LEFT & body.keys():
        return
    try:
        found = kept(session, row)
    except (NoResultFound, AttributeError):
        yield Fault(where, "what its run found is not in the database")
        return
    yield from differences(where, entry, body, {name: found[name] for name in found if name != "covered"})


def lots(session: Session) -> Iterator[Fault]:
    """Each lot as it was read, whether it counts, and which of its units are attested."""
    for lot in rows_of(session, Lot):
        where = f"lots {lot.id}"
        entries = entries_about(session, RECORDED, lot.id)
        if len(entries) != 1 and (entries or not from_before(session, lot.supplier_id)):
            yield Fault(where, f"has {len(entries)} entries {RECORDED} in the ledger, expected one")
        for entry in entries:
            yield from owner(where, lot.supplier_id, entry)
            yield from differences(where, entry, body_of(entry), says(session, lot))
        if (submission := session.get(Submission, lot.submission_id)) is not None:
            yield from _counts(session, lot, submission, where)
        yield from _covered(session, lot, where)
    yield from without_row(session, (RECORDED,), Lot, "lots")


def _counts(session: Session, lot: Lot, submission: Submission, where: str) -> Iterator[Fault]:
    if submission.state is SubmissionState.FAILED:  # it may have been refused before
        return
    newer = select(Lot.id).join(Submission, Submission.id == Lot.submission_id)
    replaced = session.scalars(newer.where(Submission.supersedes_id == submission.id).limit(1)).first()
    gone = submission.state in (SubmissionState.WITHDRAWN, SubmissionState.REFUSED)
    if lot.live == (gone or replaced is not None):
        said = "counts" if lot.live else "does not count"
        yield Fault(where, f"{said} by the database; by its submission and the lots after it, not so")


def _covered(session: Session, lot: Lot, where: str) -> Iterator[Fault]:
    """By the newest entry about a batch of its attestations; without any, no unit is covered."""
    batches = select(AttestationBatch.submission_id).where(AttestationBatch.lot_id == lot.id)
    entries = session.scalars(
        select(Entry)
        .where(Entry.kind.in_((ENDED, "submission.withdrawn")), Entry.subject_id.in_(batches))
        .order_by(Entry.seq.desc())
    ).all()
    for entry in entries[:1]:
        body = body_of(entry)
        if "covered" in body:
            yield from differences(where, entry, body, {"covered": coverage(session, lot.id)})
    if not entries and coverage(session, lot.id) != _NOTHING:
        yield Fault(where, "has attested units, and no attestations by the ledger")


RULES = (
    (RECORDED, lots),
    (MADE, submitted),
    (ENDED, runs),
    (f"{ENDED}: attestations", verdicts),
)
