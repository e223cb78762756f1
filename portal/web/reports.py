"""Reports as PDF, bundles and receipts, made on demand: for the buyer's people, and for the supplier."""

from io import BytesIO
from tempfile import TemporaryFile

from flask import Blueprint, Response, request, send_file

from portal.errors import NotFound
from portal.http.context import parts, session
from portal.ledger import logs, witnesses
from portal.reports.bundles.write import write_bundle
from portal.reports.pdf import file_name, render
from portal.reports.read import assessment_report, case_assessment_id
from portal.reports.view import Audience
from portal.review.models import Assessment
from portal.review.read import find_case
from portal.review.receipts import assessment_receipt, decision_receipt
from portal.web.download import download_proof

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


@blueprint.get("/r/assessments/<assessment_id>/receipt")
def receipt(assessment_id: str) -> Response:
    return download_proof(assessment_receipt(session(), assessment_id), f"assessment-{assessment_id}")


@blueprint.get("/s/assessments/<assessment_id>/receipt")
def supplier_receipt(assessment_id: str) -> Response:
    return download_proof(assessment_receipt(session(), assessment_id), f"assessment-{assessment_id}")


@blueprint.get("/r/decisions/<decision_id>/receipt")
def decided_receipt(decision_id: str) -> Response:
    return download_proof(decision_receipt(session(), decision_id), f"decision-{decision_id}")


@blueprint.get("/s/decisions/<decision_id>/receipt")
def supplier_decided_receipt(decision_id: str) -> Response:
    proof = decision_receipt(session(), decision_id, in_effect=True)
    return download_proof(proof, f"decision-{decision_id}")


@blueprint.get("/r/cases/<int:number>/bundle.zip")
def case_bundle(number: int) -> Response:
    case = find_case(session(), number)
    if case is None:
        raise NotFound(f"there is no case {number}")
    return _bundle(case_assessment_id(session(), case))


@blueprint.get("/r/assessments/<assessment_id>/bundle.zip")
def bundle(assessment_id: str) -> Response:
    return _bundle(assessment_id)


@blueprint.get("/s/assessments/<assessment_id>/bundle.zip")
def supplier_bundle(assessment_id: str) -> Response:
    return _bundle(assessment_id)


def _bundle(assessment_id: str) -> Response:
    """One file with everything; `?evidence=digests` leaves the evidence itself out. It is made before the
    answer begins: what cannot be made is refused, never cut off."""
    settings = parts().settings
    parts().spool.mkdir(parents=True, exist_ok=True)
    file = TemporaryFile(dir=parts().spool)  # noqa: SIM115 - closed with the answer
    try:
        write_bundle(
            session(),
            parts().store,
            assessment_id,
            file,
            policy=logs.policy_text(session(), settings.public_url, witnesses.configured(settings.witnesses)),
            digests_only=request.args.get("evidence") == "digests",
        )
        found = session().get_one(Assessment, assessment_id)
        size = file.tell()
        file.seek(0)
        answer = send_file(
            file,
            mimetype="application/zip",
            as_attachment=True,
            download_name=f"bundle-{found.number}-{found.id[:8]}.zip",
        )
    except BaseException:
        file.close()
        raise
    answer.content_length = size
    answer.headers["Cache-Control"] = "no-store"
    answer.call_on_close(file.close)
    return answer


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
