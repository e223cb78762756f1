"""How values are written for people: the same everywhere, in pages, mails and reports."""

from datetime import UTC, date, datetime, timedelta
from enum import Enum

ACRONYMS = {"api": "API", "bms": "BMS", "bom": "BOM", "csv": "CSV", "id": "ID", "ocv": "OCV", "pdf": "PDF"}
ACRONYMS |= {"hss": "HSS/LMS", "minisign": "minisign or signify", "openpgp": "OpenPGP", "openssh": "OpenSSH"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_NO_BREAK = "\N{NO-BREAK SPACE}"
_NOTHING = "–"


def moment(value: datetime | None) -> str:
    """A moment with its zone: "21 Nov 2026, 12:00 UTC"."""
    if value is None:
        return _NOTHING
    return f"{day(value.astimezone(UTC))}, {value.astimezone(UTC):%H:%M}{_NO_BREAK}UTC"


def iso(value: date | datetime | None) -> str:
    """For machines: RFC 3339 in UTC with `Z`, or the bare date."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return "" if value is None else value.isoformat()


def day(value: date | None) -> str:
    """A calendar day: "21 Nov 2026"."""
    return _NOTHING if value is None else f"{value.day} {value:%b %Y}"


def size(value: int | None) -> str:
    """Bytes in the largest unit that keeps the number at 1 or more: 1,536 is "1.5 KiB"."""
    if value is None:
        return _NOTHING
    amount = float(value)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("the last unit takes everything")


def number(value: float | None) -> str:
    """With thousands separators."""
    return _NOTHING if value is None else f"{value:,}"


def count(amount: int, one: str, many: str = "") -> str:
    """ "1 lot", "2,000 units"."""
    return f"{number(amount)} {one if amount == 1 else many or one + 's'}"


def duration(value: timedelta | float | None) -> str:
    """A span in its two largest units ("2 d 3 h"); below a minute in seconds, below one in milliseconds."""
    if value is None:
        return _NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    parts = []
    rest = int(seconds)
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def words(value: object) -> str:
    """An enum value or a stored name as words: "not_run" is "not run"."""
    if value is None:
        return ""
    text = str(value.value if isinstance(value, Enum) else value).replace("_", " ")
    return " ".join(ACRONYMS.get(word, word) for word in text.split(" "))


def label(value: object) -> str:
    """As `words`, with a capital at the start."""
    text = words(value)
    return text[:1].upper() + text[1:]


FILTERS = {
    "bytes": size,
    "day": day,
    "duration": duration,
    "iso": iso,
    "label": label,
    "moment": moment,
    "number": number,
    "words": words,
}
