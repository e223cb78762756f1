"""What a seed of samples commits to, and the order in which it draws units. No database here."""

import hashlib
import hmac
from collections.abc import Iterable


def commitment(seed: str) -> str:
    """What the ledger says of a seed (256 random bits, hex) while nobody may know it."""
    return "sha256:" + hashlib.sha256(b"lotgate sampling seed v1\n" + bytes.fromhex(seed)).hexdigest()


def order(seed: str, manifest: str, serials: Iterable[str]) -> list[str]:
    """All serials in the order in which they are drawn. `seed` and `manifest` (SHA-256) in hex."""
    key = bytes.fromhex(seed)

    def place(serial: str) -> bytes:
        return hmac.digest(key, f"lotgate sample v1\n{manifest}\n{serial}".encode(), "sha256")

    return sorted(serials, key=place)
