"""What a policy is: controls, areas, tiers, knock-outs as data. The JSON has the shape of these classes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from re import fullmatch
from typing import Any

from portal.errors import PolicyError
from portal.policy import codec

POLICY_MAX_BYTES = 1024 * 1024
TIERS = (1, 2, 3)
FULL_SCORE = 100


class Requirement(StrEnum):
    """How much a tier asks for a control."""

    REQUIRED = "R"
    EXPECTED = "E"
    NOT_ASKED = "-"


class Strength(StrEnum):
    """How well a control is backed, weakest first. `contradicted`: a check proved the opposite."""

    CONTRADICTED = "contradicted"
    NONE = "none"
    CLAIMED = "claimed"
    DOCUMENTED = "documented"
    VERIFIED = "verified"

    @property
    def rank(self) -> int:
        return list(Strength).index(self)


class Rating(StrEnum):
    """What the policy says of a supplier, best first. People decide; the rating is what they decide upon."""

    APPROVABLE = "approvable"
    CONDITIONAL = "conditional"
    HIGH_RISK = "high_risk"
    REJECT = "reject"

    @property
    def rank(self) -> int:
        return list(Rating).index(self)


class Effect(StrEnum):
    """What an unmet knock-out does to the rating."""

    HIGH_RISK = "high_risk"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Area:
    """A group of controls. `weight` is its share of the overall score."""

    id: str
    title: str
    weight: int


@dataclass(frozen=True, slots=True)
class KnockOut:
    """Unmet in one of `tiers`, the control decides the rating, whatever the score."""

    tiers: tuple[int, ...]
    effect: Effect


@dataclass(frozen=True, slots=True)
class Condition:
    """True when the answer to `question` is one of `answers`."""

    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a supplier must say: one of `answers` (empty: any answer) to `question`, or a `fact`.

    Facts: `entity.<role>` (named, with a country), `date.<name>` (given and still ahead), `contact.<name>`
    (given).
    """

    question: str | None = None
    answers: tuple[str, ...] = ()
    fact: str | None = None
    tiers: tuple[int, ...] = TIERS


@dataclass(frozen=True, slots=True)
class Document:
    """The question whose attached files back the claim. `issued_on` and `expires_on` name questions answered
    with a date; a missing one counts as out of date. `max_age_days` counts from `issued_on`.
    """

    question: str
    issued_on: str | None = None
    max_age_days: int | None = None
    expires_on: str | None = None


@dataclass(frozen=True, slots=True)
class MinimumOnce:
    """From the first submission of `kind`, nothing below `strength` meets the control."""

    kind: str
    strength: Strength


@dataclass(frozen=True, slots=True)
class Control:
    """One thing we require. `requirement` has one entry for each tier.

    All of `claimed_by` make it claimed; with a current file from `documented_by` it is documented; when
    every check in `verified_by` passes on every submission of that check's kind it is verified. A failing
    check in `verified_by` or `contradicted_by` beats all of these. `minimum` (else the policy's) is the
    weakest strength that meets it. `waits_for`: cannot be judged, and is not held against anybody, before
    a submission of that kind was checked. `unless`: does not apply then.
    """

    id: str
    area: str
    title: str
    requirement: tuple[Requirement, ...]
    weight: int
    why: str
    closes: str
    knock_out: KnockOut | None = None
    claimed_by: tuple[Claim, ...] = ()
    documented_by: Document | None = None
    verified_by: tuple[str, ...] = ()
    contradicted_by: tuple[str, ...] = ()
    minimum: Strength | None = None
    minimum_once: MinimumOnce | None = None
    waits_for: str | None = None
    unless: Condition | None = None
    rule: str = ""

    @property
    def best(self) -> Strength:
        """The best strength that can be reached here; it scores full."""
        if self.verified_by:
            return Strength.VERIFIED
        return Strength.DOCUMENTED if self.documented_by else Strength.CLAIMED

    def asked(self, tier: int) -> Requirement:
        return self.requirement[tier - 1]

    def knocks_out(self, tier: int) -> KnockOut | None:
        return self.knock_out if self.knock_out and tier in self.knock_out.tiers else None


@dataclass(frozen=True, slots=True)
class StrengthScores:
    """Points of 100 for each strength; `none` and `contradicted` score nothing."""

    claimed: int
    documented: int
    verified: int

    def of(self, strength: Strength) -> int:
        points = {
            Strength.CLAIMED: self.claimed,
            Strength.DOCUMENTED: self.documented,
            Strength.VERIFIED: self.verified,
        }
        return points.get(strength, 0)


