"""What an assessment says, frozen and with reasons, as canonical bytes; and the difference of two."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from portal.policy import codec
from portal.policy.facts import CheckFact
from portal.policy.model import Effect, Rating, Requirement, Strength

RESULT_MAX_BYTES = 64 * 1024 * 1024


class Severity(StrEnum):
    """How much a gap matters, worst first."""

    KNOCK_OUT = "knock_out"
    REQUIRED = "required"
    EXPECTED = "expected"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class ControlResult:
    """One control, judged. `score` is 0..100, None where the control does not apply (then `met` is false and
    means nothing). `evidence`: digests of the files that count. `checks`: all that were looked at."""

    id: str
    area: str
    title: str
    requirement: Requirement
    applies: bool
    strength: Strength
    minimum: Strength
    met: bool
    accepted_until: date | None
    score: int | None
    weight: int
    reasons: tuple[str, ...]
    evidence: tuple[str, ...]
    checks: tuple[CheckFact, ...]


@dataclass(frozen=True, slots=True)
class AreaResult:
    """One area. `score` is 0..100, None where no control applies. The counts are of controls: `accepted` are
    unmet with an exception, `unmet` without; `waiting` do not apply, or not yet.
    """

    id: str
    title: str
    weight: int
    score: int | None
    met: int
    unmet: int
    accepted: int
    waiting: int


@dataclass(frozen=True, slots=True)
class KnockOutResult:
    """An unmet knock-out. With `accepted_until` it is accepted by an exception and does not decide the
    rating.
    """

    control_id: str
    title: str
    effect: Effect
    reason: str
    closes: str
    accepted_until: date | None


@dataclass(frozen=True, slots=True)
class Gap:
    """An unmet control: `why` it is unmet, why that `matters`, what `closes` it. Accepted ones stay."""

    control_id: str
    area: str
    title: str
    requirement: Requirement
    strength: Strength
    severity: Severity
    why: str
    matters: str
    closes: str
    accepted_until: date | None


@dataclass(frozen=True, slots=True)
class Result:
    """The policy applied to the facts on the day `as_of`. Equal facts, policy, tier, day: equal bytes."""

    rating: Rating
    rating_reasons: tuple[str, ...]
    tier: int
    as_of: date
    score: int | None
    areas: tuple[AreaResult, ...]
    controls: tuple[ControlResult, ...]
    knock_outs: tuple[KnockOutResult, ...]
    gaps: tuple[Gap, ...]
    policy_id: str
    policy_version: str
    policy_digest: str
    facts_digest: str

    def to_json(self) -> bytes:
        """Canonical bytes (RFC 8785)."""
        return codec.encode(self)

    @classmethod
    def from_json(cls, data: str | bytes) -> "Result":
        """The result that `to_json` wrote. Raises PolicyError."""
        return codec.decode(cls, codec.parse_json(data, "result", RESULT_MAX_BYTES), "result")

    @property
    def digest(self) -> str:
        return codec.digest(self.to_json())

    def control(self, control_id: str) -> ControlResult | None:
        return next((control for control in self.controls if control.id == control_id), None)


@dataclass(frozen=True, slots=True)
class ControlChange:
    """A control that is judged otherwise than before. `was` and `now`: strengths, None where it did not
    apply. `why`: the reasons of the newer judgement.
    """

    control_id: str
    title: str
    was: Strength | None
    now: Strength | None
    was_met: bool
    now_met: bool
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AreaChange:
    """An area whose score is another."""

    id: str
    title: str
    was: int | None
    now: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two results; knock-outs are those that no exception accepts."""

    rating_was: Rating
    rating_now: Rating
    score_was: int | None
    score_now: int | None
    areas: tuple[AreaChange, ...]
    knock_outs_added: tuple[str, ...]
    knock_outs_removed: tuple[str, ...]
    controls: tuple[ControlChange, ...]
    policy_changed: bool
    tier_changed: bool

    @property
    def needs_person(self) -> bool:
        """The rating or a knock-out changed."""
        return bool(
            self.rating_was is not self.rating_now or self.knock_outs_added or self.knock_outs_removed
        )

    @property
    def empty(self) -> bool:
        return not (self.needs_person or self.controls or self.areas or self.score_was != self.score_now)

    def to_json(self) -> bytes:
        """Canonical bytes (RFC 8785)."""
        return codec.encode(self)

    @classmethod
    def from_json(cls, data: str | bytes) -> "Difference":
        """The difference that `to_json` wrote. Raises PolicyError."""
        return codec.decode(cls, codec.parse_json(data, "difference", RESULT_MAX_BYTES), "difference")


def difference(before: Result, after: Result) -> Difference:
    """Was, is, why. Controls are compared by strength, whether they are met, and whether they apply."""
    controls = []
    earlier = {control.id: control for control in before.controls}
    later = {control.id: control for control in after.controls}
    for control_id in sorted(earlier.keys() | later.keys()):
        was, now = earlier.get(control_id), later.get(control_id)
        if _state(was) == _state(now):
            continue
        controls.append(
            ControlChange(
                control_id=control_id,
                title=(now or was).title,  # type: ignore[union-attr]  # one of the two is there
                was=_state(was)[0],
                now=_state(now)[0],
                was_met=_state(was)[1],
                now_met=_state(now)[1],
                why=now.reasons if now else ("the policy no longer has this control",),
            )
        )
    titles = {area.id: area.title for area in (*before.areas, *after.areas)}
    scores_was = {area.id: area.score for area in before.areas}
    scores_now = {area.id: area.score for area in after.areas}
    return Difference(
        rating_was=before.rating,
        rating_now=after.rating,
        score_was=before.score,
        score_now=after.score,
        areas=tuple(
            AreaChange(area_id, title, scores_was.get(area_id), scores_now.get(area_id))
            for area_id, title in titles.items()
            if scores_was.get(area_id) != scores_now.get(area_id)
        ),
        knock_outs_added=tuple(sorted(_active(after) - _active(before))),
        knock_outs_removed=tuple(sorted(_active(before) - _active(after))),
        controls=tuple(controls),
        policy_changed=before.policy_digest != after.policy_digest,
        tier_changed=before.tier != after.tier,
    )


def _state(control: ControlResult | None) -> tuple[Strength | None, bool]:
    if control is None or not control.applies:
        return None, False
    return control.strength, control.met


def _active(result: Result) -> set[str]:
    return {knock_out.control_id for knock_out in result.knock_outs if knock_out.accepted_until is None}
