"""Comparing versions: MCUboot's `major.minor.revision+build`, or dotted numbers. Others have no order."""

import re
from functools import total_ordering

_DOTTED = re.compile(r"[vV]?(\d{1,10}(?:\.\d{1,10}){0,5})(?:\+(\d{1,10}))?")


@total_ordering
class Version:
    """Numbers of a version; trailing zeros do not count, a missing build number is 0."""

    def __init__(self, numbers: tuple[int, ...], build: int) -> None:
        while numbers and numbers[-1] == 0:
            numbers = numbers[:-1]
        self.key = (numbers, build)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.key == other.key

    def __lt__(self, other: "Version") -> bool:
        return self.key < other.key

    def __hash__(self) -> int:
        return hash(self.key)


def parse_version(text: str | None) -> Version | None:
    """None when the text is not a dotted number: its order is unknown and must not be guessed."""
    found = _DOTTED.fullmatch((text or "").strip())
    if found is None:
        return None
    return Version(tuple(int(part) for part in found[1].split(".")), int(found[2] or 0))


def same_version(declared: str, carried: str) -> bool:
    """Whether a declared version means the one in the image: equal, or equal without the build number that
    nobody declared."""
    one, other = parse_version(declared), parse_version(carried)
    if one is None or other is None:
        return declared.strip() == carried.strip()
    if "+" not in declared:
        other = Version(other.key[0], 0)
    return one == other
