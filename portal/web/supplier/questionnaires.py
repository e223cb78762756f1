"""The questionnaire: one section at a time, every answer kept as it is given."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from flask import flash, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from portal.errors import InvalidInput, LotgateError, NotFound, Problem, StorageFailed
from portal.http.context import actor, clock, parts, session
from portal.policy.questionnaire import Question
from portal.submissions import service
from portal.submissions.drafting import get_submission
from portal.submissions.models import Submission, SubmissionKind, SubmissionState
from portal.submissions.questionnaires.read import QuestionnaireView, SectionView, questionnaire_view
from portal.submissions.questionnaires.service import (
    attach_file,
    builtin,
    detach_file,
    save_answer,
    start_questionnaire,
)
from portal.web.supplier.blueprint import blueprint, load_product
from portal.web.supplier.fields import FILE, receive
from portal.web.supplier.forms import told


@dataclass
class Errors:
    """What was wrong with one save, by question; and what was typed there, to be shown again."""

    told: dict[str, str] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)


@blueprint.post("/products/<product_id>/questionnaire")
def begin_questionnaire(product_id: str) -> Response:
    made = start_questionnaire(session(), actor(), clock(), product_id=load_product(product_id).id)
    session().commit()
    return redirect(url_for("supplier.questionnaire", submission_id=made.id))


@blueprint.get("/submissions/<submission_id>/answers")
def questionnaire(submission_id: str) -> str:
    return page_of(load(submission_id), request.args.get("section", ""))


def load(submission_id: str) -> Submission:
    return get_submission(session(), submission_id, SubmissionKind.QUESTIONNAIRE)


def page_of(
    found: Submission,
    section_id: str,
    *,
    errors: Errors | None = None,
    problems: tuple[Problem, ...] = (),
) -> str:
    """One section of the questionnaire; with what was wrong with it, or with all of it."""
    view = questionnaire_view(session(), found)
    number = next((n for n, item in enumerate(view.sections) if item.section.id == section_id), 0)
    after = view.sections[number + 1] if number + 1 < len(view.sections) else None
    return render_template(
        "supplier/questionnaire.html",
        view=view,
        section=view.sections[number],
        next_section=after,
        editable=found.state is SubmissionState.DRAFT,
        errors=errors or Errors(),
        problems=problems,
        places={problem.where: place_of(view, found, problem.where) for problem in problems},
        questions={question.id: question.text for question in builtin().questions},
    )


def place_of(view: QuestionnaireView, found: Submission, question_id: str) -> str:
    return url_for(
        "supplier.questionnaire",
        submission_id=found.id,
        section=view.section_of(question_id) or None,
        _anchor=f"q-{question_id}",
    )


@blueprint.post("/submissions/<submission_id>/answers/<section_id>")
def save_section(submission_id: str, section_id: str) -> Response | tuple[Any, int]:
    """Keep what the form holds: all of a section, or (from the page's script) one question of it.

    What is right is kept even where something else is wrong.
    """
    found = load(submission_id)
    questions = builtin().in_section(section_id)
    if not questions:
        raise NotFound("There is no such section.")
    errors = Errors()
    for question in questions:
        _save(found, question, errors)
    if row_id := request.form.get("remove"):
        detach_file(session(), actor(), clock(), found.id, row_id)
    session().commit()
    if request.accept_mimetypes.best == "application/json":
        return jsonify(_state(found, section_id, errors)), 422 if errors.told else 200
    if errors.told:
        return page_of(found, section_id, errors=errors), 422
    onward = request.form.get("next", "") if not row_id else ""
    flash("The file is taken away." if row_id else "Saved.", "success")
    return redirect(url_for("supplier.questionnaire", submission_id=found.id, section=onward or section_id))


def _save(found: Submission, question: Question, errors: Errors) -> None:
    """The answer and the file for one question, as far as the form holds them."""
    name = f"answer.{question.id}"
    try:
        if name in request.form:
            value = request.form[name].replace("\r\n", "\n")
            errors.typed[question.id] = value
            save_answer(session(), actor(), clock(), found.id, question.id, value)
            del errors.typed[question.id]
        evidence_id = _evidence(question)
        if evidence_id:
            until = _day(request.form.get(f"until.{question.id}", ""), question)
            attach_file(session(), actor(), clock(), found.id, question.id, evidence_id, valid_until=until)
    except StorageFailed:
        raise
    except InvalidInput as error:
        errors.told[question.id] = " ".join(told(problem) for problem in error.problems) or error.message
    except LotgateError as error:
        if found.state is not SubmissionState.DRAFT:
            raise
        errors.told[question.id] = error.message


def _evidence(question: Question) -> str | None:
    """The file for this question: uploaded beforehand (its id), or sent along."""
    sent = request.files.get(f"file.{question.id}{FILE}")
    if sent is not None and sent.filename:
        return receive(sent).id
    return request.form.get(f"file.{question.id}") or None


def _day(text: str, question: Question) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidInput(
            "the file was not attached",
            (Problem(question.id, "the last day the file is valid, as YYYY-MM-DD", repr(text[:20])),),
        ) from None


def _state(found: Submission, section_id: str, errors: Errors) -> dict[str, Any]:
    """What the page's script shows after a save."""
    view = questionnaire_view(session(), found)
    section = view.section(section_id)
    return {
        "errors": errors.told,
        "done": view.progress.done,
        "total": view.progress.total,
        "sections": {item.section.id: section_words(item) for item in view.sections},
        "questions": {
            item.question.id: {
                "visible": item.visible,
                "done": item.done,
                "needs_file": item.needs_file,
                "files": render_template(
                    "supplier/answer_files.html", item=item, editable=found.state is SubmissionState.DRAFT
                ),
            }
            for item in (section.questions if section else ())
        },
    }


@blueprint.app_template_filter("section_words")
def section_words(item: SectionView) -> dict[str, Any]:
    """How far a section is, in words and as a sign."""
    progress = item.progress
    if progress.done == progress.total:
        return {"state": "done", "text": "Complete"}
    return {"state": "begun" if progress.done else "todo", "text": f"{progress.done} of {progress.total}"}


@blueprint.post("/submissions/<submission_id>/submit")
def submit_questionnaire(submission_id: str) -> Response | tuple[str, int]:
    found = load(submission_id)
    try:
        service.submit(session(), actor(), clock(), parts().jobs, found.id)
    except InvalidInput as error:
        first = error.problems[0].where if error.problems else ""
        section = questionnaire_view(session(), found).section_of(first)
        return page_of(found, request.form.get("section") or section, problems=error.problems), 422
    session().commit()
    flash("The questionnaire is submitted. Thank you.", "success")
    return redirect(url_for("supplier.submission", submission_id=found.id))
