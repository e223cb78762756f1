"""Questionnaires: answers with full history, files beside them, submitted only when nothing is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.errors import InvalidInput, NotFound, Problem
from portal.evidence.ports import BlobStore
from portal.evidence.state import unusable
from portal.ledger.service import digest_of, told
from portal.policy import questionnaire as rules
from portal.policy.questionnaire import Question, Questionnaire
from portal.submissions.drafting import Progress, evidence_for, own_draft, start
from portal.submissions.findings import Limits
from portal.submissions.models import Submission, SubmissionKind, SubmissionState
from portal.submissions.questionnaires.models import Answer, AnswerEvidence, QuestionnaireResponse
from portal.suppliers.models import Product
from portal.suppliers.rules import owned
from portal.verification import Check, Outcome


@cache
def builtin() -> Questionnaire:
    """The questionnaire that comes with Lotgate."""
    text = files("portal.submissions.questionnaires") / "ot_baseline_v1.json"
    return rules.load(text.read_text(encoding="utf-8"))


def start_questionnaire(session: Session, actor: Actor, clock: Clock, *, product_id: str) -> Submission:
    """The open draft about this product, else a new one that begins with the answers last submitted."""
    actor.must(Permission.SUPPLIER_SUBMISSION_WRITE)
    owned(session, actor, Product, product_id, "product")
    draft = session.scalars(
        select(Submission).where(
            Submission.product_id == product_id,
            Submission.kind == SubmissionKind.QUESTIONNAIRE,
            Submission.state == SubmissionState.DRAFT,
        )
    ).first()
    if draft is not None:
        return draft
    asked = builtin()
    submission = start(
        session,
        actor,
        clock,
        kind=SubmissionKind.QUESTIONNAIRE,
        product_id=product_id,
        title=asked.title,
    )
    session.add(
        QuestionnaireResponse(
            supplier_id=submission.supplier_id,
            submission_id=submission.id,
            questionnaire_id=asked.id,
            questionnaire_digest=asked.digest,
        )
    )
    last = session.scalars(
        select(Submission)
        .where(
            Submission.product_id == product_id,
            Submission.kind == SubmissionKind.QUESTIONNAIRE,
            Submission.submitted_at.is_not(None),
            Submission.id != submission.id,
        )
        .order_by(Submission.submitted_at.desc())
        .limit(1)
    ).first()
    if last is not None:
        _copy_answers(session, actor, clock, last, submission)
    session.flush()
    return submission


def _copy_answers(session: Session, actor: Actor, clock: Clock, old: Submission, new: Submission) -> None:
    for question_id, value in current_answers(session, old.id).items():
        if value and builtin().question(question_id) is not None:
            _write(session, actor, clock, new, question_id, value)
    for row in usable_evidence(session, old.id):
        session.add(
            AnswerEvidence(
                supplier_id=new.supplier_id,
                submission_id=new.id,
                question_id=row.question_id,
                evidence_id=row.evidence_id,
                valid_until=row.valid_until,
                attached_at=clock.now(),
                evidence=row.evidence,
            )
        )


def save_answer(
    session: Session, actor: Actor, clock: Clock, submission_id: str, question_id: str, value: object
) -> Answer | None:
    """Keep one answer of a draft as a new revision; an empty text clears it. No change writes nothing.

    Raises InvalidInput when the answer does not fit its question.
    """
    submission = own_draft(session, actor, submission_id, SubmissionKind.QUESTIONNAIRE)
    question = _question(question_id)
    wrong = rules.answer_problem(question, value)
    if wrong is not None:
        raise InvalidInput("the answer does not fit", (wrong,))
    text = str(value).strip()
    if current_answers(session, submission_id).get(question_id, "") == text:
        return None
    return _write(session, actor, clock, submission, question_id, text)


def _write(
    session: Session, actor: Actor, clock: Clock, submission: Submission, question_id: str, text: str
) -> Answer:
    newest = session.scalar(
        select(func.max(Answer.revision)).where(
            Answer.submission_id == submission.id, Answer.question_id == question_id
        )
    )
    answer = Answer(
        supplier_id=submission.supplier_id,
        submission_id=submission.id,
        question_id=question_id,
        revision=(newest or 0) + 1,
        value=text or None,
        answered_by=actor.user_id,
        answered_at=clock.now(),
        method=actor.method,
    )
    session.add(answer)
    session.flush()
    return answer


def attach_file(
    session: Session,
    actor: Actor,
    clock: Clock,
    submission_id: str,
    question_id: str,
    evidence_id: str,
    *,
    valid_until: date | None = None,
) -> AnswerEvidence:
    """Put a file beside an answer of a draft."""
    submission = own_draft(session, actor, submission_id, SubmissionKind.QUESTIONNAIRE)
    question = _question(question_id)
    if question.evidence is rules.EvidenceRule.NONE:
        raise InvalidInput(
            "this question takes no file", (Problem(question_id, "no file", "a file", "Answer in words."),)
        )
    evidence = evidence_for(session, actor, submission, evidence_id)
    row = AnswerEvidence(
        supplier_id=submission.supplier_id,
        submission_id=submission.id,
        question_id=question_id,
        evidence_id=evidence.id,
        valid_until=valid_until,
        attached_at=clock.now(),
        evidence=evidence,
    )
    session.add(row)
    session.flush()
    return row


def detach_file(session: Session, actor: Actor, clock: Clock, submission_id: str, row_id: str) -> None:
    """Take a file away from an answer of a draft. The file itself stays in the vault."""
    own_draft(session, actor, submission_id, SubmissionKind.QUESTIONNAIRE)
    row = session.get(AnswerEvidence, row_id)
    if row is None or row.submission_id != submission_id or row.removed_at is not None:
        raise NotFound("There is no such file beside an answer.")
    row.removed_at = clock.now()
    session.flush()


def current_answers(session: Session, submission_id: str) -> dict[str, str]:
    """The newest revision of every answer: {question id: text, empty when cleared}."""
    rows = session.execute(
        select(Answer.question_id, Answer.value)
        .where(Answer.submission_id == submission_id)
        .order_by(Answer.revision)
    )
    return {question_id: value or "" for question_id, value in rows}


def current_evidence(session: Session, submission_id: str) -> list[AnswerEvidence]:
    return list(
        session.scalars(
            select(AnswerEvidence)
            .where(AnswerEvidence.submission_id == submission_id, AnswerEvidence.removed_at.is_(None))
            .order_by(AnswerEvidence.attached_at, AnswerEvidence.id)
        )
    )


def usable_evidence(session: Session, submission_id: str) -> list[AnswerEvidence]:
    """Those of the current files whose bytes are neither deleted nor damaged."""
    rows = current_evidence(session, submission_id)
    spoilt = unusable(session, [row.evidence_id for row in rows])
    return [row for row in rows if row.evidence_id not in spoilt]


def by_question(rows: list[AnswerEvidence]) -> Mapping[str, list[AnswerEvidence]]:
    grouped: dict[str, list[AnswerEvidence]] = {}
    for row in rows:
        grouped.setdefault(row.question_id, []).append(row)
    return grouped


def problems(session: Session, submission: Submission) -> tuple[Problem, ...]:
    """Everything that keeps the questionnaire from being submitted, in the order of its questions."""
    answers = {key: value for key, value in current_answers(session, submission.id).items() if value}
    return rules.problems(builtin(), answers, by_question(usable_evidence(session, submission.id)))


def declared(session: Session, submission: Submission) -> dict[str, object]:
    """The digest of all answers, each with the files that back it and the last day of each."""
    response = session.scalars(
        select(QuestionnaireResponse).where(QuestionnaireResponse.submission_id == submission.id)
    ).one()
    files = by_question(current_evidence(session, submission.id))
    document = {
        "questionnaire": response.questionnaire_digest,
        "answers": {key: value for key, value in current_answers(session, submission.id).items() if value},
        "files": {
            key: sorted(
                [f"sha256:{row.evidence.sha256}", row.valid_until.isoformat() if row.valid_until else ""]
                for row in rows
            )
            for key, rows in files.items()
        },
    }
    return {
        "questionnaire": response.questionnaire_id,
        "answers": digest_of(document),
        "history": digest_of(_history(session, submission)),
    }


def _history(session: Session, submission: Submission) -> list[object]:
    """Every revision of every answer, and every file that ever backed one: by whom, when."""
    answers = session.scalars(
        select(Answer)
        .where(Answer.submission_id == submission.id)
        .order_by(Answer.question_id, Answer.revision)
    )
    files = session.scalars(
        select(AnswerEvidence)
        .where(AnswerEvidence.submission_id == submission.id)
        .order_by(AnswerEvidence.id)
    )
    columns = {
        Answer: ("id", "question_id", "revision", "value", "answered_by", "answered_at", "method"),
        AnswerEvidence: ("id", "question_id", "evidence_id", "valid_until", "attached_at", "removed_at"),
    }
    return [
        [told(getattr(row, name)) for name in columns[type(row)]] for rows in (answers, files) for row in rows
    ]


def kept(_session: Session, _submission: Submission) -> dict[str, object]:
    """Nothing: a run finds its checks."""
    return {}


@dataclass(frozen=True, slots=True)
class QuestionnaireFindings:
    checks: tuple[Check, ...]
    trust_before: None = None

    def settle(self, _session: Session, _submission: Submission) -> tuple[Check, ...]:
        return self.checks

    def record(self, _session: Session, _clock: Clock, _submission: Submission) -> None:
        """Nothing beyond the checks."""


def withdraw(_session: Session, _clock: Clock, _submission: Submission) -> None:
    """Nothing rests on it but the assessment, which is made anew."""


def examine(
    session: Session, _store: BlobStore, submission: Submission, _progress: Progress, _limits: Limits
) -> QuestionnaireFindings:
    """Whether it is still complete by the rules of now."""
    found = problems(session, submission)
    if found:
        text = f"{len(found)} answers or files are missing; first: {found[0]}"
        return QuestionnaireFindings((Check("questionnaire.complete", Outcome.FAIL, text),))
    progress = rules.progress(
        builtin(),
        {key: value for key, value in current_answers(session, submission.id).items() if value},
        by_question(usable_evidence(session, submission.id)),
    )
    text = f"All {progress.total} required questions are answered, and the required files are there."
    return QuestionnaireFindings((Check("questionnaire.complete", Outcome.PASS, text),))


def _question(question_id: str) -> Question:
    question = builtin().question(question_id)
    if question is None:
        raise NotFound("There is no such question.")
    return question