@dataclass(frozen=True, slots=True)
class Minimums:
    """The weakest strength that meets a control, unless the control says otherwise."""

    required: Strength
    expected: Strength


@dataclass(frozen=True, slots=True)
class Caps:
    """The best rating that is left when a control is unmet and no exception accepts it."""

    required_unmet: Rating
    required_contradicted: Rating
    expected_contradicted: Rating
    accepted: Rating


@dataclass(frozen=True, slots=True)
class Policy:
    """A version of the rules. `digest` is SHA-256 over the canonical JSON it was loaded from."""

    id: str
    version: str
    title: str
    rules: tuple[str, ...]
    strengths: StrengthScores
    minimums: Minimums
    caps: Caps
    reassess_after_days: int
    areas: tuple[Area, ...]
    controls: tuple[Control, ...]
    digest: str = ""

    def control(self, control_id: str) -> Control:
        for control in self.controls:
            if control.id == control_id:
                return control
        raise PolicyError(f"policy {self.id} {self.version} has no control {control_id!r}")

    def minimum(self, control: Control, tier: int) -> Strength:
        if control.minimum:
            return control.minimum
        asked = control.asked(tier)
        return self.minimums.required if asked is Requirement.REQUIRED else self.minimums.expected

    def questions(self) -> frozenset[str]:
        """Ids of all questions that the controls read."""
        found: set[str] = set()
        for control in self.controls:
            found.update(claim.question for claim in control.claimed_by if claim.question)
            if control.unless:
                found.add(control.unless.question)
            if control.documented_by:
                document = control.documented_by
                found.update(
                    question
                    for question in (document.question, document.issued_on, document.expires_on)
                    if question
                )
        return frozenset(found)


def read_text(source: str | Path) -> tuple[str, str]:
    """The text of `source` (a path, or the text itself) and a name for messages."""
    if isinstance(source, str):
        return source, "the text"
    try:
        return source.read_text(encoding="utf-8"), source.name
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{source.name}: expected a readable UTF-8 file, found {error}") from None


def load(source: str | Path) -> Policy:
    """A policy from its JSON text, or from the file at a path. Raises PolicyError on anything that does not
    hold.
    """
    text, what = read_text(source)
    plain = codec.parse_json(text, what, POLICY_MAX_BYTES)
    if isinstance(plain, dict) and "digest" in plain:
        raise PolicyError(f"{what}: expected no member 'digest': it is computed")
    policy = codec.decode(Policy, plain, what)
    _check(policy, what)
    return codec.decode(Policy, plain | {"digest": codec.digest(codec.canonical(plain))}, what)


def builtin_text(name: str = "policy_v1") -> str:
    """A policy that comes with Lotgate, as canonical JSON: its digest is that of these bytes."""
    if (
        not fullmatch("[a-z0-9_]+", name)
        or not (file := files("portal.policy") / "data" / f"{name}.json").is_file()
    ):
        raise PolicyError(f"no built-in policy {name!r}")
    plain = codec.parse_json(file.read_text(encoding="utf-8"), f"policy {name}", POLICY_MAX_BYTES)
    return codec.canonical(plain).decode()


@cache
def builtin(name: str = "policy_v1") -> Policy:
    """A policy that comes with Lotgate, loaded."""
    return load(builtin_text(name))


