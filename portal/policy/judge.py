"""Step 1 of an assessment: one control against the facts. Does it apply, how strongly is it backed, and is
that enough? Only `pass` proves anything; a failing check beats every claim.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction

from portal.policy.facts import AnswerFact, CheckFact, Facts
from portal.policy.model import (
    FULL_SCORE,
    Claim,
    Condition,
    Control,
    Document,
    Effect,
    Policy,
    Requirement,
    Strength,
)
from portal.policy.result import ControlResult

ASSESSMENT_CURRENT = "assessment.current"
"""The one check that the policy makes itself, from `last_assessed` and `changes`."""

REASONS_MAX = 10
"""Reasons told per control; the rest are counted."""

NO_FILES: tuple[str, ...] = ()


def judge(
    policy: Policy, control: Control, facts: Facts, tier: int, today: date, accepted: dict[str, date]
) -> ControlResult:
    """One control against facts that already hold the policy's own check, `assessment_current`."""
    asked = control.asked(tier)
    minimum = policy.minimum(control, tier)
    if control.minimum_once and any(check.kind == control.minimum_once.kind for check in facts.checks):
        minimum = max(minimum, control.minimum_once.strength, key=lambda strength: strength.rank)
    checks = tuple(c for c in facts.checks if c.id in control.verified_by or c.id in control.contradicted_by)
    if idle := _idle(control, facts, checks, tier):
        strength, reasons, evidence = Strength.NONE, [idle], NO_FILES
    else:
        strength, reasons, evidence = _strength(control, facts, checks, tier, today)
    met = not idle and strength.rank >= minimum.rank
    if not idle and not met and strength.rank > Strength.NONE.rank:
        reasons = [f"{minimum} is needed, and it is only {strength}", *reasons]
    points = min(
        FULL_SCORE,
        rounded(Fraction(FULL_SCORE * policy.strengths.of(strength), policy.strengths.of(control.best))),
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
        against = _doubts(control, facts, checks) or any(check.outcome == "fail" for check in checks)
        if not against and (unproven := _unproven(control, checks)):
            told = {check.reason for check in checks if check.id in unproven}
            return "does not apply: " + "; ".join(sorted(told))
    return ""


def _strength(
    control: Control, facts: Facts, checks: Sequence[CheckFact], tier: int, today: date
) -> tuple[Strength, list[str], tuple[str, ...]]:
    """How well the control is backed, the reasons, and the digests of the files that count."""
    failed = [check for check in checks if check.outcome == "fail"]
    if failed:
        return Strength.CONTRADICTED, [_told(check) for check in failed], ()
    doubts = _doubts(control, facts, checks)
    doubts += [f"{check_id} has not proven anything yet" for check_id in _unproven(control, checks)]
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
    """Records of `verified_by` that are no proof. What does not apply to one subject proves nothing about it
    and takes nothing away; every other record must be a pass.
    """
    doubtful = [
        c for c in checks if c.id in control.verified_by and c.outcome not in ("pass", "not_applicable")
    ]
    return [_told(check) for check in doubtful] + _unrecorded(control, facts)


def _unproven(control: Control, checks: Sequence[CheckFact]) -> list[str]:
    """Checks of `verified_by` without any record that says more than "not applicable"."""
    telling = {check.id for check in checks if check.outcome != "not_applicable"}
    return [check_id for check_id in control.verified_by if check_id not in telling]


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
    outcome = check.outcome.replace("_", " ")
    return f"{check.subject or check.submission_id}: {check.id} {outcome}: {check.reason}"


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


def assessment_current(policy: Policy, facts: Facts, today: date) -> CheckFact:
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


def accepted_until(facts: Facts, today: date) -> dict[str, date]:
    """Control id to the last day on which an exception that counts today accepts its gap."""
    until: dict[str, date] = {}
    for exception in facts.exceptions:
        if exception.expires >= today:
            until[exception.control_id] = max(
                exception.expires, until.get(exception.control_id, exception.expires)
            )
    return until


def rounded(score: Fraction) -> int:
    """Half up, the only rounding in an assessment."""
    return int(score + Fraction(1, 2))
