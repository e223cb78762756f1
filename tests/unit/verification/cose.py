"""COSE messages by pycose, and by hand where pycose would not make them."""

from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pycose.headers import KID, Algorithm
from pycose.keys.cosekey import CoseKey
from pycose.messages import Sign1Message, SignMessage
from pycose.messages.signer import CoseSignature

from tests.unit.verification.conftest import Keys

ES256, EDDSA = -7, -8


def key_of(path: Path) -> Any:
    return CoseKey.from_pem_private_key(path.read_text())


def sign1(path: Path, algorithm: str, payload: bytes, *, detached: bool = False, tag: bool = True) -> bytes:
    """COSE_Sign1 by pycose."""
    message = Sign1Message(
        phdr={Algorithm: algorithm},
        uhdr={KID: b"any"},
        payload=b"" if detached else payload,
        key=key_of(path),
    )
    if detached:
        message.payload = None
    made: bytes = message.encode(tag=tag, detached_payload=payload if detached else None)
    return made


def sign(payload: bytes, *signers: tuple[Path, str]) -> bytes:
    """COSE_Sign by pycose."""
    made: bytes = SignMessage(
        phdr={},
        uhdr={},
        payload=payload,
        signers=[
            CoseSignature(phdr={Algorithm: algorithm}, uhdr={}, key=key_of(path))
            for path, algorithm in signers
        ],
    ).encode()
    return made


class ByHand:
    """Messages signed with approved keys, whatever stands in their headers."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def raw(self, name: str, message: bytes) -> bytes:
        private = load_pem_private_key(self.keys.private(name).read_bytes(), None)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(message)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def sign1(
        self,
        protected: dict[Any, Any] | bytes,
        payload: bytes | None,
        *,
        unprotected: Any = None,
        name: str = "ed25519",
        signed: bytes | None = None,
        tags: tuple[int, ...] = (18,),
    ) -> bytes:
        """`signed` is what the signature is over, where that is another payload than the message has."""
        header = protected if isinstance(protected, bytes) else cbor2.dumps(protected)
        over = signed if signed is not None else payload
        value = self.raw(name, cbor2.dumps(["Signature1", header, b"", over]))
        message: Any = [header, unprotected or {}, payload, value]
        for tag in reversed(tags):
            message = cbor2.CBORTag(tag, message)
        return cbor2.dumps(message)
