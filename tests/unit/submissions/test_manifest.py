"""Reading manifests: every bad input is a problem that says where. The schema: test_manifest_schema.py."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from portal.errors import InvalidInput
from portal.submissions import strictjson
from portal.submissions.lots.manifest import Manifest, read_manifest, serial_key, unit_digest
from tests.unit.submissions.conftest import a_manifest, a_unit

HEADER = "serial,capacity_ah,resistance_mohm,ocv_v,firmware.BMS\r\n"


def read(value: dict[str, Any] | bytes, table: bytes | None = None, *, most: int = 100_000) -> Manifest:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_manifest(data, table, max_units=most)


def wrong(value: dict[str, Any] | bytes, table: bytes | None = None, *, most: int = 100_000) -> str:
    """All problems of a manifest, one a line."""
    with pytest.raises(InvalidInput) as caught:
        read(value, table, most=most)
    assert caught.value.problems
    return "\n".join(map(str, caught.value.problems))


def good(**values: Any) -> dict[str, Any]:
    return a_manifest("NH-100", [a_unit("SN-1", firmware={"BMS": "1.0.0"}), a_unit("SN-2")], **values)


def test_a_good_manifest_is_read_as_it_is() -> None:
    manifest = read(good())
    assert (manifest.lot, manifest.unit_count, len(manifest.units)) == ("L-1", 2, 2)
    unit = manifest.units[0]
    assert (unit.serial, unit.firmware, unit.capacity_ah) == ("SN-1", {"BMS": "1.0.0"}, 102.4)
    assert manifest.custody[1].at.isoformat() == "2026-10-06T13:30:00+00:00"


@pytest.mark.parametrize(
    ("spoil", "where", "found"),
    [
        (lambda text: b"\xef\xbb\xbf" + text, "byte 0", "byte-order mark"),
        (lambda text: text.decode().encode("utf-16"), "byte 0", "0xff"),
        (lambda text: text.replace(b"Narvik", b"Narv\xffk", 1), "byte", "0xff"),
        (lambda text: text[:-40], "line 1", "Unterminated string"),
        (lambda text: text.replace(b'"lot":', b'"lot": "L-0", "lot":'), "manifest", "'lot' twice"),
        (lambda text: text.replace(b"102.4", b"NaN", 1), "manifest", "NaN"),
        (lambda text: text.replace(b"102.4", b"-Infinity", 1), "manifest", "-Infinity"),
        (lambda text: text.replace(b"102.4", b"1e999", 1), "manifest", "1e999"),
        (lambda text: text.replace(b"102.4", b"9" * 5000, 1), "manifest", "5000 digits"),
        (lambda text: text.replace(b"102.4", b"[" * 40 + b"]" * 40, 1), "manifest", "deeper nesting"),
        (lambda _: b"[" * 200_000, "manifest", "deeper nesting"),
        (lambda text: text + b" {}", "line 1", "Extra data"),
        (lambda _: b"serial,capacity\nSN-1,3\n", "line 1", "Expecting value"),
        (lambda _: b"\x89PNG\r\n\x1a\n" * 9, "byte 0", "0x89"),
        (lambda _: b"", "line 1", "Expecting value"),
    ],
    ids=[
        *("BOM", "UTF-16", "no UTF-8", "truncated", "a member twice", "NaN", "Infinity", "beyond a float"),
        *("huge integer", "40 levels", "200,000 levels", "two values", "CSV", "PNG", "nothing"),
    ],
)
def test_what_is_no_strict_json_is_refused(spoil: Callable[[bytes], bytes], where: str, found: str) -> None:
    told = wrong(spoil(json.dumps(good()).encode()))
    assert told.startswith(where)
    assert found in told


def change(path: str, value: Any) -> dict[str, Any]:
    """The good manifest with one value changed: "units.0.serial"."""
    manifest = good()
    *way, last = path.split(".")
    at: Any = manifest  # an object or a list
    for step in way:
        at = at[int(step) if step.isdigit() else step]
    if value is ...:
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return manifest


BAD = [
    ("schema", "https://example.com/other", "schema"),
    ("lot", "", "lot"),
    ("lot", 17, "lot"),
    ("lot", "x" * 101, "lot"),
    ("lot", "L\u202e1", "lot"),
    ("site", ..., "manifest.site"),
    ("extra", 1, "manifest.extra"),
    ("manufactured_on", "2026-02-30", "manufactured_on"),
    ("manufactured_on", "20261001", "manufactured_on"),
    ("manufactured_on", "2026-W40-4", "manufactured_on"),
    ("unit_count", "2", "unit_count"),
    ("unit_count", True, "unit_count"),
    ("unit_count", -1, "unit_count"),
    ("unit_count", 2.5, "unit_count"),
    ("unit_count", 10**10, "unit_count"),
    ("units", {}, "units"),
    ("units", [], "units"),
    ("units.1", "SN-2", "units[1]"),
    ("units.1.serial", 4711, "units[1].serial"),
    ("units.1.serial", "SN\u0000", "units[1].serial"),
    ("units.1.serial", "  ", "units[1].serial"),
    ("units.1.serial", "\ud800", "units[1].serial"),
    ("units.0.capacity_ah", "102.4", "units[0].capacity_ah"),
    ("units.0.capacity_ah", None, "units[0].capacity_ah"),
    ("units.0.capacity_ah", False, "units[0].capacity_ah"),
    ("units.0.ocv_v", -3.2, "units[0].ocv_v"),
    ("units.0.ocv_v", ..., "units[0].ocv_v"),
    ("units.0.colour", "red", "units[0].colour"),
    ("units.0.firmware", ["1.0.0"], "units[0].firmware"),
    ("units.0.firmware", {"BMS": 1}, "units[0].firmware.BMS"),
    ("custody", {}, "custody"),
    ("custody.0.from", ..., "custody[0].from"),
    ("custody.0.at", "2026-10-03", "custody[0].at"),
    ("custody.0.at", "2026-10-03T08:00:00", "custody[0].at"),
    ("custody.0.at", 1_790_000_000, "custody[0].at"),
    ("custody.0.seal", "", "custody[0].seal"),
]


@pytest.mark.parametrize(
    ("path", "value", "where"), BAD, ids=[f"{path}={value!r}"[:40] for path, value, _ in BAD]
)
def test_a_wrong_value_is_named_by_its_place(path: str, value: Any, where: str) -> None:
    assert wrong(change(path, value)).startswith(f"{where}: expected")


def test_a_moment_before_all_time() -> None:
    told = wrong(change("custody.0.at", "0001-01-01T00:00:00+14:00"))
    assert told.startswith("custody[0].at: expected a time with zone")


def test_one_component_under_two_names_that_look_alike() -> None:
    told = wrong(change("units.0.firmware", {"BMS": "1.0.0", " BMS": "2.0.0"}))
    assert told.startswith("units[0].firmware: expected every component once")


def test_a_serial_that_grows_when_it_is_compared() -> None:
    """One ligature can stand for 18 letters: what is kept must fit its column in every database."""
    told = wrong(change("units.0.serial", "\ufdfa" * 100))
    assert told.startswith("units[0].serial: expected at most 100 characters with ligatures written out")


@pytest.mark.parametrize("text", ["[1, 2]", '"text"', "null", "17"])
def test_a_manifest_that_is_no_object(text: str) -> None:
    assert "manifest: expected an object" in wrong(text.encode())


def test_every_problem_is_listed_up_to_a_hundred() -> None:
    manifest = a_manifest("NH-100", [a_unit(f"SN-{n}", ocv_v="3") for n in range(300)])
    with pytest.raises(InvalidInput) as caught:
        read(manifest)
    assert len(caught.value.problems) == 100
    assert caught.value.problems[99].where == "units[99].ocv_v"


HOSTILE = """
import json, resource
from portal.errors import InvalidInput
from portal.submissions.lots.manifest import read_manifest

