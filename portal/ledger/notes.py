"""Signed notes and checkpoints: C2SP signed-note, tlog-checkpoint and tlog-cosignature.

A log signs with Ed25519 (type 0x01) and as a cosigner of its own with ML-DSA-44 (0x06); witnesses with
Ed25519 (0x04) or ML-DSA-44. Signatures by keys that a reader does not know are ignored.
"""

import base64
import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from portal.errors import LedgerError

MAX_NOTE: Final = 64 * 1024
MAX_SIGNATURES: Final = 64
MAX_NAME: Final = 255  # bytes of an origin or a key's name: a cosigned message has a length of 8 bits
_MARK: Final = "— "


class Kind(IntEnum):
    """The algorithm byte of a verifier key."""

    ED25519 = 0x01
    ED25519_COSIGNATURE = 0x04
    ML_DSA_44 = 0x06


_KEY_BYTES: Final = {Kind.ED25519: 32, Kind.ED25519_COSIGNATURE: 32, Kind.ML_DSA_44: 1312}


def decoded(text: str, what: str) -> bytes:
    """Base64 with padding, in its only spelling. Raises LedgerError that names `what`."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise LedgerError(f"{what}: expected base64, found {text[:60]!r}")
    return data


def _name(name: str) -> str:
    if not name or "+" in name or any(letter.isspace() or not letter.isprintable() for letter in name):
        raise LedgerError(f"a key's name has neither spaces nor plus signs; found {name[:80]!r}")
    return name


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public key of a log or witness; as text `name+hex(id)+base64(kind ‖ key)` (signed-note)."""

    name: str
    kind: Kind
    key: bytes

    @property
    def id(self) -> bytes:
        head = self.name.encode() + b"\n" + bytes([self.kind])
        return hashlib.sha256(head + self.key).digest()[:4]

    def __str__(self) -> str:
        material = base64.b64encode(bytes([self.kind]) + self.key).decode()
        return f"{self.name}+{self.id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        name, _, rest = text.strip().partition("+")
        stated, _, material = rest.partition("+")
        data = decoded(material, "verifier key")
        try:
            kind = Kind(data[0])
        except ValueError:
            raise LedgerError(f"verifier key {name[:80]!r}: algorithm 0x{data[0]:02x} is not known") from None
        if len(data) - 1 != _KEY_BYTES[kind]:
            raise LedgerError(
                f"verifier key {name[:80]!r}: expected {_KEY_BYTES[kind]} bytes, found {len(data) - 1}"
            )
        if len(name.encode()) > MAX_NAME:
            raise LedgerError(f"verifier key {name[:80]!r}: its name has more than {MAX_NAME} bytes")
        key = cls(_name(name), kind, data[1:])
        if stated != key.id.hex():
            raise LedgerError(
                f"verifier key {name[:80]!r}: its id is {key.id.hex()}, the text says {stated[:16]!r}"
            )
        return key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root of a log at one moment (tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, body: str) -> "Checkpoint":
        lines = body.split("\n")
        if len(lines) != 4 or lines[3]:  # extension lines are refused: no monitor could audit them
            raise LedgerError(f"a checkpoint has 3 lines (origin, size, root); found {len(lines) - 1}")
        origin, size, root = lines[:3]
        if not origin or not origin.isprintable():
            raise LedgerError("the checkpoint names no origin")
        if len(origin.encode()) > MAX_NAME:
            raise LedgerError(f"the checkpoint's origin has more than {MAX_NAME} bytes")
        value = number(size, "the checkpoint's size")
        digest = decoded(root, "the checkpoint's root")
        if len(digest) != 32:
            raise LedgerError(f"the checkpoint's root: expected 32 bytes, found {len(digest)}")
        return cls(origin, value, digest)


