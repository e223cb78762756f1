"""The catalogue of controls, where the facts lie beside the project."""

import os
import re
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def catalogue() -> dict[str, str]:
    """Control id to "R/E/-" from the catalogue of facts; skips where it is not at hand."""
    return {control_id: tiers for control_id, (tiers, _) in _rows().items()}


@pytest.fixture(scope="session")
def catalogue_knock_outs() -> set[str]:
    """Ids of the catalogue's KO rows."""
    return {control_id for control_id, (_, knock_out) in _rows().items() if knock_out}


def _rows() -> dict[str, tuple[str, bool]]:
    beside = Path(__file__).resolve().parents[4] / "shared"
    path = Path(os.environ.get("SHARED_FACTS", beside)) / "facts" / "controls.md"
    if not path.is_file():
        pytest.skip("the catalogue of controls is not beside the project")
    text = path.read_text(encoding="utf-8").replace("\N{EN DASH}", "-")
    row = re.compile(r"\| ([A-Z]{2,3}-\d\d)( KO[^|]*)? \|[^|]*\| ([RE-]/[RE-]/[RE-]) \|")
    return {match[1]: (match[3], bool(match[2])) for match in row.finditer(text)}
