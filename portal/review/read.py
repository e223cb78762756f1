"""What pages, API and reports see of a case: frozen, complete, read in a few queries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.clock import Clock, today
from portal.evidence.models import Evidence
from portal.policy.facts import AnswerFact, CheckFact, Facts
from portal.policy.questionnaire import Question, Questionnaire
from portal.policy.result import AreaResult, ControlResult, Difference, Result, Severity, difference
from portal.review.assessing import result_of
from portal.review.deciding import conditions_of, pending_first
from portal.review.facts import exceptions_in_force
from portal.review.models import (
    Assessment,
    Case,
    ChangeRequest,
    Comment,
    Decision,
    Finding,
    GrantedException,
)
from portal.review.rules import Condition, must_be_named
from portal.submissions.models import Submission, SubmissionState
from portal.submissions.questionnaires.service import builtin
from portal.suppliers.models import Supplier
from portal.verification import Outcome

_WORST_FIRST = [
    *(severity.value for severity in Severity),
    *(outcome.value for outcome in (Outcome.FAIL, Outcome.UNREADABLE, Outcome.NOT_RUN, Outcome.WARN)),
]


@dataclass(frozen=True, slots=True)
class File:
    """A file that backs an answer. `evidence_id` is None where the vault no longer has it."""

    evidence_id: str | None
    name: str
    digest: str
    size: int | None
    valid_until: date | None
    deleted: str | None  # by whom and under which rule


@dataclass(frozen=True, slots=True)
class Claim:
    """What the supplier says: the question, the answer as people read it, the files beside it; and what the
    answer was in the assessment last decided on (None: the same)."""

    question_id: str
    question: str
    answer: str
    files: tuple[File, ...]
    was: str | None


@dataclass(frozen=True, slots=True)
class Control:
    """One control: the claim on one side, the judgement with its checks on the other."""

    result: ControlResult
    claims: tuple[Claim, ...]
    was: ControlResult | None  # as last decided on, where that was otherwise


@dataclass(frozen=True, slots=True)
class AreaView:
    result: AreaResult
    controls: tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class CheckChange:
    """A check that says something else than when the case was last decided; None: it was not there."""

    id: str
    subject: str
    was: str | None
    now: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerChange:
    question: str
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Since:
    """What changed since people last decided on the product."""

    decision: Decision
    assessment: Assessment
    result: Difference
    checks: tuple[CheckChange, ...]
    answers: tuple[AnswerChange, ...]

    @property
    def nothing(self) -> bool:
        return self.result.empty and not self.checks and not self.answers


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `kind` is a stable word; `subject_id` what it happened to."""

    at: datetime
    kind: str
    title: str
    who: str = ""
    text: str = ""
    state: str = ""
    subject_id: str = ""
    internal: bool = False


@dataclass(frozen=True, slots=True)
class CaseView:
    """Everything about one case."""

    case: Case
    supplier: Supplier
    holder: str | None
    result: Result
    areas: tuple[AreaView, ...]
    findings: tuple[Finding, ...]
    since: Since | None
    submissions: tuple[Submission, ...]
    decisions: tuple[Decision, ...]
    first: Decision | None
    first_conditions: tuple[Condition, ...]
    requests: tuple[ChangeRequest, ...]
    exceptions: tuple[GrantedException, ...]
    events: tuple[Event, ...]
    names: Mapping[str, str]
    must_name: frozenset[str]  # controls that an approval has to name


def find_case(session: Session, number: int) -> Case | None:
    return session.scalars(select(Case).where(Case.number == number)).first()


