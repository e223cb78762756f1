"""Which keys count, for what and when: an argument of every verification, and all that decides trust."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, Self

from portal import _verifier
from portal.verification.faults import contained

Purpose = Literal["firmware", "attestation", "manifest"]
PURPOSES: tuple[Purpose, ...] = ("firmware", "attestation", "manifest")
Revocation = Literal["if_given", "required"]


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """How the owner of a key makes detached signatures, as told at enrolment; None is the default.

    rsa_padding: "pkcs1v15" (default) or "pss"; pss_salt: "digest"; ecdsa_encoding: "der" (default) or
    "p1363"; hash: "sha256" (default), "sha384" (default for P-384) or "sha512"; ssh_namespaces: what SSH
    signatures may be for, ("file",) by default.
    """

    rsa_padding: str | None = None
    pss_salt: str | None = None
    ecdsa_encoding: str | None = None
    hash: str | None = None
    ssh_namespaces: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class TrustKey:
    """One approved key: a public key (PEM or a tool's own) or certificate, what it may sign, when it counts.

    Times are aware datetimes; from `distrusted_from` on (by the date of the evidence) it no longer counts.
    `builders` are the URIs that a statement signed with it may name as builder or verifier.
    """

    id: str
    pem: str
    purposes: tuple[Purpose, ...] = PURPOSES
    not_before: datetime | None = None
    not_after: datetime | None = None
    distrusted_from: datetime | None = None
    options: KeyOptions = KeyOptions()
    builders: tuple[str, ...] = ()

    def as_member(self) -> dict[str, object]:
        """The key as a member of `keys` in a trust file."""
        kind = "certificate" if "-----BEGIN CERTIFICATE-----" in self.pem else "public_key"
        member: dict[str, object] = {"id": self.id, kind: self.pem, "purposes": list(self.purposes)}
        member |= _dates(self)
        if options := _options(self):
            member["options"] = options
        if self.builders:
            member["builders"] = list(self.builders)
        return member


@dataclass(frozen=True, slots=True)
class Root:
    """A certificate at which chains of signers may end, and what it is trusted for.

    `usages` are extended key usages, one of which a signer must have: "codeSigning", "emailProtection",
    dotted OIDs, or "any" (also none). `subjects` names the only signers that count: subjects in the form of
    RFC 4514, or fingerprints of keys; None is all of them. `options` say how these signers make bare
    signatures. Dates as of a key.
    """

    id: str
    pem: str
    purposes: tuple[Purpose, ...] = PURPOSES
    usages: tuple[str, ...] = ("codeSigning",)
    subjects: tuple[str, ...] | None = None
    options: KeyOptions = KeyOptions()
    not_before: datetime | None = None
    not_after: datetime | None = None
    distrusted_from: datetime | None = None

    def as_member(self) -> dict[str, object]:
        """The root as a member of `roots` in a trust file."""
        member: dict[str, object] = {
            "id": self.id,
            "certificate": self.pem,
            "purposes": list(self.purposes),
            "usages": list(self.usages),
        }
        if self.subjects is not None:
            member["subjects"] = list(self.subjects)
        if options := _options(self):
            member["options"] = options
        return member | _dates(self)


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """A time-stamp authority's certificate, or the root at which its chain ends."""

    id: str
    pem: str

    def as_member(self) -> dict[str, object]:
        """The authority as a member of `timestamp_authorities` in a trust file."""
        return {"id": self.id, "certificate": self.pem}


def _options(entry: TrustKey | Root) -> dict[str, str]:
    return {name: value for name, value in asdict(entry.options).items() if value is not None}


def _dates(entry: TrustKey | Root) -> dict[str, object]:
    moments = {
        "not_before": entry.not_before,
        "not_after": entry.not_after,
        "distrusted_from": entry.distrusted_from,
    }
    return {name: _rfc3339(moment) for name, moment in moments.items() if moment is not None}


def _rfc3339(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with a zone, found {moment.isoformat()}")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """What the verifier read from one entry of a trust file.

    `mcuboot_key_hash` is the hash (hexadecimal) by which MCUboot images name the key.
    """

    id: str
    algorithm: str
    fingerprint: str
    mcuboot_key_hash: str
    purposes: tuple[str, ...]


class Trust:
    """The approved keys, read and checked once; immutable."""

    def __init__(self, native: _verifier.Trust) -> None:
        """Use `parse` or `build`."""
        self.native = native

    @classmethod
    @contained
    def parse(cls, text: str) -> Self:
        """Read a trust file (JSON, version 1; see docs/formats.md). Raises TrustError."""
        return cls(_verifier.Trust.parse(text))

    @classmethod
    def build(
        cls,
        keys: Sequence[TrustKey],
        threshold: int = 1,
        *,
        roots: Sequence[Root] = (),
        intermediates: Sequence[str] = (),
        crls: Sequence[str] = (),
        revocation: Revocation = "if_given",
        timestamp_authorities: Sequence[TimestampAuthority] = (),
        require_verity: bool = False,
    ) -> Self:
        """The trust of these keys and roots; `threshold` different public keys must sign. Raises TrustError.

        No keys and no roots at all is allowed: then nothing passes. `intermediates` (certificates) and `crls`
        are PEM; with revocation "required" a chain counts only where lists say that it was not revoked.
        With `require_verity` RAUC bundles of the old format plain fail.
        """
        document: dict[str, object] = {
            "version": 1,
            "keys": [key.as_member() for key in keys],
            "threshold": threshold,
        }
        members: dict[str, list[object]] = {
            "roots": [root.as_member() for root in roots],
            "intermediates": list(intermediates),
            "crls": list(crls),
            "timestamp_authorities": [authority.as_member() for authority in timestamp_authorities],
        }
        document |= {name: member for name, member in members.items() if member}
        if require_verity:
            document["require_verity"] = True
        if revocation != "if_given":
            document["revocation"] = revocation
        return cls.parse(json.dumps(document))

    @property
    def threshold(self) -> int:
        """How many different public keys must sign."""
        return self.native.threshold

    @property
    def keys(self) -> tuple[TrustedKey, ...]:
        """What was read from each entry, in order."""
        return tuple(
            TrustedKey(key.id, key.algorithm, key.fingerprint, key.mcuboot_key_hash, tuple(key.purposes))
            for key in self.native.keys
        )


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A public key or certificate as it was sent in, before anybody approved it.

    kind: "public_key" or "certificate" (PEM), "openssh", "minisign" (signify too) or "openpgp"; fingerprint:
    "sha256:" and the SHA-256 of the SubjectPublicKeyInfo, whatever the encoding (of an OpenPGP certificate
    of all its packets); not_before and not_after in seconds
    since 1970 (certificates only); `weakness` says why it is not strong; `known_as` what its tool calls it.
    """

    kind: str
    algorithm: str
    bits: int
    fingerprint: str
    mcuboot_key_hash: str
    subject: str | None
    issuer: str | None
    not_before: float | None
    not_after: float | None
    strong: bool
    weakness: str
    known_as: str


@contained
def inspect_key(pem: str) -> KeyInfo:
    """Read one public key or certificate. Raises TrustError, also and explicitly for a private key."""
    key = _verifier.inspect_key(pem)
    return KeyInfo(
        kind=key.kind,
        algorithm=key.algorithm,
        bits=key.bits,
        fingerprint=key.fingerprint,
        mcuboot_key_hash=key.mcuboot_key_hash,
        subject=key.subject,
        issuer=key.issuer,
        not_before=key.not_before,
        not_after=key.not_after,
        strong=key.strong,
        weakness=key.weakness,
        known_as=key.known_as,
    )
