"""The questionnaire: what it asks, and the answers about one product."""

from portal.accounts.permissions import Permission
from portal.api import shapes
from portal.api.blueprint import contract
from portal.http.context import actor, clock, session
from portal.submissions.drafting import get_submission
from portal.submissions.models import Submission, SubmissionKind
from portal.submissions.questionnaires import service
from portal.submissions.questionnaires.read import questionnaire_view

READ, WRITE = Permission.SUPPLIER_SUBMISSION_READ, Permission.SUPPLIER_SUBMISSION_WRITE


@contract.route("GET", "/questionnaire", READ)
def get_questionnaire() -> shapes.Questionnaire:
    """What is asked about every product."""
    asked = service.builtin()
    return shapes.Questionnaire(
        id=asked.id,
        version=asked.version,
        digest=asked.digest,
        title=asked.title,
        intro=asked.intro,
        questions=[shapes.Question.of(question) for question in asked.questions],
    )


@contract.route("POST", "/submissions/questionnaires", WRITE, status=201)
def start_questionnaire(body: shapes.NewQuestionnaire) -> shapes.Response:
    """The open questionnaire of a product, else a new one that begins with the answers last submitted."""
    row = service.start_questionnaire(session(), actor(), clock(), product_id=body.product_id)
    session().commit()
    return _response(row)


@contract.route("GET", "/submissions/{submission_id}/answers", READ)
def get_answers(submission_id: str) -> shapes.Response:
    """The answers so far, and what is missing."""
    return _response(_load(submission_id))


@contract.route("PATCH", "/submissions/{submission_id}/answers", WRITE)
def save_answers(submission_id: str, body: shapes.Answers) -> shapes.Response:
    """Keep answers of a draft: all of those named, or none when one of them does not fit."""
    row = _load(submission_id)
    for question_id, value in body.answers.items():
        service.save_answer(session(), actor(), clock(), row.id, question_id, value)
    session().commit()
    return _response(row)


@contract.route("POST", "/submissions/{submission_id}/answers/{question_id}/files", WRITE, status=201)
def attach_answer_file(submission_id: str, question_id: str, body: shapes.NewAnswerFile) -> shapes.AnswerFile:
    """Put a delivered file beside an answer."""
    file = service.attach_file(
        session(),
        actor(),
        clock(),
        submission_id,
        question_id,
        body.evidence_id,
        valid_until=body.valid_until,
    )
    session().commit()
    return shapes.AnswerFile(
        id=file.id, evidence=shapes.Evidence.of(file.evidence), valid_until=file.valid_until
    )


@contract.route("DELETE", "/submissions/{submission_id}/answer-files/{file_id}", WRITE, status=204)
def detach_answer_file(submission_id: str, file_id: str) -> None:
    """Take a file away from an answer of a draft."""
    service.detach_file(session(), actor(), clock(), submission_id, file_id)
    session().commit()


def _load(submission_id: str) -> Submission:
    return get_submission(session(), submission_id, SubmissionKind.QUESTIONNAIRE)


def _response(row: Submission) -> shapes.Response:
    return shapes.Response.of(questionnaire_view(session(), row))