def case_view(session: Session, clock: Clock, case: Case) -> CaseView:
    """Everything about `case`, as of now."""
    facts, result = Facts.from_json(case.assessment.facts), result_of(case.assessment)
    decisions = session.scalars(
        select(Decision).where(Decision.product_id == case.product_id).order_by(Decision.decided_at)
    ).all()
    before = decided_before(session, case)
    since = _since(session, before, facts, result) if before else None
    submissions = session.scalars(
        select(Submission)
        .where(Submission.product_id == case.product_id, Submission.state != SubmissionState.DRAFT)
        .order_by(Submission.submitted_at.desc(), Submission.id)
    ).all()
    comments = session.scalars(select(Comment).where(Comment.case_id == case.id).order_by(Comment.at)).all()
    assessments = session.execute(
        select(Assessment.id, Assessment.number, Assessment.rating, Assessment.cause, Assessment.created_at)
        .where(Assessment.product_id == case.product_id)
        .order_by(Assessment.number)
    ).all()
    names = people(
        session,
        (
            case.claimed_by,
            *(row.decided_by for row in decisions),
            *(row.author_id for row in comments),
            *(row.submitted_by for row in submissions),
        ),
    )
    first = pending_first(session, case)
    return CaseView(
        case=case,
        supplier=session.get_one(Supplier, case.supplier_id),
        holder=names.get(case.claimed_by or ""),
        result=result,
        areas=areas_of(session, case.supplier_id, facts, result, since),
        findings=_findings(session, case),
        since=since,
        submissions=tuple(submissions),
        decisions=tuple(row for row in decisions if row.case_id == case.id),
        first=first,
        first_conditions=conditions_of(session, first) if first else (),
        requests=tuple(
            session.scalars(
                select(ChangeRequest)
                .join(Decision, Decision.id == ChangeRequest.decision_id)
                .where(ChangeRequest.case_id == case.id)
                .order_by(Decision.decided_at, ChangeRequest.position)
            )
        ),
        exceptions=tuple(
            session.scalars(
                exceptions_in_force(today(clock)).where(GrantedException.product_id == case.product_id)
            )
        ),
        events=tuple(
            sorted(
                (
                    Event(case.opened_at, "case", f"Case {case.number} opened", text=case.why),
                    *_submission_events(submissions, names),
                    *(
                        Event(
                            row.created_at,
                            "assessment",
                            f"Assessment {row.number}",
                            text=row.cause,
                            state=row.rating,
                            subject_id=row.id,
                        )
                        for row in assessments
                    ),
                    *(
                        Event(
                            row.decided_at,
                            "decision",
                            "Decision" if row.effective else "First approval, waits for the second",
                            who=names.get(row.decided_by, ""),
                            text=row.reason,
                            state=row.kind.value,
                            subject_id=row.id,
                        )
                        for row in decisions
                    ),
                    *(
                        Event(
                            row.at,
                            "comment",
                            "Comment" if row.internal else "Comment to the supplier",
                            who=names.get(row.author_id, ""),
                            text=row.text,
                            internal=row.internal,
                        )
                        for row in comments
                    ),
                ),
                key=lambda event: event.at,
                reverse=True,
            )
        ),
        names=names,
        must_name=frozenset(gap.control_id for gap in must_be_named(result)),
    )


def _findings(session: Session, case: Case) -> tuple[Finding, ...]:
    """The findings of the assessment in front, worst first."""
    rows = session.scalars(
        select(Finding).where(Finding.case_id == case.id, Finding.assessment_id == case.assessment_id)
    )
    return tuple(sorted(rows, key=lambda row: (_WORST_FIRST.index(row.severity), row.source, row.text)))


def people(session: Session, ids: Iterable[str | None]) -> dict[str, str]:
    """Names by user id."""
    wanted = {user_id for user_id in ids if user_id is not None}
    rows = session.execute(select(User.id, User.name).where(User.id.in_(wanted))) if wanted else ()
    return {row.id: row.name for row in rows}


def decided_before(session: Session, case: Case) -> Decision | None:
    """The decision that closed the newest earlier case of the product."""
    return session.scalars(
        select(Decision)
        .join(Case, Case.id == Decision.case_id)
        .where(
            Decision.product_id == case.product_id,
            Decision.settled_id.is_not(None),
            Case.number < case.number,
        )
        .order_by(Case.number.desc())
        .limit(1)
    ).first()


def areas_of(
    session: Session, supplier_id: str, facts: Facts, result: Result, since: Since | None = None
) -> tuple[AreaView, ...]:
    """The judgement by area; within it the controls with the claims they rest on."""
    questionnaire = builtin()
    files = _files(session, supplier_id, facts)
    before = Facts.from_json(since.assessment.facts) if since else None
    earlier = {control.id: control for control in result_of(since.assessment).controls} if since else {}
    changed = {change.control_id for change in since.result.controls} if since else set()
    controls: dict[str, list[Control]] = {}
    for judged in result.controls:
        questions = [question for question in questionnaire.questions if judged.id in question.controls]
        controls.setdefault(judged.area, []).append(
            Control(
                result=judged,
                claims=tuple(
                    _claim(question, facts, before, files)
                    for question in questions
                    if question.id in facts.answers
                ),
                was=earlier.get(judged.id) if judged.id in changed else None,
            )
        )
    return tuple(AreaView(area, tuple(controls.get(area.id, ()))) for area in result.areas)


