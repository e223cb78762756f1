"""HSS keys and signatures by pyhsslms, and their encoding by RFC 9708."""

import base64
import textwrap
from dataclasses import dataclass
from typing import Any

import pyhsslms
from pyhsslms import pyhsslms as codes

# SEQUENCE, BIT STRING and the identifier 1.2.840.113549.1.9.16.3.17 without parameters.
_IDENTIFIER = bytes.fromhex("300d060b2a864886f70d0109100311")


def _tlv(tag: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def pem(raw: bytes, identifier: bytes = _IDENTIFIER) -> str:
    """RFC 9708: the bytes of the key, in a BIT STRING, as they are."""
    der = _tlv(0x30, identifier + _tlv(0x03, b"\0" + raw))
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"


def typecode(name: str) -> bytes:
    return bytes(getattr(codes, name))


@dataclass
class Signer:
    """A key pair. It signs with each one-time key once, unless it is told to forget."""

    private: Any
    public: bytes

    @classmethod
    def make(
        cls, levels: int = 2, lms: str = "lms_sha256_m32_h5", lmots: str = "lmots_sha256_n32_w8"
    ) -> "Signer":
        private = pyhsslms.HssPrivateKey(levels, typecode(lms), typecode(lmots))
        return cls(private, private.publicKey().serialize())

    @property
    def pem(self) -> str:
        return pem(self.public)

    def sign(self, message: bytes) -> bytes:
        return bytes(self.private.sign(message))

    def rewind(self) -> None:
        """What a restored backup does: the last one-time key counts as unused again."""
        tree = self.private.prv[-1]
        tree.q -= 1
        tree.ots_priv[tree.q]._signatures_remaining = 1

    def says(self, message: bytes, signature: bytes) -> bool:
        """The verdict of pyhsslms, which raises errors for what it cannot read."""
        try:
            public = pyhsslms.HssPublicKey.deserialize(self.public)
            return bool(public.verify(message, signature))
        except (ValueError, IndexError, KeyError):
            return False
