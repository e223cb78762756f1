"""NIST's and others' vectors in PyPI's cryptography-vectors, and BLAKE3's own, as files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from portal.verification import KeyOptions, Trust, hash_file
from tests.conformance.conftest import PACKAGED, Conformance, folder
from tests.conformance.keys import pem, trust

SHA_NAMES = {"SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512"}


LAST = {"Result", "MD", "ctx"}


def blocks(path: Path) -> Iterator[tuple[int, str, dict[str, str]]]:
    """The records of a response file of NIST: number, heading in brackets, members.

    A member stays until it is changed; `LAST` are those that end a record.
    """
    heading, members, number = "", {}, 0
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"\[(.*)\]", line.strip()):
            heading = match[1]
        elif "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            members[name.strip()] = value.strip()
        if members.keys() & LAST:
            number += 1
            yield number, heading, dict(members)
            for name in LAST:
                members.pop(name, None)


@pytest.mark.parametrize(("name", "label"), [("SHA256", None), ("SHA384", -43), ("SHA512", -44)])
def test_sha_2(conformance: Conformance, name: str, label: int | None) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    by = trust(pem(private.public_key()))
    found = []
    for kind in ("ShortMsg", "LongMsg"):
        for number, _, case in blocks(PACKAGED / "hashes" / "SHA2" / f"{name}{kind}.rsp"):
            message = bytes.fromhex(case["Msg"])[: int(case["Len"]) // 8]
            if label is None:
                conformance.path.write_bytes(message)
                ours = hash_file(conformance.path).sha256 == case["MD"]
            else:
                # Only a statement that gives it makes us compute another digest: here a hash envelope.
                header = cbor2.dumps({1: -8, 258: label})
                digest = bytes.fromhex(case["MD"])
                value = private.sign(cbor2.dumps(["Signature1", header, b"", digest]))
                signature = cbor2.dumps(cbor2.CBORTag(18, [header, {}, digest, value]))
                ours = conformance.signed(message, by, signature)
            found.append((f"{kind} {number}", True, ours))
    conformance.compare(f"NIST {name}", found, {}, at_least=120)


def rsa_trust(case: dict[str, str], options: KeyOptions) -> Trust:
    try:
        public = rsa.RSAPublicNumbers(int(case["e"], 16), int(case["n"], 16)).public_key()
    except ValueError:  # too short for the library that writes the PEM
        return trust(None)
    return trust(pem(public), options)


@pytest.mark.parametrize(("file", "padding"), [("SigVer15_186-3", "pkcs1v15"), ("SigVerPSS_186-3", "pss")])
def test_rsa(conformance: Conformance, file: str, padding: str) -> None:
    found: list[tuple[str, bool, bool]] = []
    short, exponent, weak, salt = set(), set(), set(), set()
    for number, heading, case in blocks(PACKAGED / "asymmetric" / "RSA" / "FIPS_186-2" / f"{file}.rsp"):
        name = f"{number} {heading} {case['SHAAlg']}"
        theirs = case["Result"].startswith("P")
        digest = SHA_NAMES.get(case["SHAAlg"])
        options = KeyOptions(rsa_padding=padding, hash=digest or "sha256")
        ours = conformance.signed(
            bytes.fromhex(case["Msg"]), rsa_trust(case, options), bytes.fromhex(case["S"])
        )
        found.append((name, theirs, ours))
        if theirs and int(heading.partition("=")[2]) < 2048:
            short.add(name)
        elif theirs and not 65_537 <= int(case["e"], 16) < 2**32:
            exponent.add(name)
        elif theirs and digest is None:
            weak.add(name)
        elif theirs and padding == "pss":
            salt.add(name)
    conformance.compare(
        f"NIST RSA {padding}",
        found,
        {
            "shorter than 2,048 bits": short,
            "the exponent is below 65,537 or longer than 32 bits": exponent,
            "SHA-1 and SHA-224 are not accepted": weak,
            "the salt of these has 10 bytes; enrolled are as long as the digest, or the longest": salt,
        },
        at_least=450,
    )


def test_ecdsa(conformance: Conformance) -> None:
    found: list[tuple[str, bool, bool]] = []
    curves, weak = set(), set()
    known = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
    for number, heading, case in blocks(PACKAGED / "asymmetric" / "ECDSA" / "FIPS_186-3" / "SigVer.rsp"):
        curve, digest = heading.split(",")
        theirs = case["Result"].startswith("P")
        name = f"{number} {heading}"
        hashed = SHA_NAMES.get(digest.replace("-", ""))
        by = trust(None)
        if curve in known and hashed:
            try:
                numbers = ec.EllipticCurvePublicNumbers(
                    int(case["Qx"], 16), int(case["Qy"], 16), known[curve]
                )
                by = trust(pem(numbers.public_key()), KeyOptions(hash=hashed))
            except ValueError:  # not on its curve
                assert not theirs
        signature = encode_dss_signature(int(case["R"], 16), int(case["S"], 16))
        found.append((name, theirs, conformance.signed(bytes.fromhex(case["Msg"]), by, signature)))
        if theirs and curve not in known:
            curves.add(name)
        elif theirs and not hashed:
            weak.add(name)
    conformance.compare(
        "NIST ECDSA",
        found,
        {"only P-256 and P-384 are supported": curves, "SHA-1 and SHA-224 are not accepted": weak},
        at_least=1125,
    )


def test_ed25519(conformance: Conformance) -> None:
    found = []
    for number, line in enumerate(
        (PACKAGED / "asymmetric" / "Ed25519" / "sign.input").read_text().splitlines()
    ):
        _, public, _, signed, _ = line.split(":")
        by = trust(pem(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))))
        value, message = bytes.fromhex(signed)[:64], bytes.fromhex(signed)[64:]
        found.append((f"{number}", True, conformance.signed(message, by, value)))
        changed = value[:63] + bytes([value[63] ^ 1])
        found.append((f"{number} changed", False, conformance.signed(message, by, changed)))
    conformance.compare("Ed25519 of its authors", found, {}, at_least=2048)


@pytest.mark.parametrize(
    ("size", "key", "length"),
    [
        (44, mldsa.MLDSA44PublicKey, 2420),
        (65, mldsa.MLDSA65PublicKey, 3309),
        (87, mldsa.MLDSA87PublicKey, 4627),
    ],
)
def test_ml_dsa(
    conformance: Conformance,
    size: int,
    key: type[mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey],
    length: int,
) -> None:
    found, context = [], set()
    for number, _, case in blocks(PACKAGED / "asymmetric" / "MLDSA" / f"kat_MLDSA_{size}_det_pure.rsp"):
        by = trust(pem(key.from_public_bytes(bytes.fromhex(case["pk"]))))
        message, value = bytes.fromhex(case["msg"]), bytes.fromhex(case["sm"])[:length]
        found.append((f"{number}", True, conformance.signed(message, by, value)))
        if case["ctx"]:
            context.add(f"{number}")
    conformance.compare(
        f"ML-DSA-{size} known answers",
        found,
        {"these sign with a context; nothing that is verified here does": context},
        at_least=100,
    )


def test_blake3(conformance: Conformance) -> None:
    document = json.loads((folder("blake3") / "test_vectors.json").read_text())
    found = []
    for case in document["cases"]:
        length = case["input_len"]
        conformance.path.write_bytes((bytes(range(251)) * (length // 251 + 1))[:length])
        found.append((str(length), True, hash_file(conformance.path).blake3 == case["hash"][:64]))
    conformance.compare("BLAKE3 of its authors", found, {}, at_least=35)
