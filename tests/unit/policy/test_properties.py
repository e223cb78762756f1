"""What must hold for every policy result, whatever the facts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.policy.evaluate import evaluate
from portal.policy.facts import (
    AnswerFact,
    ChangeFact,
    CheckFact,
    EntityFact,
    EvidenceFact,
    ExceptionFact,
    Facts,
)
from portal.policy.model import Rating, Requirement, Strength
from portal.policy.questionnaire import QuestionType, apply_answers
from portal.policy.result import Result, difference
from tests.unit.policy.builders import ANSWERS, POLICY, QUESTIONNAIRE, TODAY, check_ids, perfect

OUTCOMES = ["pass", "fail", "warn", "unreadable", "not_applicable", "not_run"]
KINDS = ["firmware", "lot", "attestations"]
DAYS = st.integers(-800, 3000).map(lambda days: TODAY + timedelta(days=days))

evidence = st.builds(
    EvidenceFact,
    digest=st.integers(0, 3).map(lambda number: f"sha256:{number:064x}"),
    name=st.sampled_from(["a.pdf", "b.pdf"]),
    valid_until=st.none() | DAYS,
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, AnswerFact]:
    given_answers = {}
    for question in QUESTIONNAIRE.questions:
        if draw(st.integers(0, 4)) == 0:
            continue
        if question.options:
            value = draw(st.sampled_from([choice.value for choice in question.options]))
        elif question.type is QuestionType.DATE:
            value = draw(DAYS).isoformat()
        else:
            value = ANSWERS[question.id]
        given_answers[question.id] = AnswerFact(value, tuple(draw(st.lists(evidence, max_size=2))))
    return given_answers


@st.composite
def checks(draw: st.DrawFn) -> tuple[CheckFact, ...]:
    """Submissions with all their checks; most pass, so that the good paths are walked too."""
    found = []
    for kind in KINDS:
        for number in range(draw(st.integers(0, 2))):
            for check in check_ids(kind):
                outcome = draw(st.sampled_from(["pass"] * 8 + OUTCOMES))
                found.append(CheckFact(check, outcome, "r", f"{kind}-{number}", f"{kind} {number}", kind))
    return tuple(found)


exceptions = st.lists(
    st.builds(ExceptionFact, st.sampled_from([control.id for control in POLICY.controls]), DAYS), max_size=6
).map(tuple)


@st.composite
def all_facts(draw: st.DrawFn) -> Facts:
    start = perfect().answers if draw(st.booleans()) else draw(answers())
    return apply_answers(
        QUESTIONNAIRE,
        Facts(
            answers=start,
            checks=draw(checks()),
            entities=tuple(draw(st.lists(st.just(EntityFact("distributor", "D", "DE")), max_size=1))),
            last_assessed=draw(st.none() | st.just(TODAY - timedelta(days=20)) | DAYS),
            changes=tuple(draw(st.lists(st.just(ChangeFact("bom", TODAY)), max_size=1))),
            exceptions=draw(exceptions),
        ),
    )


tiers = st.sampled_from([1, 2, 3])
thorough = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def judged(facts: Facts, tier: int) -> Result:
    return evaluate(POLICY, facts, tier, TODAY)


def assert_not_better(worse: Result, better: Result) -> None:
    """In nothing that is judged is `worse` better."""
    assert worse.rating.rank >= better.rating.rank
    assert (worse.score or 0) <= (better.score or 0)
    assert {k.control_id for k in worse.knock_outs} >= {k.control_id for k in better.knock_outs}
    for low, high in zip(worse.controls, better.controls, strict=True):
        if low.applies and high.applies:
            assert low.strength.rank <= high.strength.rank, low.id
            assert low.met <= high.met, low.id


@given(facts=all_facts(), tier=tiers, data=st.data())
@thorough
def test_turning_a_check_into_a_pass_never_makes_it_worse(facts: Facts, tier: int, data: Any) -> None:
    if not facts.checks:
        return
    at = data.draw(st.integers(0, len(facts.checks) - 1))
    passed = replace(facts.checks[at], outcome="pass")
    better = replace(facts, checks=(*facts.checks[:at], passed, *facts.checks[at + 1 :]))
    assert_not_better(judged(facts, tier), judged(better, tier))


@given(facts=all_facts(), tier=tiers, kind=st.sampled_from(KINDS), number=st.integers(0, 3))
@thorough
def test_one_more_submission_that_passes_everything_never_makes_it_worse(
    facts: Facts, tier: int, kind: str, number: int
) -> None:
    more = tuple(
        CheckFact(check, "pass", "r", f"more-{number}", "one more", kind) for check in check_ids(kind)
    )
    assert_not_better(judged(facts, tier), judged(replace(facts, checks=facts.checks + more), tier))


@given(
    facts=all_facts(),
    tier=tiers,
    check=st.sampled_from([check for kind in KINDS for check in check_ids(kind)]),
    number=st.integers(0, 3),
)
@thorough
def test_a_failing_check_never_improves_anything(facts: Facts, tier: int, check: str, number: int) -> None:
    kind = check.partition(".")[0]
    failed = CheckFact(check, "fail", "it failed", f"{kind}-{number}", f"{kind} {number}", kind)
    assert_not_better(judged(replace(facts, checks=(*facts.checks, failed)), tier), judged(facts, tier))


@given(facts=all_facts(), tier=tiers, outcome=st.sampled_from(OUTCOMES[1:]), data=st.data())
@thorough
def test_only_pass_verifies(facts: Facts, tier: int, outcome: str, data: Any) -> None:
    if not facts.checks:
        return
    at = data.draw(st.integers(0, len(facts.checks) - 1))
    changed = replace(facts.checks[at], outcome=outcome)
    result = judged(replace(facts, checks=(*facts.checks[:at], changed, *facts.checks[at + 1 :])), tier)
    for control in result.controls:
        if control.strength is Strength.VERIFIED:
            assert {c.outcome for c in control.checks if c.id in POLICY.control(control.id).verified_by} <= {
                "pass",
                "not_applicable",
            }
            assert any(c.outcome == "pass" for c in control.checks)


@given(facts=all_facts(), tier=tiers)
@thorough
def test_knock_outs_and_must_haves_decide_the_rating_whatever_the_score(facts: Facts, tier: int) -> None:
    result = judged(facts, tier)
    active = [item for item in result.knock_outs if item.accepted_until is None]
    for item in active:
        assert result.rating.rank >= Rating(item.effect).rank
    assert (result.rating is Rating.REJECT) == any(item.effect == "reject" for item in active)
    for control in result.controls:
        if control.applies and not control.met:
            assert control.id in {gap.control_id for gap in result.gaps}
            if control.requirement is Requirement.REQUIRED:
                assert result.rating is not Rating.APPROVABLE
            if control.strength is Strength.CONTRADICTED:
                assert (control.score, result.rating is Rating.APPROVABLE) == (0, False)
    assert result.rating_reasons


@given(facts=all_facts(), tier=tiers)
@thorough
def test_exceptions_never_make_it_worse_and_never_lift_a_reject(facts: Facts, tier: int) -> None:
    bare = judged(replace(facts, exceptions=()), tier)
    accepted = judged(facts, tier)
    assert accepted.rating.rank <= bare.rating.rank
    assert (accepted.rating is Rating.REJECT) == (bare.rating is Rating.REJECT)
    assert [gap.control_id for gap in accepted.gaps] == [gap.control_id for gap in bare.gaps]
    assert accepted.score == bare.score
    if accepted.gaps and bare.rating is not Rating.APPROVABLE:
        assert accepted.rating is not Rating.APPROVABLE


@given(facts=all_facts(), tier=tiers, data=st.data())
@thorough
def test_the_same_facts_give_the_same_bytes_in_any_order(facts: Facts, tier: int, data: Any) -> None:
    def shuffled(items: Any) -> tuple[Any, ...]:
        return tuple(data.draw(st.permutations(list(items) + list(items)[:1])))

    other = replace(
        facts,
        answers={key: facts.answers[key] for key in shuffled(facts.answers)},
        checks=shuffled(facts.checks),
        entities=shuffled(facts.entities),
        exceptions=shuffled(facts.exceptions),
    )
    assert other.to_json() == facts.to_json()
    stored = Facts.from_json(facts.to_json())
    result = judged(facts, tier)
    assert judged(other, tier).to_json() == result.to_json() == judged(stored, tier).to_json()
    assert Result.from_json(result.to_json()) == result
    assert result.facts_digest == facts.digest
    assert difference(result, judged(stored, tier)).empty


@given(before=all_facts(), after=all_facts(), tier=tiers)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_difference_names_all_that_changed(before: Facts, after: Facts, tier: int) -> None:
    was, now = judged(before, tier), judged(after, tier)
    there, back = difference(was, now), difference(now, was)
    assert (there.knock_outs_added, there.knock_outs_removed) == (
        back.knock_outs_removed,
        back.knock_outs_added,
    )
    assert {c.control_id for c in there.controls} == {c.control_id for c in back.controls}
    changed = {c.control_id for c in there.controls}
    for old, new in zip(was.controls, now.controls, strict=True):
        same = (old.applies, old.strength, old.met) == (new.applies, new.strength, new.met)
        assert same or old.id in changed
    assert there.needs_person >= (was.rating is not now.rating)