def _claim(question: Question, facts: Facts, before: Facts | None, files: Mapping[str, Evidence]) -> Claim:
    answer = facts.answers[question.id]
    earlier = before.answers.get(question.id) if before else None
    was = question.label(earlier.value) if earlier and earlier.value != answer.value else None
    if before and earlier is None:
        was = "not answered"
    return Claim(
        question_id=question.id,
        question=question.text,
        answer=question.label(answer.value),
        files=tuple(
            File(
                evidence_id=row.id if (row := files.get(fact.digest)) else None,
                name=fact.name,
                digest=fact.digest,
                size=row.size if row else None,
                valid_until=fact.valid_until,
                deleted=row.tombstone.told if row and row.tombstone else None,
            )
            for fact in answer.evidence
        ),
        was=was,
    )


def _files(session: Session, supplier_id: str, facts: Facts) -> dict[str, Evidence]:
    """The vault's rows of the files beside the answers, by digest."""
    wanted = {
        file.digest.removeprefix("sha256:") for answer in facts.answers.values() for file in answer.evidence
    }
    if not wanted:
        return {}
    rows = session.scalars(
        select(Evidence)
        .where(Evidence.supplier_id == supplier_id, Evidence.sha256.in_(wanted))
        .order_by(Evidence.received_at)
    )
    return {f"sha256:{row.sha256}": row for row in rows}


def _since(session: Session, decision: Decision, facts: Facts, result: Result) -> Since:
    assessment = session.get_one(Assessment, decision.settled_id)
    before = Facts.from_json(assessment.facts)
    return Since(
        decision=decision,
        assessment=assessment,
        result=difference(result_of(assessment), result),
        checks=_check_changes(before, facts),
        answers=_answer_changes(builtin(), before, facts),
    )


def _check_changes(before: Facts, now: Facts) -> tuple[CheckChange, ...]:
    """Checks that are new, gone, or say something else. New ones that pass are what one expects: left out."""

    def by_place(facts: Facts) -> dict[tuple[str, str], CheckFact]:
        return {(check.submission_id, check.id): check for check in facts.checks}

    earlier, later = by_place(before), by_place(now)
    changes = []
    for place in sorted(earlier.keys() | later.keys()):
        was, is_now = earlier.get(place), later.get(place)
        check = is_now or was
        expected = was is None and is_now is not None and is_now.outcome in ("pass", "not_applicable")
        if check is None or expected or (was and is_now and was.outcome == is_now.outcome):
            continue
        changes.append(
            CheckChange(
                id=check.id,
                subject=check.subject,
                was=was.outcome if was else None,
                now=is_now.outcome if is_now else None,
                reason=is_now.reason if is_now else "no longer counts: superseded, withdrawn or refused",
            )
        )
    return tuple(changes)


def _answer_changes(questionnaire: Questionnaire, before: Facts, now: Facts) -> tuple[AnswerChange, ...]:
    changes = []
    for question in questionnaire.questions:
        was, is_now = before.answers.get(question.id), now.answers.get(question.id)
        if was == is_now:
            continue
        same_words = (
            was is not None and is_now is not None and _words(question, was) == _words(question, is_now)
        )
        changes.append(
            AnswerChange(
                question.text,
                _words(question, was, digests=same_words),
                _words(question, is_now, digests=same_words),
            )
        )
    return tuple(changes)


def _words(question: Question, answer: AnswerFact | None, *, digests: bool = False) -> str:
    """An answer with the names of its files; with `digests` where the names alone do not tell them apart."""
    if answer is None:
        return "not answered"
    files = [f"{file.name} ({file.digest[7:15]}…)" if digests else file.name for file in answer.evidence]
    return "; ".join([question.label(answer.value), *files])


def _submission_events(submissions: Sequence[Submission], names: Mapping[str, str]) -> list[Event]:
    events = []
    for row in submissions:
        if row.submitted_at is not None:
            who = names.get(row.submitted_by or "", "")
            events.append(
                Event(row.submitted_at, "submission", f"Submitted: {row.title}", who=who, subject_id=row.id)
            )
        if row.verified_at is not None:
            events.append(
                Event(
                    row.verified_at,
                    "check",
                    f"Verified: {row.title}",
                    text=row.failure,
                    state=row.outcome.value if row.outcome else "",
                    subject_id=row.id,
                )
            )
    return events
