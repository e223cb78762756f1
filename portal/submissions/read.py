"""What pages and the API see of submissions: lists, one in full, and what is asked of a supplier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.submissions.attestations.models import AttestationBatch, AttestationFailure
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.firmware.shown import Image, shown
from portal.submissions.firmware.shown_inside import Inside, shown_inside
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.models import (
    Attachment,
    CheckRecord,
    Submission,
    SubmissionKind,
    SubmissionState,
)
from portal.submissions.service import is_pending
from portal.suppliers.models import Product, SigningKey
from portal.verification import Outcome

PAGE: Final = 50
CURRENT_MAX: Final = 1000  # newest submissions that a supplier's home looks at
FAILURES_MAX: Final = 200  # failed lines that are shown; the totals count them all
NEEDS_REPAIR: Final = (Outcome.FAIL, Outcome.UNREADABLE)


class Sort(StrEnum):
    """Orders of the list; a leading "-" turns them round."""

    WHEN = "when"
    TITLE = "title"
    KIND = "kind"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class SubmissionPage:
    rows: tuple[Submission, ...]
    total: int
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Run:
    """One verification run: its checks in their order."""

    number: int
    at: datetime
    checks: tuple[CheckRecord, ...]


@dataclass(frozen=True, slots=True)
class SubmissionView:
    """One submission in full. Of `release`, `lot` and `batch` the one that its kind has is there, if it was
    readable; `covered` counts the units of the lot with a valid attestation."""

    submission: Submission
    pending: bool
    runs: tuple[Run, ...]
    files: tuple[Attachment, ...]
    names: Mapping[str, str]
    replaced_by: Submission | None
    release: FirmwareRelease | None = None
    image: Image | None = None
    inside: Inside | None = None
    key: SigningKey | None = None
    lot: Lot | None = None
    covered: int = 0
    custody: tuple[CustodyEvent, ...] = ()
    batch: AttestationBatch | None = None
    failures: tuple[AttestationFailure, ...] = ()


def submission_page(
    session: Session,
    supplier_id: str,
    *,
    kind: SubmissionKind | None = None,
    state: SubmissionState | None = None,
    outcome: Outcome | None = None,
    product_id: str | None = None,
    text: str = "",
    sort: str = "-when",
    page: int = 1,
    size: int = PAGE,
) -> SubmissionPage:
    """The supplier's submissions, drafts included, newest first unless asked otherwise."""
    conditions: list[ColumnElement[bool]] = [Submission.supplier_id == supplier_id]
    for column, value in (
        (Submission.kind, kind),
        (Submission.state, state),
        (Submission.outcome, outcome),
        (Submission.product_id, product_id),
    ):
        if value is not None:
            conditions.append(column == value)
    query = select(Submission).join(Product, Product.id == Submission.product_id)
    count = select(func.count()).select_from(Submission).join(Product, Product.id == Submission.product_id)
    if text:
        found = Submission.title.icontains(text, autoescape=True)
        conditions.append(found | Product.name.icontains(text, autoescape=True))
    total = session.scalar(count.where(*conditions)) or 0
    pages = max(1, -(-total // size))
    page = min(max(1, page), pages)
    rows = session.scalars(
        query.where(*conditions).order_by(*_order(sort)).offset((page - 1) * size).limit(size)
    )
    return SubmissionPage(tuple(rows), total, page, pages)


def _order(sort: str) -> tuple[Any, ...]:
    when = func.coalesce(Submission.submitted_at, Submission.created_at)
    columns: dict[str, Any] = {
        Sort.WHEN: when,
        Sort.TITLE: Submission.title,
        Sort.KIND: Submission.kind,
        Sort.STATE: Submission.state,
    }
    column = columns.get(sort.removeprefix("-"), when)
    first = column.desc() if sort.startswith("-") else column.asc()
    return (first, when.desc(), Submission.id)


def submission_view(session: Session, submission: Submission) -> SubmissionView:
    """Everything that was offered and found."""
    names = session.execute(
        select(User.id, User.name).where(
            User.id.in_({submission.created_by, submission.submitted_by} - {None})
        )
    )
    return SubmissionView(
        submission=submission,
        pending=is_pending(submission),
        runs=runs_of(session, submission.id),
        files=tuple(submission.attachments),
        names={row.id: row.name for row in names},
        replaced_by=session.scalars(
            select(Submission).where(
                Submission.supersedes_id == submission.id, Submission.state != SubmissionState.DRAFT
            )
        ).first(),
        **_of_kind(session, submission),
    )


def runs_of(session: Session, submission_id: str) -> tuple[Run, ...]:
    """Every verification run, the newest first."""
    found: dict[int, list[CheckRecord]] = {}
    for check in session.scalars(
        select(CheckRecord)
        .where(CheckRecord.submission_id == submission_id)
        .order_by(CheckRecord.run.desc(), CheckRecord.position)
    ):
        found.setdefault(check.run, []).append(check)
    return tuple(Run(number, checks[0].at, tuple(checks)) for number, checks in found.items())


def _of_kind(session: Session, submission: Submission) -> dict[str, Any]:
    mine = submission.id
    if submission.kind is SubmissionKind.FIRMWARE:
        release = session.scalars(
            select(FirmwareRelease).where(FirmwareRelease.submission_id == mine)
        ).first()
        key_id = release.signing_key_id if release else None
        return {
            "release": release,
            "image": shown(release.report) if release else None,
            "inside": shown_inside(release.report) if release else None,
            "key": session.get(SigningKey, key_id) if key_id else None,
        }
    if submission.kind is SubmissionKind.LOT:
        lot = session.scalars(select(Lot).where(Lot.submission_id == mine)).first()
        return _lot(session, lot) if lot else {}
    if submission.kind is SubmissionKind.ATTESTATIONS:
        failed = session.scalars(
            select(AttestationFailure)
            .where(AttestationFailure.submission_id == mine, AttestationFailure.run == submission.run)
            .order_by(AttestationFailure.line)
            .limit(FAILURES_MAX)
        )
        batch = session.scalars(
            select(AttestationBatch).where(AttestationBatch.submission_id == mine)
        ).first()
        return {"batch": batch, "failures": tuple(failed)}
    return {}


def _lot(session: Session, lot: Lot) -> dict[str, Any]:
    covered = select(func.count()).where(Unit.lot_id == lot.id, Unit.attested_by.is_not(None))
    custody = select(CustodyEvent).where(CustodyEvent.lot_id == lot.id).order_by(CustodyEvent.position)
    return {
        "lot": lot,
        "covered": session.scalar(covered) or 0,
        "custody": tuple(session.scalars(custody)),
    }


# --- What stands now -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Current:
    """The newest submission about one subject: a product's questionnaire, a component, a lot, a lot's
    attestations. `repairs`: its checks that did not pass and have to be put right."""

    submission: Submission
    subject_id: str  # product, component or lot
    repairs: tuple[CheckRecord, ...]


def current_submissions(session: Session, supplier_id: str) -> tuple[Current, ...]:
    """What stands now, the newest first: superseded, withdrawn and draft submissions are left out."""
    rows = session.scalars(
        select(Submission)
        .where(
            Submission.supplier_id == supplier_id,
            Submission.state.not_in((SubmissionState.DRAFT, SubmissionState.WITHDRAWN)),
        )
        .order_by(Submission.submitted_at.desc(), Submission.id)
        .limit(CURRENT_MAX)
    ).all()
    about = _subjects(session, supplier_id)
    replaced = {row.supersedes_id for row in rows}
    newest: dict[tuple[SubmissionKind, str], Submission] = {}
    for row in rows:
        if row.id in replaced:
            continue
        newest.setdefault((row.kind, about.get(row.id) or f"{row.product_id} {row.title}"), row)
    repairs = _repairs(session, list(newest.values()))
    return tuple(
        Current(row, about.get(row.id, row.product_id), repairs.get(row.id, ())) for row in newest.values()
    )


def _subjects(session: Session, supplier_id: str) -> dict[str, str]:
    """The component of each firmware submission and the lot of each attestations submission."""
    releases = select(FirmwareRelease.submission_id, FirmwareRelease.component_id).where(
        FirmwareRelease.supplier_id == supplier_id
    )
    batches = select(AttestationBatch.submission_id, AttestationBatch.lot_id).where(
        AttestationBatch.supplier_id == supplier_id
    )
    return {key: value for query in (releases, batches) for key, value in session.execute(query)}


def _repairs(session: Session, rows: Sequence[Submission]) -> dict[str, tuple[CheckRecord, ...]]:
    runs = {row.id: row.run for row in rows if row.outcome in NEEDS_REPAIR}
    found: dict[str, tuple[CheckRecord, ...]] = {}
    for check in session.scalars(
        select(CheckRecord)
        .where(CheckRecord.submission_id.in_(runs), CheckRecord.outcome.in_(NEEDS_REPAIR))
        .order_by(CheckRecord.submission_id, CheckRecord.position)
    ):
        if check.run == runs[check.submission_id]:
            found[check.submission_id] = (*found.get(check.submission_id, ()), check)
    return found


def open_lots(session: Session, supplier_id: str) -> tuple[Lot, ...]:
    """Live lots of which not every unit has a valid attestation yet, the newest first."""
    return tuple(
        session.scalars(
            select(Lot)
            .join(Submission, Submission.id == Lot.submission_id)
            .join(
                CheckRecord,
                (CheckRecord.submission_id == Submission.id)
                & (CheckRecord.run == Submission.run)
                & (CheckRecord.check_id == "lot.attested"),
            )
            .where(Lot.supplier_id == supplier_id, Lot.live, CheckRecord.outcome != Outcome.PASS)
            .order_by(Submission.submitted_at.desc())
            .limit(PAGE)
        )
    )
