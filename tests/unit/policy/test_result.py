"""Stored results are read back strictly, and differences say was, is, why."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from portal.errors import PolicyError
from portal.policy.evaluate import evaluate
from portal.policy.facts import ExceptionFact, Facts
from portal.policy.model import Rating, Strength
from portal.policy.result import Difference, Result, difference
from tests.unit.policy.builders import POLICY, TODAY, perfect, submission, without


def test_a_result_carries_what_it_was_made_from() -> None:
    result = evaluate(POLICY, perfect(), 1, TODAY)
    assert (result.policy_id, result.policy_version) == (POLICY.id, POLICY.version)
    assert (result.policy_digest, result.facts_digest) == (POLICY.digest, perfect().digest)
    assert result.digest.startswith("sha256:")
    assert evaluate(POLICY, perfect(), 1, TODAY + timedelta(days=1)).digest != result.digest


def test_results_are_canonical_json() -> None:
    stored = evaluate(POLICY, perfect(), 1, TODAY).to_json()
    plain = json.loads(stored)
    assert stored == json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert (plain["rating"], plain["as_of"], plain["tier"]) == ("approvable", "2026-11-21", 1)


def test_a_distrusted_key_shows_as_was_is_and_why() -> None:
    before = evaluate(POLICY, perfect(), 1, TODAY)
    rest = tuple(check for check in perfect().checks if check.kind != "firmware")
    after = evaluate(POLICY, perfect(checks=rest + submission("firmware", key="fail")), 1, TODAY)
    change = difference(before, after)
    assert (change.rating_was, change.rating_now) == (Rating.APPROVABLE, Rating.HIGH_RISK)
    assert (change.knock_outs_added, change.knock_outs_removed) == (("FW-02",), ())
    (control,) = change.controls
    assert (control.control_id, control.was, control.now) == (
        "FW-02",
        Strength.VERIFIED,
        Strength.CONTRADICTED,
    )
    assert (control.was_met, control.now_met) == (True, False)
    assert control.why == ("firmware 1: firmware.key fail: as measured",)
    assert [(area.id, area.was, area.now) for area in change.areas] == [("FW", 100, 83)]
    assert change.needs_person
    assert not change.empty
    assert Difference.from_json(change.to_json()) == change


def test_a_knock_out_whose_exception_ends_needs_a_person() -> None:
    facts = replace(without(perfect(), "inc_contact"), exceptions=(ExceptionFact("INC-01", TODAY),))
    today, tomorrow = (evaluate(POLICY, facts, 1, TODAY + timedelta(days=days)) for days in (0, 1))
    change = difference(today, tomorrow)
    assert change.knock_outs_added == ("INC-01",)
    assert change.needs_person


def test_another_tier_and_another_policy_are_told() -> None:
    one, two = (evaluate(POLICY, perfect(), tier, TODAY) for tier in (1, 2))
    assert difference(one, two).tier_changed
    newer = replace(POLICY, digest="sha256:" + "0" * 64, controls=POLICY.controls[1:])
    change = difference(one, evaluate(newer, perfect(), 1, TODAY))
    assert change.policy_changed
    assert [(c.control_id, c.now, c.why) for c in change.controls] == [
        ("SUP-01", None, ("the policy no longer has this control",))
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"checks": [{"id": "firmware.key"}]}', r"facts: checks\[0\]: expected the member 'outcome'"),
        ('{"answers": {"a": {"value": 1}}}', r"answers.a.value: expected text, found 1"),
        ('{"answers": []}', "answers: expected an object"),
        ('{"last_assessed": "2026-02-30"}', "last_assessed: expected a date YYYY-MM-DD"),
        ('{"last_assessed": "20260230"}', "last_assessed: expected a date YYYY-MM-DD"),
        ('{"dates": {"end_of_sale": 5}}', "dates.end_of_sale: expected a date"),
        ('{"entities": "none"}', "entities: expected a list"),
        ('{"other": 1}', "found 'other'"),
        ('{"checks": [], "checks": []}', "'checks' twice"),
    ],
)
def test_facts_that_are_not_facts_are_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Facts.from_json(text)


def test_a_result_with_a_made_up_rating_is_refused() -> None:
    plain = json.loads(evaluate(POLICY, perfect(), 1, TODAY).to_json())
    plain["rating"] = "splendid"
    with pytest.raises(PolicyError, match=r'rating: expected one of approvable, .*found "splendid"'):
        Result.from_json(json.dumps(plain))
