"""Facts in, assessment out: pure and deterministic. Averages never hide a failed must-have.

Steps, in this order and so numbered below:
1. each control: does it apply, how strongly is it backed, is that enough;
2. scores per area and overall, from controls that apply;
3. knock-outs and gaps, with the exceptions that accept them;
4. the rating: the worst of what knock-outs and gaps leave.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

from portal.errors import PolicyError
from portal.policy.facts import AnswerFact, CheckFact, Facts
from portal.policy.model import (
    FULL_SCORE,
    TIERS,
    Area,
    Claim,
    Condition,
    Control,
    Document,
    Effect,
    Policy,
    Rating,
    Requirement,
    Strength,
)
from portal.policy.result import AreaResult, ControlResult, Gap, KnockOutResult, Result, Severity, difference

__all__ = ["ASSESSMENT_CURRENT", "difference", "evaluate"]

ASSESSMENT_CURRENT = "assessment.current"
"""The one check that the policy makes itself, from `last_assessed` and `changes`."""

REASONS_MAX = 10
"""Reasons told per control; the rest are counted."""


def evaluate(policy: Policy, facts: Facts, tier: int, today: date) -> Result:
    """Apply `policy` for a use of `tier` (1, 2, 3) on the day `today`. Raises PolicyError on an unknown tier."""
    if tier not in TIERS:
        raise PolicyError(f"tier: expected 1, 2 or 3, found {tier!r}")
    given = facts.in_order()
    checks = (*given.checks, _assessment_current(policy, given, today))
    seen = replace(given, checks=checks)
    accepted = _accepted(given, today)
    controls = tuple(_judge(policy, control, seen, tier, today, accepted) for control in policy.controls)
    areas = tuple(
        _area(area, [control for control in controls if control.area == area.id]) for area in policy.areas
    )
    knock_outs, gaps = _shortfalls(policy, controls, tier)
    rating, rating_reasons = _rating(policy, knock_outs, gaps)
    return Result(
        rating=rating,
        rating_reasons=rating_reasons,
        tier=tier,
        as_of=today,
        score=_mean(
            (area.weight, _exact([c for c in controls if c.area == area.id])) for area in policy.areas
        ),
        areas=areas,
        controls=controls,
        knock_outs=knock_outs,
        gaps=gaps,
        policy_id=policy.id,
        policy_version=policy.version,
        policy_digest=policy.digest,
        facts_digest=given.digest,
    )


# 1. Each control.


def _judge(
    policy: Policy, control: Control, facts: Facts, tier: int, today: date, accepted: dict[str, date]
) -> ControlResult:
    asked = control.asked(tier)
    minimum = policy.minimum(control, tier)
    if control.minimum_once and any(check.kind == control.minimum_once.kind for check in facts.checks):
        minimum = max(minimum, control.minimum_once.strength, key=lambda strength: strength.rank)
    checks = tuple(c for c in facts.checks if c.id in control.verified_by or c.id in control.contradicted_by)
    if idle := _idle(control, facts, checks, tier):
        strength, reasons, evidence = Strength.NONE, [idle], ()
    else:
        strength, reasons, evidence = _strength(control, facts, checks, tier, today)
    met = not idle and strength.rank >= minimum.rank
    if not idle and not met and strength.rank > Strength.NONE.rank:
        reasons = [f"{minimum} is needed, and it is only {strength}", *reasons]
    points = min(
        FULL_SCORE,
        _rounded(Fraction(FULL_SCORE * policy.strengths.of(strength), policy.strengths.of(control.best))),
    )
    return ControlResult(
        id=control.id,
        area=control.area,
        title=control.title,
        requirement=asked,
        applies=not idle,
        strength=strength,
        minimum=minimum,
        met=met,
        accepted_until=None if idle or met or _rejects(control, tier) else accepted.get(control.id),
        score=None if idle else points,
        weight=control.weight,
        reasons=_shortened(reasons),
        evidence=evidence,
        checks=checks,
    )


def _rejects(control: Control, tier: int) -> bool:
    """Nobody can accept, by an exception, what the policy rejects."""
    knock_out = control.knocks_out(tier)
    return knock_out is not None and knock_out.effect is Effect.REJECT


def _idle(control: Control, facts: Facts, checks: Sequence[CheckFact], tier: int) -> str:
    """Why the control does not apply, or an empty text."""
    if control.asked(tier) is Requirement.NOT_ASKED:
        return f"not asked for tier {tier}"
    if control.unless and _holds(control.unless, facts):
        return (
            f"does not apply: {control.unless.question} is {facts.answers[control.unless.question].value!r}"
        )
    if control.waits_for:
        if not any(check.kind == control.waits_for for check in facts.checks):
            return f"waits for the first submission of kind {control.waits_for}"
        if checks and all(c.outcome == "not_applicable" for c in checks) and not _unrecorded(control, facts):
            return "does not apply: " + "; ".join(sorted({check.reason for check in checks}))
    return ""


def _strength(
    control: Control, facts: Facts, checks: Sequence[CheckFact], tier: int, today: date
) -> tuple[Strength, list[str], tuple[str, ...]]:
    """How well the control is backed, the reasons, and the digests of the files that count."""
    failed = [check for check in checks if check.outcome == "fail"]
    if failed:
        return Strength.CONTRADICTED, [_told(check) for check in failed], ()
    doubts = _doubts(control, facts, checks)
    if control.verified_by and not doubts:
        proofs = [check for check in checks if check.id in control.verified_by and check.outcome == "pass"]
        return Strength.VERIFIED, [_told(check) for check in proofs], ()
    if not control.claimed_by:
        return Strength.NONE, doubts, ()
    missing = [
        text
        for claim in control.claimed_by
        if tier in claim.tiers and (text := _unclaimed(claim, facts, today))
    ]
    if missing:
        return Strength.NONE, missing + doubts, ()
    if not control.documented_by:
        return Strength.CLAIMED, ["answered, not backed by a check", *doubts], ()
    current, stale = _files(control.documented_by, facts, today)
    if current:
        names = [f"documented by {name}" for _, name in current]
        return Strength.DOCUMENTED, names + doubts, tuple(digest for digest, _ in current)
    return Strength.CLAIMED, stale + doubts, ()


def _doubts(control: Control, facts: Facts, checks: Sequence[CheckFact]) -> list[str]:
    """Why `verified_by` is not proven: empty when it is. What does not apply to one subject proves nothing about it
    and takes nothing away; every other record must be a pass, and each check must have passed somewhere."""
    doubts = [
        _told(check)
        for check in checks
        if check.id in control.verified_by and check.outcome not in _PASS_OR_NOT_APPLICABLE
    ]
    doubts += _unrecorded(control, facts)
    for check_id in control.verified_by:
        if not any(check.id == check_id and check.outcome != "not_applicable" for check in checks):
            doubts.append(f"{check_id} has not proven anything yet")
    return doubts


_PASS_OR_NOT_APPLICABLE = ("pass", "not_applicable")


def _unrecorded(control: Control, facts: Facts) -> list[str]:
    """Submissions of a check's kind for which that check was never recorded: not proven, never skipped."""
    recorded = {(check.submission_id, check.id) for check in facts.checks}
    missing = {
        f"{check.subject or check.submission_id}: {check_id} was not recorded"
        for check_id in control.verified_by
        for check in facts.checks
        if check.kind == check_id.partition(".")[0] and (check.submission_id, check_id) not in recorded
    }
    return sorted(missing)