def _check(policy: Policy, what: str) -> None:
    """Cross-references and ranges, numbered so that a message can be found here."""

    def need(true: bool, where: str, expected: str, found: Any) -> None:
        if not true:
            raise PolicyError(f"{what}: {where}: expected {expected}, found {found}")

    # 1. Scores rise with strength and end at 100.
    points = (policy.strengths.claimed, policy.strengths.documented, policy.strengths.verified)
    need(
        0 < points[0] <= points[1] <= points[2] == FULL_SCORE, "strengths", "rising points up to 100", points
    )
    need(policy.reassess_after_days > 0, "reassess_after_days", "at least 1", policy.reassess_after_days)
    # 2. No gap leaves approvable, and proof of the opposite is never better than mere absence.
    caps = policy.caps
    for name in ("required_unmet", "required_contradicted", "expected_contradicted", "accepted"):
        cap = getattr(caps, name)
        need(cap is not Rating.APPROVABLE, f"caps.{name}", "a rating below approvable", cap)
    need(
        caps.required_contradicted.rank >= caps.required_unmet.rank,
        "caps.required_contradicted",
        f"{caps.required_unmet} or worse",
        caps.required_contradicted,
    )
    need(
        policy.minimums.required.rank >= policy.minimums.expected.rank > Strength.NONE.rank,
        "minimums",
        "claimed or more, and required not below expected",
        f"{policy.minimums.required} and {policy.minimums.expected}",
    )
    # 3. Ids are unique; areas exist and none is empty.
    need(bool(policy.areas) and bool(policy.controls), "areas and controls", "at least one each", "none")
    need(not (twice := _twice(area.id for area in policy.areas)), "areas", "each id once", twice)
    need(not (twice := _twice(control.id for control in policy.controls)), "controls", "each id once", twice)
    area_ids = {area.id for area in policy.areas}
    used = {control.area for control in policy.controls}
    need(used == area_ids, "areas", "exactly the areas that controls name", sorted(used ^ area_ids))
    for area in policy.areas:
        need(area.weight > 0, f"areas {area.id}", "a weight of at least 1", area.weight)
    for control in policy.controls:
        _check_control(policy, control, need)


def _check_control(policy: Policy, control: Control, need: Any) -> None:
    where = control.id
    # 4. Every control says whom it is asked of, why, and what closes it.
    need(
        len(control.requirement) == len(TIERS),
        where,
        "a requirement for each of three tiers",
        control.requirement,
    )
    asked = set(control.requirement) - {Requirement.NOT_ASKED}
    need(bool(asked), where, "at least one tier that asks for it", control.requirement)
    need(control.weight > 0, where, "a weight of at least 1", control.weight)
    need(all((control.title, control.why, control.closes)), where, "a title, why and closes", "an empty one")
    # 5. A knock-out is required in the tiers where it knocks out.
    if control.knock_out:
        tiers = control.knock_out.tiers
        need(bool(tiers) and set(tiers) <= set(TIERS), f"{where}.knock_out", "tiers out of 1, 2, 3", tiers)
        need(
            all(control.asked(tier) is Requirement.REQUIRED for tier in tiers),
            f"{where}.knock_out",
            "tiers in which the control is required (R)",
            tiers,
        )
    # 6. A claim is a question or a known kind of fact.
    for claim in control.claimed_by:
        need(
            (claim.question is None) != (claim.fact is None),
            f"{where}.claimed_by",
            "a question or a fact",
            claim,
        )
        need(
            bool(claim.tiers) and set(claim.tiers) <= set(TIERS),
            f"{where}.claimed_by",
            "known tiers",
            claim.tiers,
        )
        if claim.fact is not None:
            known = fullmatch(r"(entity|date|contact)\.[a-z_]+", claim.fact)
            need(bool(known), f"{where}.claimed_by", "entity.…, date.… or contact.…", claim.fact)
            need(not claim.answers, f"{where}.claimed_by", "no answers beside a fact", claim.answers)
    # 7. What is not claimed cannot be documented; what waits is judged by checks alone.
    need(bool(control.claimed_by or control.verified_by), where, "claimed_by or verified_by", "neither")
    if control.documented_by:
        need(bool(control.claimed_by), where, "claimed_by beside documented_by", "none")
        document = control.documented_by
        need(
            (document.max_age_days is None) == (document.issued_on is None),
            f"{where}.documented_by",
            "issued_on and max_age_days together",
            document,
        )
    if control.waits_for is not None:
        need(bool(control.verified_by), where, "verified_by beside waits_for", "none")
        need(not control.claimed_by, where, "no claimed_by beside waits_for", control.claimed_by)
    for check in (*control.verified_by, *control.contradicted_by):
        need(bool(fullmatch(r"[a-z]+\.[a-z_]+", check)), where, "check ids such as firmware.signature", check)
    # 8. The minimum can be reached.
    floors = [
        policy.minimum(control, tier) for tier in TIERS if control.asked(tier) is not Requirement.NOT_ASKED
    ]
    floors += [control.minimum_once.strength] if control.minimum_once else []
    for floor in floors:
        need(
            Strength.NONE.rank < floor.rank <= control.best.rank,
            where,
            f"a minimum up to {control.best}",
            floor,
        )


def _twice(ids: Iterable[str]) -> list[str]:
    return sorted(item for item, count in Counter(ids).items() if count > 1)
