"""The same verdict as a tool by others on a good signature file and on all that differ in one place."""

from collections.abc import Callable, Iterator
from pathlib import Path

from portal.verification import Trust, verify_file
from tests.unit.verification.conftest import AT
from tests.unit.verification.test_firmware import outcomes


def accepts(path: Path, trust: Trust, signature: bytes) -> bool:
    return outcomes(verify_file(path, trust, at=AT, signature=signature))["signature"] == "pass"


def variants(good: bytes, step: int) -> Iterator[bytes]:
    """Another letter at every `step`th place, and the file cut off there."""
    for place in range(0, len(good), step):
        other = b"A" if good[place : place + 1] != b"A" else b"B"
        yield good[:place] + other + good[place + 1 :]
        yield good[:place]


def differences(
    path: Path, trust: Trust, good: bytes, oracle: Callable[[Path, bytes], bool], step: int = 7
) -> list[tuple[bytes, bool]]:
    """What we and the tool disagree on, with the tool's verdict; most of what was tried is bad to both.

    Base64 with stray bits before its padding is left out: tools take it, we refuse it (docs/formats.md).
    """
    assert accepts(path, trust, good)
    assert oracle(path, good)
    verdicts = [(given, accepts(path, trust, given), oracle(path, given)) for given in variants(good, step)]
    assert sum(not ours and not theirs for _, ours, theirs in verdicts) > len(verdicts) / 2
    return [
        (given, theirs)
        for given, ours, theirs in verdicts
        if ours is not theirs and not (theirs and _stray_bits(given, good))
    ]


def _stray_bits(given: bytes, good: bytes) -> bool:
    places = [place for place, (one, other) in enumerate(zip(given, good, strict=False)) if one != other]
    return len(given) == len(good) and [good[place + 1 : place + 2] for place in places] == [b"="]