def _told(check: CheckFact) -> str:
    return f"{check.subject or check.submission_id}: {check.id} {check.outcome.replace('_', ' ')}: {check.reason}"


def _holds(condition: Condition, facts: Facts) -> bool:
    answer = facts.answers.get(condition.question)
    return answer is not None and answer.value in condition.answers


def _unclaimed(claim: Claim, facts: Facts, today: date) -> str:
    """Why the claim is not made, or an empty text."""
    if claim.question is not None:
        answer = facts.answers.get(claim.question, AnswerFact(""))
        if not answer.value.strip():
            return f"{claim.question} is not answered"
        if claim.answers and answer.value not in claim.answers:
            return f"{claim.question} is answered {answer.value!r}"
        return ""
    kind, _, name = (claim.fact or "").partition(".")
    words = name.replace("_", " ")
    if kind == "entity":
        named = [entity for entity in facts.entities if entity.role == name and entity.name.strip()]
        if not named:
            return f"no {words} is named"
        return (
            ""
            if any(entity.country.strip() for entity in named)
            else f"the country of the {words} is missing"
        )
    if kind == "contact":
        return "" if facts.contacts.get(name, "").strip() else f"no {words} contact is given"
    day = facts.dates.get(name)
    if day is None:
        return f"no date is given for {words}"
    return "" if day > today else f"{words} was {day.isoformat()}, which is not ahead"


