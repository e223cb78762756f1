"""A questionnaire and a policy must agree: what one reads, the other asks."""

from portal.errors import PolicyError
from portal.policy.model import Policy
from portal.policy.questionnaire import EvidenceRule, Question, Questionnaire, QuestionType


def check_against(questionnaire: Questionnaire, policy: Policy) -> None:
    """Raises PolicyError unless each refers to the other rightly: no question or answer that the policy reads
    is missing, and every question names the controls that read it.
    """
    for fault in _mismatches(questionnaire, policy):
        raise PolicyError(f"questionnaire {questionnaire.id} and policy {policy.id}: {fault}")


def _mismatches(questionnaire: Questionnaire, policy: Policy) -> list[str]:
    faults = []
    known = {control.id for control in policy.controls}
    for question in questionnaire.questions:
        faults += [
            f"{question.id} names {name}, which the policy has not"
            for name in sorted(set(question.controls) - known)
        ]
    fed: dict[str, list[Question]] = {}
    for question in questionnaire.questions:
        if question.feeds:
            kind, name = question.feeds.split(".")[:2]
            fed.setdefault(f"{kind}.{name}", []).append(question)
    for control in policy.controls:
        read: list[Question | None] = []
        for claim in control.claimed_by:
            if claim.fact and claim.fact not in fed:
                faults.append(f"{control.id} needs {claim.fact}, which no question feeds")
            read += fed.get(claim.fact or "", [])
            if claim.question:
                question_or_none = questionnaire.question(claim.question)
                read.append(question_or_none)
                faults += _unknown_answers(control.id, question_or_none, claim.answers)
        if control.unless:
            faults += _unknown_answers(
                control.id, questionnaire.question(control.unless.question), control.unless.answers
            )
        if document := control.documented_by:
            asked = questionnaire.question(document.question)
            read.append(asked)
            if asked and asked.evidence is EvidenceRule.NONE:
                faults.append(f"{control.id} is documented by {asked.id}, which takes no files")
            for dated in (document.issued_on, document.expires_on):
                day = questionnaire.question(dated) if dated else None
                if dated and (day is None or day.type is not QuestionType.DATE):
                    faults.append(f"{control.id} reads the date {dated}, which no question of type date asks")
                read += [day] if day else []
        faults += [
            f"{control.id} reads {question.id}, which does not name it"
            for question in read
            if question and control.id not in question.controls
        ]
    have = {question.id for question in questionnaire.questions}
    return [
        f"the policy reads {name}, which is not asked" for name in sorted(policy.questions() - have)
    ] + faults


def _unknown_answers(control_id: str, question: Question | None, answers: tuple[str, ...]) -> list[str]:
    if question is None or not question.options:
        return []
    unknown = set(answers) - {choice.value for choice in question.options}
    return [f"{control_id} counts {name!r}, which {question.id} does not offer" for name in sorted(unknown)]
