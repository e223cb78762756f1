"""Certificate authorities, signers and revocation lists for tests, made by pyca/cryptography."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)  # conftest.AT
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING
DIGITAL_SIGNATURE = {"digital_signature": True}
AUTHORITY = {"key_cert_sign": True, "crl_sign": True}


def day(offset: float) -> datetime:
    """A day before or after the time at which the tests verify."""
    return NOW + timedelta(days=offset)


def name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "NO"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Nordhaven Cells"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def key_usage(**bits: bool) -> x509.KeyUsage:
    every = (
        *(
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
        ),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{bit: bits.get(bit, False) for bit in every})


def usual_digest(key: PrivateKey) -> hashes.SHA256 | None:
    """Ed25519 and ML-DSA sign the message itself."""
    return hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) else None


@dataclass
class Identity:
    """A private key and the certificate that speaks of it."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """`sha256:` and the digest of the public key."""
        spki = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return f"sha256:{hashlib.sha256(spki).hexdigest()}"

    @property
    def subject(self) -> str:
        return self.certificate.subject.rfc4514_string()

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """The certificate and the key as files for openssl."""
        certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
        certificate.write_text(self.pem)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, key

    def issue(
        self,
        common: str,
        *,
        key: PrivateKey | None = None,
        authority: bool = False,
        path_length: int | None = None,
        usages: list[x509.ObjectIdentifier] | None = None,
        critical_usages: bool = False,
        bits: dict[str, bool] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        extensions: list[tuple[x509.ExtensionType, bool]] | None = None,
        digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
        subject: x509.Name | None = None,
    ) -> "Identity":
        """A certificate by this identity: a signer's with codeSigning, unless told otherwise."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject or name(common))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start or day(-100))
            .not_valid_after(end or day(100))
            .add_extension(x509.BasicConstraints(authority, path_length), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(above, critical=False)
        bits = bits if bits is not None else (AUTHORITY if authority else DIGITAL_SIGNATURE)
        if bits:
            builder = builder.add_extension(key_usage(**bits), critical=True)
        if usages is None:
            usages = [] if authority else [CODE_SIGNING]
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=critical_usages)
        for extension, critical in extensions or []:
            builder = builder.add_extension(extension, critical)
        digest = digest or usual_digest(self.key)
        return Identity(builder.sign(self.key, digest), key)

    def revoke(
        self,
        *revoked: tuple["Identity", datetime, x509.ReasonFlags | None],
        made: datetime | None = None,
        until: datetime | None = None,
        key: PrivateKey | None = None,
        extensions: list[tuple[x509.ExtensionType, bool]] | None = None,
    ) -> str:
        """A revocation list by this authority, as PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(made or day(-1))
            .next_update(until or day(30))
        )
        for identity, date, reason in revoked:
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(identity.certificate.serial_number)
                .revocation_date(date)
            )
            if reason is not None:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        for extension, critical in extensions or []:
            builder = builder.add_extension(extension, critical)
        signing = key or self.key
        return builder.sign(signing, usual_digest(signing)).public_bytes(serialization.Encoding.PEM).decode()


def root(common: str = "Nordhaven Root", key: PrivateKey | None = None, **options: object) -> Identity:
    """An authority that issued itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = name(common)
    seed = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    seed = seed.serial_number(1).not_valid_before(day(-1)).not_valid_after(day(1))
    issuer = Identity(seed.sign(key, usual_digest(key)), key)
    options = {"start": day(-1000), "end": day(1000)} | options
    return issuer.issue(common, key=key, authority=True, **options)  # type: ignore[arg-type]
