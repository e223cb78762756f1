"""COSE: the examples of its working group."""

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from portal.verification import KeyOptions, Trust
from tests.conformance.conftest import Conformance, folder
from tests.conformance.keys import CURVES, RSA_OPTIONS, number, pem, trust

PSS = {"RSA-PSS-256": "PS256", "RSA-PSS-384": "PS384", "RSA-PSS-512": "PS512"}


def of_example(example: dict[str, Any]) -> Trust:
    given = example["input"]
    signer = given.get("sign0") or (given.get("sign") or {"signers": [{}]})["signers"][0]
    key = signer.get("key") or {}
    algorithm = signer.get("alg") or signer.get("protected", {}).get("alg")

    def part(name: str) -> int:
        hexadecimal = key.get(f"{name}_hex")
        return int(hexadecimal, 16) if hexadecimal else number(key[name])

    match key.get("kty"):
        case "EC" | "EC2":
            curve = CURVES[key["crv"]]()
            return trust(pem(ec.EllipticCurvePublicNumbers(part("x"), part("y"), curve).public_key()))
        case "OKP" if key["crv"] == "Ed25519":
            point = bytes.fromhex(key["x_hex"])
            return trust(pem(ed25519.Ed25519PublicKey.from_public_bytes(point)))
        case "RSA":
            public = rsa.RSAPublicNumbers(part("e"), part("n")).public_key()
            return trust(pem(public), RSA_OPTIONS[PSS[algorithm]])
        case _:
            return trust(None, KeyOptions())


def test_examples_of_the_working_group(conformance: Conformance) -> None:
    found = []
    for file in sorted(folder("cose").rglob("*.json")):
        example = json.loads(file.read_text())
        content = bytes.fromhex(example["output"]["cbor"])
        name = f"{file.parent.name}/{file.stem}"
        found.append((name, not example.get("fail"), conformance.signed(content, of_example(example))))
    conformance.compare(
        "COSE working group",
        found,
        {
            "codes with a shared secret and encryption prove nothing": {
                "CWT/A_4",
                "CWT/A_5",
                "CWT/A_6",
                "CWT/A_7",
            },
            "alg stands where anybody could change it": {"sign1-tests/sign-pass-01"},
            "nothing is agreed beside the message: external data is empty": {"sign1-tests/sign-pass-02"},
            "kid is text, where RFC 9052 §3.1 wants a byte string": {
                "x509-examples/signed-01",
                "x509-examples/signed-02",
            },
            "P-521, ECDSA with SHA-512 and Ed448 are not supported": {
                "ecdsa-examples/ecdsa-03",
                "ecdsa-examples/ecdsa-04",
                "ecdsa-examples/ecdsa-sig-03",
                "ecdsa-examples/ecdsa-sig-04",
                "eddsa-examples/eddsa-02",
                "eddsa-examples/eddsa-sig-02",
            },
            "LMS is not read in COSE": {"hashsig/hashsig-01", "hashsig/hsssig-sig-01"},
        },
        at_least=35,
    )
