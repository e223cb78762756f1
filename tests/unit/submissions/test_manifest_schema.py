"""The JSON Schema given to suppliers and the reader agree: what one refuses, the other refuses."""

import copy
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from portal.errors import InvalidInput
from portal.submissions.lots.manifest import SCHEMA, read_manifest, schema_text
from tests.unit.submissions.conftest import a_manifest, a_unit
from tests.unit.submissions.test_manifest import BAD, change, good

DOCUMENT: dict[str, Any] = json.loads(schema_text())
VALIDATOR = jsonschema_rs.Draft202012Validator(DOCUMENT, validate_formats=True)
WITHOUT_UNITS = jsonschema_rs.Draft202012Validator(
    DOCUMENT | {"$ref": "#/$defs/lot", "required": []}, validate_formats=True
)
TABLE = b"serial,capacity_ah,resistance_mohm,ocv_v\nSN-1,102.4,0.62,3.295\n"


def reads(manifest: object, table: bytes | None = None) -> bool:
    try:
        read_manifest(json.dumps(manifest).encode(), table, max_units=100_000)
    except InvalidInput:
        return False
    return True


def holds(manifest: object) -> bool:
    return VALIDATOR.is_valid(manifest)


def with_seal(seal: str) -> dict[str, Any]:
    manifest = good()
    manifest["custody"][0]["seal"] = seal
    return manifest


GOOD = {
    "plain": good(),
    "no hand-offs": good(custody=[]),
    "a hand-off with a seal": with_seal("S-004711"),
    "a thousand hand-offs": good(custody=good()["custody"] * 500),
    "whole numbers": change("units.0.capacity_ah", 100),
    "zero and the largest": change("units.0", a_unit("SN-1", capacity_ah=0, resistance_mohm=1e9)),
    "a count with a point": change("unit_count", 2.0),
    "another count than units": change("unit_count", 3),
    "other scripts": a_manifest("Zelle 5 µ", [a_unit("序列-１"), a_unit("Ж 2", firmware={"ЖК": "2.0-β"})]),
    "32 components": change("units.0.firmware", {f"C{n}": "1" for n in range(32)}),
    "the longest texts": good(lot="L" * 100, maker="M" * 200),
    "fractions of a second": change("custody.0.at", "2026-10-03T08:00:00.123456Z"),
    "a zone": change("custody.0.at", "2026-10-03T08:00:00-03:30"),
    "a leap day": change("manufactured_on", "2024-02-29"),
}

MORE_BAD = {
    "a million million units": change("unit_count", 10**12),
    "minus nothing much": change("units.0.capacity_ah", -0.001),
    "a number beyond all": change("units.0.capacity_ah", 1_000_000_001),
    "33 components": change("units.0.firmware", {f"C{n}": "1" for n in range(33)}),
    "a component without name": change("units.0.firmware", {"": "1"}),
    "a component of blanks": change("units.0.firmware", {" \t": "1"}),
    "a component with a long name": change("units.0.firmware", {"C" * 101: "1"}),
    "a version too long": change("units.0.firmware", {"BMS": "1" * 65}),
    "a thousand and one hand-offs": good(custody=[good()["custody"][0]] * 1001),
    "a week date": change("manufactured_on", "2026-W40-4"),
    "a day that is not": change("manufactured_on", "2025-02-29"),
    "Arabic digits": change("manufactured_on", "٢٠٢٦-١٠-٠١"),
    "a week date and time": change("custody.0.at", "2026-W40-6T08:00:00Z"),
    "a short time": change("custody.0.at", "2026-10-03T08Z"),
    "a blank for the T": change("custody.0.at", "2026-10-03 08:00:00Z"),
    "an hour that is not": change("custody.0.at", "2026-10-03T25:00:00Z"),
    "an event too long": change("custody.0.event", "e" * 41),
}


def test_the_schema_is_one_of_its_draft_and_names_itself() -> None:
    assert jsonschema_rs.meta.is_valid(DOCUMENT)
    assert DOCUMENT["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert DOCUMENT["$id"] == SCHEMA


@pytest.mark.parametrize("manifest", GOOD.values(), ids=GOOD)
def test_what_is_good_is_good_to_both(manifest: dict[str, Any]) -> None:
    assert (holds(manifest), reads(manifest)) == (True, True)


@pytest.mark.parametrize("manifest", MORE_BAD.values(), ids=MORE_BAD)
def test_what_is_bad_is_bad_to_both(manifest: dict[str, Any]) -> None:
    assert (holds(manifest), reads(manifest)) == (False, False)


@pytest.mark.parametrize(
    ("path", "value"),
    [(path, value) for path, value, _ in BAD if value != "\ud800"],  # half a character is no JSON text
    ids=lambda value: repr(value)[:40],
)
def test_what_the_reader_refuses_the_schema_refuses(path: str, value: Any) -> None:
    assert not holds(change(path, value))


def places(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value in `value`."""
    if way:
        yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*way, key))


def test_anything_anywhere_is_taken_by_both_or_by_none() -> None:
    """Each value of a manifest left out, then replaced by one of every type."""
    whole = with_seal("S-1")
    seen = {True: 0, False: 0}
    for *way, last in places(whole):
        for value in (..., None, True, 0, 1, -1, 2.5, "", " ", "x", "2026-10-03", [], {}, [{}], {"x": "1"}):
            manifest = copy.deepcopy(whole)
            at: Any = manifest
            for step in way:
                at = at[step]
            if value is ...:
                del at[last]
            else:
                at[last] = value
            good_to_reader = reads(manifest)
            assert holds(manifest) == good_to_reader, (way, last, value)
            seen[good_to_reader] += 1
    assert min(seen.values()) > 50


def test_no_invisible_character_is_visible_to_either() -> None:
    for point in range(0x10000):
        letter = chr(point)
        if unicodedata.category(letter) in ("Cc", "Cf"):
            assert not holds(good(lot=f"L{letter}1")), f"U+{point:04X}"
            assert not reads(good(lot=f"L{letter}1")), f"U+{point:04X}"
    for letter in ("é", "\N{NO-BREAK SPACE}", "\N{HYPHEN}", "\U0001f50b"):
        assert holds(good(lot=f"L{letter}1"))
        assert reads(good(lot=f"L{letter}1"))


def test_a_manifest_that_leaves_its_units_to_a_table_holds_to_a_part_of_the_schema() -> None:
    manifest = change("units", ...)
    assert not holds(manifest)
    assert WITHOUT_UNITS.is_valid(manifest)
    assert reads(manifest, TABLE)
    del manifest["maker"]
    assert not WITHOUT_UNITS.is_valid(manifest)
    assert not reads(manifest, TABLE)


def test_the_manifest_of_the_documentation_holds() -> None:
    text = (Path(__file__).parents[3] / "docs/manifest.md").read_text(encoding="utf-8")
    shown = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert shown is not None
    manifest = json.loads(shown[1])
    assert (holds(manifest), reads(manifest)) == (True, True)
