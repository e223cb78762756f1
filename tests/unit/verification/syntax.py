"""CMS and time stamps put together by asn1crypto, so that they can be wrong in one place at a time."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asn1crypto import algos, cms, core, tsp, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from tests.unit.verification.authority import Identity, PrivateKey

ALGORITHMS = {"ml-dsa-44": "2.16.840.1.101.3.4.3.17", "ml-dsa-65": "2.16.840.1.101.3.4.3.18"}
ALGORITHMS["ml-dsa-87"] = "2.16.840.1.101.3.4.3.19"
HASHES = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    # To be refused:
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
}

Attribute = tuple[str, Sequence[Any]]


def parsed(identity: Identity) -> x509.Certificate:
    der = identity.certificate.public_bytes(serialization.Encoding.DER)
    return x509.Certificate.load(der)


def raw_signature(key: PrivateKey, message: bytes, digest: str) -> tuple[str, bytes]:
    """The name of the algorithm, and the signature."""
    if isinstance(key, rsa.RSAPrivateKey):
        return f"{digest}_rsa", key.sign(message, padding.PKCS1v15(), HASHES[digest])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return f"{digest}_ecdsa", key.sign(message, ec.ECDSA(HASHES[digest]))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519", key.sign(message)
    return ALGORITHMS[f"ml-dsa-{type(key).__name__[5:7]}"], key.sign(message)


@dataclass
class Signer:
    """One signer: everything that is None is as it should be."""

    identity: Identity
    digest: str = "sha256"
    attributes: list[Attribute] | None = None
    extra: list[Attribute] = field(default_factory=list)
    bare: bool = False
    algorithm: str | None = None
    message: bytes | None = None
    unsigned: list[Attribute] = field(default_factory=list)

    def info(self, content: bytes, content_type: str) -> cms.SignerInfo:
        """The SignerInfo over this content."""
        hashed = hashlib.new(self.digest, content).digest()
        attributes = self.attributes
        if attributes is None:
            attributes = [("content_type", [content_type]), ("message_digest", [hashed])]
        attributes = attributes + self.extra
        certificate = parsed(self.identity)
        values: dict[str, Any] = {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                        {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
                    )
                }
            ),
            "digest_algorithm": algos.DigestAlgorithm({"algorithm": self.digest}),
        }
        message = content
        if not self.bare:
            signed = cms.CMSAttributes([cms.CMSAttribute({"type": t, "values": v}) for t, v in attributes])
            values["signed_attrs"] = signed
            message = signed.dump()
        algorithm, signature = raw_signature(self.identity.key, self.message or message, self.digest)
        values["signature_algorithm"] = algos.SignedDigestAlgorithm(
            {"algorithm": self.algorithm or algorithm}
        )
        values["signature"] = signature
        if self.unsigned:
            values["unsigned_attrs"] = cms.CMSAttributes(
                [cms.CMSAttribute({"type": t, "values": v}) for t, v in self.unsigned]
            )
        return cms.SignerInfo(values)


def signed_data(
    content: bytes,
    *signers: Signer,
    certificates: Sequence[Identity] = (),
    content_type: str = "data",
    attached: bool = False,
) -> bytes:
    """ContentInfo in DER."""
    infos = [signer.info(content, content_type) for signer in signers]
    inner: dict[str, Any] = {"content_type": content_type}
    if attached:
        inner["content"] = (core.OctetString if content_type == "data" else core.ParsableOctetString)(content)
    held = [signer.identity for signer in signers] + list(certificates)
    data = cms.SignedData(
        {
            "version": "v1" if content_type == "data" else "v3",
            "digest_algorithms": [algos.DigestAlgorithm({"algorithm": signer.digest}) for signer in signers],
            "encap_content_info": inner,
            "certificates": [parsed(identity) for identity in held],
            "signer_infos": infos,
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": data}).dump())


def ess_certificate(identity: Identity, digest: str = "sha256") -> Attribute:
    """signingCertificate (SHA-1) or signingCertificateV2: which certificate is the signer's."""
    der = identity.certificate.public_bytes(serialization.Encoding.DER)
    hashed = hashlib.new(digest, der).digest()
    if digest == "sha1":
        entry = tsp.ESSCertID({"cert_hash": hashed})
        return "signing_certificate", [tsp.SigningCertificate({"certs": [entry]})]
    entry_v2 = tsp.ESSCertIDv2({"hash_algorithm": {"algorithm": digest}, "cert_hash": hashed})
    return "signing_certificate_v2", [tsp.SigningCertificateV2({"certs": [entry_v2]})]


def time_stamp(
    message: bytes,
    authority: Identity,
    at: datetime,
    *,
    imprint: bytes | None = None,
    accuracy: int | None = None,
    nonce: int | None = None,
    ess: Attribute | None = None,
    others: Sequence[Identity] = (),
    signers: Sequence[Signer] = (),
    content_type: str = "tst_info",
) -> bytes:
    """A token over `message` as this authority would make it at that time."""
    values: dict[str, Any] = {
        "version": "v1",
        "policy": "1.2.3.4.1",
        "message_imprint": {
            "hash_algorithm": {"algorithm": "sha256"},
            "hashed_message": imprint if imprint is not None else hashlib.sha256(message).digest(),
        },
        "serial_number": 7,
        "gen_time": at,
    }
    if accuracy is not None:
        values["accuracy"] = {"seconds": accuracy}
    if nonce is not None:
        values["nonce"] = nonce
    info = tsp.TSTInfo(values).dump()
    extra = [ess if ess is not None else ess_certificate(authority)]
    signer = Signer(authority, extra=[entry for entry in extra if entry[1]])
    return signed_data(info, signer, *signers, certificates=others, content_type=content_type, attached=True)
