"""The native verifier, built from verifier_rs/. Only portal.verification imports it."""

from collections.abc import Callable
from os import PathLike
from typing import Never, final

@final
class Digests:
    size: int
    sha256: str
    blake3: str

@final
class Hasher:
    def __new__(cls) -> Hasher: ...
    def update(self, data: bytes) -> None: ...
    def update_later(self, data: bytes) -> None: ...
    def update_from_file(
        self,
        path: str | PathLike[str],
        offset: int,
        length: int,
        progress: Callable[[int], object] | None = None,
    ) -> None: ...
    def read_back(self, path: str | PathLike[str]) -> bool: ...
    @property
    def size(self) -> int: ...
    def digests(self) -> Digests: ...
    def export_state(self, key: bytes) -> bytes: ...
    @staticmethod
    def resume(state: bytes, key: bytes) -> Hasher: ...

def hash_file(path: str | PathLike[str], progress: Callable[[int], object] | None = None) -> Digests: ...
def fault() -> None: ...

ED25519_RULE: str

@final
class TrustKey:
    id: str
    algorithm: str
    fingerprint: str
    mcuboot_key_hash: str
    purposes: list[str]

@final
class Trust:
    @staticmethod
    def parse(text: str) -> Trust: ...
    @property
    def threshold(self) -> int: ...
    @property
    def keys(self) -> list[TrustKey]: ...

@final
class KeyInfo:
    kind: str
    algorithm: str
    bits: int
    fingerprint: str
    mcuboot_key_hash: str
    subject: str | None
    issuer: str | None
    not_before: float | None
    not_after: float | None
    strong: bool
    weakness: str
    known_as: str

def inspect_key(pem: str) -> KeyInfo: ...

@final
class StampVerdict:
    outcome: str
    why: str
    at: float | None
    authority: str | None

def verify_timestamp(
    token: bytes, message: bytes, trust: Trust, at: float, nonce: bytes | None = None
) -> StampVerdict: ...
def examine_content(
    children: Children,
    path: str | PathLike[str],
    known_bad: list[str],
    rule_files: list[tuple[str, str]],
    at: float,
    progress: Callable[[int], object] | None = None,
) -> str: ...
def published_key(fingerprint: str) -> str | None: ...
@final
class Children:
    def __new__(cls, command: list[str], environment: list[tuple[str, str]]) -> Children: ...

def serve_child() -> Never: ...
def verify_file(
    children: Children,
    path: str | PathLike[str],
    trust: Trust,
    purpose: str,
    at: float,
    signature: bytes | None = None,
    certificates: bytes | None = None,
    timestamp: bytes | None = None,
    declared_sha256: str | None = None,
    received: tuple[int, str, str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> str: ...

@final
class EnvelopeVerdict:
    line: int
    outcome: str
    reason: str
    subjects: list[tuple[str, str]]
    key_ids: list[str]
    predicate_type: str

@final
class EnvelopeChunk:
    """The verdicts on `count` lines from `first` on: failures one by one, passes as columns.

    Numbers are in the byte order of the machine. `lines`, `signers`, `subjects` and `kinds` have one entry for each line that
    passed, in order; what a line has several of stands one after the other in a column of its own.
    """

    first: int
    count: int
    failures: list[EnvelopeVerdict]
    lines: bytes
    """u32: how many lines after `first`."""
    signers: bytes
    """u8: how many different approved keys signed."""
    keys: bytes
    """u16, one for each signer: the key's place in the trust file."""
    subjects: bytes
    """u16: how many subjects the statement has."""
    sha256: bytes
    """32 bytes for each subject; zeros where only another digest binds it."""
    name_ends: bytes
    """u32, one for each subject: where its name ends in `names`, in bytes."""
    names: bytes
    """UTF-8."""
    kinds: bytes
    """u16: the place of the predicate type in `predicate_types`."""
    predicate_types: list[str]

@final
class BatchReport:
    total: int
    passed: int
    failed: int
    unreadable: int
    seconds: float
    outcome: str
    reason: str
    confinement: str
    """A JSON object."""

def verify_attestations(
    children: Children,
    path: str | PathLike[str],
    trust: Trust,
    purpose: str,
    at: float,
    sink: Callable[[EnvelopeChunk], object] | None = None,
    progress: Callable[[int], object] | None = None,
) -> BatchReport: ...
