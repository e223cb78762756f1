"""Reading lot manifests (docs/manifest.md): strict JSON, and CSV for the units. Bytes in, a Manifest out.

What can be said as JSON Schema stands in manifest.schema.json too, for suppliers; both change together.
"""

import csv
import hashlib
import io
import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import rfc8785

from portal.errors import InvalidInput, Problem
from portal.submissions import strictjson

SCHEMA = "https://lotgate.dev/schema/lot-manifest/v1"
PROBLEMS_MAX = 100
NUMBER_MAX = 1_000_000_000
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(_DAY.pattern + "T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_SERIAL_MAX = 100
_COMPONENTS_MAX = 32
_TOP = {
    "schema", "lot", "product", "maker", "site", "manufactured_on", "unit_count", "units", "custody",
}  # fmt: skip
_UNIT = {"serial", "firmware", "capacity_ah", "resistance_mohm", "ocv_v"}
_CUSTODY = {"event", "from", "to", "location", "at", "seal"}
_CSV_PREFIX = "firmware."
_CSV_CELL_MAX = 1000
MEASURED = ("capacity_ah", "resistance_mohm", "ocv_v")


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """One unit as delivered. `digest`: SHA-256 (hex) of its record in canonical JSON (RFC 8785)."""

    serial: str
    serial_key: str
    firmware: dict[str, str]
    capacity_ah: float
    resistance_mohm: float
    ocv_v: float
    digest: str


@dataclass(frozen=True, slots=True)
class CustodyRecord:
    event: str
    from_holder: str
    to_holder: str
    location: str
    at: datetime
    seal: str


@dataclass(frozen=True, slots=True)
class Manifest:
    lot: str
    product: str
    maker: str
    site: str
    manufactured_on: date
    unit_count: int
    units: tuple[UnitRecord, ...]
    custody: tuple[CustodyRecord, ...]


@cache
def schema_text() -> str:
    """The JSON Schema (draft 2020-12) of a manifest."""
    text = files("portal.submissions.lots") / "manifest.schema.json"
    return text.read_text(encoding="utf-8")


def serial_key(serial: str) -> str:
    """A serial made comparable: NFKC, upper case, without blanks."""
    return "".join(unicodedata.normalize("NFKC", serial).upper().split())


def holder_key(name: str) -> str:
    """A company's name made comparable: NFKC, case folded, single blanks."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def unit_digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(rfc8785.dumps(record)).hexdigest()


class _Reader:
    """Collects problems instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, where: str, expected: str, found: object, fix: str = "") -> None:
        if len(self.problems) < PROBLEMS_MAX:
            shown = found if isinstance(found, str) else _shown(found)
            self.problems.append(Problem(where, expected, shown[:80], fix))

    def members(self, where: str, value: Any, known: set[str], needed: set[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.wrong(where, "an object", value)
            return {}
        for name in sorted(set(value) - known):
            self.wrong(f"{where}.{name[:60]}", "a member that is known here", "an unknown one", "Remove it.")
        for name in sorted(needed - set(value)):
            self.wrong(f"{where}.{name}", "a value", "nothing", "Add it.")
        return value

    def text(self, where: str, value: Any, longest: int) -> str:
        if not isinstance(value, str):
            self.wrong(where, "text", value)
            return ""
        cleaned = unicodedata.normalize("NFC", value).strip()
        if not cleaned or len(cleaned) > longest:
            self.wrong(where, f"1 to {longest} characters", f"{len(cleaned)} characters")
            return ""
        if any(unicodedata.category(letter) in ("Cc", "Cs", "Cf") for letter in cleaned):
            self.wrong(where, "printable characters", "control or invisible characters", "Remove them.")
            return ""
        return cleaned

    def number(self, where: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(where, "a number", value)
            return math.nan
        if not 0 <= value <= NUMBER_MAX:
            self.wrong(where, f"a number from 0 to {NUMBER_MAX:,}", value)
            return math.nan
        return float(value)

    def day(self, where: str, value: Any) -> date:
        try:
            if not isinstance(value, str) or not _DAY.fullmatch(value):
                raise ValueError
            return date.fromisoformat(value)
        except ValueError:
            self.wrong(where, "a date YYYY-MM-DD", value)
            return date.min

    def moment(self, where: str, value: Any) -> datetime:
        try:
            if not isinstance(value, str) or not _MOMENT.fullmatch(value):
                raise ValueError
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.wrong(where, "a time with zone (RFC 3339), like 2026-11-21T12:00:00Z", value)
            return datetime.min.replace(tzinfo=UTC)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value)


def read_manifest(data: bytes, units_csv: bytes | None, *, max_units: int) -> Manifest:
    """The manifest in `data`, with units from `units_csv` where there is one.

    Raises InvalidInput that lists up to 100 problems; a manifest with any problem has no reading at all.
    """
    value = strictjson.parse(data, "manifest", most=_most_values(max_units))
    reader = _Reader()
    needed = _TOP - {"units"} if units_csv is not None else _TOP
    top = reader.members("manifest", value, _TOP, needed)
    if not top:
        raise InvalidInput("the manifest cannot be read", tuple(reader.problems))
    if top.get("schema") != SCHEMA:
        reader.wrong("schema", SCHEMA, top.get("schema"))
    if units_csv is not None and top.get("units"):
        reader.wrong("units", "none, because a CSV file holds them", "units", "Give the units once.")
    raw = top.get("units", [])
    if units_csv is not None:
        raw = _csv_units(reader, units_csv, max_units)
    elif not isinstance(raw, list):
        reader.wrong("units", "a list", raw)
        raw = []
    if len(raw) > max_units:
        raise InvalidInput(
            "the lot is too large",
            (Problem("units", f"at most {max_units:,} units", f"{len(raw):,}", "Split the lot."),),
        )
    units = tuple(_unit(reader, f"units[{number}]", item) for number, item in enumerate(raw))
    custody_raw = top.get("custody", [])
    if not isinstance(custody_raw, list) or len(custody_raw) > 1000:
        reader.wrong("custody", "a list of at most 1,000 hand-offs", custody_raw)
        custody_raw = []
    count = reader.number("unit_count", top.get("unit_count"))
    if not math.isnan(count) and not count.is_integer():
        reader.wrong("unit_count", "a whole number", count)
    manifest = Manifest(
        lot=reader.text("lot", top.get("lot"), 100),
        product=reader.text("product", top.get("product"), 100),
        maker=reader.text("maker", top.get("maker"), 200),
        site=reader.text("site", top.get("site"), 200),
        manufactured_on=reader.day("manufactured_on", top.get("manufactured_on")),
        unit_count=0 if math.isnan(count) else int(count),
        units=units,
        custody=tuple(_custody(reader, f"custody[{n}]", item) for n, item in enumerate(custody_raw)),
    )
    if not units:
        reader.wrong("units", "at least one unit", "none")
    if reader.problems:
        raise InvalidInput("the manifest has faults", tuple(reader.problems))
    return manifest


def _most_values(max_units: int) -> int:
    """How many commas and brackets a file may hold: what its units need at most, and ample for the rest."""
    return (8 + _COMPONENTS_MAX) * max_units + 100_000


def _unit(reader: _Reader, where: str, value: Any) -> UnitRecord:
    item = reader.members(where, value, _UNIT, _UNIT)
    firmware = item.get("firmware", {})
    if not isinstance(firmware, dict) or len(firmware) > _COMPONENTS_MAX:
        reader.wrong(f"{where}.firmware", "an object of component and version", firmware)
        firmware = {}
    versions = {
        reader.text(f"{where}.firmware", name, 100): reader.text(f"{where}.firmware.{name[:40]}", version, 64)
        for name, version in firmware.items()
    }
    if len(versions) != len(firmware):
        reader.wrong(f"{where}.firmware", "every component once", "names that differ in nothing but blanks")
    serial = reader.text(f"{where}.serial", item.get("serial", ""), _SERIAL_MAX)
    key = serial_key(serial)
    if len(key) > _SERIAL_MAX:
        expected = f"at most {_SERIAL_MAX} characters with ligatures written out"
        reader.wrong(f"{where}.serial", expected, f"{len(key)}")
    measured = {name: reader.number(f"{where}.{name}", item.get(name)) for name in MEASURED}
    clean = not any(math.isnan(value) for value in measured.values())
    try:
        digest = unit_digest(item) if clean else ""
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        reader.wrong(where, "values that canonical JSON can hold (RFC 8785)", "others")
        digest = ""
    return UnitRecord(serial, key, versions, digest=digest, **measured)


def _custody(reader: _Reader, where: str, value: Any) -> CustodyRecord:
    item = reader.members(where, value, _CUSTODY, _CUSTODY - {"seal"})
    return CustodyRecord(
        event=reader.text(f"{where}.event", item.get("event", ""), 40),
        from_holder=reader.text(f"{where}.from", item.get("from", ""), 200),
        to_holder=reader.text(f"{where}.to", item.get("to", ""), 200),
        location=reader.text(f"{where}.location", item.get("location", ""), 200),
        at=reader.moment(f"{where}.at", item.get("at")),
        seal=reader.text(f"{where}.seal", item["seal"], 100) if "seal" in item else "",
    )


def _csv_units(reader: _Reader, data: bytes, max_units: int) -> list[dict[str, Any]]:
    """Units from CSV (RFC 4180, UTF-8): serial, the three measurements, `firmware.<component>` columns."""
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]  # spreadsheets write it; it changes nothing
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        reader.wrong(f"CSV byte {error.start}", "UTF-8", "another encoding", "Save as CSV UTF-8.")
        return []
    if "\x00" in text:
        reader.wrong("CSV", "text", "NUL characters", "Export it again.")
        return []
    most, commas = _most_values(max_units), text.count(",")
    if commas > most:
        reader.wrong("CSV", f"at most {most:,} cells", f"{commas:,}", "Split the lot.")
        return []
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    units: list[dict[str, Any]] = []
    try:
        header = next(rows, [])
        components = [name for name in header if name.startswith(_CSV_PREFIX)]
        wanted = ["serial", *MEASURED]
        if len(set(header)) != len(header) or set(header) - set(components) != set(wanted):
            expected = ", ".join([*wanted, "firmware.<component>"])
            reader.wrong("CSV line 1", f"the columns {expected}, each once", ", ".join(header)[:80])
            return []
        for row in rows:
            if len(units) > max_units:
                break
            if len(row) != len(header) or any(len(cell) > _CSV_CELL_MAX for cell in row):
                reader.wrong(f"CSV line {rows.line_num}", f"{len(header)} cells", f"{len(row)}")
                continue
            cells = dict(zip(header, row, strict=True))
            unit: dict[str, Any] = {
                "serial": cells["serial"],
                "firmware": {
                    name.removeprefix(_CSV_PREFIX): cells[name] for name in components if cells[name]
                },
            }
            for name in MEASURED:
                unit[name] = _csv_number(reader, f"CSV line {rows.line_num}, {name}", cells[name])
            units.append(unit)
    except csv.Error as error:
        reader.wrong(f"CSV line {rows.line_num}", "comma-separated values (RFC 4180)", str(error))
    return units


def _csv_number(reader: _Reader, where: str, cell: str) -> float | int:
    text = cell.strip()
    plain = text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit() and len(text) <= 24
    if not plain:
        reader.wrong(where, "a number with a decimal point, like 3.295", cell)
        return 0
    return float(text) if "." in text else int(text)
