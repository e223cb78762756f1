"""Submissions in full, and the files of the vault."""

import csv
from collections.abc import Sequence
from io import StringIO
from typing import TypeVar

from flask import flash, redirect, render_template, request, url_for
from sqlalchemy import func, select
from werkzeug.wrappers import Response

from portal.db import begin_writing, end_reading, open_session
from portal.errors import InvalidInput, NotFound
from portal.http.context import actor, clock, db, session
from portal.retention import accesses
from portal.review.read import people
from portal.submissions.attestations.models import AttestationBatch, AttestationFailure
from portal.submissions.attestations.passes import signed_line
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.firmware.shown import shown
from portal.submissions.firmware.shown_inside import shown_inside
from portal.submissions.lots import sampling
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.lots.plan import PLAN, plan_size
from portal.submissions.models import CheckRecord, Submission, SubmissionState
from portal.suppliers.models import SigningKey, Supplier
from portal.web.download import download, download_receipt, download_report
from portal.web.review.blueprint import blueprint
from portal.web.review.forms import SampleForm, said

UNITS = 100
FORMULA = frozenset("=+-@\t\r")  # a spreadsheet would reckon what begins so
FAILURES = 200
Row = TypeVar("Row", FirmwareRelease, Lot, AttestationBatch)


@blueprint.get("/submissions/<submission_id>")
def submission(submission_id: str) -> str:
    return _shown(_load(submission_id), SampleForm())


def _shown(found: Submission, form: SampleForm) -> str:
    runs: dict[int, list[CheckRecord]] = {}
    for check in session().scalars(
        select(CheckRecord)
        .where(CheckRecord.submission_id == found.id)
        .order_by(CheckRecord.run.desc(), CheckRecord.position)
    ):
        runs.setdefault(check.run, []).append(check)
    release = _only(FirmwareRelease, found)
    lot = _only(Lot, found)
    drawn = sampling.drawn(session(), lot) if lot else None
    return render_template(
        "review/submission.html",
        submission=found,
        supplier=session().get_one(Supplier, found.supplier_id),
        runs=runs,
        names=people(
            session(), (found.submitted_by, found.created_by, drawn.sample.drawn_by if drawn else None)
        ),
        release=release,
        image=shown(release.report) if release else None,
        inside=shown_inside(release.report) if release else None,
        key=session().get(SigningKey, release.signing_key_id) if release and release.signing_key_id else None,
        lot=lot,
        drawn=drawn,
        **(_lot(lot, drawn, form) if lot else {}),
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


@blueprint.post("/submissions/<submission_id>/sample")
def draw_sample(submission_id: str) -> Response | tuple[str, int]:
    found, form = _load(submission_id), SampleForm()
    lot = _lot_of(found)
    if not form.validate_on_submit():
        return _shown(found, form), 422
    try:
        sample = sampling.draw(session(), actor(), clock(), lot, form.size.data)
    except InvalidInput as error:
        form.size.errors = [said(problem) for problem in error.problems]
        return _shown(found, form), 422
    session().commit()
    flash(f"{sample.size} units were drawn.", "success")
    return redirect(url_for("review.submission", submission_id=found.id, _anchor="sample"))


@blueprint.get("/submissions/<submission_id>/sample.csv")
def sample(submission_id: str) -> Response:
    """The serials in the order in which they were drawn."""
    drawn = sampling.drawn(session(), _lot_of(_load(submission_id)))
    if drawn is None:
        raise NotFound("No sample was drawn of this lot.")
    out = StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(["serial"])
    rows.writerows([f"'{serial}" if serial[:1] in FORMULA else serial] for serial in drawn.serials)
    answer = Response(out.getvalue(), content_type="text/csv; charset=utf-8")
    answer.headers.set("Content-Disposition", "attachment", filename=f"sample-{submission_id[:8]}.csv")
    return answer


def _load(submission_id: str) -> Submission:
    found = session().get(Submission, submission_id)
    if found is None or found.state is SubmissionState.DRAFT:
        raise NotFound("There is no such submission.")
    return found


def _lot_of(found: Submission) -> Lot:
    lot = _only(Lot, found)
    if lot is None:
        raise NotFound("There is no lot.")
    return lot


def _only(kind: type[Row], found: Submission) -> Row | None:
    return session().scalars(select(kind).where(kind.submission_id == found.id)).first()


def _lot(lot: Lot, drawn: sampling.Drawn | None, form: SampleForm) -> dict[str, object]:
    """Units by page, the custody of a lot, and its sample."""
    if form.size.data is None:
        form.size.data = max(plan_size(lot.unit_count), drawn.sample.size + 1 if drawn else 0)
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
        "plan": PLAN,
        "planned": plan_size(lot.unit_count),
        "sample_form": form,
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
    """The file; while a hold covers it, not before it is written down who takes it."""
    response = download(evidence_id)
    if request.method == "GET" and accesses.reference(session(), evidence_id) is not None:
        token = begin_writing()
        try:
            with open_session(db.engine) as own:
                accesses.record(own, actor(), clock(), evidence_id)
                own.commit()
        except BaseException:
            response.close()
            raise
        finally:
            end_reading(token)
    return response


@blueprint.get("/evidence/<evidence_id>/receipt")
def receipt(evidence_id: str) -> Response:
    return download_receipt(evidence_id)
