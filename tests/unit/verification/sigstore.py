"""A Sigstore of our own for tests: authority, certificate log, log of signatures, clock, and its bundles."""

import base64
import hashlib
import json
import struct
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.unit.verification.authority import CODE_SIGNING, DIGITAL_SIGNATURE, Identity, day, key_usage, root
from tests.unit.verification.syntax import time_stamp

SIGNED = day(-30)  # when everything here was signed
SUBJECT = "https://forge.example/nordhaven/firmware/.forge/release.yml@refs/heads/main"
ISSUER = "https://token.forge.example"
HOST = "rekor.nordhaven.example"
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
ECDSA = ec.ECDSA(hashes.SHA256())
Document = dict[str, Any]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def compact(value: object) -> bytes:
    """As RFC 8785 writes what these tests sign."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form)


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree(leaves: list[bytes]) -> bytes:
    """The root hash, RFC 6962 §2.1."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(tree(leaves[:split]), tree(leaves[split:]))


def path(leaves: list[bytes], place: int) -> list[bytes]:
    """The inclusion proof, RFC 6962 §2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if place < split:
        return [*path(leaves[:split], place), tree(leaves[split:])]
    return [*path(leaves[split:], place - split), tree(leaves[:split])]


@dataclass
class Log:
    """Names and signs: one of certificates or of signatures."""

    host: str = HOST
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    @property
    def id(self) -> bytes:
        return hashlib.sha256(spki(self.key)).digest()

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message, ECDSA)

    def member(self, valid: Document) -> Document:
        """As a trusted root has it."""
        public = {"rawBytes": b64(spki(self.key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid}
        return {
            "baseUrl": f"https://{self.host}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": public,
            "logId": {"keyId": b64(self.id)},
        }

    def checkpoint(self, size: int, hashed: bytes, *, host: str | None = None) -> str:
        text = f"{host or self.host} - 4711\n{size}\n{b64(hashed)}\n"
        return f"{text}\n— {self.host} {b64(self.id[:4] + self.sign(text.encode()))}\n"

    def proof(self, body: bytes, size: int, place: int) -> Document:
        """That `body` is at this place of a tree of this size."""
        leaves = [body if at == place else f"entry {at}".encode() for at in range(size)]
        return {
            "logIndex": str(place),
            "rootHash": b64(tree(leaves)),
            "treeSize": str(size),
            "hashes": [b64(each) for each in path(leaves, place)],
            "checkpoint": {"envelope": self.checkpoint(size, tree(leaves))},
        }

    def entry(
        self,
        kind: str,
        version: str,
        body: bytes,
        *,
        at: datetime = SIGNED,
        size: int = 11,
        place: int = 6,
        promise: bool = True,
    ) -> Document:
        """One of a bundle's `tlogEntries`."""
        index, time = 9000 + place, int(at.timestamp())
        said = {"body": b64(body), "integratedTime": time, "logID": self.id.hex(), "logIndex": index}
        made: Document = {
            "logIndex": str(index),
            "logId": {"keyId": b64(self.id)},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": self.proof(body, size, place),
            "canonicalizedBody": b64(body),
        }
        if promise:
            made["integratedTime"] = str(time)
            made["inclusionPromise"] = {"signedEntryTimestamp": b64(self.sign(compact(said)))}
        return made


