"""What the ledger needs from outside: private keys by purpose, and a memory that no backup brings back."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from portal.ledger.notes import Checkpoint


class Purpose(StrEnum):
    """What a private key is for; one key serves one purpose."""

    LOG_ED25519 = "log-ed25519"
    LOG_ML_DSA_44 = "log-ml-dsa-44"
    WITNESS_ED25519 = "witness-ed25519"
    WITNESS_ML_DSA_44 = "witness-ml-dsa-44"


class Keys(Protocol):
    """Private keys that sign and never come out."""

    def exists(self, purpose: Purpose) -> bool: ...

    def place(self, purpose: Purpose) -> str:
        """Where the key is, or would be, in words for people."""

    def create(self, purpose: Purpose) -> None:
        """Make a new key; refuses where there is one. Raises LedgerError, StorageFailed."""

    def public(self, purpose: Purpose) -> bytes:
        """The raw public key. Raises LedgerError where there is none."""

    def sign(self, purpose: Purpose, message: bytes) -> bytes: ...


class SignedMemory(Protocol):
    """The last checkpoint that was signed for an origin, kept apart from the database and its backups."""

    def hold(self) -> AbstractContextManager[None]:
        """No other process signs meanwhile."""

    def last(self, origin: str) -> Checkpoint | None:
        """None where nothing is known of this origin. Raises LedgerError where it cannot be read."""

    def keep(self, checkpoint: Checkpoint) -> None:
        """Durable when it returns. Raises StorageFailed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP, whatever its status."""

    status: int
    content_type: str
    body: bytes


class Http(Protocol):
    """Requests that are sent nowhere else than asked for, and end soon."""

    def get(self, url: str, limit: int) -> Reply:
        """Raises OSError without an answer, or with one of more than `limit` bytes."""

    def post(self, url: str, body: bytes, limit: int, content_type: str = "text/plain") -> Reply: ...
