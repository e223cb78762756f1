"""Receipts as C2SP tlog-proof@v1: an entry is in a log whose checkpoint was signed."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portal.errors import LedgerError
from portal.ledger.notes import Note, Opened, VerifierKey, decoded, number, opened
from portal.ledger.tree import HASH, MAX_PROOF, check_inclusion, leaf_hash

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_FILE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Proof:
    """`extra` is not authenticated by itself: it is what the entry is rebuilt from."""

    index: int
    hashes: tuple[bytes, ...]
    note: Note
    extra: bytes = b""

    def __str__(self) -> str:
        lines = [HEADER]
        if self.extra:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(one).decode() for one in self.hashes]
        return "\n".join(lines) + f"\n\n{self.note}"

    @classmethod
    def of(cls, index: int, hashes: Sequence[bytes], note: str, extra: bytes) -> "Proof":
        return cls(index, tuple(hashes), Note.parse(note), extra)

    @classmethod
    def parse(cls, text: str) -> "Proof":
        if len(text) > MAX_PROOF_FILE:
            raise LedgerError(f"a receipt has at most {MAX_PROOF_FILE:,} characters; found {len(text):,}")
        head, gap, note = text.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != HEADER or not gap:
            raise LedgerError(f"a receipt begins with the line {HEADER}; found {lines[0][:80]!r}")
        rest, extra = lines[1:], b""
        if rest and rest[0].startswith("extra "):
            extra = decoded(rest.pop(0).removeprefix("extra "), "line 2 of the receipt")
        if not rest or not rest[0].startswith("index "):
            raise LedgerError("the receipt names no index")
        index = number(rest[0].removeprefix("index "), "the receipt's index")
        if len(rest) - 1 > MAX_PROOF:
            raise LedgerError(f"a proof has at most {MAX_PROOF} hashes; found {len(rest) - 1}")
        hashes = tuple(decoded(line, "a hash of the receipt") for line in rest[1:])
        if any(len(one) != HASH for one in hashes):
            raise LedgerError(f"a hash of the receipt does not have {HASH} bytes")
        return cls(index, hashes, Note.parse(note), extra)

    def check(
        self, entry: bytes, log: Sequence[VerifierKey], witnesses: Sequence[VerifierKey] = ()
    ) -> Opened:
        """Whether `entry` is in the log with these keys. Raises LedgerError that says what does not hold."""
        found = opened(self.note, log, witnesses)
        checkpoint = found.checkpoint
        check_inclusion(leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root)
        return found
