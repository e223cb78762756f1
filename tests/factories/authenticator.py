"""A security key in software: ES256, attestation "none" (WebAuthn level 2, §6.1, §6.5.4 and §8.7)."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT = 0x01
ATTESTED = 0x40


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Authenticator:
    """One credential; `origin` is what the browser would say of the page that asks."""

    def __init__(self, origin: str, *, id_length: int = 32) -> None:
        self.origin = origin
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(id_length)
        self.count = 0
        self.user_handle = ""

    def create(self, options: dict[str, Any]) -> str:
        """The answer to navigator.credentials.create(), as our page sends it."""
        self.user_handle = options["user"]["id"]
        public = self.key.public_key().public_numbers()
        key = {1: 2, 3: -7, -1: 1, -2: public.x.to_bytes(32, "big"), -3: public.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cbor2.dumps(key)
        data = self._data(options["rp"]["id"], PRESENT | ATTESTED) + attested
        return self._credential(
            {
                "clientDataJSON": _text(self._client("webauthn.create", options)),
                "attestationObject": _text(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
                "transports": ["usb"],
            }
        )

    def get(self, options: dict[str, Any]) -> str:
        """The answer to navigator.credentials.get()."""
        self.count += 1
        data = self._data(options["rpId"], PRESENT)
        client = self._client("webauthn.get", options)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._credential(
            {
                "clientDataJSON": _text(client),
                "authenticatorData": _text(data),
                "signature": _text(signature),
                "userHandle": self.user_handle,
            }
        )

    def knows(self, options: dict[str, Any]) -> bool:
        """Whether the server asks for this credential."""
        return _text(self.id) in [item["id"] for item in options["allowCredentials"]]

    def handle(self) -> str:
        return urlsafe_b64decode(self.user_handle + "==").decode()

    def _data(self, domain: str, flags: int) -> bytes:
        return hashlib.sha256(domain.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _credential(self, response: dict[str, Any]) -> str:
        name = _text(self.id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})
