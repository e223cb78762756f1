"""JSON Web Signatures by joserfc, with keys of its own."""

import json
import warnings
from typing import Any

from cryptography.hazmat.primitives.asymmetric import mldsa
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.util import urlsafe_b64encode

from portal.verification import TrustKey

ALGORITHMS = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
    "Ed25519",
    "HS256",
    "none",
]


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode()


def header(**members: Any) -> str:
    """A protected header as it stands in a JWS."""
    return b64(json.dumps(members).encode())


class Jose:
    """Key pairs by joserfc, made when first asked for."""

    def __init__(self) -> None:
        self.made: dict[str, Key] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.made:
            match name.partition("-")[0]:
                case "rsa":
                    self.made[name] = RSAKey.generate_key(3072)
                case "p256":
                    self.made[name] = ECKey.generate_key("P-256")
                case "p384":
                    self.made[name] = ECKey.generate_key("P-384")
                case _:
                    self.made[name] = OKPKey.generate_key("Ed25519")
        return self.made[name]

    def trusted(self, name: str, **members: Any) -> TrustKey:
        return TrustKey(name, self[name].as_pem(private=False).decode(), **members)

    def compact(self, name: str, payload: bytes, **protected: Any) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            return jws.serialize_compact(protected, payload, self[name], algorithms=ALGORITHMS)

    def flattened(self, name: str, payload: bytes, **members: dict[str, Any]) -> dict[str, Any]:
        """Flattened JSON serialisation; `members` are protected and header."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            made = jws.serialize_json(members, payload, self[name], algorithms=ALGORITHMS)  # type: ignore[call-overload]
        return dict(made)

    def general(self, payload: bytes, *signers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        """General JSON serialisation: each signer with its protected header."""
        parts = [self.flattened(name, payload, protected=protected) for name, protected in signers]
        return {
            "payload": b64(payload),
            "signatures": [
                {"protected": part["protected"], "signature": part["signature"]} for part in parts
            ],
        }


MlDsaKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey


def by_ml_dsa(key: MlDsaKey, payload: bytes, **protected: Any) -> str:
    """joserfc has no ML-DSA yet; what RFC 9964 signs is the same text."""
    text = f"{header(**protected)}.{b64(payload)}"
    return f"{text}.{b64(key.sign(text.encode()))}"
