"""Submissions in full, and the files of the vault."""

from collections.abc import Sequence
from typing import TypeVar

from flask import Response, render_template, request
from sqlalchemy import func, select

from portal.errors import NotFound
from portal.http.context import session
from portal.review.read import people
from portal.submissions.attestations.models import AttestationBatch, AttestationFailure
from portal.submissions.attestations.passes import signed_line
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.firmware.shown import shown
from portal.submissions.firmware.shown_inside import shown_inside
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.models import CheckRecord, Submission, SubmissionState
from portal.suppliers.models import SigningKey, Supplier
from portal.web.download import download, download_receipt, download_report
from portal.web.review.blueprint import blueprint

UNITS = 100
FAILURES = 200
Row = TypeVar("Row", FirmwareRelease, Lot, AttestationBatch)


@blueprint.get("/submissions/<submission_id>")
def submission(submission_id: str) -> str:
    found = session().get(Submission, submission_id)
    if found is None or found.state is SubmissionState.DRAFT:
        raise NotFound("There is no such submission.")
    runs: dict[int, list[CheckRecord]] = {}
    for check in session().scalars(
        select(CheckRecord)
        .where(CheckRecord.submission_id == found.id)
        .order_by(CheckRecord.run.desc(), CheckRecord.position)
    ):
        runs.setdefault(check.run, []).append(check)
    release = _only(FirmwareRelease, found)
    lot = _only(Lot, found)
    return render_template(
        "review/submission.html",
        submission=found,
        supplier=session().get_one(Supplier, found.supplier_id),
        runs=runs,
        names=people(session(), (found.submitted_by, found.created_by)),
        release=release,
        image=shown(release.report) if release else None,
        inside=shown_inside(release.report) if release else None,
        key=session().get(SigningKey, release.signing_key_id) if release and release.signing_key_id else None,
        lot=lot,
        **(_lot(lot) if lot else {}),
        batch=_only(AttestationBatch, found),
        failures=session()
        .scalars(
            select(AttestationFailure)
            .where(AttestationFailure.submission_id == found.id, AttestationFailure.run == found.run)
            .order_by(AttestationFailure.line)
            .limit(FAILURES)
        )
        .all(),
    )


def _only(kind: type[Row], found: Submission) -> Row | None:
    return session().scalars(select(kind).where(kind.submission_id == found.id)).first()


def _lot(lot: Lot) -> dict[str, object]:
    """Units by page, and the custody of a lot."""
    wanted = request.args.get("serial", "").strip()[:100]
    query = select(Unit).where(Unit.lot_id == lot.id)
    if wanted:
        query = query.where(Unit.serial.icontains(wanted, autoescape=True))
    page = max(1, request.args.get("page", 1, int))
    units = session().scalars(query.order_by(Unit.position).offset((page - 1) * UNITS).limit(UNITS + 1)).all()
    covered = select(func.count()).where(Unit.lot_id == lot.id, Unit.attested_by.is_not(None))
    return {
        "units": units[:UNITS],
        "page": page,
        "signed": _signed(units[:UNITS]),
        "more_units": len(units) > UNITS,
        "serial": wanted,
        "covered": session().scalar(covered),
        "custody": session()
        .scalars(select(CustodyEvent).where(CustodyEvent.lot_id == lot.id).order_by(CustodyEvent.position))
        .all(),
    }


def _signed(units: Sequence[Unit]) -> dict[int, str]:
    """For each attested unit, by its id, the keys that signed for it."""
    found: dict[int, str] = {}
    for unit in units:
        if unit.attested_by is None or unit.attested_line is None:
            continue
        run = session().get_one(Submission, unit.attested_by).run
        signed = signed_line(session(), unit.attested_by, run, unit.attested_line)
        if signed is not None:  # lines verified before they were kept have no row
            found[unit.id] = ", ".join(name for name, _ in signed.keys)
    return found


@blueprint.get("/submissions/<submission_id>/image.json")
def image_report(submission_id: str) -> Response:
    return download_report(submission_id)


@blueprint.get("/evidence/<evidence_id>")
def evidence(evidence_id: str) -> Response:
    return download(evidence_id)


@blueprint.get("/evidence/<evidence_id>/receipt")
def receipt(evidence_id: str) -> Response:
    return download_receipt(evidence_id)
