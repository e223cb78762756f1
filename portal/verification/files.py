"""One file against the approved keys."""

import json
from dataclasses import dataclass
from os import PathLike
from typing import Any, Self

from portal import _verifier
from portal.verification.confined import children
from portal.verification.faults import contained
from portal.verification.hashing import Digests, Progress
from portal.verification.outcomes import Check, Outcome
from portal.verification.trust import Purpose, Trust


@dataclass(frozen=True, slots=True)
class FileReport:
    """What one file turned out to be.

    `document_json` is the whole report: the versioned JSON document of docs/formats.md, the same for the
    command line, the API and the case page. `outcome` is the worst of `checks`, whose ids are
    `<purpose>.digest`, `.format`, `.signed`, `.signature`, `.key` and `.algorithm`, in this order, and then
    those of the format. `claims` is what the file says about itself. `key_id` and `key_fingerprint` name the
    key that made a valid signature (the first of several); whether it counts is the check `.key`. `at` is the
    time of receipt, seconds since 1970.
    """

    size: int
    sha256: str
    blake3: str
    format: str
    outcome: Outcome
    checks: tuple[Check, ...]
    key_id: str | None
    key_fingerprint: str | None
    at: float
    claims: dict[str, Any]
    document_json: str

    @property
    def document(self) -> dict[str, Any]:
        """`document_json`, decoded."""
        document: dict[str, Any] = json.loads(self.document_json)
        return document

    @classmethod
    def of(cls, document_json: str, at: float) -> Self:
        """The report that this document is."""
        document = json.loads(document_json)
        signers = [entry["signer"] for entry in document["signatures"] if entry["signer"] is not None]
        signer = signers[0] if signers else {"id": None, "fingerprint": None}
        return cls(
            size=document["size"],
            sha256=document["digests"]["sha256"],
            blake3=document["digests"]["blake3"],
            format=document["format"],
            outcome=Outcome(document["outcome"]),
            checks=tuple(
                Check(check["id"], Outcome(check["outcome"]), check["reason"]) for check in document["checks"]
            ),
            key_id=signer["id"],
            key_fingerprint=signer["fingerprint"],
            at=at,
            claims=document["claims"],
            document_json=document_json,
        )


@contained
def verify_file(
    path: str | PathLike[str],
    trust: Trust,
    *,
    at: float,
    purpose: Purpose = "firmware",
    signature: bytes | None = None,
    certificates: bytes | None = None,
    timestamp: bytes | None = None,
    declared_sha256: str | None = None,
    received: Digests | None = None,
    progress: Progress | None = None,
) -> FileReport:
    """Hash, recognise, parse and verify a file, read once in bounded memory, in a confined process.

    `at` (seconds since 1970) is the time that counts for the validity and distrust of keys: when the evidence
    was received. `signature` is the content of a detached signature file (raw, base64 text, or CMS).
    `certificates` (PEM, the signer's first) help to find a chain to a root of the trust file; `timestamp` is
    an RFC 3161 token over the file or over the signature file, and may prove an earlier time than `at`.
    `declared_sha256` is what the sender said. `received` is what was computed while the bytes arrived: a file
    whose inside is not read, and whose signature needs no other digest, is then not hashed once more.
    Progress is in bytes.

    A file that crashes that process, or takes more time or memory than there is for it, gets a report like
    any other: `.format` is unreadable and says why, and the document's `fault` names it for machines.

    Raises OSError and UnreadableFile when the file cannot be read at all or has another size than was
    received, ValueError for a `declared_sha256` that is no digest or an `at` that is no time, VerifierFault
    when the verifier fails: none is a pass.
    """
    known = None if received is None else (received.size, received.sha256, received.blake3)
    document = _verifier.verify_file(
        children(),
        path,
        trust.native,
        purpose,
        at,
        signature,
        certificates,
        timestamp,
        declared_sha256,
        known,
        progress,
    )
    return FileReport.of(document, at)
