"""Logs in memory, signed with keys of their own, that may say what they like."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portal.ledger.notes import Checkpoint, Kind, Note, Signature, VerifierKey
from portal.ledger.tree import HASH, Tree, grow, leaf_hash
from portal.ledger.witnessing import Request


@dataclass
class History:
    """A log of `leaves`; `fork` gives another one with the same keys that shares a beginning."""

    origin: str = "portal.example/ledger/1"
    leaves: list[bytes] = field(default_factory=list)
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def key(self) -> VerifierKey:
        return VerifierKey(self.origin, Kind.ED25519, self.private.public_key().public_bytes_raw())

    @property
    def cosigner(self) -> VerifierKey:
        """The same key, as that of a witness."""
        return VerifierKey(self.origin, Kind.ED25519_COSIGNATURE, self.key.key)

    def add(self, count: int, what: str = "entry") -> "History":
        self.leaves += [f"{what} {number}".encode() for number in range(count)]
        return self

    def fork(self, shared: int) -> "History":
        return History(self.origin, self.leaves[:shared], self.private)

    def tree(self, size: int | None = None) -> Tree:
        leaves = self.leaves[:size]
        tiles = {
            (level, number): data
            for level, number, data in grow(0, [leaf_hash(leaf) for leaf in leaves], lambda *_: b"")
        }
        return Tree(len(leaves), lambda level, number, width: tiles[level, number][: width * HASH])

    def note(self, size: int | None = None, checkpoint: Checkpoint | None = None) -> Note:
        tree = self.tree(size)
        signed = checkpoint or Checkpoint(self.origin, tree.size, tree.root())
        data = self.private.sign(signed.body.encode())
        return Note(signed, (Signature(self.key.name, self.key.id, data),))

    def request(self, old: int = 0, size: int | None = None) -> Request:
        tree = self.tree(size)
        proof = tree.consistency(old) if 0 < old < tree.size else []
        return Request(old, tuple(proof), self.note(size))
