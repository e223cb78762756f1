"""The summary in words: sentences made from the assessment, so that they cannot say anything else."""

from collections.abc import Sequence
from typing import Final

from portal.formats import count, day
from portal.policy.facts import Facts
from portal.policy.model import Requirement, Strength
from portal.policy.result import ControlResult, Result, Severity
from portal.reports.view import BatchView, LotView, Part, Topic, Verdict

ITEMS_MAX = 6
TIERS: Final = {
    1: "tier 1, the most critical use (control room, substation, telecom core, data hall)",
    2: "tier 2, a normal site",
    3: "tier 3, an office",
}
RATINGS: Final = {
    "approvable": "Approvable: every must-have is met, and nothing speaks against an approval.",
    "conditional": "Conditional: it can be approved only with conditions for the gaps named below.",
    "high_risk": "High risk: a must-have is missing or disproved; that is high risk until proven otherwise.",
    "reject": "Reject: the policy does not allow an approval as things stand.",
}


def summarise(
    *,
    product: str,
    supplier: str,
    policy: str,
    facts: Facts,
    result: Result,
    files: int,
    firmware: int,
    lots: Part[LotView],
    batches: Part[BatchView],
    verdict: Verdict,
) -> tuple[Topic, ...]:
    """What was assessed, what came out, what is proven, what is only claimed, what stops an approval."""
    applying = [control for control in result.controls if control.applies]
    topics = [
        _assessed(product, supplier, policy, facts, result, files, firmware, lots, batches),
        _rated(result),
        _stops(result),
        _decided(verdict),
        _backed(
            applying,
            (Strength.VERIFIED,),
            "What is proven",
            "{} by checks that Lotgate made itself on the files submitted.",
            "verified",
            "No control is verified: no check has proven one yet.",
        ),
        _backed(
            applying,
            (Strength.DOCUMENTED,),
            "What is documented",
            "{} by a current file that nobody has disproved, and that no check has proven.",
            "backed",
            "No control rests on documents.",
        ),
        _backed(
            applying,
            (Strength.CLAIMED,),
            "What is only claimed",
            "{} by the supplier's answer alone.",
            "backed",
            "No control rests on an answer alone.",
        ),
        _backed(
            applying,
            (Strength.CONTRADICTED, Strength.NONE),
            "What is missing or disproved",
            "{} by nothing, or a check proved the opposite.",
            "backed",
            "Nothing that is asked for is missing.",
        ),
    ]
    return tuple(topics)


def _listed(items: Sequence[str]) -> tuple[str, ...]:
    if len(items) <= ITEMS_MAX + 1:
        return tuple(items)
    return (*items[:ITEMS_MAX], f"and {len(items) - ITEMS_MAX} more")


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _assessed(
    product: str,
    supplier: str,
    policy: str,
    facts: Facts,
    result: Result,
    files: int,
    firmware: int,
    lots: Part[LotView],
    batches: Part[BatchView],
) -> Topic:
    seen = [count(len(facts.answers), "answer"), count(files, "file"), count(len(facts.checks), "check")]
    given = []
    if firmware:
        given.append(count(firmware, "firmware image"))
    if lots.total:
        units = "" if lots.cut else f" with {count(sum(lot.unit_count for lot in lots.rows), 'unit')}"
        given.append(count(lots.total, "lot") + units)
    if batches.total:
        given.append(
            count(batches.total, "file of attestations", "files of attestations")
            + ("" if batches.cut else f" with {count(sum(row.total for row in batches.rows), 'statement')}")
        )
    text = (
        f"{product} of {supplier}, for {TIERS[result.tier]}. The policy “{policy}” {result.policy_version} "
        f"was applied to what was known on {day(result.as_of)}: {_and(seen)}."
    )
    text += f" Submitted were {_and(given)}." if given else " Neither firmware nor a lot was submitted."
    return Topic("What was assessed", text)


def _rated(result: Result) -> Topic:
    score = (
        "There is not enough for a score." if result.score is None else f"The score is {result.score} of 100"
    )
    if result.score is not None:
        score += "; it is for orientation: the rating follows from must-haves, never from an average."
    return Topic("What came out", f"{RATINGS[result.rating]} {score}")


def _backed(
    applying: Sequence[ControlResult],
    strengths: Sequence[Strength],
    title: str,
    text: str,
    verb: str,
    none: str,
) -> Topic:
    found = [control for control in applying if control.strength in strengths]
    if not found:
        return Topic(title, none)
    be = "is" if len(found) == 1 else "are"
    of = f"{len(found)} of {count(len(applying), 'control')} that apply {be} {verb}"
    return Topic(title, text.format(of), _listed([f"{c.id} {c.title}" for c in found]))


def _stops(result: Result) -> Topic:
    """What an approval would have to name or wait for."""
    title = "What stops an approval"
    open_gaps = [
        gap
        for gap in result.gaps
        if gap.accepted_until is None
        and (gap.severity is not Severity.EXPECTED or gap.strength is Strength.CONTRADICTED)
    ]
    accepted = sum(gap.accepted_until is not None for gap in result.gaps)
    tail = f" {count(accepted, 'gap')} accepted until a date, see Conditions." if accepted else ""
    if not open_gaps:
        return Topic(title, "Nothing: no must-have is open." + tail)
    knock_outs = sum(gap.severity is Severity.KNOCK_OUT for gap in open_gaps)
    told = count(len(open_gaps), "open must-have") + (
        f", {count(knock_outs, 'of them a knock-out', 'of them knock-outs')}" if knock_outs else ""
    )
    items = [
        f"{gap.control_id} {gap.title} ({'knock-out' if gap.severity is Severity.KNOCK_OUT else 'required'})"
        if gap.requirement is Requirement.REQUIRED
        else f"{gap.control_id} {gap.title} (disproved)"
        for gap in open_gaps
    ]
    return Topic(title, f"{told}.{tail}", _listed(items))


def _decided(verdict: Verdict) -> Topic:
    told = (
        f"{verdict.words}. {verdict.detail}" if verdict.kind is None else f"{verdict.words} {verdict.detail}."
    )
    return Topic("What people decided", f"{told} {verdict.later}".strip())
