"""Submissions: the list, one in full with its live progress, withdrawing, and the files."""

from enum import StrEnum
from typing import TypeVar

from flask import Response as FlaskResponse
from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from portal.errors import NotFound
from portal.http.context import actor, clock, parts, session
from portal.ledger.service import known_watch_key
from portal.review.models import Assessment
from portal.review.vendors import newest_assessments
from portal.submissions import service
from portal.submissions.models import Submission, SubmissionKind, SubmissionState
from portal.submissions.read import submission_page, submission_view
from portal.verification import Outcome
from portal.web.download import download, download_receipt, download_report
from portal.web.supplier.blueprint import blueprint, own_id

Kind = TypeVar("Kind", bound=StrEnum)
WITHDRAWABLE = frozenset(SubmissionState) - {
    SubmissionState.ACCEPTED,
    SubmissionState.REFUSED,
    SubmissionState.WITHDRAWN,
}


@blueprint.get("/submissions")
def submissions() -> str:
    sort = request.args.get("sort", "-when")
    return render_template(
        "supplier/submissions.html",
        found=submission_page(
            session(),
            own_id(),
            kind=_member(SubmissionKind, "kind"),
            state=_member(SubmissionState, "state"),
            outcome=_member(Outcome, "outcome"),
            text=request.args.get("q", "").strip()[:100],
            sort=sort,
            page=request.args.get("page", 1, int),
        ),
        sort=sort,
        kinds=list(SubmissionKind),
        states=list(SubmissionState),
        outcomes=list(Outcome),
        filtered=any(request.args.get(name) for name in ("q", "kind", "state", "outcome")),
    )


def _member(kind: type[Kind], name: str) -> Kind | None:
    value = request.args.get(name, "")
    return kind(value) if value in list(kind) else None


def load(submission_id: str) -> Submission:
    found = session().get(Submission, submission_id)
    if found is None:
        raise NotFound("There is no such submission.")
    return found


@blueprint.get("/submissions/<submission_id>")
def submission(submission_id: str) -> str | Response:
    found = load(submission_id)
    if found.kind is SubmissionKind.QUESTIONNAIRE and found.state is SubmissionState.DRAFT:
        return redirect(url_for("supplier.questionnaire", submission_id=found.id))
    newest = newest_assessments(session(), Assessment.product_id == found.product_id)
    return render_template(
        "supplier/submission.html",
        view=submission_view(session(), found),
        assessment=newest.get(found.product_id),
        may_withdraw=found.state in WITHDRAWABLE,
    )


@blueprint.get("/submissions/<submission_id>/image.json")
def image_report(submission_id: str) -> FlaskResponse:
    return download_report(submission_id)


@blueprint.get("/submissions/<submission_id>/progress")
def progress(submission_id: str) -> FlaskResponse:
    """The part of the page that is asked for every second while the checks are made; the end of them makes
    the page load anew."""
    found = load(submission_id)
    response = FlaskResponse(render_template("supplier/progress.html", submission=found))
    if not service.is_pending(found):
        response.headers["HX-Refresh"] = "true"
    return response


@blueprint.post("/submissions/<submission_id>/withdraw")
def withdraw(submission_id: str) -> Response:
    found = service.withdraw(session(), actor(), clock(), parts().jobs, load(submission_id).id)
    session().commit()
    flash(f"{found.title} is withdrawn.", "success")
    return redirect(url_for("supplier.submission", submission_id=found.id))


@blueprint.get("/evidence/<evidence_id>")
def evidence(evidence_id: str) -> FlaskResponse:
    return download(evidence_id)


@blueprint.get("/watch-key")
def watch_key() -> FlaskResponse:
    """The key that finds this supplier's entries in the public log."""
    key = known_watch_key(session(), own_id())
    words = (
        "# The watch key of your company. Who has it can tell which entries of the public ledger are about\n"
        "# you, and nothing else of them; it signs nothing. Keep it, and give it to `lotgate monitor`.\n"
    )
    return FlaskResponse(
        f"{words}{key}\n",
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="watch.key"'},
    )


@blueprint.get("/evidence/<evidence_id>/receipt")
def receipt(evidence_id: str) -> FlaskResponse:
    return download_receipt(evidence_id)