def number(text: str, what: str) -> int:
    """A decimal without leading zeroes, below 2**63."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or str(int(text)) != text:
        raise LedgerError(f"{what}: expected a decimal number, found {text[:40]!r}")
    if (value := int(text)) >= 1 << 63:
        raise LedgerError(f"{what} is too large: {text}")
    return value


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note: who signed, and the bytes after the key id."""

    name: str
    key_id: bytes
    data: bytes

    def __str__(self) -> str:
        return f"{_MARK}{self.name} {base64.b64encode(self.key_id + self.data).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> "Signature":
        name, _, text = line.removeprefix(_MARK).partition(" ")
        if not line.startswith(_MARK) or not text:
            raise LedgerError(f"expected a signature line (— name base64), found {line[:80]!r}")
        data = decoded(text, f"the signature by {name[:80]!r}")
        if len(data) < 5:
            raise LedgerError(f"the signature by {name[:80]!r} is too short")
        return cls(_name(name), data[:4], data[4:])


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint and the signatures below it. Nothing is verified yet."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.checkpoint.body}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, text: str) -> "Note":
        if len(text) > MAX_NOTE:
            raise LedgerError(f"a signed checkpoint has at most {MAX_NOTE:,} characters; found {len(text):,}")
        body, gap, tail = text.rpartition("\n\n")
        if not gap or not tail.endswith("\n"):
            raise LedgerError("a signed checkpoint is three lines, an empty one, and lines of signatures")
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise LedgerError(f"more than {MAX_SIGNATURES} signatures")
        return cls(Checkpoint.parse(body + "\n"), tuple(Signature.parse(line) for line in lines))

    def signed_by(self, keys: Iterable[VerifierKey]) -> list["Signed"]:
        """The signatures by these keys, each verified; one that is wrong raises LedgerError (signed-note)."""
        known = {(key.name, key.id): key for key in keys}
        found, seen = [], set()
        for signature in self.signatures:
            key = known.get((signature.name, signature.key_id))
            if key is None or key in seen:
                continue
            seen.add(key)
            found.append(Signed(key, _verify(key, self.checkpoint, signature.data)))
        return found


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds. `time` (POSIX seconds) is what a cosigner says, else None."""

    key: VerifierKey
    time: int | None


def cosigned(kind: Kind, name: str, checkpoint: Checkpoint, time: int) -> bytes:
    """The message that a cosigner signs (tlog-cosignature)."""
    if kind is Kind.ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {time}\n{checkpoint.body}".encode()
    who, origin = name.encode(), checkpoint.origin.encode()
    return (
        b"subtree/v1\n\x00"
        + struct.pack(">B", len(who))
        + who
        + struct.pack(">QB", time, len(origin))
        + origin
        + struct.pack(">QQ", 0, checkpoint.size)
        + checkpoint.root
    )


def _verify(key: VerifierKey, checkpoint: Checkpoint, data: bytes) -> int | None:
    """The cosigner's time. Raises LedgerError where the signature does not hold."""
    time: int | None = None
    message = checkpoint.body.encode()
    if key.kind is not Kind.ED25519:
        if len(data) < 8:
            raise LedgerError(f"the cosignature by {key.name} is too short")
        time, data = struct.unpack(">Q", data[:8])[0], data[8:]
        if time >= 1 << 63:
            raise LedgerError(f"the cosignature by {key.name} has an impossible time")
        message = cosigned(key.kind, key.name, checkpoint, time)
    try:
        if key.kind is Kind.ML_DSA_44:
            MLDSA44PublicKey.from_public_bytes(key.key).verify(data, message)
        else:
            Ed25519PublicKey.from_public_bytes(key.key).verify(data, message)
    except (InvalidSignature, ValueError):
        raise LedgerError(
            f"the signature by {key.name} (key {key.id.hex()}) does not hold: the checkpoint was altered"
        ) from None
    return time


def open_note(text: str, log: Sequence[VerifierKey], witnesses: Sequence[VerifierKey] = ()) -> "Opened":
    """`opened`, of a note as it is written."""
    return opened(Note.parse(text), log, witnesses)


def opened(note: Note, log: Sequence[VerifierKey], witnesses: Sequence[VerifierKey] = ()) -> "Opened":
    """A checkpoint that the log signed, with every key of it that is given. Raises LedgerError."""
    signed = note.signed_by([*log, *witnesses])
    by_log = [one for one in signed if one.key in log]
    if not by_log:
        names = ", ".join(sorted({key.name for key in log})) or "any known log"
        raise LedgerError(f"the checkpoint of {note.checkpoint.origin!r} is not signed by {names}")
    for one in by_log:
        if one.key.name != note.checkpoint.origin:
            raise LedgerError(
                f"the checkpoint is of {note.checkpoint.origin!r}, the key is that of {one.key.name!r}"
            )
    theirs = {one.key for one in by_log}
    for key in log:  # who has only one of a log's keys must not be able to speak for it
        if key.name == note.checkpoint.origin and key not in theirs:
            raise LedgerError(
                f"the checkpoint of {note.checkpoint.origin!r} lacks the signature by the log's other key, "
                f"{key.id.hex()} ({key.kind.name.replace('_', '-')})"
            )
    return Opened(note, tuple(by_log), tuple(one for one in signed if one.key in witnesses))


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint whose signatures hold."""

    note: Note
    by_log: tuple[Signed, ...]
    by_witnesses: tuple[Signed, ...]

    @property
    def checkpoint(self) -> Checkpoint:
        return self.note.checkpoint
