"""Reports as PDF, made on demand: of a case, of an assessment, and the supplier's own version."""

from io import BytesIO

from flask import Blueprint, Response, send_file

from portal.errors import NotFound
from portal.http.context import session
from portal.reports.pdf import file_name, render
from portal.reports.read import assessment_report, case_assessment_id
from portal.reports.view import Audience
from portal.review.read import find_case

blueprint = Blueprint("reports", __name__)


@blueprint.get("/r/cases/<int:number>/report.pdf")
def case_report(number: int) -> Response:
    case = find_case(session(), number)
    if case is None:
        raise NotFound(f"there is no case {number}")
    return _report(case_assessment_id(session(), case), Audience.BUYER)


@blueprint.get("/r/assessments/<assessment_id>/report.pdf")
def assessment(assessment_id: str) -> Response:
    return _report(assessment_id, Audience.BUYER)


@blueprint.get("/s/assessments/<assessment_id>/report.pdf")
def supplier_report(assessment_id: str) -> Response:
    return _report(assessment_id, Audience.SUPPLIER)


def _report(assessment_id: str, audience: Audience) -> Response:
    view = assessment_report(session(), assessment_id, audience=audience)
    session().rollback()  # layout takes seconds: nothing of the database is held meanwhile
    answer = send_file(
        BytesIO(render(view)),
        mimetype="application/pdf",
        as_attachment=True,
        download_name=file_name(view),
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer
