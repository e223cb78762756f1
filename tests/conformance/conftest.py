"""Where the vectors are, and what became of a set."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest

from portal.verification import Trust, verify_file
from tests.unit.verification.conftest import AT

HERE = Path(__file__).resolve()
PLACES = (HERE.parents[1] / "vectors", HERE.parents[3] / "shared" / "vectors")
PACKAGED = Path(cryptography_vectors.__file__).parent


def folder(name: str) -> Path:
    """The folder of a set, in the project or beside it; a test without it is skipped with a line."""
    for place in PLACES:
        if (place / name).is_dir():
            return place / name
    pytest.skip(f"{name}: these vectors are neither in tests/vectors nor in ../shared/vectors")


class Conformance:
    """Compares what we found in each case of a set with what its makers say."""

    def __init__(self, record: Callable[[str, Any], None], path: Path) -> None:
        self.record = record
        self.path = path

    def signed(self, content: bytes, trust: Trust, signature: bytes | None = None) -> bool:
        """Whether the signature over or in these bytes is valid; whether it counts is not asked."""
        self.path.write_bytes(content)
        report = verify_file(self.path, trust, at=AT, signature=signature)
        found = {check.id.removeprefix("firmware."): check.outcome.value for check in report.checks}
        return found["signature"] == "pass"

    def compare(
        self,
        name: str,
        cases: Iterable[tuple[str, bool, bool]],
        exceptions: dict[str, set[str]],
        *,
        at_least: int,
    ) -> None:
        """Each case: its name, what its makers say, what we found. `exceptions`: reason and exact cases."""
        count, different = 0, set()
        for case, theirs, ours in cases:
            count += 1
            if theirs != ours:
                different.add(case)
        assert count >= at_least, f"{name}: only {count} cases"
        listed = set().union(*exceptions.values()) if exceptions else set()
        assert sum(map(len, exceptions.values())) == len(listed), f"{name}: a case is listed twice"
        assert different - listed == set(), f"{name}: differences that nobody listed"
        assert listed - different == set(), f"{name}: listed as different, and agree"
        self.record("conformance", (name, count, count - len(different), len(different)))


@pytest.fixture
def conformance(record_property: Callable[[str, Any], None], tmp_path: Path) -> Conformance:
    return Conformance(record_property, tmp_path / "case")
