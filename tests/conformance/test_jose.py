"""JSON Web Signatures: Wycheproof, and the examples of RFC 7520, RFC 7797 and RFC 8037."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from portal.verification import Trust
from tests.conformance.conftest import Conformance, folder
from tests.conformance.keys import of_jwk


def test_wycheproof(conformance: Conformance) -> None:
    path = folder("wycheproof") / "json_web_signature_test.json"
    document = json.loads(path.read_text())
    symmetric: set[str] = set()

    def cases() -> Iterator[tuple[str, bool, bool]]:
        for group in document["testGroups"]:
            key = group.get("public") or group["private"]
            trust = of_jwk(key)
            for case in group["tests"]:
                given = case["jws"]
                content = given if isinstance(given, str) else json.dumps(given)
                name = f"{case['tcId']} {case['comment']}"
                if key["kty"] == "oct" and case["result"] == "valid":
                    symmetric.add(name)
                yield name, case["result"] == "valid", conformance.signed(content.encode(), trust)

    found = list(cases())
    assert len(found) == document["numberOfTests"]
    conformance.compare(
        "Wycheproof JSON Web Signature",
        found,
        {
            "codes with a shared secret prove nothing": symmetric,
            "a compact JWS with nothing between its dots is taken as one whose payload is elsewhere": {
                name
                for name, theirs, _ in found
                if theirs and name.endswith(("emptyPayload", "EmptyPayload"))
            },
            "the key is enrolled for PS256, the message says PS384": {"346 Figure20", "350 Figure20"},
            "P-521 is not supported": {"347 Figure27", "351 Figure27"},
            "what a JWK says of its use is told at enrolment, not by the message": {
                "353 rejectWrongUse",
                "354 rejectWrongUse",
                "355 rejectWrongKeyOps",
                "356 rejectWrongKeyOps",
            },
        },
        at_least=401,
    )


def examples(path: Path) -> Iterator[tuple[str, dict[str, Any], str, str | dict[str, Any]]]:
    """Name, the example, its form and the JWS."""
    for file in sorted(path.rglob("*.json")):
        if file.parent.name == "jwk":
            continue
        example = json.loads(file.read_text())
        for form, content in example["output"].items():
            yield f"{file.stem}, {form}", example, form, content


def test_cookbook(conformance: Conformance) -> None:
    found, secret = [], set()
    for name, example, _, content in examples(folder("jose-cookbook")):
        given = example["input"]
        keys = given["key"] if isinstance(given["key"], list) else [given["key"]]
        algorithms = given["alg"] if isinstance(given["alg"], list) else [given["alg"]]
        # Of several signatures one that counts is enough: the threshold is one.
        trusts = [of_jwk(key, algorithm) for key, algorithm in zip(keys, algorithms, strict=True)]
        text = content if isinstance(content, str) else json.dumps(content)
        if all(algorithm.startswith("HS") for algorithm in algorithms):
            secret.add(name)
        found.append((name, True, any(valid(conformance, text, trust) for trust in trusts)))
    conformance.compare(
        "RFC 7520, 7797, 8037 examples",
        found,
        {
            "codes with a shared secret prove nothing": secret,
            "P-521 is not supported": {
                f"4_3.ecdsa_signature, {form}" for form in ("compact", "json", "json_flat")
            },
        },
        at_least=25,
    )


def valid(conformance: Conformance, text: str, trust: Trust) -> bool:
    return conformance.signed(text.encode(), trust)
