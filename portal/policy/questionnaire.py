"""Questionnaires as data: which questions are visible, whether answers hold, what is still missing.

An answer is always text: "yes" or "no", a choice's value, a date YYYY-MM-DD, an e-mail address, or free text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from unicodedata import category

from portal.errors import PolicyError, Problem
from portal.policy import codec
from portal.policy.facts import EntityFact, Facts
from portal.policy.model import Condition, read_text

QUESTIONNAIRE_MAX_BYTES = 1024 * 1024
TEXT_MAX = 2000
EMAIL_MAX = 254
YEARS = (1990, 2100)
"""Dates outside are slips of the keyboard."""

_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)
_FEEDS = re.compile(r"entity\.[a-z_]+\.(name|country)|date\.[a-z_]+|contact\.[a-z_]+")


class QuestionType(StrEnum):
    YES_NO = "yes_no"
    CHOICE = "choice"
    TEXT = "text"
    DATE = "date"
    EMAIL = "email"


class EvidenceRule(StrEnum):
    """Whether a file may or must be attached to an answer."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    title: str


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    label: str


YES_NO = (Choice("yes", "Yes"), Choice("no", "No"))


@dataclass(frozen=True, slots=True)
class Question:
    """One question. With `evidence` required, a file is required for every answer, or only for
    `evidence_when`. `visible_if` names an earlier question. `feeds`: the fact that the answer becomes
    (`entity.<role>.name`, `entity.<role>.country`, `date.<name>`, `contact.<name>`).
    """

    id: str
    section: str
    controls: tuple[str, ...]
    text: str
    help: str
    type: QuestionType
    required: bool = True
    evidence: EvidenceRule = EvidenceRule.NONE
    evidence_when: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    max_length: int = TEXT_MAX
    pattern: str = ""
    pattern_words: str = ""
    visible_if: Condition | None = None
    feeds: str | None = None

    @property
    def options(self) -> tuple[Choice, ...]:
        """What can be chosen; empty for questions answered by typing."""
        return YES_NO if self.type is QuestionType.YES_NO else self.choices

    def needs_file(self, value: str) -> bool:
        """Whether the answer `value` must have a file beside it."""
        if self.evidence is not EvidenceRule.REQUIRED or not value:
            return False
        return not self.evidence_when or value in self.evidence_when

    def label(self, value: str) -> str:
        """The answer as people read it."""
        return next((choice.label for choice in self.options if choice.value == value), value)


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """Questions in order. `digest` is SHA-256 over the canonical JSON it was loaded from."""

    id: str
    version: str
    title: str
    intro: str
    sections: tuple[Section, ...]
    questions: tuple[Question, ...]
    digest: str = ""

    def question(self, question_id: str) -> Question | None:
        return next((question for question in self.questions if question.id == question_id), None)

    def in_section(self, section_id: str) -> tuple[Question, ...]:
        return tuple(question for question in self.questions if question.section == section_id)


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts over visible required questions; `done` ones are answered well and have their file."""

    done: int
    total: int

    @property
    def percent(self) -> int:
        """Rounded down: 100 only when everything is there."""
        return 100 * self.done // self.total if self.total else 100


def load(source: str | Path) -> Questionnaire:
    """A questionnaire from its JSON text, or from the file at a path. Raises PolicyError."""
    text, what = read_text(source)
    plain = codec.parse_json(text, what, QUESTIONNAIRE_MAX_BYTES)
    if isinstance(plain, dict) and "digest" in plain:
        raise PolicyError(f"{what}: expected no member 'digest': it is computed")
    questionnaire = codec.decode(Questionnaire, plain, what)
    for fault in _faults(questionnaire):
        raise PolicyError(f"{what}: {fault}")
    return replace(questionnaire, digest=codec.digest(codec.canonical(plain)))


def visible(questionnaire: Questionnaire, answers: Mapping[str, str]) -> tuple[Question, ...]:
    """The questions to show for these answers; a follow-up of a hidden question is hidden too."""
    shown: dict[str, Question] = {}
    for question in questionnaire.questions:
        condition = question.visible_if
        if condition is None or (
            condition.question in shown and answers.get(condition.question) in condition.answers
        ):
            shown[question.id] = question
    return tuple(shown.values())


def answer_problem(question: Question, value: object) -> Problem | None:
    """What is wrong with a given answer; None when nothing is. Empty is not wrong, only not given."""
    expected, fix = _expected(question)

    def wrong(found: str) -> Problem:
        return Problem(question.id, expected, found, fix)

    if not isinstance(value, str):
        return wrong(f"{type(value).__name__}, not text")
    if not value:
        return None
    limit = EMAIL_MAX if question.type is QuestionType.EMAIL else question.max_length
    if len(value) > limit:
        return Problem(
            question.id, f"at most {limit} characters", f"{len(value)}", "Shorten it, or attach a file."
        )
    if any(category(letter) in ("Cc", "Cs") and letter not in "\n\r\t" for letter in value):
        return wrong("control characters")
    if not value.strip():
        return wrong("nothing but spaces")
    if question.options:
        return None if value in {choice.value for choice in question.options} else wrong(repr(value[:60]))
    if question.type is QuestionType.DATE:
        return None if _day(value) else wrong(repr(value[:60]))
    if question.type is QuestionType.EMAIL:
        fits = _EMAIL.fullmatch(value) and len(value.partition("@")[0]) <= 64
        return None if fits else wrong(repr(value[:60]))
    if question.pattern and not re.fullmatch(question.pattern, value):
        return wrong(repr(value[:60]))
    return None


def question_problems(question: Question, value: object, files: int) -> tuple[Problem, ...]:
    """What keeps a visible question from being done, with `files` files attached to it."""
    if wrong := answer_problem(question, value):
        return (wrong,)
    if not value:
        return (Problem(question.id, "an answer", "none", question.text),) if question.required else ()
    if question.needs_file(str(value)) and not files:
        return (Problem(question.id, "an attached file", "none", question.help),)
    return ()


def problems(
    questionnaire: Questionnaire, answers: Mapping[str, str], evidence: Mapping[str, Sequence[object]]
) -> tuple[Problem, ...]:
    """Everything that keeps the answers from being submitted, in the order of the questions. `evidence`: the
    files attached to each question. Answers to hidden questions do not count; unknown questions are named.
    """
    found = [
        Problem(question_id, f"a question of {questionnaire.id} {questionnaire.version}", "no such question")
        for question_id in sorted(
            (set(answers) | set(evidence)) - {question.id for question in questionnaire.questions}
        )
    ]
    for question in visible(questionnaire, answers):
        files = len(evidence.get(question.id, ()))
        found += question_problems(question, answers.get(question.id, ""), files)
    return tuple(found)


def progress(
    questionnaire: Questionnaire, answers: Mapping[str, str], evidence: Mapping[str, Sequence[object]]
) -> Progress:
    """How far along, over the visible required questions."""
    asked = [question for question in visible(questionnaire, answers) if question.required]
    done = [
        question
        for question in asked
        if not question_problems(question, answers.get(question.id, ""), len(evidence.get(question.id, ())))
    ]
    return Progress(len(done), len(asked))


def apply_answers(questionnaire: Questionnaire, facts: Facts) -> Facts:
    """The facts with answers settled: those to hidden or unknown questions and wrong ones dropped, and what
    answers feed added. A fact that was recorded elsewhere stays: an answer never overrules a record.
    """
    values = {question_id: answer.value for question_id, answer in facts.answers.items()}
    kept = {
        question.id: facts.answers[question.id]
        for question in visible(questionnaire, values)
        if values.get(question.id) and answer_problem(question, values[question.id]) is None
    }
    fed = {
        question.feeds: kept[question.id].value.strip()
        for question in questionnaire.questions
        if question.feeds and question.id in kept
    }
    recorded = {entity.role for entity in facts.entities}
    roles = sorted({key.split(".")[1] for key in fed if key.endswith(".name")} - recorded)
    entities = tuple(
        EntityFact(r, fed[f"entity.{r}.name"], fed.get(f"entity.{r}.country", "")) for r in roles
    )
    dates = {key[5:]: day for key, value in fed.items() if key.startswith("date.") and (day := _day(value))}
    contacts = {key[8:]: value for key, value in fed.items() if key.startswith("contact.")}
    return replace(
        facts,
        answers=kept,
        entities=(*facts.entities, *entities),
        dates=dates | dict(facts.dates),
        contacts=contacts | dict(facts.contacts),
    )


def _expected(question: Question) -> tuple[str, str]:
    if question.options:
        return "one of " + ", ".join(choice.value for choice in question.options), "Choose one."
    if question.type is QuestionType.DATE:
        return f"a date YYYY-MM-DD from {YEARS[0]} to {YEARS[1]}", "Write it like 2031-12-31."
    if question.type is QuestionType.EMAIL:
        return "an e-mail address", "Write it like security@example.com."
    return question.pattern_words or "text", question.help


def _day(value: str) -> date | None:
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return None
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    return day if YEARS[0] <= day.year <= YEARS[1] else None


def _faults(questionnaire: Questionnaire) -> list[str]:
    faults = []
    sections = [section.id for section in questionnaire.sections]
    seen: dict[str, Question] = {}
    if len(set(sections)) != len(sections):
        faults.append("sections: expected each id once")
    if unused := set(sections) - {question.section for question in questionnaire.questions}:
        faults.append(f"sections: expected a question in each, found none in {', '.join(sorted(unused))}")
    for question in questionnaire.questions:
        values = {choice.value for choice in question.options}
        condition = question.visible_if
        parent = seen.get(condition.question) if condition else None
        for true, expected in (
            (
                re.fullmatch("[a-z][a-z0-9_]{0,63}", question.id),
                "an id of a-z, 0-9 and _, at most 64 characters",
            ),
            (question.id not in seen, "each id once"),
            (question.section in sections, f"a known section, not {question.section!r}"),
            (question.text and question.help and question.controls, "text, help and at least one control"),
            (
                (question.type is QuestionType.CHOICE) == bool(question.choices),
                "choices for type choice, and only there",
            ),
            (len(values) == len(question.options), "each choice once"),
            (set(question.evidence_when) <= values, "evidence_when out of the choices"),
            (
                not question.evidence_when or question.evidence is EvidenceRule.REQUIRED,
                "evidence_when with evidence required",
            ),
            (0 < question.max_length <= TEXT_MAX, f"max_length from 1 to {TEXT_MAX}"),
            (bool(question.pattern) == bool(question.pattern_words), "pattern and pattern_words together"),
            (not question.pattern or question.type is QuestionType.TEXT, "a pattern for type text only"),
            (not question.pattern or _compiles(question.pattern), "a pattern that is a regular expression"),
            (condition is None or parent, "visible_if about an earlier question"),
            (
                parent is None
                or (
                    condition
                    and condition.answers
                    and set(condition.answers) <= {c.value for c in parent.options}
                ),
                "visible_if with answers that can be chosen",
            ),
            (question.feeds is None or _FEEDS.fullmatch(question.feeds), "feeds of a known form"),
            (
                not (question.feeds or "").startswith("date.") or question.type is QuestionType.DATE,
                "type date where a date is fed",
            ),
            (
                question.feeds is None or all(question.feeds != other.feeds for other in seen.values()),
                "each fact fed once",
            ),
        ):
            if not true:
                faults.append(f"question {question.id}: expected {expected}")
        seen[question.id] = question
    return faults


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
