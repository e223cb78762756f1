"""How a key is enrolled: how its owner makes signatures with it, or that it vouches for the keys of others.

The options of a row, all optional: `rsa_padding`, `pss_salt`, `ecdsa_encoding` and `hash` as in
portal.verification.KeyOptions; `builders`, a list of URIs that statements signed with it may name; `root`,
true for a certificate authority, whose own key signs nothing but the signers' certificates, with `usages`, a
list of the extended key usages of which a signer must have one.
"""

from collections.abc import Mapping
from typing import Any, Final

from portal.suppliers.models import KeyPurpose, SigningKey
from portal.verification import Root, TrustKey
from portal.verification.enrolled import built, is_root, trust_of

__all__ = ["built", "entry", "is_root", "trust_of", "words"]

_WORDS: Final = {
    ("rsa_padding", "pkcs1v15"): "RSA with PKCS#1 v1.5 padding",
    ("rsa_padding", "pss"): "RSA with PSS padding",
    ("pss_salt", "digest"): "salt as long as the digest",
    ("pss_salt", "max"): "the longest salt that fits",
    ("ecdsa_encoding", "der"): "ECDSA in DER",
    ("ecdsa_encoding", "p1363"): "ECDSA as r‖s",
    ("hash", "sha256"): "over SHA-256",
    ("hash", "sha384"): "over SHA-384",
    ("hash", "sha512"): "over SHA-512",
}


def entry(name: str, key: SigningKey) -> TrustKey | Root:
    """The key as the verifier takes it, whatever its state: the caller decides which ones count."""
    dates = {
        "not_before": key.not_before,
        "not_after": key.not_after,
        "distrusted_from": key.distrusted_from,
    }
    return built(name, key.pem, key.options, tuple(KeyPurpose(p).value for p in key.purposes), **dates)


def words(options: Mapping[str, Any]) -> str:
    """The enrolment for people: "RSA with PSS padding, the longest salt that fits"."""
    if is_root(options):
        usages = ", ".join(options.get("usages", ["codeSigning"]))
        return f"Certificate authority: signers are certificates that it issued, with usage {usages}"
    parts = [_WORDS[name, said] for name, said in options.items() if (name, str(said)) in _WORDS]
    if builders := options.get("builders"):
        parts.append(f"may name the builder {' or '.join(builders)}")
    return ", ".join(parts) or "In the usual way of its algorithm"
