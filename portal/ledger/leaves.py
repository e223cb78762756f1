"""What of an entry goes into the public log: nothing that tells one supplier of another.

A leaf is canonical JSON (RFC 8785): when, a commitment to the entry's text, and a tag by which the supplier
finds its own. The commitment is salted, so that nobody can try likely texts; the tag is another one for
each entry, so that nobody without the supplier's key can tell that two entries are about the same one. Who is
given text and salt (in a receipt or a bundle) can make the leaf again.
"""

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

import rfc8785

from portal.errors import LedgerError


def new_salt() -> str:
    """256 random bits in hex."""
    return secrets.token_hex(32)


def tag(watch_key: str, seq: int) -> str:
    """How the supplier with this key (hex) is named in entry `seq`: HMAC-SHA-256, its first 128 bits, hex."""
    return hmac.new(bytes.fromhex(watch_key), f"lotgate entry {seq}".encode(), "sha256").hexdigest()[:32]


def commitment(salt: str, body: str) -> str:
    made = hashlib.sha256(b"lotgate entry v1\n" + bytes.fromhex(salt) + body.encode())
    return f"sha256:{made.hexdigest()}"


@dataclass(frozen=True, slots=True)
class Opening:
    """All that a leaf is made of: an entry's text (canonical JSON), its salt (hex), its tag."""

    body: str
    salt: str
    tag: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """What the entry says."""
        facts: dict[str, Any] = json.loads(self.body)
        return facts

    def leaf(self) -> bytes:
        """The entry of the log."""
        made = {
            "at": str(self.facts["at"]),
            "commitment": commitment(self.salt, self.body),
            "supplier": self.tag,
            "v": 1,
        }
        # Of ASCII strings and a small number, in order, this is RFC 8785, ten times faster than the library.
        return json.dumps(made, separators=(",", ":")).encode()

    def dump(self) -> bytes:
        """For a receipt's `extra`."""
        return rfc8785.dumps({"body": self.body, "salt": self.salt, "tag": self.tag})

    @classmethod
    def load(cls, data: bytes) -> "Opening":
        """Raises LedgerError. A text is read in its one spelling only: with a name twice in it, two readers
        could find two things.
        """
        try:
            found = json.loads(data)
            opening = cls(found["body"], found["salt"], found["tag"])
            facts = opening.facts
            whole = (
                rfc8785.dumps(facts) == opening.body.encode()
                and re.fullmatch("[0-9a-f]{64}", opening.salt)
                and (opening.tag is None or re.fullmatch("[0-9a-f]{32}", opening.tag))
                and all(facts[name].isprintable() for name in ("at", "kind", "subject"))
            )
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            whole = False
        if not whole:
            raise LedgerError("the receipt does not hold the text of an entry with its salt and tag")
        return opening
