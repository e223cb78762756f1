"""One file against the approved keys."""

import json
from dataclasses import dataclass
from os import PathLike
from typing import Any

from portal import _verifier
from portal.verification.faults import contained
from portal.verification.hashing import Digests, Progress
from portal.verification.outcomes import Check, Outcome
from portal.verification.trust import Purpose, Trust


@dataclass(frozen=True, slots=True)
class FileReport:
    """What one file turned out to be.

    `outcome` is the worst of `checks`, whose ids are `<purpose>.digest`, `.format`, `.signed`, `.signature`,
    `.key` and `.algorithm`, in this order. `claims_json` is what the file says about itself, as a JSON object
    (empty for formats that say nothing). `key_id` and `key_fingerprint` name the key that made a valid
    signature; whether it counts is the check `.key`. `at` is the time that counted, seconds since 1970.
    """

    size: int
    sha256: str
    blake3: str
    format: str
    outcome: Outcome
    checks: tuple[Check, ...]
    claims_json: str
    key_id: str | None
    key_fingerprint: str | None
    at: float

    @property
    def claims(self) -> dict[str, Any]:
        """`claims_json`, decoded."""
        claims: dict[str, Any] = json.loads(self.claims_json)
        return claims


@contained
def verify_file(
    path: str | PathLike[str],
    trust: Trust,
    *,
    at: float,
    purpose: Purpose = "firmware",
    signature: bytes | None = None,
    declared_sha256: str | None = None,
    received: Digests | None = None,
    progress: Progress | None = None,
) -> FileReport:
    """Hash, recognise, parse and verify a file, read once in bounded memory.

    `at` (seconds since 1970) is the time that counts for the validity and distrust of keys: when the evidence
    was received. `signature` is the content of a detached signature file (raw, or base64 text).
    `declared_sha256` is what the sender said. `received` is what was computed while the bytes arrived: a file
    whose inside is not read, and whose signature needs no other digest, is then not hashed once more.
    Progress is in bytes.

    Raises OSError and UnreadableFile when the file cannot be read at all or has another size than was
    received, ValueError for a `declared_sha256` that is no digest or an `at` that is no time, VerifierFault
    when the verifier fails: none is a pass.
    """
    known = None if received is None else (received.size, received.sha256, received.blake3)
    native = _verifier.verify_file(
        path, trust.native, purpose, at, signature, declared_sha256, known, progress
    )
    return FileReport(
        size=native.size,
        sha256=native.sha256,
        blake3=native.blake3,
        format=native.format,
        outcome=Outcome(native.outcome),
        checks=tuple(Check(check.id, Outcome(check.outcome), check.reason) for check in native.checks),
        claims_json=native.claims,
        key_id=native.key_id,
        key_fingerprint=native.key_fingerprint,
        at=at,
    )
