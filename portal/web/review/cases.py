"""The case page, and what can be done on it."""

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from portal.accounts.permissions import Permission
from portal.clock import today
from portal.errors import InvalidInput, NotFound, Problem
from portal.http.context import actor, clock, parts, session
from portal.policy.facts import Facts
from portal.reassessment.read import changes_of
from portal.review import queue as cases
from portal.review import service
from portal.review.assessing import result_of
from portal.review.models import Assessment, Case, CaseState, DecisionKind
from portal.review.read import areas_of, case_view, find_case
from portal.suppliers.models import Supplier
from portal.web.review.blueprint import blueprint
from portal.web.review.forms import CommentForm, DecisionForm, TakeOverForm, decision_form, said


def load(number: int) -> Case:
    case = find_case(session(), number)
    if case is None:
        raise NotFound(f"There is no case {number}.")
    return case


def back_to(case: Case, anchor: str = "") -> Response:
    """The page of the case, in the queue that the reviewer came from."""
    wanted: dict[str, Any] = dict(cases.arguments_of(cases.filter_of(request.args.to_dict())))
    return redirect(url_for("review.case", number=case.number, **wanted, _anchor=anchor or None))


@blueprint.get("/cases/<int:number>")
def case(number: int) -> str:
    return show(load(number))


def show(
    found: Case,
    *,
    form: DecisionForm | None = None,
    problems: list[Problem] | None = None,
    comment_form: CommentForm | None = None,
) -> str:
    """The case page; with a form that came back, its problems."""
    view = case_view(session(), clock(), found)
    wanted = cases.filter_of(request.args.to_dict())
    previous, following = cases.neighbours(session(), actor().user_id, today(clock()), wanted, found.number)
    gaps = [gap for gap in view.result.gaps if gap.accepted_until is None]
    mine = found.claimed_by is not None and found.claimed_by == actor().user_id
    may_decide = mine and found.state is not CaseState.CLOSED and actor().may(Permission.REVIEW_CASE_DECIDE)
    return render_template(
        "review/case.html",
        view=view,
        case=found,
        gaps=gaps,
        mine=mine,
        may_decide=may_decide,
        form=form or (decision_form(clock(), gaps, found.assessment_id) if may_decide else None),
        problems=problems or [],
        comment_form=comment_form or CommentForm(formdata=None),
        take_over_form=TakeOverForm(formdata=None),
        changes=changes_of(session(), found.product_id),
        arguments=cases.arguments_of(wanted),
        previous=previous,
        following=following,
        today=today(clock()),
    )


@blueprint.post("/cases/<int:number>/claim")
def claim(number: int) -> Response:
    found = service.claim(session(), actor(), clock(), load(number).id)
    session().commit()
    flash(f"Case {number} is yours.", "success")
    return back_to(found)


@blueprint.post("/cases/<int:number>/release")
def release(number: int) -> Response:
    found = service.release(session(), actor(), load(number).id)
    session().commit()
    flash(f"Case {number} is back in the queue.", "success")
    return back_to(found)


@blueprint.post("/cases/<int:number>/take-over")
def take_over(number: int) -> Response:
    found = service.take_over(
        session(), actor(), clock(), load(number).id, reason=TakeOverForm().reason.data or ""
    )
    session().commit()
    flash(f"Case {number} is yours now.", "success")
    return back_to(found)


@blueprint.post("/cases/<int:number>/assess")
def assess_again(number: int) -> Response:
    found = load(number)
    before = found.assessment.number
    claim_days = parts().settings.claim_days
    after = service.assess_again(session(), actor(), clock(), found.id, claim_days=claim_days)
    session().commit()
    flash(
        "Nothing has changed since." if after.number == before else f"Assessment {after.number} was made.",
        "success",
    )
    return back_to(found)


@blueprint.post("/cases/<int:number>/comments")
def comment(number: int) -> str | Response | tuple[str, int]:
    found, form = load(number), CommentForm()
    if not form.validate_on_submit():
        return show(found, comment_form=form), 422
    internal = form.audience.data != "supplier"
    try:
        service.comment(session(), actor(), clock(), found.id, text=form.text.data, internal=internal)
    except InvalidInput as error:
        form.text.errors = [said(problem) for problem in error.problems]
        return show(found, comment_form=form), 422
    session().commit()
    flash("Your comment is kept." if internal else "Your comment is there for the supplier.", "success")
    return back_to(found, "timeline")


@blueprint.post("/cases/<int:number>/decision")
def decide(number: int) -> str | Response | tuple[str, int]:
    found, form = load(number), DecisionForm()
    if not form.validate_on_submit():
        return show(found, form=form), 422
    try:
        decision = service.decide(
            session(),
            actor(),
            clock(),
            found.id,
            assessment_id=form.assessment_id.data or "",
            kind=DecisionKind(form.kind.data),
            reason=form.reason.data,
            conditions=[condition for _, condition in form.accepted()],
            items=form.listed_items(),
            answer_by=form.answer_by.data,
        )
    except InvalidInput as error:
        return show(found, form=form, problems=form.show(error.problems)), 422
    session().commit()
    flash(_told(found, decision.effective), "success")
    return back_to(found)


def _told(found: Case, effective: bool) -> str:
    if not effective:
        return f"Your approval is the first. Case {found.number} waits for a second approver."
    if found.state is CaseState.WAITING:
        return f"The supplier was asked. Case {found.number} waits for them."
    return f"Case {found.number} is decided."


@blueprint.get("/assessments/<assessment_id>")
def assessment(assessment_id: str) -> str:
    found = session().get(Assessment, assessment_id)
    if found is None:
        raise NotFound("There is no such assessment.")
    facts, result = Facts.from_json(found.facts), result_of(found)
    values: dict[str, Any] = {
        "assessment": found,
        "result": result,
        "areas": areas_of(session(), found.supplier_id, facts, result),
        "supplier": session().get_one(Supplier, found.supplier_id),
        "must_name": frozenset(),
    }
    return render_template("review/assessment.html", **values)
