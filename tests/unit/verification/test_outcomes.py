"""How outcomes add up: anything that is not a pass shows, and nothing is never a pass."""

import pytest

from portal.verification import Outcome, worst


@pytest.mark.parametrize(
    ("several", "one"),
    [
        ("pass pass", "pass"),
        ("pass warn", "warn"),
        ("warn not_run", "not_run"),
        ("not_run unreadable pass", "unreadable"),
        ("unreadable fail warn", "fail"),
        ("pass not_applicable", "pass"),
        ("not_applicable", "not_run"),
        ("", "not_run"),
    ],
)
def test_the_worst_outcome_wins(several: str, one: str) -> None:
    assert worst(Outcome(word) for word in several.split()) is Outcome(one)
