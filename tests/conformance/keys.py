"""Keys of vectors as entries of a trust file."""

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portal.errors import TrustError
from portal.verification import KeyOptions, Trust, TrustKey

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
RSA_OPTIONS = {
    "RS256": KeyOptions(),
    "RS384": KeyOptions(hash="sha384"),
    "RS512": KeyOptions(hash="sha512"),
    "PS256": KeyOptions(rsa_padding="pss"),
    "PS384": KeyOptions(rsa_padding="pss", hash="sha384"),
    "PS512": KeyOptions(rsa_padding="pss", hash="sha512"),
}


def number(text: str) -> int:
    return int.from_bytes(raw(text))


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pem(public: Any) -> str:
    encoded: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def trust(public_pem: str | None, options: KeyOptions = KeyOptions(), name: str = "key") -> Trust:  # noqa: B008
    """The trust of this key; of none where the key is of a kind that is not enrolled."""
    try:
        return Trust.build([TrustKey(name, public_pem, options=options)] if public_pem else [])
    except TrustError:
        return Trust.build([])


def of_jwk(jwk: dict[str, Any], algorithm: str | None = None) -> Trust:
    """A JSON Web Key, enrolled for its own algorithm; without one for the given."""
    match jwk["kty"]:
        case "RSA":
            public = rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
            return trust(pem(public), RSA_OPTIONS[jwk.get("alg") or algorithm or "RS256"])
        case "EC":
            numbers = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), CURVES[jwk["crv"]]())
            return trust(pem(numbers.public_key()))
        case "OKP" if jwk["crv"] == "Ed25519":
            return trust(pem(ed25519.Ed25519PublicKey.from_public_bytes(raw(jwk["x"]))))
        case _:
            return trust(None)
