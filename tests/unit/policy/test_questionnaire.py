"""The questionnaire: what is asked, what may be answered, what is missing, and what answers become."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portal.submissions.questionnaires
from portal.errors import PolicyError
from portal.policy.agreement import check_against
from portal.policy.facts import AnswerFact, EntityFact, Facts
from portal.policy.model import load as load_policy
from portal.policy.questionnaire import (
    QuestionType,
    answer_problem,
    apply_answers,
    load,
    problems,
    progress,
    visible,
)
from tests.unit.policy.builders import POLICY, QUESTIONNAIRE, files_for, perfect_answers

PATH = Path(portal.submissions.questionnaires.__path__[0]) / "ot_baseline_v1.json"
PLAIN: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
POLICY_PLAIN: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "portal/policy/data/policy_v1.json").read_text(encoding="utf-8")
)


def question(plain: dict[str, Any], question_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in plain["questions"] if item["id"] == question_id)
    return found


def asked(question_id: str) -> Any:
    found = QUESTIONNAIRE.question(question_id)
    assert found is not None
    return found


# The data.


def test_questionnaire_and_policy_refer_to_each_other_rightly() -> None:
    check_against(QUESTIONNAIRE, POLICY)
    assert 22 <= len(QUESTIONNAIRE.questions) <= 30


def test_every_knock_out_of_the_catalogue_is_claimed_by_a_question(catalogue_knock_outs: set[str]) -> None:
    claimed = {control for item in QUESTIONNAIRE.questions for control in item.controls}
    assert len(catalogue_knock_outs) == 9
    assert catalogue_knock_outs <= claimed
    assert {control.id for control in POLICY.controls if control.knock_out} == catalogue_knock_outs


def test_every_control_that_can_be_claimed_is_asked_about() -> None:
    asked_about = {control for item in QUESTIONNAIRE.questions for control in item.controls}
    assert {control.id for control in POLICY.controls if control.claimed_by} <= asked_about


def test_the_digest_is_of_the_content() -> None:
    assert load(json.dumps(PLAIN)).digest == QUESTIONNAIRE.digest
    other = copy.deepcopy(PLAIN)
    question(other, "fw_signing")["help"] += " More."
    assert load(json.dumps(other)).digest != QUESTIONNAIRE.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["questions"].append(p["questions"][0]), "sup_maker_name: expected each id once"),
        (lambda p: question(p, "fw_signing").update(id="FW signing"), "an id of a-z"),
        (lambda p: question(p, "fw_signing").update(section="ZZ"), "a known section, not 'ZZ'"),
        (lambda p: question(p, "fw_signing").update(type="number"), "type: expected one of yes_no"),
        (lambda p: question(p, "fw_signing").update(evidence="some"), "evidence: expected one of required"),
        (
            lambda p: question(p, "fw_signing").update(evidence_when=["maybe"]),
            "evidence_when out of the choices",
        ),
        (lambda p: question(p, "fw_signing").update(evidence="none"), "evidence_when with evidence required"),
        (
            lambda p: question(p, "fw_signing").update(choices=[{"value": "a", "label": "A"}]),
            "choices for type choice",
        ),
        (lambda p: question(p, "fw_signing").update(controls=[]), "at least one control"),
        (lambda p: question(p, "fw_algorithm").pop("choices"), "choices for type choice"),
        (
            lambda p: question(p, "fw_algorithm")["choices"].append({"value": "ed25519", "label": "B"}),
            "each choice once",
        ),
        (
            lambda p: question(p, "fw_algorithm")["visible_if"].update(question="fw_rollback"),
            "an earlier question",
        ),
        (
            lambda p: question(p, "fw_algorithm")["visible_if"].update(question="fw_algorithm"),
            "an earlier question",
        ),
        (
            lambda p: question(p, "fw_algorithm")["visible_if"].update(answers=["si"]),
            "answers that can be chosen",
        ),
        (
            lambda p: question(p, "fw_algorithm")["visible_if"].update(answers=[]),
            "answers that can be chosen",
        ),
        (lambda p: question(p, "sup_maker_country").update(pattern="["), "a regular expression"),
        (lambda p: question(p, "sup_maker_country").update(pattern_words=""), "pattern and pattern_words"),
        (lambda p: question(p, "sup_maker_country").update(max_length=0), "max_length from 1 to 2000"),
        (lambda p: question(p, "sup_maker_country").update(feeds="moon.phase"), "feeds of a known form"),
        (
            lambda p: question(p, "sup_maker_country").update(feeds="date.end"),
            "type date where a date is fed",
        ),
        (
            lambda p: question(p, "sup_maker_country").update(feeds="entity.manufacturer.name"),
            "each fact fed once",
        ),
        (lambda p: p["sections"].append({"id": "ZZ", "title": "Empty"}), "found none in ZZ"),
        (lambda p: p["sections"].append(p["sections"][0]), "sections: expected each id once"),
        (lambda p: p.update(extra=1), "found 'extra'"),
        (lambda p: p.update(digest=""), "no member 'digest'"),
    ],
)
def test_a_questionnaire_that_does_not_hold_is_refused(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    plain = copy.deepcopy(PLAIN)
    change(plain)
    with pytest.raises(PolicyError, match=message):
        load(json.dumps(plain))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: question(p, "fw_signing").update(controls=["FW-99"]), "fw_signing names FW-99"),
        (
            lambda p: question(p, "fw_rollback").update(controls=["FW-06"]),
            "FW-05 reads fw_rollback, which does not",
        ),
        (lambda p: question(p, "inc_contact").pop("feeds"), "INC-01 needs contact.security"),
        (lambda p: question(p, "fw_algorithm")["choices"].pop(0), "FW-03 counts 'ed25519'"),
        (lambda p: question(p, "upd_channels").pop("evidence"), "UPD-01 is documented by upd_channels"),
        (
            lambda p: question(p, "qa_test_report_date").update(type="text"),
            "QA-01 reads the date qa_test_report_date",
        ),
        (
            lambda p: question(p, "eol_data_removal").update(id="eol"),
            "reads eol_data_removal, which is not asked",
        ),
    ],
)
def test_a_questionnaire_that_the_policy_cannot_read_is_refused(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    plain = copy.deepcopy(PLAIN)
    change(plain)
    with pytest.raises(PolicyError, match=message):
        check_against(load(json.dumps(plain)), POLICY)


def test_a_policy_that_counts_an_answer_nobody_can_give_is_refused() -> None:
    plain = copy.deepcopy(POLICY_PLAIN)
    control = next(item for item in plain["controls"] if item["id"] == "ACC-02")
    control["unless"]["answers"] = ["never"]
    with pytest.raises(PolicyError, match="ACC-02 counts 'never', which acc_remote_access does not offer"):
        check_against(QUESTIONNAIRE, load_policy(json.dumps(plain)))


# Visible questions.


def test_follow_ups_show_only_for_the_answers_that_ask_for_them() -> None:
    follow_ups = {item.id for item in QUESTIONNAIRE.questions if item.visible_if}
    assert follow_ups == {
        "sup_factory_cert_expiry",
        "fw_algorithm",
        "fw_key_registered",
        "acc_mfa",
        "qa_test_report_date",
    }
    assert not follow_ups & {item.id for item in visible(QUESTIONNAIRE, {})}
    assert {item.id for item in visible(QUESTIONNAIRE, {"fw_signing": "yes"})} & follow_ups == {
        "fw_algorithm",
        "fw_key_registered",
    }


def test_a_follow_up_of_a_hidden_question_is_hidden() -> None:
    plain = copy.deepcopy(PLAIN)
    question(plain, "fw_rollback")["visible_if"] = {"question": "fw_algorithm", "answers": ["ed25519"]}
    chained = load(json.dumps(plain))
    answers = {"fw_signing": "no", "fw_algorithm": "ed25519"}
    assert "fw_rollback" not in {item.id for item in visible(chained, answers)}
    assert "fw_rollback" in {item.id for item in visible(chained, answers | {"fw_signing": "yes"})}


# Answers.


@pytest.mark.parametrize(
    ("question_id", "value"),
    [
        ("fw_signing", "yes"),
        ("fw_signing", ""),
        ("fw_algorithm", "rsa_3072"),
        ("sup_maker_name", "Société Générale d'Énergie 電池\nLine two"),
        ("sup_maker_name", "x" * 200),
        ("sup_maker_country", "NO"),
        ("res_end_of_support", "2038-02-28"),
        ("inc_contact", "first.last+sec@a-b.example.co"),
    ],
)
def test_a_good_answer_has_no_problem(question_id: str, value: str) -> None:
    assert answer_problem(asked(question_id), value) is None


@pytest.mark.parametrize(
    ("question_id", "value", "expected"),
    [
        ("fw_signing", "Yes", "one of yes, no"),
        ("fw_signing", True, "one of yes, no"),
        ("fw_signing", None, "one of yes, no"),
        ("fw_algorithm", "sha1", "one of ed25519"),
        ("sup_maker_name", "x" * 201, "at most 200 characters"),
        ("sup_maker_name", "  \n ", "text"),
        ("sup_maker_name", "a\x00b", "text"),
        ("sup_maker_name", "a\x1bb", "text"),
        ("sup_maker_name", "a\ud800b", "text"),
        ("sup_maker_country", "no", "two capital letters"),
        ("sup_maker_country", "N1", "two capital letters"),
        ("sup_maker_country", "NOR", "at most 2 characters"),
        ("res_end_of_support", "2038-02-30", "a date YYYY-MM-DD"),
        ("res_end_of_support", "20380228", "a date YYYY-MM-DD"),
        ("res_end_of_support", "2038-W08-1", "a date YYYY-MM-DD"),
        ("res_end_of_support", "28.02.2038", "a date YYYY-MM-DD"),
        ("res_end_of_support", "٢٠٣٨-٠٢-٢٨", "a date YYYY-MM-DD"),
        ("res_end_of_support", "0203-02-28", "from 1990 to 2100"),
        ("res_end_of_support", "2038-02-28\n", "a date YYYY-MM-DD"),
        ("inc_contact", "nobody", "an e-mail address"),
        ("inc_contact", "a@b", "an e-mail address"),
        ("inc_contact", "a b@example.com", "an e-mail address"),
        ("inc_contact", "a@example.com\nBcc: x@example.com", "an e-mail address"),
        ("inc_contact", "a..b@example.com", "an e-mail address"),
        ("inc_contact", "a" * 65 + "@example.com", "an e-mail address"),
        ("inc_contact", "a@" + "b." * 130 + "com", "at most 254 characters"),
    ],
)
def test_a_bad_answer_is_told_with_what_was_expected(question_id: str, value: object, expected: str) -> None:
    problem = answer_problem(asked(question_id), value)
    assert problem is not None
    assert problem.where == question_id
    assert expected in problem.expected
    assert len(problem.found) < 100


@given(value=st.text(max_size=300) | st.none() | st.integers() | st.lists(st.text()))
@settings(max_examples=200, deadline=None)
def test_no_answer_makes_the_check_stumble(value: object) -> None:
    for item in QUESTIONNAIRE.questions:
        problem = answer_problem(item, value)
        if problem is None and value and item.type is QuestionType.DATE:
            assert date.fromisoformat(str(value)).year >= 1990


# Problems and progress.


def test_a_complete_questionnaire_has_no_problem_and_full_progress() -> None:
    answers = perfect_answers()
    assert problems(QUESTIONNAIRE, answers, files_for(answers)) == ()
    done = progress(QUESTIONNAIRE, answers, files_for(answers))
    assert (done.done, done.total, done.percent) == (29, 29, 100)


def test_an_empty_questionnaire_lists_every_visible_required_question() -> None:
    found = problems(QUESTIONNAIRE, {}, {})
    assert [problem.where for problem in found] == [item.id for item in visible(QUESTIONNAIRE, {})]
    assert all(problem.expected == "an answer" for problem in found)
    assert progress(QUESTIONNAIRE, {}, {}).percent == 0


def test_a_missing_file_is_a_problem_only_where_the_answer_needs_one() -> None:
    answers = perfect_answers()
    files = files_for(answers)
    del files["fw_signing"]
    (problem,) = problems(QUESTIONNAIRE, answers, files)
    assert (problem.where, problem.expected, problem.found) == ("fw_signing", "an attached file", "none")
    assert problems(QUESTIONNAIRE, answers, files | {"fw_signing": []}) == (problem,)
    assert problems(QUESTIONNAIRE, answers | {"fw_signing": "no"}, files) == ()
    assert progress(QUESTIONNAIRE, answers, files).percent == 96
    assert progress(QUESTIONNAIRE, answers | {"fw_signing": "no"}, files).total == 27


def test_a_wrong_answer_is_a_problem_even_when_it_is_there() -> None:
    answers = perfect_answers() | {"inc_contact": "nobody"}
    (problem,) = problems(QUESTIONNAIRE, answers, files_for(answers))
    assert (problem.where, problem.found) == ("inc_contact", "'nobody'")


def test_answers_and_files_to_unknown_questions_are_named() -> None:
    answers = perfect_answers()
    found = problems(QUESTIONNAIRE, answers | {"zzz": "1"}, files_for(answers) | {"yyy": ["a.pdf"]})
    assert [problem.where for problem in found] == ["yyy", "zzz"]


def test_a_wrong_answer_to_a_hidden_question_is_nobodys_problem() -> None:
    answers = perfect_answers() | {"acc_remote_access": "none", "acc_mfa": "perhaps"}
    assert problems(QUESTIONNAIRE, answers, files_for(answers)) == ()


# What answers become.


def facts_of(answers: dict[str, str], **more: Any) -> Facts:
    facts = Facts(answers={key: AnswerFact(value) for key, value in answers.items()})
    return apply_answers(QUESTIONNAIRE, replace(facts, **more))


def test_answers_feed_maker_dates_and_contact() -> None:
    facts = facts_of(perfect_answers())
    assert facts.entities == (EntityFact("manufacturer", "Nordhaven Cells AS", "NO"),)
    assert facts.dates == {"end_of_sale": date(2030, 6, 30), "end_of_support": date(2038, 6, 30)}
    assert facts.contacts == {"security": "security@nordhaven.example"}


def test_hidden_wrong_and_unknown_answers_are_dropped() -> None:
    answers = {
        "fw_signing": "no",
        "fw_algorithm": "ed25519",
        "inc_contact": "nobody",
        "zzz": "1",
        "upd_channels": "",
    }
    facts = facts_of(answers)
    assert set(facts.answers) == {"fw_signing"}
    assert facts.contacts == {}


def test_an_answer_never_overrules_a_record() -> None:
    recorded = facts_of(
        perfect_answers(),
        entities=(EntityFact("manufacturer", "Recorded AG", "CH"),),
        dates={"end_of_support": date(2027, 1, 1)},
        contacts={"security": "recorded@example.com"},
    )
    assert recorded.entities == (EntityFact("manufacturer", "Recorded AG", "CH"),)
    assert recorded.dates["end_of_support"] == date(2027, 1, 1)
    assert recorded.contacts["security"] == "recorded@example.com"
    assert apply_answers(QUESTIONNAIRE, recorded) == recorded


def test_a_country_without_a_name_names_nobody() -> None:
    assert facts_of({"sup_maker_country": "NO"}).entities == ()


def test_labels_and_sections_are_for_people() -> None:
    assert asked("fw_signing").label("yes") == "Yes"
    assert asked("fw_algorithm").label("ecdsa_p256") == "ECDSA P-256"
    assert asked("sup_maker_name").label("Nordhaven") == "Nordhaven"
    assert [item.id for item in QUESTIONNAIRE.in_section("EOL")] == ["eol_data_removal"]
