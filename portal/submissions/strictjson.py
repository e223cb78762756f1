"""JSON as evidence must be written: one meaning only (RFC 8259, and RFC 7493 where that leaves a choice)."""

import json
import math
from typing import Any, NoReturn

from portal.errors import InvalidInput, Problem

MAX_DEPTH = 32
MAX_INT_DIGITS = 18  # beyond, readers disagree about the value (RFC 7493 §2.2 stops at 2^53)


class _NotStrictError(Exception):
    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected, self.found = expected, found


def parse(data: bytes, what: str, *, most: int = 500_000) -> Any:
    """The value in `data`. Refuses, with a reason: another encoding than UTF-8, a byte-order mark, duplicate
    members, NaN and Infinity, numbers beyond what every reader keeps, nesting deeper than 32, and more than
    `most` values (counted by commas and brackets before any is read: `[{},{},…]` fills fifty times its size).

    Raises InvalidInput whose problem says where.
    """
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if values > most:
        _refuse(what, what, f"at most {most:,} values", f"{values:,}")
    if data.startswith(b"\xef\xbb\xbf"):
        _refuse(what, "byte 0", "UTF-8 without byte-order mark", "a byte-order mark")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(what, f"byte {error.start}", "UTF-8", f"byte 0x{data[error.start]:02x}")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_members,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        _refuse(what, f"line {error.lineno}, column {error.colno}", "JSON", error.msg)
    except _NotStrictError as error:
        _refuse(what, what, error.expected, error.found)
    except RecursionError:
        _refuse(what, what, f"at most {MAX_DEPTH} levels", "deeper nesting")
    if _depth(value) > MAX_DEPTH:
        _refuse(what, what, f"at most {MAX_DEPTH} levels", "deeper nesting")
    return value


def _refuse(what: str, where: str, expected: str, found: str) -> NoReturn:
    raise InvalidInput(
        f"{what} cannot be read", (Problem(where, expected, found, "Export it again as strict JSON."),)
    ) from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _NotStrictError("every member once", f"{twice[:60]!r} twice in one object")
    return members


def _constant(name: str) -> NoReturn:
    raise _NotStrictError("numbers", name)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _NotStrictError("a number that fits", digits[:40])
    return value


def _int(digits: str) -> int:
    if len(digits) > MAX_INT_DIGITS:
        raise _NotStrictError(f"a whole number of at most {MAX_INT_DIGITS} digits", f"{len(digits)} digits")
    return int(digits)


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            return level
        if isinstance(item, dict):
            waiting += [(child, level + 1) for child in item.values() if isinstance(child, dict | list)]
        elif isinstance(item, list):
            waiting += [(child, level + 1) for child in item if isinstance(child, dict | list)]
    return deepest
