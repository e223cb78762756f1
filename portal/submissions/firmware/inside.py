"""A look inside an image, for reviewers: recorded beside the verdict on its signatures, never part of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from portal.errors import RulesError, UnreadableFile, VerifierFault
from portal.verification import Check, Outcome, examine_content, load_rules, own_rules

RULES_CHECK = "content.rules"
FAILED_CHECK = "content.profile"


@dataclass(frozen=True, slots=True)
class Inside:
    """`document`: what `lotgate verify --content --json` prints under `content`; None where it failed."""

    checks: tuple[Check, ...]
    document: dict[str, Any] | None


def look_inside(
    path: Path, rules_folder: Path | None, *, at: float, progress: Callable[[int], object]
) -> Inside:
    """Private keys, certificates, published keys, credentials, rules, component lists, a profile.

    What goes wrong here is a check that does not pass: it takes nothing from what the signatures prove.
    """
    wrong = ""
    try:
        rules = load_rules(rules_folder)
        report = examine_content(path, rules, at=at, progress=progress)
    except RulesError as error:
        wrong = error.message
        report = None
    except (UnreadableFile, VerifierFault) as error:
        return _failed(error.message)
    if report is None:
        try:
            report = examine_content(path, own_rules(), at=at, progress=progress)
        except (UnreadableFile, VerifierFault) as error:
            return _failed(error.message)
    checks = report.checks
    if wrong:
        checks = tuple(_not_evaluated(check, wrong) if check.id == RULES_CHECK else check for check in checks)
    return Inside(checks, report.document)


def _not_evaluated(check: Check, why: str) -> Check:
    if check.outcome is Outcome.FAIL:
        return replace(check, reason=f"{check.reason} The buyer's rules were not evaluated.")
    return replace(
        check,
        outcome=Outcome.UNREADABLE,
        reason=f"The buyer's rules cannot be used, an administrator must put them right: {why}",
    )


def _failed(why: str) -> Inside:
    text = f"The inside of the image could not be looked through: {why}"
    return Inside((Check(FAILED_CHECK, Outcome.UNREADABLE, text),), None)