@dataclass
class Signer:
    """A certificate of ten minutes and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message, ECDSA)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def alternative(subject: str) -> x509.GeneralName:
    return x509.RFC822Name(subject) if "://" not in subject else x509.UniformResourceIdentifier(subject)


@dataclass
class Sigstore:
    """Authority with one below it, certificate log, log of signatures, clock."""

    anchor: Identity
    fulcio: Identity
    certificates: Log
    log: Log
    clock: Identity

    @classmethod
    def make(cls) -> "Sigstore":
        anchor = root("Sigstore root")
        below = anchor.issue("Sigstore below", authority=True, path_length=0, usages=[CODE_SIGNING])
        stamping = [ExtendedKeyUsageOID.TIME_STAMPING]
        clock = anchor.issue("Clock", usages=stamping, critical_usages=True)
        return cls(anchor, below, Log("ct.nordhaven.example"), Log(), clock)

    def trusted_root(self, **other: object) -> Document:
        """The protobuf message as JSON."""
        valid = {"start": day(-100).isoformat().replace("+00:00", "Z")}

        def authority(*chain: Identity) -> Document:
            raw = [
                {"rawBytes": b64(each.certificate.public_bytes(serialization.Encoding.DER))} for each in chain
            ]
            return {
                "subject": {"organization": "nordhaven.example", "commonName": "sigstore"},
                "uri": "https://sigstore.nordhaven.example",
                "certChain": {"certificates": raw},
                "validFor": dict(valid),
            }

        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.log.member(dict(valid))],
            "certificateAuthorities": [authority(self.fulcio, self.anchor)],
            "ctlogs": [self.certificates.member(dict(valid))],
            "timestampAuthorities": [authority(self.clock, self.anchor)],
        } | other

    def signer(
        self,
        subject: str = SUBJECT,
        issuer: str = ISSUER,
        *,
        start: datetime = SIGNED - timedelta(minutes=5),
        sct_log: Log | None = None,
        sct: bool = True,
        usages: list[x509.ObjectIdentifier] | None = None,
    ) -> Signer:
        """Somebody to whom Fulcio gave a certificate."""
        key = new_key()
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.fulcio.key.public_key())
        text = issuer.encode()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.fulcio.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(minutes=10))
            .add_extension(key_usage(**DIGITAL_SIGNATURE), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages or [CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(above, critical=False)
            .add_extension(x509.SubjectAlternativeName([alternative(subject)]), critical=True)
        )
        for number, value in (("1", text), ("8", b"\x0c" + bytes([len(text)]) + text)):
            kind = x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}")
            builder = builder.add_extension(x509.UnrecognizedExtension(kind, value), critical=False)
        if sct:
            before = builder.sign(self.fulcio.key, hashes.SHA256()).tbs_certificate_bytes
            stamp = self.timestamp(before, start, sct_log or self.certificates)
            builder = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, stamp), critical=False)
        return Signer(builder.sign(self.fulcio.key, hashes.SHA256()), key)

    def timestamp(self, body: bytes, at: datetime, log: Log) -> bytes:
        """A list of one signed certificate timestamp, RFC 6962 §3.3."""
        time = struct.pack(">Q", int(at.timestamp() * 1000))
        issuer = hashlib.sha256(
            self.fulcio.key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        ).digest()
        signed = b"\0\0" + time + b"\0\1" + issuer + len(body).to_bytes(3) + body + b"\0\0"
        signature = log.sign(signed)
        one = b"\0" + log.id + time + b"\0\0\4\3" + len(signature).to_bytes(2) + signature
        content = (len(one) + 2).to_bytes(2) + len(one).to_bytes(2) + one
        assert len(content) < 128
        return b"\4" + bytes([len(content)]) + content

    def stamp(self, signature: bytes, at: datetime = SIGNED, clock: Identity | None = None) -> Document:
        """A response of the clock, as `timestampVerificationData` has it."""
        clock = clock or self.clock
        token = time_stamp(signature, clock, at, others=[clock])
        response = tsp.TimeStampResp(
            {"status": {"status": "granted"}, "time_stamp_token": cms.ContentInfo.load(token)}
        )
        return {"rfc3161Timestamps": [{"signedTimestamp": b64(response.dump())}]}

    def message(self, file: bytes, signer: Signer | None = None, **entry: Any) -> Document:
        """A bundle whose signature is over a file, as cosign and sigstore-python make it."""
        signer = signer or self.signer()
        signature, digest = signer.sign(file), hashlib.sha256(file)
        body = {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": digest.hexdigest()}},
                "signature": {"content": b64(signature), "publicKey": {"content": b64(signer.pem)}},
            },
        }
        made = self.bundle(signer, self.log.entry("hashedrekord", "0.0.1", compact(body), **entry))
        hashed = {"algorithm": "SHA2_256", "digest": b64(digest.digest())}
        return made | {"messageSignature": {"messageDigest": hashed, "signature": b64(signature)}}

    def statement(self, statement: Document, signer: Signer | None = None, kind: str = "dsse") -> Document:
        """A bundle around a signed statement; `kind` is how the log writes it down."""
        signer = signer or self.signer()
        payload, kind_of_payload = compact(statement), b"application/vnd.in-toto+json"
        signed = b"DSSEv1 %d %b %d %b" % (len(kind_of_payload), kind_of_payload, len(payload), payload)
        signature, hashed = signer.sign(signed), hashlib.sha256(payload).hexdigest()
        digest = {"algorithm": "sha256", "value": hashed}
        if kind == "dsse":
            version = "0.0.1"
            each = {"signature": b64(signature), "verifier": b64(signer.pem)}
            spec: Document = {"envelopeHash": digest, "payloadHash": digest, "signatures": [each]}
        elif kind == "intoto":
            version = "0.0.2"
            each = {"sig": b64(b64(signature).encode()), "publicKey": b64(signer.pem)}
            envelope = {"payloadType": kind_of_payload.decode(), "signatures": [each]}
            spec = {"content": {"envelope": envelope, "hash": digest, "payloadHash": digest}}
        else:
            version = "0.0.2"
            verifier = {
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "x509Certificate": {"rawBytes": b64(signer.der)},
            }
            data = {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(signed).digest())}
            spec = {
                "hashedRekordV002": {
                    "data": data,
                    "signature": {"content": b64(signature), "verifier": verifier},
                }
            }
        body = {"apiVersion": version, "kind": kind, "spec": spec}
        envelope = {
            "payload": b64(payload),
            "payloadType": kind_of_payload.decode(),
            "signatures": [{"sig": b64(signature)}],
        }
        return self.bundle(signer, self.log.entry(kind, version, compact(body))) | {"dsseEnvelope": envelope}

    def bundle(self, signer: Signer, entry: Document) -> Document:
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"certificate": {"rawBytes": b64(signer.der)}, "tlogEntries": [entry]},
        }


def older(bundle: Document, version: str) -> Document:
    """The same bundle as version 0.1 or 0.2 has it."""
    made = deepcopy(bundle)
    made["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version={version}"
    material = made["verificationMaterial"]
    material["x509CertificateChain"] = {"certificates": [material.pop("certificate")]}
    return made


def entry_of(bundle: Document) -> Document:
    entry: Document = bundle["verificationMaterial"]["tlogEntries"][0]
    return entry