head, table = {head!r}, None
columns = b"serial,capacity_ah,resistance_mohm,ocv_v\\n"
open_units = head[:-1] + b', "units": ['
{make}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_manifest(data, table, max_units=100_000)
except InvalidInput as error:
    print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, str(error.problems[0])]))
"""


@pytest.mark.parametrize(
    ("make", "told"),
    [
        ("data = open_units + b'{},' * (20 << 20) + b'{}]}'", "manifest: expected at most 4,100,000 values"),
        (
            "data = open_units + b'{\"serial\": \"SN-1\"},' * 999_999 + b'{}]}'",
            "units: expected at most 100,000 units, found 1,000,000. Split the lot.",
        ),
        (
            "data, table = head, columns + b'SN-1,102,0.6,3.3\\n' * 10**6",
            "units: expected at most 100,000 units, found 100,001. Split the lot.",
        ),
        ("data, table = head, columns + b',' * (60 << 20)", "CSV: expected at most 4,100,000 cells"),
    ],
    ids=["60 MiB of brackets", "a million units", "a million units in a table", "60 MiB of commas"],
)
def test_too_much_is_refused_in_bounded_memory(make: str, told: str) -> None:
    script = HOSTILE.format(head=json.dumps(without_units()).encode(), make=make)
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    grown, problem = json.loads(done.stdout)
    assert problem.startswith(told)
    assert grown < 512 << 10  # KiB


def test_the_limit_itself_is_allowed() -> None:
    assert len(read(good(), most=2).units) == 2
    assert "at most 1 units, found 2" in wrong(good(), most=1)


# --- CSV ------------------------------------------------------------------------------------------


def without_units() -> dict[str, Any]:
    manifest = good()
    del manifest["units"]
    return manifest


def test_units_from_csv_are_those_of_json_digest_and_all() -> None:
    table = HEADER + "SN-1,102.4,0.62,3.295,1.0.0\r\nSN-2,102.4,0.62,3.295,\r\n"
    assert read(without_units(), table.encode()).units == read(good()).units
    assert read(without_units(), table.encode("utf-8-sig")).units == read(good()).units


def test_a_formula_in_a_cell_stays_text() -> None:
    table = HEADER + '"=HYPERLINK(""http://evil"")",102.4,0.62,3.295,1.0.0\n'
    assert read(without_units(), table.encode()).units[0].serial == '=HYPERLINK("http://evil")'


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ("serial,capacity_ah\nSN-1,3\n", "CSV line 1"),
        (HEADER.replace("ocv_v", "serial"), "CSV line 1"),
        (HEADER.replace(",", ";") + "SN-1;102,4;0,62;3,295;1\n", "CSV line 1"),
        ("", "CSV line 1"),
        (HEADER, "units"),
        (HEADER + "SN-1,102.4,0.62\n", "CSV line 2"),
        (HEADER + 'SN-1,"102,4",0.62,3.295,1\n', "CSV line 2, capacity_ah"),
        (HEADER + "SN-1,NaN,0.62,3.295,1\n", "CSV line 2, capacity_ah"),
        (HEADER + "SN-1,1e3,0.62,3.295,1\n", "CSV line 2, capacity_ah"),
        (HEADER + 'SN-1,"102.4"x,0.62,3.295,1\n', "CSV line 2"),
        (HEADER + f"{'9' * 1001},102.4,0.62,3.295,1\n", "CSV line 2"),
        (HEADER + "SN-1\x00,102.4,0.62,3.295,1\n", "CSV"),
        (HEADER + ",102.4,0.62,3.295,1\n", "units[0].serial"),
    ],
)
def test_a_bad_table_is_refused(table: str, where: str) -> None:
    assert wrong(without_units(), table.encode()).startswith(where)


def test_a_table_in_another_encoding_or_too_long_or_beside_units_in_the_manifest() -> None:
    row = "SN-1,102.4,0.62,3.295,1\n"
    assert "Save as CSV UTF-8" in wrong(without_units(), (HEADER + row).encode("utf-16"))
    assert "at most 2 units" in wrong(without_units(), (HEADER + row * 9).encode(), most=2)
    assert "Give the units once" in wrong(good(), (HEADER + row).encode())


# --- digests and keys -----------------------------------------------------------------------------


def test_the_digest_does_not_depend_on_how_the_record_is_written() -> None:
    one = '{"serial":"SN-1","firmware":{},"capacity_ah":100,"resistance_mohm":0.62,"ocv_v":3.295}'
    other = """{ "ocv_v": 3.2950, "resistance_mohm": 62e-2, "capacity_ah": 100.0,
        "firmware": {}, "serial": "SN\\u002d1" }"""
    assert unit_digest(strictjson.parse(one.encode(), "unit")) == unit_digest(
        strictjson.parse(other.encode(), "unit")
    )


def test_serials_compare_without_case_blanks_and_width() -> None:
    assert serial_key(" sn-０１ a") == serial_key("SN-01A")
    assert serial_key("SN-1") != serial_key("SN-01")
