"""Retention rules as data: for each kind of evidence, how long it is kept and from when that counts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.errors import InvalidInput, Problem
from portal.policy.codec import canonical, parse_json
from portal.retention.models import RetentionRules
from portal.submissions.models import SubmissionKind

YEARS_MIN: Final = (
    1  # no rule lets evidence go in the year it came: a slip of the hand must not empty the vault
)
YEARS_MAX: Final = 99
_RULES_BYTES: Final = 16 << 10


class Kind(StrEnum):
    """What evidence was offered as; `unused`: with nothing that was ever submitted."""

    QUESTIONNAIRE = SubmissionKind.QUESTIONNAIRE.value
    LOT = SubmissionKind.LOT.value
    FIRMWARE = SubmissionKind.FIRMWARE.value
    ATTESTATIONS = SubmissionKind.ATTESTATIONS.value
    UNUSED = "unused"


class Anchor(StrEnum):
    """What a period counts from. Whatever it is, never from before the file was received."""

    RECEIVED = "received"
    DECIDED = "decided"  # the newest decision on the product
    END_OF_SALE = "end_of_sale"
    END_OF_SUPPORT = "end_of_support"
    NEVER = "never"  # kept for ever


WORDS: Final = {
    Anchor.RECEIVED: "receipt",
    Anchor.DECIDED: "the last decision on the product",
    Anchor.END_OF_SALE: "the product’s end of sale",
    Anchor.END_OF_SUPPORT: "the product’s end of support",
}
OF_PRODUCT: Final = frozenset({Anchor.DECIDED, Anchor.END_OF_SALE, Anchor.END_OF_SUPPORT})


@dataclass(frozen=True, slots=True)
class Rule:
    anchor: Anchor
    years: int

    def __str__(self) -> str:
        if self.anchor is Anchor.NEVER:
            return "kept for ever"
        return f"{self.years} {'year' if self.years == 1 else 'years'} from {WORDS[self.anchor]}"

    def last_day(self, anchored: date | None, received: date) -> date | None:
        """The last day on which the file is kept; None: it is kept, because its anchor is not known."""
        if self.anchor is Anchor.NEVER or (self.anchor is not Anchor.RECEIVED and anchored is None):
            return None
        start = max(received, anchored or received)
        return _years_on(start, self.years)


@dataclass(frozen=True, slots=True)
class Rules:
    """`version` 0 are those that come with Lotgate. `digest`: SHA-256 of the canonical JSON."""

    version: int
    by_kind: Mapping[Kind, Rule]
    digest: str

    def named(self, kind: Kind) -> str:
        """How a rule is cited: "firmware: 10 years from the product’s end of support (rules, version 3)"."""
        return f"{kind.value}: {self.by_kind[kind]} (rules, version {self.version})"


# Reg. (EU) 2024/2847 Art. 13(13) has makers keep technical documentation for ten years; a buyer who keeps as
# long after the last update still has its side of every dispute.
DEFAULTS: Final[Mapping[Kind, Rule]] = {
    Kind.QUESTIONNAIRE: Rule(Anchor.END_OF_SUPPORT, 10),
    Kind.LOT: Rule(Anchor.END_OF_SUPPORT, 10),
    Kind.FIRMWARE: Rule(Anchor.END_OF_SUPPORT, 10),
    Kind.ATTESTATIONS: Rule(Anchor.END_OF_SUPPORT, 10),
    Kind.UNUSED: Rule(Anchor.RECEIVED, 1),
}


def current(session: Session) -> Rules:
    """The rules in force."""
    row = newest(session)
    if row is None:
        return Rules(0, DEFAULTS, digest_of(dump(DEFAULTS)))
    return Rules(row.version, load(row.rules), row.digest)


def newest(session: Session) -> RetentionRules | None:
    return session.scalars(select(RetentionRules).order_by(RetentionRules.version.desc()).limit(1)).first()


def dump(by_kind: Mapping[Kind, Rule]) -> str:
    """Canonical JSON: {"firmware": {"anchor": "end_of_support", "years": 10}, …}."""
    return canonical(
        {kind.value: {"anchor": rule.anchor.value, "years": rule.years} for kind, rule in by_kind.items()}
    ).decode()


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def load(text: str) -> Mapping[Kind, Rule]:
    """Rules from JSON. Raises InvalidInput that names every fault."""
    data = parse_json(text, "retention rules", _RULES_BYTES)
    if not isinstance(data, dict):
        raise InvalidInput("Retention rules are an object with a member for each kind.")
    problems = [
        Problem(str(name)[:40], f"one of {', '.join(Kind)}", "an unknown kind")
        for name in data
        if name not in set(Kind)
    ]
    rules: dict[Kind, Rule] = {}
    for kind in Kind:
        made = _rule(kind, data.get(kind.value))
        if isinstance(made, Problem):
            problems.append(made)
        else:
            rules[kind] = made
    if problems:
        raise InvalidInput("The retention rules are wrong.", tuple(problems))
    return rules


def _rule(kind: Kind, given: Any) -> Rule | Problem:
    if not isinstance(given, dict) or set(given) != {"anchor", "years"}:
        return Problem(kind.value, "anchor and years", "something else" if given else "nothing")
    anchor, years = given["anchor"], given["years"]
    if anchor not in set(Anchor):
        return Problem(f"{kind.value}.anchor", f"one of {', '.join(Anchor)}", str(anchor)[:40])
    if kind is Kind.UNUSED and Anchor(anchor) in OF_PRODUCT:
        return Problem(f"{kind.value}.anchor", "received or never: it belongs to no product", str(anchor))
    if isinstance(years, bool) or not isinstance(years, int) or not YEARS_MIN <= years <= YEARS_MAX:
        return Problem(f"{kind.value}.years", f"{YEARS_MIN} to {YEARS_MAX}", str(years)[:40])
    return Rule(Anchor(anchor), years)


def too_late(day: date, years: int) -> date:
    """The first day from which a period of so many years is not over on `day`: it would last until then."""
    first = date(max(day.year - years, 1), day.month, 1)
    return next(
        at for at in (first + timedelta(days=n - 1) for n in range(33)) if _years_on(at, years) >= day
    )


def _years_on(day: date, years: int) -> date:
    """The same day `years` later; 29 February becomes 1 March."""
    if day.year + years > date.max.year:
        return date.max
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
