"""What is inside an image: keys, certificates, credentials, rule matches, component lists, a profile."""

import json
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Self

from portal import _verifier
from portal.errors import RulesError
from portal.verification.confined import children
from portal.verification.faults import contained
from portal.verification.hashing import Progress
from portal.verification.outcomes import Check, Outcome

OWN_RULES = Path(__file__).parent.parent / "rules"
KNOWN_BAD = "known-bad.txt"
_MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ContentRules:
    """What is looked for besides: YARA rules (name and text of each file) and digests known to be bad."""

    files: tuple[tuple[str, str], ...] = ()
    known_bad: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContentFinding:
    """One place in the image. `level` is "fail", "warn" or "note"; `what` is for people."""

    check: str
    level: str
    offset: int
    length: int
    what: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ContentReport:
    """What a look through an image found: facts for a reviewer, apart from the verdict on its signatures.

    `document_json` is the whole report, the versioned JSON document of docs/formats.md. The ids of `checks`
    are `content.private_keys`, `.certificates`, `.test_keys`, `.credentials`, `.known_bad`, `.rules`, `.sbom`
    and `.profile`, in this order; `outcome` is the worst of them. `findings` are at most 200 for each check.
    """

    outcome: Outcome
    checks: tuple[Check, ...]
    findings: tuple[ContentFinding, ...]
    document_json: str

    @property
    def document(self) -> dict[str, Any]:
        """`document_json`, decoded."""
        document: dict[str, Any] = json.loads(self.document_json)
        return document

    @classmethod
    def of(cls, document_json: str) -> Self:
        """The report that this document is."""
        document = json.loads(document_json)
        return cls(
            outcome=Outcome(document["outcome"]),
            checks=tuple(
                Check(check["id"], Outcome(check["outcome"]), check["reason"]) for check in document["checks"]
            ),
            findings=tuple(
                ContentFinding(
                    found["check"],
                    found["level"],
                    found["offset"],
                    found["length"],
                    found["what"],
                    found["facts"],
                )
                for found in document["findings"]
            ),
            document_json=document_json,
        )


@contained
def examine_content(
    path: str | PathLike[str], rules: ContentRules, *, at: float, progress: Progress | None = None
) -> ContentReport:
    """Look through all bytes of an image, in bounded memory, in a confined process.

    `at` is the time that counts for certificates. Rules are compiled once for equal text. Progress is in
    bytes.

    Raises OSError and UnreadableFile when the file cannot be read or breaks that process, RulesError for
    rules that do not compile (naming file and line), ValueError for an `at` that is no time, VerifierFault
    when the verifier fails: none is a pass.
    """
    return ContentReport.of(
        _verifier.examine_content(children(), path, list(rules.known_bad), list(rules.files), at, progress)
    )


def published_key(fingerprint: str) -> str | None:
    """What a key is published as, if anybody can sign with it: samples and test keys.

    `fingerprint` is that of a key of a trust file, or the key hash of an MCUboot image.
    """
    return _verifier.published_key(fingerprint)


@cache
def own_rules() -> ContentRules:
    """The rules that come with Lotgate."""
    return _read(OWN_RULES)


def load_rules(folder: Path | None) -> ContentRules:
    """The rules that come with Lotgate and those of the buyer's folder: `*.yar`, `*.yara`, `known-bad.txt`.

    Raises RulesError when the folder cannot be read or a digest in it is none; the rules themselves are
    compiled when they are used.
    """
    own = own_rules()
    if folder is None:
        return own
    buyers = _read(folder)
    return ContentRules(own.files + buyers.files, own.known_bad + buyers.known_bad)


def _read(folder: Path) -> ContentRules:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in (".yar", ".yara"))
        texts = [(path.name, _text(path)) for path in paths]
        listed = folder / KNOWN_BAD
        known_bad = _digests(listed, _text(listed)) if listed.exists() else ()
    except OSError as error:
        raise RulesError(f"rules folder {folder}: {error.strerror or error}") from None
    return ContentRules(tuple(texts), known_bad)


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise RulesError(f"{path}: expected at most {_MAX_BYTES} bytes of rules")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RulesError(f"{path}: expected UTF-8, found other bytes at offset {error.start}") from None


def _digests(path: Path, text: str) -> tuple[str, ...]:
    """One SHA-256 a line, as `sha256sum` writes them; `#` begins a remark."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        digest = words[0].lower()
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise RulesError(
                f"{path}, line {number}: expected 64 hexadecimal digits, found {words[0][:80]!r}"
            )
        found.append(digest)
    return tuple(found)
