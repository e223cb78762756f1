"""The verifier's report on an image, laid out for people: facts, tables, signatures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from portal.verification import Outcome

ROWS_MAX: Final = 200  # rows of a table that are shown; how many more there are is told
_DEPTH_MAX: Final = 4
_DIGEST_LENGTH: Final = 32  # hexadecimal digits from which on text is taken for a digest or a key

# Where a name does not speak for itself; every other is shown as its words.
_TERMS: Final = {
    "hdr_size": "Header size",
    "img_size": "Image size",
    "load_addr": "Load address",
    "tlvs": "TLV entries",
    "type": "Type",
    "pure": "Signed over the image itself",
    "key_hash": "Key named by the image",
    "hash": "Recorded hash",
    "computed_hash": "Computed hash",
}
_SHORT: Final = frozenset(
    {
        "sha256",
        "sha384",
        "sha512",
        "sha1",
        "crc32",
        "md5",
        "uuid",
        "id",
        "elf",
        "idf",
        "cms",
        "url",
        "sbom",
        "api",
    }
)
_HEX: Final = ("address", "addr", "offset", "entry", "entry_point", "magic", "type")
_SIZES: Final = ("size", "length", "bytes")


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
    about_signature = document.get("signature_file", {}).get("claims", {})
    if about_signature:
        groups += _groups("The signature file says", about_signature)
    used = [key for entry in document.get("signatures", ()) for key in entry.get("one_time_keys", ())]
    if used:  # what of a hash-based key cannot sign again
        groups += (Group("Hash-based signature", (), (table("One-time keys that signed", used),)),)
    return Image(
        format=document.get("format", ""),
        rules=document.get("rules", ""),
        groups=groups,
        signatures=tuple(_signature(entry) for entry in document.get("signatures", ())),
        confinement=_confinement(document.get("confinement")),
    )


def term(name: str) -> str:
    """The words for a name of the report: `build_id` is "Build ID", `hdr_size` "Header size"."""
    if name in _TERMS:
        return _TERMS[name]
    words = [word.upper() if word in _SHORT else word for word in name.split("_") if word]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _groups(title: str, members: Mapping[str, Any], depth: int = 1) -> tuple[Group, ...]:
    facts: list[tuple[str, Value]] = []
    tables: list[Table] = []
    below: list[Group] = []
    for name, value in members.items():
        if value is None or value in ("", [], {}):
            continue
        if isinstance(value, Mapping) and depth < _DEPTH_MAX:
            below.extend(_groups(f"{title}: {term(name)}" if title else term(name), value, depth + 1))
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            tables.append(table(term(name), value))
        else:
            facts.append((term(name), _value(name, value)))
    own = (Group(title, tuple(facts), tuple(tables)),) if facts or tables else ()
    return (*own, *below)


def table(title: str, items: Sequence[Mapping[str, Any]]) -> Table:
    """A list of like things, a column for each name."""
    names = list(dict.fromkeys(name for item in items for name in item))
    rows = tuple(tuple(_value(name, item.get(name)) for name in names) for item in items[:ROWS_MAX])
    return Table(title, tuple(term(name) for name in names), rows, max(0, len(items) - ROWS_MAX))


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
        is_digest = len(value) >= _DIGEST_LENGTH and set(value) <= set("0123456789abcdef")
        return Value(value, Kind.DIGEST if is_digest else Kind.TEXT)
    if isinstance(value, Mapping):
        return Value("; ".join(f"{term(key)}: {_value(key, inner).text}" for key, inner in value.items()))
    if isinstance(value, list):
        return Value(", ".join(_value(name, item).text for item in value))
    return Value(str(value))


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
            Certificate(item["subject"], item["issuer"], item["not_before"], item["not_after"])
            for item in signer.get("chain", ())
        ),
        time=_time(time),
    )


def _time(members: Mapping[str, Any]) -> str:
    if not members:
        return ""
    if members.get("source") == "timestamp":
        return f"{members['at']}, by the time stamp of {members.get('authority', 'an authority')}"
    return f"{members['at']}, when it was received"


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
