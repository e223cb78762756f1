"""Home: what is asked, how far along it is, what failed, and what the reviewers ask to be put right."""

from flask import flash, redirect, render_template, url_for
from sqlalchemy import exists, select
from werkzeug.wrappers import Response

from portal.clock import today
from portal.errors import InvalidInput, NotFound
from portal.http.context import actor, clock, session
from portal.review import service as review
from portal.review.models import Case, CaseState, ChangeRequest, Decision
from portal.submissions.asked import asked
from portal.submissions.models import SubmissionState
from portal.submissions.read import current_submissions
from portal.suppliers.models import Entity, SigningKey, Supplier
from portal.web.supplier.blueprint import blueprint, own_id, own_products
from portal.web.supplier.forms import AnswerForm, show

FAILED_SHOWN = 20


@blueprint.get("/")
def home() -> str:
    return page_of()


def page_of(answering: str = "", form: AnswerForm | None = None) -> str:
    """The home page; with the answer to one request that came back."""
    products, mine = own_products(), own_id()
    current = current_submissions(session(), mine)
    failed = [row for row in current if row.repairs or row.submission.state is SubmissionState.REFUSED]
    requests = session().execute(
        select(ChangeRequest, Case)
        .join(Case, Case.id == ChangeRequest.case_id)
        .join(Decision, Decision.id == ChangeRequest.decision_id)
        .where(ChangeRequest.supplier_id == mine, Case.state != CaseState.CLOSED)
        .order_by(ChangeRequest.answered_at.is_not(None), Decision.decided_at.desc(), ChangeRequest.position)
    )
    return render_template(
        "supplier/home.html",
        supplier=session().get_one(Supplier, mine),
        products=asked(session(), mine, products),
        failed=failed[:FAILED_SHOWN],
        more_failed=max(0, len(failed) - FAILED_SHOWN),
        requests=[tuple(row) for row in requests],
        begun={
            "products": bool(products),
            "keys": _any(SigningKey, mine),
            "chain": _any(Entity, mine),
            "submissions": bool(current),
        },
        answering=answering,
        today=today(clock()),
        form=form or AnswerForm(formdata=None),
    )


def _any(kind: type[SigningKey] | type[Entity], supplier_id: str) -> bool:
    return bool(session().scalar(select(exists().where(kind.supplier_id == supplier_id))))


@blueprint.post("/requests/<request_id>")
def answer_request(request_id: str) -> Response | tuple[str, int]:
    found, form = session().get(ChangeRequest, request_id), AnswerForm()
    if found is None:
        raise NotFound("There is no such request.")
    if not form.validate_on_submit():
        return page_of(found.id, form), 422
    try:
        review.answer_change_request(session(), actor(), clock(), found.id, answer=form.answer.data)
    except InvalidInput as error:
        show(form, error)
        return page_of(found.id, form), 422
    session().commit()
    flash("Your answer is with the reviewer.", "success")
    return redirect(url_for("supplier.home", _anchor="requests"))
