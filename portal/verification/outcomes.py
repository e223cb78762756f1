"""What a check can find. Only `Outcome.PASS` proves anything."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of one check, or of several taken together (`worst`)."""

    PASS = "pass"  # noqa: S105 - an outcome, no password
    FAIL = "fail"
    WARN = "warn"
    UNREADABLE = "unreadable"
    NOT_APPLICABLE = "not_applicable"
    NOT_RUN = "not_run"


# From worst to best. NOT_APPLICABLE is absent: it says nothing about the evidence.
_ORDER = (Outcome.FAIL, Outcome.UNREADABLE, Outcome.NOT_RUN, Outcome.WARN, Outcome.PASS)


@dataclass(frozen=True, slots=True)
class Check:
    """One machine finding: a stable id (`firmware.signature`), an outcome, a reason in plain words."""

    id: str
    outcome: Outcome
    reason: str


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of all together: fail > unreadable > not_run > warn > pass.

    `not_applicable` is ignored. Nothing (or nothing applicable) was proven by nothing: `not_run`.
    """
    seen = set(outcomes)
    return next((outcome for outcome in _ORDER if outcome in seen), Outcome.NOT_RUN)
