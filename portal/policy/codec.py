"""Frozen dataclasses to canonical JSON and back, strictly: policies, questionnaires, facts and results all
travel this way, so that equal things have equal bytes and a wrong file says where it is wrong.

Supported field types: str, int, bool, date, StrEnum, other dataclasses, `X | None`, `tuple[X, ...]` and
`Mapping[str, X]`. Numbers are whole numbers on purpose: equal bytes on every machine.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from hashlib import sha256
from re import fullmatch
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import rfc8785

from portal.errors import PolicyError

T = TypeVar("T")

SHOWN_MAX = 60
"""Characters of a wrong value that an error message repeats."""


def canonical(plain: Any) -> bytes:
    """RFC 8785 bytes of plain JSON data."""
    return rfc8785.dumps(plain)


def digest(data: bytes) -> str:
    """The SHA-256 of `data`, with its algorithm's name."""
    return f"sha256:{sha256(data).hexdigest()}"


def encode(thing: Any) -> bytes:
    """Canonical JSON of a dataclass."""
    return canonical(plain_of(thing))


def plain_of(thing: Any) -> Any:
    """A dataclass as plain JSON data; dates as YYYY-MM-DD."""
    if is_dataclass(thing):
        return {field.name: plain_of(getattr(thing, field.name)) for field in fields(thing)}
    if isinstance(thing, Mapping):
        return {key: plain_of(value) for key, value in thing.items()}
    if isinstance(thing, tuple | list):
        return [plain_of(item) for item in thing]
    if isinstance(thing, date):
        return thing.isoformat()
    if isinstance(thing, StrEnum):
        return thing.value
    return thing


def parse_json(text: str | bytes, what: str, max_bytes: int) -> Any:
    """JSON without what JSON readers disagree about: no member twice, no NaN, no Infinity. `max_bytes` is the
    limit.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > max_bytes:
        raise PolicyError(f"{what}: expected at most {max_bytes} bytes, found {len(raw)}")
    try:
        return json.loads(raw, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise PolicyError(
            f"{what}: expected JSON, found {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{what}: expected JSON, found {error}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the member {name!r} twice in one object")
        members[name] = value
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"the number {name}")


def decode(kind: type[T], plain: Any, what: str) -> T:
    """Plain JSON data as a `kind`; raises PolicyError naming the place. `what` names the document."""
    return _value(kind, plain, what, "")  # type: ignore[no-any-return]


def _wrong(what: str, where: str, expected: str, found: Any) -> PolicyError:
    shown = json.dumps(found, ensure_ascii=False, default=repr)
    shown = shown if len(shown) <= SHOWN_MAX else shown[:SHOWN_MAX] + "…"
    return PolicyError(f"{what}: {where or 'the whole'}: expected {expected}, found {shown}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(kind: Any, plain: Any, what: str, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        (inner,) = (member for member in get_args(kind) if member is not NoneType)
        return None if plain is None else _value(inner, plain, what, where)
    if origin is tuple:
        if not isinstance(plain, list):
            raise _wrong(what, where, "a list", plain)
        inner = get_args(kind)[0]
        return tuple(_value(inner, item, what, f"{where}[{index}]") for index, item in enumerate(plain))
    if origin is Mapping:
        if not isinstance(plain, dict):
            raise _wrong(what, where, "an object", plain)
        inner = get_args(kind)[1]
        return {
            name: _value(inner, item, what, f"{where}.{name}".lstrip(".")) for name, item in plain.items()
        }
    if is_dataclass(kind):
        return _object(kind, plain, what, where)
    if kind is date:
        return _date(plain, what, where)
    if issubclass(kind, StrEnum):
        if plain not in list(kind):
            raise _wrong(what, where, "one of " + ", ".join(kind), plain)
        return kind(plain)
    if type(plain) is not kind:
        names = {str: "text", int: "a whole number", bool: "true or false"}
        raise _wrong(what, where, names[kind], plain)
    return plain


def _object(kind: Any, plain: Any, what: str, where: str) -> Any:
    if not isinstance(plain, dict):
        raise _wrong(what, where, "an object", plain)
    known = {field.name: field for field in fields(kind)}
    if unknown := sorted(set(plain) - set(known)):
        raise PolicyError(
            f"{what}: {where or 'the whole'}: expected only {', '.join(known)}, found {unknown[0]!r}"
        )
    values = {}
    for name, field in known.items():
        place = f"{where}.{name}".lstrip(".")
        if name in plain:
            values[name] = _value(_hints(kind)[name], plain[name], what, place)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise PolicyError(f"{what}: {where or 'the whole'}: expected the member {name!r}, found none")
    return kind(**values)


def _date(plain: Any, what: str, where: str) -> date:
    if isinstance(plain, str) and fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", plain):
        try:
            return date.fromisoformat(plain)
        except ValueError:
            pass  # 2026-02-30: told below like every other wrong date
    raise _wrong(what, where, "a date YYYY-MM-DD", plain)
