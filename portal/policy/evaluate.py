"""Facts in, assessment out: pure and deterministic. Averages never hide a failed must-have.

Steps, in this order and so numbered below:
1. each control: does it apply, how strongly is it backed, is that enough;
2. scores per area and overall, from controls that apply;
3. knock-outs and gaps, with the exceptions that accept them;
4. the rating: the worst of what knock-outs and gaps leave.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from fractions import Fraction

from portal.errors import PolicyError
from portal.policy.facts import Facts
from portal.policy.judge import accepted_until, assessment_current, judge, rounded
from portal.policy.model import TIERS, Area, Policy, Rating, Requirement, Strength
from portal.policy.result import AreaResult, ControlResult, Gap, KnockOutResult, Result, Severity


def evaluate(policy: Policy, facts: Facts, tier: int, today: date) -> Result:
    """Apply `policy` for a use of `tier` (1, 2, 3) on the day `today`. Raises PolicyError on another tier."""
    if tier not in TIERS:
        raise PolicyError(f"tier: expected 1, 2 or 3, found {tier!r}")
    given = facts.in_order()
    checks = (*given.checks, assessment_current(policy, given, today))
    seen = replace(given, checks=checks)
    accepted = accepted_until(given, today)
    controls = tuple(judge(policy, control, seen, tier, today, accepted) for control in policy.controls)
    in_area = {area.id: [control for control in controls if control.area == area.id] for area in policy.areas}
    knock_outs, gaps = _shortfalls(policy, controls, tier)
    rating, rating_reasons = _rating(policy, knock_outs, gaps)
    return Result(
        rating=rating,
        rating_reasons=rating_reasons,
        tier=tier,
        as_of=today,
        score=_mean((area.weight, _exact(in_area[area.id])) for area in policy.areas),
        areas=tuple(_area(area, in_area[area.id]) for area in policy.areas),
        controls=controls,
        knock_outs=knock_outs,
        gaps=gaps,
        policy_id=policy.id,
        policy_version=policy.version,
        policy_digest=policy.digest,
        facts_digest=given.digest,
    )


# 2. Scores: exact until the end, then rounded half up.


def _exact(controls: Sequence[ControlResult]) -> Fraction | None:
    scored = [(control.weight, control.score) for control in controls if control.score is not None]
    weight = sum(weight for weight, _ in scored)
    return Fraction(sum(weight * score for weight, score in scored), weight) if weight else None


def _mean(weighted: Iterable[tuple[int, Fraction | None]]) -> int | None:
    scored = [(weight, score) for weight, score in weighted if score is not None]
    weight = sum(weight for weight, _ in scored)
    total = sum((weight * score for weight, score in scored), Fraction(0))
    return rounded(total / weight) if weight else None


def _area(area: Area, controls: Sequence[ControlResult]) -> AreaResult:
    score = _exact(controls)
    return AreaResult(
        id=area.id,
        title=area.title,
        weight=area.weight,
        score=None if score is None else rounded(score),
        met=sum(control.met for control in controls),
        unmet=sum(
            control.applies and not control.met and control.accepted_until is None for control in controls
        ),
        accepted=sum(control.accepted_until is not None for control in controls),
        waiting=sum(not control.applies for control in controls),
    )


# 3. Knock-outs and gaps.


def _shortfalls(
    policy: Policy, controls: Sequence[ControlResult], tier: int
) -> tuple[tuple[KnockOutResult, ...], tuple[Gap, ...]]:
    knock_outs: list[KnockOutResult] = []
    gaps: list[Gap] = []
    for judged in controls:
        if not judged.applies or judged.met:
            continue
        control = policy.control(judged.id)
        why = "; ".join(judged.reasons)
        severity = Severity.REQUIRED if judged.requirement is Requirement.REQUIRED else Severity.EXPECTED
        if knock_out := control.knocks_out(tier):
            severity = Severity.KNOCK_OUT
            knock_outs.append(
                KnockOutResult(
                    control.id, control.title, knock_out.effect, why, control.closes, judged.accepted_until
                )
            )
        gaps.append(
            Gap(
                control_id=control.id,
                area=control.area,
                title=control.title,
                requirement=judged.requirement,
                strength=judged.strength,
                severity=severity,
                why=why,
                matters=control.why,
                closes=control.closes,
                accepted_until=judged.accepted_until,
            )
        )
    weights = {control.id: control.weight for control in controls}
    gaps.sort(key=lambda gap: (gap.severity.rank, -weights[gap.control_id], gap.control_id))
    return tuple(knock_outs), tuple(gaps)


# 4. The rating.


def _rating(
    policy: Policy, knock_outs: Sequence[KnockOutResult], gaps: Sequence[Gap]
) -> tuple[Rating, tuple[str, ...]]:
    effects = {knock_out.control_id: Rating(knock_out.effect) for knock_out in knock_outs}
    left: list[tuple[Rating, str]] = []
    for gap in gaps:
        cap = effects.get(gap.control_id) or _cap(policy, gap)
        if cap is Rating.APPROVABLE:
            continue
        if gap.accepted_until is None:
            left.append((cap, f"{gap.control_id} {gap.title}: {gap.why}"))
        else:
            cap = min(cap, policy.caps.accepted, key=lambda rating: rating.rank)
            left.append(
                (cap, f"{gap.control_id} {gap.title}: accepted until {gap.accepted_until.isoformat()}")
            )
    if not left:
        return Rating.APPROVABLE, ("every required control is met",)
    rating = max((cap for cap, _ in left), key=lambda cap: cap.rank)
    return rating, tuple(reason for cap, reason in left if cap is rating)


def _cap(policy: Policy, gap: Gap) -> Rating:
    """The best rating that a gap without knock-out leaves."""
    contradicted = gap.strength is Strength.CONTRADICTED
    if gap.requirement is Requirement.REQUIRED:
        return policy.caps.required_contradicted if contradicted else policy.caps.required_unmet
    return policy.caps.expected_contradicted if contradicted else Rating.APPROVABLE