def _files(document: Document, facts: Facts, today: date) -> tuple[list[tuple[str, str]], list[str]]:
    """Current files as (digest, name), and why the others do not count."""
    answer = facts.answers.get(document.question)
    if answer is None or not answer.evidence:
        return [], [f"no file is attached to {document.question}"]
    if document.issued_on and document.max_age_days is not None:
        issued = _day(facts, document.issued_on)
        if issued is None:
            return [], [f"{document.issued_on} is missing, so nobody knows how old the file is"]
        if issued > today:
            return [], [f"{document.issued_on} is {issued.isoformat()}, which is still ahead"]
        if today - issued > timedelta(days=document.max_age_days):
            return [], [f"issued on {issued.isoformat()}, more than {document.max_age_days} days ago"]
    if document.expires_on:
        expires = _day(facts, document.expires_on)
        if expires is None:
            return [], [f"{document.expires_on} is missing, so nobody knows whether the file still holds"]
        if expires < today:
            return [], [f"expired on {expires.isoformat()}"]
    current = [file for file in answer.evidence if file.valid_until is None or file.valid_until >= today]
    stale = [
        f"{file.name} expired on {file.valid_until.isoformat()}"
        for file in answer.evidence
        if file.valid_until is not None and file.valid_until < today
    ]
    return [(file.digest, file.name) for file in current], stale


def _day(facts: Facts, question: str) -> date | None:
    answer = facts.answers.get(question)
    try:
        return date.fromisoformat(answer.value) if answer else None
    except ValueError:
        return None


def _assessment_current(policy: Policy, facts: Facts, today: date) -> CheckFact:
    """Overdue is a warning: it takes the proof away without proving anything against the supplier."""
    if facts.last_assessed is None:
        outcome, reason = "not_applicable", "there is no earlier decision to renew"
    elif facts.changes:
        kinds = ", ".join(sorted({change.kind for change in facts.changes}))
        outcome, reason = "warn", f"changes wait for a decision: {kinds}"
    elif (age := (today - facts.last_assessed).days) > policy.reassess_after_days:
        outcome, reason = "warn", f"last decided {age} days ago, allowed are {policy.reassess_after_days}"
    else:
        outcome, reason = "pass", f"decided on {facts.last_assessed.isoformat()}, and no change is open"
    return CheckFact(ASSESSMENT_CURRENT, outcome, reason, "", "assessment", "assessment")


def _shortened(reasons: Sequence[str]) -> tuple[str, ...]:
    told = tuple(dict.fromkeys(reasons))
    if len(told) <= REASONS_MAX:
        return told
    return (*told[:REASONS_MAX], f"and {len(told) - REASONS_MAX} more")


# 2. Scores: exact until the end, then rounded half up.


def _exact(controls: Sequence[ControlResult]) -> Fraction | None:
    scored = [(control.weight, control.score) for control in controls if control.score is not None]
    weight = sum(weight for weight, _ in scored)
    return Fraction(sum(weight * score for weight, score in scored), weight) if weight else None


def _mean(weighted: Iterable[tuple[int, Fraction | None]]) -> int | None:
    scored = [(weight, score) for weight, score in weighted if score is not None]
    weight = sum(weight for weight, _ in scored)
    return (
        _rounded(sum((weight * score for weight, score in scored), Fraction(0)) / weight) if weight else None
    )


def _rounded(score: Fraction) -> int:
    return int(score + Fraction(1, 2))


def _area(area: Area, controls: Sequence[ControlResult]) -> AreaResult:
    score = _exact(controls)
    return AreaResult(
        id=area.id,
        title=area.title,
        weight=area.weight,
        score=None if score is None else _rounded(score),
        met=sum(control.met for control in controls),
        unmet=sum(
            control.applies and not control.met and control.accepted_until is None for control in controls
        ),
        accepted=sum(control.accepted_until is not None for control in controls),
        waiting=sum(not control.applies for control in controls),
    )


# 3. Knock-outs and gaps.


def _accepted(facts: Facts, today: date) -> dict[str, date]:
    """Control id to the last day on which an exception that counts today accepts its gap."""
    until: dict[str, date] = {}
    for exception in facts.exceptions:
        if exception.expires >= today:
            until[exception.control_id] = max(
                exception.expires, until.get(exception.control_id, exception.expires)
            )
    return until


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
