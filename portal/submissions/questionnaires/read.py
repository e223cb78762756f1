"""A questionnaire as its pages show it: sections, questions, what is answered and what is missing."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.errors import Problem
from portal.policy import questionnaire as rules
from portal.policy.questionnaire import Progress, Question, Section
from portal.submissions.models import Submission, SubmissionKind
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.submissions.questionnaires.service import (
    builtin,
    by_question,
    current_answers,
    current_evidence,
)


@dataclass(frozen=True, slots=True)
class QuestionView:
    """One question with what was given so far. `problems`: what keeps it from being done."""

    question: Question
    value: str
    files: tuple[AnswerEvidence, ...]
    visible: bool
    problems: tuple[Problem, ...]

    @property
    def done(self) -> bool:
        return self.visible and not self.problems and bool(self.value)

    @property
    def needs_file(self) -> bool:
        return self.question.needs_file(self.value) and not self.files


@dataclass(frozen=True, slots=True)
class SectionView:
    """One section. Its progress counts over visible required questions."""

    section: Section
    questions: tuple[QuestionView, ...]

    @property
    def progress(self) -> Progress:
        asked = [item for item in self.questions if item.visible and item.question.required]
        return Progress(sum(item.done for item in asked), len(asked))


@dataclass(frozen=True, slots=True)
class QuestionnaireView:
    """All of it. `began_with`: whether an earlier questionnaire of the product gave the first answers."""

    submission: Submission
    title: str
    intro: str
    sections: tuple[SectionView, ...]
    progress: Progress
    problems: tuple[Problem, ...]
    began_with: bool

    def section(self, section_id: str) -> SectionView | None:
        return next((item for item in self.sections if item.section.id == section_id), None)

    def section_of(self, question_id: str) -> str:
        """The section that a question is in; empty for an unknown one."""
        question = builtin().question(question_id)
        return question.section if question else ""


def questionnaire_view(session: Session, submission: Submission) -> QuestionnaireView:
    """The questionnaire with the answers of `submission`, draft or not."""
    asked = builtin()
    answers = {key: value for key, value in current_answers(session, submission.id).items() if value}
    files = by_question(current_evidence(session, submission.id))
    shown = {question.id for question in rules.visible(asked, answers)}

    def view(question: Question) -> QuestionView:
        value, beside = answers.get(question.id, ""), tuple(files.get(question.id, ()))
        missing = rules.question_problems(question, value, len(beside)) if question.id in shown else ()
        return QuestionView(question, value, beside, question.id in shown, missing)

    earlier = select(func.count()).where(
        Submission.product_id == submission.product_id,
        Submission.kind == SubmissionKind.QUESTIONNAIRE,
        Submission.submitted_at < submission.created_at,
    )
    return QuestionnaireView(
        submission=submission,
        title=asked.title,
        intro=asked.intro,
        sections=tuple(
            SectionView(section, tuple(view(question) for question in asked.in_section(section.id)))
            for section in asked.sections
        ),
        progress=rules.progress(asked, answers, files),
        problems=rules.problems(asked, answers, files),
        began_with=bool(session.scalar(earlier)),
    )
