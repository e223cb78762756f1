"""The verifier's report on an image, laid out for people: facts, tables, signatures."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from portal.formats import moment
from portal.submissions.firmware.words import FORMATS, FORMS, content_type, term
from portal.verification import Outcome

ROWS_MAX: Final = 200  # rows of a table that are shown; how many more there are is told
FOLDED_FROM: Final = 13  # rows from which on a table is closed until somebody opens it
_DEPTH_MAX: Final = 4
_DIGEST: Final = re.compile(r"(sha256:|sha512:)?[0-9a-f]{32,}")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_HEX: Final = ("address", "addr", "offset", "entry", "entry_point", "magic", "type")
_SIZES: Final = ("size", "length", "bytes")
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})


class Kind(StrEnum):
    """How a value is shown."""

    TEXT = "text"
    DIGEST = "digest"
    ADDRESS = "address"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Value:
    """A value as text; `kind` tells the page how to set it."""

    text: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Table:
    """A list of like things. `more`: rows beyond those that are shown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    more: int = 0

    @property
    def folded(self) -> bool:
        return len(self.rows) >= FOLDED_FROM


@dataclass(frozen=True, slots=True)
class Group:
    """Facts that belong together, and the tables under them. The first group has no title."""

    title: str
    facts: tuple[tuple[str, Value], ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    subject: str
    issuer: str
    not_before: str
    not_after: str


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature: what it is, what was found about it, by which rule, by whom, judged at which time."""

    what: str
    outcome: Outcome
    reasons: tuple[str, ...]
    rule: str
    signer: str
    algorithm: str
    fingerprint: str
    chain: tuple[Certificate, ...]
    time: str
    time_stamp: str


@dataclass(frozen=True, slots=True)
class Image:
    """What the verifier read in an image. `rules`: the rule set that it was judged by."""

    format: str
    rules: str
    groups: tuple[Group, ...]
    signatures: tuple[Signature, ...]
    confinement: str

    @property
    def empty(self) -> bool:
        return not self.signatures and not any(group.facts or group.tables for group in self.groups)


def shown(document_json: str | None) -> Image | None:
    """The report (a JSON document of docs/formats.md, version 1) for a page; None where there is none."""
    if not document_json:
        return None
    document: dict[str, Any] = json.loads(document_json)
    groups = _groups("", document.get("claims", {}))
    beside = document.get("signature_file", {})
    if beside.get("claims"):
        form = FORMS.get(beside["form"], beside["form"])
        groups += _groups(f"The signature file says ({form})", beside["claims"])
    used = [key for entry in document.get("signatures", ()) for key in entry.get("one_time_keys", ())]
    if used:  # what of a hash-based key cannot sign again
        groups += (
            Group("Hash-based signature", (), (table("One-time keys that signed", used, "one_time_keys"),)),
        )
    return Image(
        format=FORMATS.get(document.get("format", ""), document.get("format", "")),
        rules=document.get("rules", ""),
        groups=groups,
        signatures=tuple(_signature(entry) for entry in document.get("signatures", ())),
        confinement=_confinement(document.get("confinement")),
    )


def _groups(title: str, members: Mapping[str, Any], within: str = "", depth: int = 1) -> tuple[Group, ...]:
    facts: list[tuple[str, Value]] = []
    tables: list[Table] = []
    below: list[Group] = []
    for name, value in members.items():
        words = term(name, within)
        if value in _NOTHING:
            continue
        if isinstance(value, Mapping) and depth < _DEPTH_MAX:
            below.extend(_groups(f"{title}: {words}" if title else words, value, name, depth + 1))
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            tables.append(table(words, value, name))
        else:
            facts.append((words, _value(name, value)))
    own = (Group(title, tuple(facts), tuple(tables)),) if facts or tables else ()
    return (*own, *below)


def table(title: str, items: Sequence[Mapping[str, Any]], within: str = "") -> Table:
    """A list of like things, a column for each name that any of them has a value for."""
    names = dict.fromkeys(name for item in items for name, value in item.items() if value not in _NOTHING)
    rows = tuple(tuple(_value(name, item.get(name)) for name in names) for item in items[:ROWS_MAX])
    return Table(title, tuple(term(name, within) for name in names), rows, max(0, len(items) - ROWS_MAX))


def _value(name: str, value: Any) -> Value:
    if value is None:
        return Value("")
    if isinstance(value, bool):
        return Value("yes" if value else "no")
    if isinstance(value, int):
        last = name.rsplit("_", 1)[-1]
        if name in _HEX or last in _HEX:
            return Value(f"0x{value:04x}" if last == "type" else f"0x{value:08x}", Kind.ADDRESS)
        if last in _SIZES:
            return Value(str(value), Kind.SIZE)
        return Value(str(value))
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, Mapping):
        return Value(
            "; ".join(f"{term(key, name)}: {_value(key, inner).text}" for key, inner in value.items())
        )
    if isinstance(value, list):
        return Value(", ".join(_value(name, item).text for item in value))
    return Value(str(value))


def _text(name: str, text: str) -> Value:
    if _DIGEST.fullmatch(text):
        return Value(text, Kind.DIGEST)
    if _MOMENT.fullmatch(text):
        return Value(_moment(text))
    return Value(content_type(text) if name == "content_type" else text)


def _moment(text: str) -> str:
    """A time of the report as every page writes it; what is no time (a month 13) as it stands."""
    try:
        return moment(datetime.fromisoformat(text))
    except ValueError:
        return text


def _signature(entry: Mapping[str, Any]) -> Signature:
    signer = entry.get("signer") or {}
    parts = [entry.get(part) or {} for part in ("signature", "key", "algorithm")]
    time = entry.get("time") or {}
    return Signature(
        what=entry.get("what", ""),
        outcome=Outcome(entry["outcome"]),
        reasons=tuple(part["reason"] for part in parts if part.get("reason")),
        rule=entry.get("rule") or "",
        signer=signer.get("id", ""),
        algorithm=signer.get("algorithm", ""),
        fingerprint=signer.get("fingerprint", ""),
        chain=tuple(
            Certificate(
                item["subject"], item["issuer"], _moment(item["not_before"]), _moment(item["not_after"])
            )
            for item in signer.get("chain", ())
        ),
        time=_time(time),
        time_stamp=(entry.get("time_stamp") or {}).get("reason", ""),
    )


def _time(members: Mapping[str, Any]) -> str:
    if not members:
        return ""
    if members.get("source") == "timestamp":
        return f"{_moment(members['at'])}, by the time stamp of {members.get('authority', 'an authority')}"
    return f"{_moment(members['at'])}, when it was received"


def _confinement(members: Mapping[str, Any] | None) -> str:
    """In words, what held the process that read the file."""
    if not members:
        return ""
    on = [
        words
        for name, words in (
            ("landlock", "no file system (Landlock)"),
            ("seccomp", "only the system calls it needs (seccomp)"),
        )
        if members.get(name)
    ]
    return ", ".join(["a process of its own with limits on memory and time", *on])
