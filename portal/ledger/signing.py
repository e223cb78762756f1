"""The signer of a log: it remembers what it signed last and signs nothing that does not extend it."""

import struct
from dataclasses import dataclass
from typing import Final

from portal.clock import Clock
from portal.errors import LedgerError
from portal.ledger.notes import Checkpoint, Kind, Note, Signature, VerifierKey, cosigned
from portal.ledger.ports import Keys, Purpose, SignedMemory
from portal.ledger.tree import EMPTY, Tree, check_consistency

PURPOSES: Final = (Purpose.LOG_ED25519, Purpose.LOG_ML_DSA_44)
WHAT_TO_DO: Final = (
    "Bring back the right database, or, where it is lost, end this log with `lotgate ledger close` and open "
    "the next with `lotgate ledger create`"
)


@dataclass(frozen=True, slots=True)
class LogSigner:
    """Signs with Ed25519, which every client reads, and ML-DSA-44, which no quantum computer forges."""

    origin: str
    keys: Keys
    memory: SignedMemory

    def create(self) -> None:
        """Make what a log that does not exist yet needs: a memory of its empty tree, and new keys.

        Goes on where an earlier call was interrupted. Raises LedgerError where anything was signed, or where
        keys are there without a memory.
        """
        with self.memory.hold():
            last = self.memory.last(self.origin)
            if last is None:
                if any(map(self.keys.exists, PURPOSES)):
                    raise LedgerError(
                        f"keys of {self.origin} are there already, without a memory of what they signed"
                    )
                self.memory.keep(Checkpoint(self.origin, 0, EMPTY))
            elif last.size:
                raise LedgerError(f"{self.origin} was signed before: a log's name is used once")
            for purpose in PURPOSES:
                if not self.keys.exists(purpose):
                    self.keys.create(purpose)

    def verifier_keys(self) -> tuple[VerifierKey, VerifierKey]:
        return (
            VerifierKey(self.origin, Kind.ED25519, self.keys.public(Purpose.LOG_ED25519)),
            VerifierKey(self.origin, Kind.ML_DSA_44, self.keys.public(Purpose.LOG_ML_DSA_44)),
        )

    def sign(self, tree: Tree, clock: Clock) -> Note:
        """Sign the checkpoint of a tree. Raises LedgerError where it does not continue what was signed.

        What is signed is remembered before the signature leaves: a crash in between can only make the memory
        newer than the database, which the same entries make good.
        """
        checkpoint = Checkpoint(self.origin, tree.size, tree.root())
        with self.memory.hold():
            self._demand_extension(tree, checkpoint)
            note = self._signed(checkpoint, int(clock.now().timestamp()))
            self.memory.keep(checkpoint)
        return note

    def _demand_extension(self, tree: Tree, checkpoint: Checkpoint) -> None:
        last = self.memory.last(self.origin)
        if last is None:
            raise LedgerError(
                f"nothing is known of what was signed for {self.origin}: this signer did not create it, or "
                "its memory is lost. It signs nothing: that could contradict what is already published. "
                f"{WHAT_TO_DO}"
            )
        if tree.size < last.size:
            raise LedgerError(
                f"the log {self.origin} has {tree.size} entries, {last.size} were signed: the database is "
                f"older than what was published (a restored backup?). Nothing is signed. {WHAT_TO_DO}"
            )
        proof = tree.consistency(last.size) if 0 < last.size < tree.size else []
        try:
            check_consistency(last.size, tree.size, last.root, checkpoint.root, proof)
        except LedgerError as error:
            raise LedgerError(
                f"{self.origin}: {error.message} (after a restored backup, or because somebody changed the "
                f"database: `lotgate fsck` tells). Nothing is signed. {WHAT_TO_DO}"
            ) from None

    def _signed(self, checkpoint: Checkpoint, time: int) -> Note:
        ed25519, ml_dsa = self.verifier_keys()
        first = self.keys.sign(Purpose.LOG_ED25519, checkpoint.body.encode())
        message = cosigned(Kind.ML_DSA_44, self.origin, checkpoint, time)
        second = struct.pack(">Q", time) + self.keys.sign(Purpose.LOG_ML_DSA_44, message)
        note = Note(
            checkpoint,
            (
                Signature(ed25519.name, ed25519.id, first),
                Signature(ml_dsa.name, ml_dsa.id, second),
            ),
        )
        note.signed_by((ed25519, ml_dsa))  # a key that signs wrongly publishes nothing
        return note
