"""Facts about a supplier that does everything right, and small ways to spoil them."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import portal.submissions.questionnaires
from portal.policy import questionnaire as forms
from portal.policy.facts import AnswerFact, CheckFact, EvidenceFact, Facts
from portal.policy.model import Policy, builtin
from portal.policy.questionnaire import Questionnaire

TODAY = date(2026, 11, 21)
POLICY: Policy = builtin()
QUESTIONNAIRE: Questionnaire = forms.load(
    Path(portal.submissions.questionnaires.__path__[0]) / "ot_baseline_v1.json"
)

ANSWERS = {
    "sup_maker_name": "Nordhaven Cells AS",
    "sup_maker_country": "NO",
    "sup_maker_address": "Kaigata 4, 4006 Stavanger",
    "sup_factory_cert_expiry": "2028-01-31",
    "fw_algorithm": "ed25519",
    "fw_secure_boot": "hardware_root",
    "upd_channels": "Portal and USB at the controller's service port",
    "acc_remote_access": "per_session",
    "qa_test_report_date": "2025-06-30",
    "res_end_of_sale": "2030-06-30",
    "res_end_of_support": "2038-06-30",
    "inc_contact": "security@nordhaven.example",
    "inc_contact_hours": "always",
}


def perfect_answers() -> dict[str, str]:
    """Every question answered as well as it can be."""
    return {question.id: ANSWERS.get(question.id, "yes") for question in QUESTIONNAIRE.questions}


def files_for(answers: dict[str, str]) -> dict[str, list[str]]:
    """A file name for every answer that needs one."""
    return {
        question.id: [f"{question.id}.pdf"]
        for question in QUESTIONNAIRE.questions
        if question.needs_file(answers.get(question.id, ""))
    }


def answered(answers: dict[str, str], **more: object) -> Facts:
    """Facts from answers, each with the file that it needs."""
    files = files_for(answers)
    facts = Facts(
        answers={
            question: AnswerFact(
                value,
                tuple(EvidenceFact(f"sha256:{len(name):064x}", name) for name in files.get(question, ())),
            )
            for question, value in answers.items()
        }
    )
    return forms.apply_answers(QUESTIONNAIRE, replace(facts, **more))  # type: ignore[arg-type]


def check_ids(kind: str) -> list[str]:
    """The checks of one kind that the policy reads."""
    named = {
        check for control in POLICY.controls for check in (*control.verified_by, *control.contradicted_by)
    }
    return sorted(check for check in named if check.startswith(f"{kind}."))


def submission(kind: str, number: int = 1, **outcomes: str) -> tuple[CheckFact, ...]:
    """All checks of one submission: passed, unless an outcome is given by the name after the dot."""
    return tuple(
        CheckFact(
            id=check,
            outcome=outcomes.get(check.partition(".")[2], "pass"),
            reason="as measured",
            submission_id=f"{kind}-{number}",
            subject=f"{kind} {number}",
            kind=kind,
        )
        for check in check_ids(kind)
    )


def perfect(**more: object) -> Facts:
    """Answered, documented and verified, all of it."""
    checks = submission("firmware") + submission("lot") + submission("attestations")
    facts = replace(answered(perfect_answers()), checks=checks, last_assessed=TODAY - timedelta(days=30))
    return replace(facts, **more)  # type: ignore[arg-type]


def without(facts: Facts, *questions: str) -> Facts:
    """The same, with these questions not answered; what they fed is gone too."""
    answers = {key: answer for key, answer in facts.answers.items() if key not in questions}
    return forms.apply_answers(
        QUESTIONNAIRE, replace(facts, answers=answers, entities=(), dates={}, contacts={})
    )


def reply(facts: Facts, **values: str) -> Facts:
    """The same, with other answers; their files stay."""
    answers = dict(facts.answers) | {
        key: replace(facts.answers.get(key, AnswerFact("")), value=value) for key, value in values.items()
    }
    return forms.apply_answers(
        QUESTIONNAIRE, replace(facts, answers=answers, entities=(), dates={}, contacts={})
    )
