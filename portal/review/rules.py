"""What a decision must say, and what the policy leaves possible: no database here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from portal.errors import Conflict, Problem
from portal.policy.evaluate import evaluate
from portal.policy.facts import ExceptionFact, Facts
from portal.policy.model import Effect, Strength, builtin
from portal.policy.result import Gap, Result, Severity
from portal.review.models import Assessment, DecisionKind

APPROVALS = (DecisionKind.APPROVE, DecisionKind.APPROVE_WITH_CONDITIONS)
EXCEPTION_DAYS_MAX = 365
REASON_MAX = 10_000
TEXT_MAX = 1000
ROWS_MAX = 50


@dataclass(frozen=True, slots=True)
class Condition:
    """A gap to accept: which control, under what condition, who answers for it, and its last day."""

    control_id: str
    text: str
    owner: str
    expires_on: date


def wording_problems(
    day: date,
    kind: DecisionKind,
    reason: str,
    conditions: Sequence[Condition],
    items: Sequence[str],
    answer_by: date,
    first: DecisionKind | None,
) -> list[Problem]:
    """What is wrong with the form of a decision. `first`: what the first approver decided, if there is
    one."""
    found = [*text_problems("reason", reason, REASON_MAX)]
    if first is not None:
        if kind is not first:
            found.append(
                Problem("kind", first.value, kind.value, "Agree with the first approver, or do not approve.")
            )
        if conditions:
            found.append(
                Problem("conditions", "none", str(len(conditions)), "Those of the first approval stand.")
            )
    elif kind is DecisionKind.APPROVE_WITH_CONDITIONS:
        if not conditions:
            found.append(Problem("conditions", "at least one", "none", "Name the gap and its condition."))
        if len(conditions) > ROWS_MAX:
            found.append(Problem("conditions", f"at most {ROWS_MAX}", str(len(conditions))))
        for index, condition in enumerate(conditions):
            found += _condition_problems(f"conditions[{index}]", condition, day)
        ids = [condition.control_id for condition in conditions]
        found += [
            Problem(f"conditions[{index}].control_id", "each control once", control_id)
            for index, control_id in enumerate(ids)
            if control_id in ids[:index]
        ]
    elif conditions:
        found.append(Problem("conditions", f"none with {kind.value}", str(len(conditions))))
    if kind is DecisionKind.REQUEST_CHANGES:
        if not 1 <= len(items) <= ROWS_MAX:
            found.append(
                Problem("items", f"1 to {ROWS_MAX}", str(len(items)), "Say what the supplier must put right.")
            )
        for index, item in enumerate(items):
            found += text_problems(f"items[{index}]", item, TEXT_MAX)
        if not day <= answer_by <= day + timedelta(days=365):
            found.append(Problem("answer_by", "a day within a year from today", answer_by.isoformat()))
    elif items:
        found.append(Problem("items", f"none with {kind.value}", str(len(items))))
    return found


def _condition_problems(where: str, condition: Condition, day: date) -> list[Problem]:
    found = [
        *text_problems(f"{where}.text", condition.text, TEXT_MAX),
        *text_problems(f"{where}.owner", condition.owner, 200),
    ]
    latest = day + timedelta(days=EXCEPTION_DAYS_MAX)
    if not day < condition.expires_on <= latest:
        found.append(
            Problem(
                f"{where}.expires_on",
                f"a day after {day.isoformat()}, at the latest {latest.isoformat()}",
                condition.expires_on.isoformat(),
            )
        )
    return found


def text_problems(where: str, value: str, limit: int) -> list[Problem]:
    """What is wrong with a text that people must write."""
    if not value.strip():
        return [Problem(where, "a text", "none")]
    if len(value) > limit:
        return [Problem(where, f"at most {limit} characters", str(len(value)))]
    return []


def left_open(
    assessment: Assessment, kind: DecisionKind, conditions: Sequence[Condition], day: date
) -> list[Problem]:
    """What speaks against this approval of `assessment`."""
    now = Result.from_json(assessment.result)
    if rejected := [item for item in now.knock_outs if item.effect is Effect.REJECT]:
        return [
            Problem(
                "kind",
                "a product that the policy does not reject",
                f"{item.control_id} {item.title}",
                item.closes,
            )
            for item in rejected
        ]
    gaps = {gap.control_id: gap for gap in now.gaps}
    found = [
        Problem(
            f"conditions[{index}].control_id",
            "a control that is not met",
            condition.control_id,
            "There is nothing to accept.",
        )
        for index, condition in enumerate(conditions)
        if condition.control_id not in gaps
    ]
    fix = (
        "Name a condition for it."
        if kind is DecisionKind.APPROVE_WITH_CONDITIONS
        else "Approve with a condition for it, or ask for changes."
    )
    found += [
        Problem("conditions", f"{gap.control_id} {gap.title}: met or accepted", gap.why, fix)
        for gap in must_be_named(foreseen(assessment, conditions, day))
    ]
    return found


def must_be_named(result: Result) -> tuple[Gap, ...]:
    """The open gaps that an approval has to name: required ones, knock-outs, and proof of the opposite."""
    return tuple(
        gap
        for gap in result.gaps
        if gap.accepted_until is None
        and (gap.severity is not Severity.EXPECTED or gap.strength is Strength.CONTRADICTED)
    )


def foreseen(assessment: Assessment, conditions: Sequence[Condition], day: date) -> Result:
    """The assessment as it would be with an approval in effect: its conditions granted, its changes decided
    on.

    Raises Conflict when the policy is no longer the one that was applied.
    """
    policy = builtin()
    if policy.digest != assessment.policy_digest:
        raise Conflict(
            "the policy is another one since this assessment was made: assess the product again first"
        )
    facts = Facts.from_json(assessment.facts)
    exceptions = tuple(ExceptionFact(condition.control_id, condition.expires_on) for condition in conditions)
    facts = replace(facts, changes=(), last_assessed=day, exceptions=(*facts.exceptions, *exceptions))
    return evaluate(policy, facts, assessment.tier, day)
