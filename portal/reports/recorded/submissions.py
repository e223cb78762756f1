"""Submissions and their verification runs."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest_of
from portal.reports.recorded.entries import (
    SAME_TIME,
    body_of,
    differences,
    entries_about,
    entries_of,
    first_of,
)
from portal.submissions.models import CheckRecord, Submission, SubmissionState
from portal.submissions.service import declared
from portal.submissions.verdicts import checks_document, run_checks, verdicts_digest

_DECLARED: Final = frozenset({"answers", "component", "declared_version", "lot"})  # one of each kind


def runs(session: Session) -> Iterator[Fault]:
    """Each verification run and the digest of all it found, both ways."""
    told: set[tuple[str, int]] = set()
    for entry in entries_of(session, "verification.ended"):
        body = body_of(entry)
        if not isinstance(run := body.get("run"), int):
            continue
        where = f"run {run} of submission {entry.subject_id}"
        if (entry.subject_id, run) in told:
            yield Fault(where, "has more than one entry verification.ended in the ledger")
        told.add((entry.subject_id, run))
        checks = run_checks(session, entry.subject_id, run)
        found: dict[str, object] = {
            "checks": digest_of(checks_document(checks)),
            "verdicts": verdicts_digest(session, entry.subject_id, run),
        }
        yield from differences(where, entry, body, found)
        session.expunge_all()
    first = first_of(session, "verification.ended")
    rows = session.execute(
        select(CheckRecord.submission_id, CheckRecord.run, func.max(Entry.seq))
        .outerjoin(Entry, (Entry.subject_id == CheckRecord.id) & (Entry.kind == "check.recorded"))
        .group_by(CheckRecord.submission_id, CheckRecord.run)
        .order_by(CheckRecord.submission_id, CheckRecord.run)
    )
    for submission_id, run, last in rows:
        if (submission_id, run) not in told and last is not None and first is not None and last > first:
            yield Fault(
                f"run {run} of submission {submission_id}", "has no entry verification.ended in the ledger"
            )


def submitted(session: Session) -> Iterator[Fault]:
    """What was offered, for what, by whom and when; and that it stands where its newest run left it."""
    told: set[str] = set()
    for entry in entries_of(session, "submission.made"):
        where = f"submission {entry.subject_id}"
        if entry.subject_id in told:
            yield Fault(where, "has more than one entry submission.made in the ledger")
        told.add(entry.subject_id)
        row = session.get(Submission, entry.subject_id)
        if row is None or row.submitted_at is None or row.state is SubmissionState.DRAFT:
            yield Fault(where, f"ledger entry {entry.seq} says that it was submitted, the database does not")
            continue
        if abs(row.submitted_at - entry.at) > SAME_TIME:
            yield Fault(
                where, f"is dated {rfc3339(row.submitted_at)}, ledger entry {entry.seq} {rfc3339(entry.at)}"
            )
        found: dict[str, object] = {
            "submission": row.kind.value,
            "supplier": row.supplier_id,
            "product": row.product_id,
            "by": row.submitted_by,
            "evidence": sorted(f"sha256:{one.evidence.sha256}" for one in row.attachments),
        }
        body = body_of(entry)
        if _DECLARED & body.keys():  # entries of the first form do not tell it
            try:
                found |= declared(session, row)
            except NoResultFound:
                yield Fault(where, "what was declared with it is not in the database")
        yield from differences(where, entry, body, found)
        if ended := entries_about(session, "verification.ended", row.id):
            outcome = row.outcome.value if row.outcome else None
            yield from differences(where, ended[-1], body_of(ended[-1]), {"run": row.run, "outcome": outcome})
        session.expunge_all()


RULES = (
    ("submission.made", submitted),
    ("verification.ended", runs),
)
