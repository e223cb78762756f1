"""The witness protocol (C2SP tlog-witness): what a log asks, and when a witness cosigns."""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from portal.clock import Clock
from portal.errors import LedgerError
from portal.ledger.notes import (
    MAX_NOTE,
    Checkpoint,
    Kind,
    Note,
    Signature,
    VerifierKey,
    cosigned,
    decoded,
    number,
    opened,
)
from portal.ledger.ports import Keys, Purpose
from portal.ledger.tree import EMPTY, HASH, MAX_PROOF, check_consistency

MAX_REQUEST: Final = MAX_NOTE + 8 * 1024  # bytes: a checkpoint, and 63 hashes of 44 letters
SIZE_TYPE: Final = "text/x.tlog.size"


class Answer(IntEnum):
    """The status of an answer, over HTTP."""

    COSIGNED = 200
    MALFORMED = 400
    NOT_SIGNED = 403
    UNKNOWN_LOG = 404
    OTHER_SIZE = 409
    NOT_CONSISTENT = 422


class Refused(LedgerError):
    """A witness does not cosign. `size` is what it cosigned last, with OTHER_SIZE only."""

    def __init__(self, message: str, answer: Answer = Answer.MALFORMED, size: int | None = None) -> None:
        super().__init__(message)
        self.answer, self.size = answer, size


@dataclass(frozen=True, slots=True)
class Request:
    """The body of add-checkpoint: that the log of `old` entries is a beginning of the one in the note."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        lines = [f"old {self.old}", *(base64.b64encode(one).decode() for one in self.proof)]
        return "\n".join(lines) + f"\n\n{self.note}"

    @classmethod
    def parse(cls, body: bytes) -> "Request":
        """Raises Refused as malformed."""
        try:
            return cls._parse(body.decode())
        except (LedgerError, UnicodeDecodeError) as error:
            raise Refused(str(error), Answer.MALFORMED) from None

    @classmethod
    def _parse(cls, text: str) -> "Request":
        head, _, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        if not first.startswith("old "):
            raise LedgerError(f"expected a line `old SIZE`, found {first[:80]!r}")
        if len(lines) > MAX_PROOF:
            raise LedgerError(f"a proof has at most {MAX_PROOF} hashes; found {len(lines)}")
        proof = tuple(decoded(line, "a hash of the proof") for line in lines)
        if any(len(one) != HASH for one in proof):
            raise LedgerError(f"a hash of the proof does not have {HASH} bytes")
        return cls(number(first.removeprefix("old "), "the old size"), proof, Note.parse(note))


def judge(request: Request, log: Sequence[VerifierKey], last: Checkpoint) -> Checkpoint:
    """The checkpoint that a witness may cosign who trusts these keys of the log and cosigned `last` before.

    The order of the checks is that of tlog-witness. Raises Refused.
    """
    new = request.note.checkpoint
    if not log:
        raise Refused(f"the log {new.origin!r} is not known here", Answer.UNKNOWN_LOG)
    try:
        opened(request.note, log)
    except LedgerError as error:
        raise Refused(error.message, Answer.NOT_SIGNED) from None
    if request.old > new.size:
        raise Refused(
            f"the old size is {request.old}, the checkpoint has {new.size} entries", Answer.MALFORMED
        )
    if request.old != last.size:
        raise Refused(f"the last checkpoint here has {last.size} entries", Answer.OTHER_SIZE, last.size)
    if not new.size and new.root != EMPTY:
        raise Refused("the root of an empty log is the hash of nothing", Answer.NOT_CONSISTENT)
    try:
        check_consistency(last.size, new.size, last.root, new.root, request.proof)
    except LedgerError as error:
        raise Refused(error.message, Answer.NOT_CONSISTENT) from None
    return new


@dataclass(frozen=True, slots=True)
class WitnessSigner:
    """Cosigns with Ed25519, which every client reads, and ML-DSA-44, which no quantum computer forges."""

    name: str
    keys: Keys

    def verifier_keys(self) -> tuple[VerifierKey, VerifierKey]:
        ed25519, ml_dsa = map(self.keys.public, (Purpose.WITNESS_ED25519, Purpose.WITNESS_ML_DSA_44))
        return (
            VerifierKey(self.name, Kind.ED25519_COSIGNATURE, ed25519),
            VerifierKey(self.name, Kind.ML_DSA_44, ml_dsa),
        )

    def cosign(self, checkpoint: Checkpoint, clock: Clock) -> tuple[Signature, ...]:
        """The lines of this witness, verified. Whether it may is for `judge`."""
        time = int(clock.now().timestamp())
        made = []
        purposes = (Purpose.WITNESS_ED25519, Purpose.WITNESS_ML_DSA_44)
        for key, purpose in zip(self.verifier_keys(), purposes, strict=True):
            data = self.keys.sign(purpose, cosigned(key.kind, key.name, checkpoint, time))
            made.append(Signature(key.name, key.id, struct.pack(">Q", time) + data))
        Note(checkpoint, tuple(made)).signed_by(self.verifier_keys())  # a key that signs wrongly says nothing
        return tuple(made)
