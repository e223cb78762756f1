"""JSON Web Signatures by joserfc, as one file or as the signature of another: passes and refusals."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import JoseError

from portal.verification import FileReport, KeyOptions, Outcome, Root, Trust, TrustKey, verify_file
from tests.unit.verification.authority import CODE_SIGNING, root
from tests.unit.verification.conftest import AT
from tests.unit.verification.jose import Jose, b64, by_ml_dsa, header
from tests.unit.verification.test_firmware import GOOD, outcomes, reason

PAYLOAD = json.dumps({"iss": "nordhaven", "sub": "SN-0001", "capacity_ah": 280.1}).encode()
BY: dict[str, tuple[str, dict[str, str]]] = {
    "RS256": ("rsa", {}),
    "RS384": ("rsa", {"hash": "sha384"}),
    "RS512": ("rsa", {"hash": "sha512"}),
    "PS256": ("rsa", {"rsa_padding": "pss"}),
    "PS384": ("rsa", {"rsa_padding": "pss", "hash": "sha384"}),
    "PS512": ("rsa", {"rsa_padding": "pss", "hash": "sha512"}),
    "ES256": ("p256", {}),
    "ES384": ("p384", {"ecdsa_encoding": "der"}),
    "EdDSA": ("ed25519", {}),
    "Ed25519": ("ed25519", {}),
}


@pytest.fixture(scope="session")
def jose() -> Jose:
    return Jose()


@pytest.fixture(scope="session")
def trust(jose: Jose) -> Trust:
    return Trust.build([jose.trusted(name) for name in ("rsa", "p256", "p384", "ed25519")])


def verify(folder: Path, trust: Trust, content: str | bytes | dict[str, Any], at: float = AT) -> FileReport:
    path = folder / "statement.jws"
    if isinstance(content, dict):
        content = json.dumps(content, indent=1)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return verify_file(path, trust, at=at)


@pytest.mark.parametrize("algorithm", BY)
def test_a_jws_by_a_key_enrolled_for_its_algorithm(tmp_path: Path, jose: Jose, algorithm: str) -> None:
    name, options = BY[algorithm]
    trust = Trust.build([jose.trusted("p256-other"), jose.trusted(name, options=KeyOptions(**options))])
    compact = jose.compact(name, PAYLOAD, alg=algorithm, kid="whatever", typ="lot+jwt")
    for content in (
        compact,
        compact + "\n",
        compact + "\r\n",
        jose.general(PAYLOAD, (name, {"alg": algorithm})),
        jose.flattened(name, PAYLOAD, protected={"alg": algorithm}, header={"kid": "x"}),
    ):
        report = verify(tmp_path, trust, content)
        assert outcomes(report) == GOOD
        assert (report.format, report.key_id) == ("jws", name)
        assert report.claims["issuer"] == "nordhaven"
        assert report.claims["payload"]["capacity_ah"] == 280.1


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("ML-DSA-44", mldsa.MLDSA44PrivateKey),
        ("ML-DSA-65", mldsa.MLDSA65PrivateKey),
        ("ML-DSA-87", mldsa.MLDSA87PrivateKey),
    ],
)
def test_ml_dsa(tmp_path: Path, algorithm: str, key: Any) -> None:
    private = key.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    trust = Trust.build([TrustKey("ml-dsa", pem)])
    assert outcomes(verify(tmp_path, trust, by_ml_dsa(private, PAYLOAD, alg=algorithm))) == GOOD
    other = "ML-DSA-65" if algorithm != "ML-DSA-65" else "ML-DSA-44"
    assert outcomes(verify(tmp_path, trust, by_ml_dsa(private, PAYLOAD, alg=other)))["signature"] == "fail"
    file = tmp_path / "firmware.bin"
    file.write_bytes(b"image" * 1000)
    detached = jws.detach_content(by_ml_dsa(private, file.read_bytes(), alg=algorithm)).encode()
    assert outcomes(verify_file(file, trust, at=AT, signature=detached))["signature"] == "pass"
    file.write_bytes(b"imagE" * 1000)
    assert outcomes(verify_file(file, trust, at=AT, signature=detached))["signature"] == "fail"


@pytest.mark.parametrize(("algorithm", "other"), [("PS256", "RS256"), ("RS384", "RS256"), ("RS256", "PS256")])
def test_another_algorithm_than_enrolled_is_no_second_chance(
    tmp_path: Path, jose: Jose, algorithm: str, other: str
) -> None:
    trust = Trust.build([jose.trusted("rsa", options=KeyOptions(**BY[other][1]))])
    report = verify(tmp_path, trust, jose.compact("rsa", PAYLOAD, alg=algorithm))
    assert outcomes(report)["signature"] == "fail"
    assert "enrolled for that" in reason(report, "signature")


def test_pss_with_the_longest_salt_has_no_name_in_jose(tmp_path: Path, jose: Jose) -> None:
    trust = Trust.build([jose.trusted("rsa", options=KeyOptions(rsa_padding="pss", pss_salt="max"))])
    assert outcomes(verify(tmp_path, trust, jose.compact("rsa", PAYLOAD, alg="PS256")))["signature"] == "fail"


# --- what the header says of its own signature ---


@pytest.mark.parametrize("algorithm", ["none", "NoNe", "NONE"])
def test_alg_none_is_no_signature(tmp_path: Path, trust: Trust, algorithm: str) -> None:
    for signature in ("", "AAAA"):
        report = verify(tmp_path, trust, f"{header(alg=algorithm)}.{b64(PAYLOAD)}.{signature}")
        assert outcomes(report)["signature"] == "fail"
        assert "it is no signature" in reason(report, "signature")


@pytest.mark.parametrize("algorithm", ["HS256", "hs512"])
def test_a_code_made_with_the_public_key_as_secret_is_refused(
    tmp_path: Path, jose: Jose, trust: Trust, algorithm: str
) -> None:

    secret = jose["rsa"].as_pem(private=False)
    text = f"{header(alg=algorithm)}.{b64(PAYLOAD)}"
    code = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    report = verify(tmp_path, trust, f"{text}.{b64(code)}")
    assert outcomes(report)["signature"] == "fail"
    assert "shared secret" in reason(report, "signature")


def test_a_key_that_the_header_brings_is_passed_over(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    own = jose["ed25519-stranger"].as_dict(private=False)
    for members in (
        {"jwk": own},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/chain.pem"},
        {"x5c": ["MIIB"]},
    ):
        text = f"{header(alg='EdDSA', **members)}.{b64(PAYLOAD)}"
        stranger = f"{text}.{b64(jose['ed25519-stranger'].private_key.sign(text.encode()))}"
        report = verify(tmp_path, trust, stranger)
        assert outcomes(report)["signature"] == "fail"
        assert f"brings its own key ({next(iter(members))})" in reason(report, "format")
        approved = f"{text}.{b64(jose['ed25519'].private_key.sign(text.encode()))}"
        assert outcomes(verify(tmp_path, trust, approved)) == GOOD


def test_a_self_signed_certificate_in_the_header_is_no_trust(
    tmp_path: Path, jose: Jose, trust: Trust
) -> None:
    """Its signature holds under the key that it brings itself; beside an approved root too."""
    stranger = root("Nordhaven Root", usages=[CODE_SIGNING], bits={"digital_signature": True})
    assert isinstance(stranger.key, ec.EllipticCurvePrivateKey)
    certificate = base64.b64encode(stranger.certificate.public_bytes(Encoding.DER)).decode()
    text = f"{header(alg='ES256', x5c=[certificate])}.{b64(PAYLOAD)}"
    r, s = decode_dss_signature(stranger.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    made = f"{text}.{b64(r.to_bytes(32) + s.to_bytes(32))}"
    own = TrustKey("own", stranger.pem)
    assert outcomes(verify(tmp_path, Trust.build([own]), made))["signature"] == "pass"
    rooted = Trust.build([jose.trusted("p256")], roots=[Root("vendor", root("Nordhaven Root").pem)])
    for approved in (trust, rooted, Trust.build([])):
        report = verify(tmp_path, approved, made)
        assert report.outcome is Outcome.FAIL
        assert report.key_id is None
        assert "brings its own key (x5c)" in reason(report, "format")


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "\0", "p256", "x" * 10_000])
def test_the_key_id_is_only_a_hint(tmp_path: Path, jose: Jose, trust: Trust, kid: str) -> None:
    text = f"{header(alg='EdDSA', kid=kid)}.{b64(PAYLOAD)}"
    for name, outcome in (("ed25519", "pass"), ("ed25519-stranger", "fail")):
        content = f"{text}.{b64(jose[name].private_key.sign(text.encode()))}"
        assert outcomes(verify(tmp_path, trust, content))["signature"] == outcome


def by_hand(jose: Jose, protected: str, payload: str = b64(PAYLOAD)) -> str:
    """Signed with an approved key, whatever the header is."""
    text = f"{protected}.{payload}"
    return f"{text}.{b64(jose['ed25519'].private_key.sign(text.encode()))}"


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["alg"]},
        {"crit": ["b64"]},
        {"crit": []},
        {"crit": "b64", "b64": True},
        {"crit": ["b64", "b64"], "b64": True},
        {"crit": [1]},
        {"crit": None},
    ],
)
def test_a_critical_parameter_that_is_not_understood_is_refused(
    tmp_path: Path, jose: Jose, trust: Trust, members: dict[str, Any]
) -> None:
    report = verify(tmp_path, trust, by_hand(jose, header(alg="EdDSA", **members)))
    assert outcomes(report)["signature"] == "fail"
    assert "crit" in reason(report, "signature")


@pytest.mark.parametrize(
    ("protected", "words"),
    [
        (b64(b'{"alg":"EdDSA","alg":"none"}'), "appears twice"),
        (b64(b'{"alg":"EdDSA","x":{"a":1,"a":2}}'), "appears twice"),
        (header(alg="EdDSA", b64=False), "not named in crit"),
        (header(alg="EdDSA", b64="false"), "expected true or false"),
        (header(alg=["EdDSA"]), "alg: expected text"),
        (header(alg="EdDSA", kid=1), "kid: expected text"),
        (header(alg="EdDSA", pad="x" * 1_000_000), "expected at most 65536"),
    ],
)
def test_a_header_that_can_be_read_in_two_ways_is_unreadable(
    tmp_path: Path, jose: Jose, trust: Trust, protected: str, words: str
) -> None:
    report = verify(tmp_path, trust, by_hand(jose, protected))
    assert outcomes(report)["format"] == "unreadable"
    assert words in reason(report, "format")


def test_alg_outside_the_protected_header_is_refused(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    made = jose.flattened("ed25519", PAYLOAD, protected={}, header={"alg": "EdDSA"})
    made["protected"] = header()
    assert "no alg in its protected header" in reason(verify(tmp_path, trust, made), "signature")


def test_a_name_in_both_headers_is_unreadable(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    made = jose.general(PAYLOAD, ("ed25519", {"alg": "EdDSA"}))
    for name, value in (("alg", "none"), ("b64", False)):
        made["signatures"][0]["header"] = {name: value}
        report = verify(tmp_path, trust, made)
        assert outcomes(report)["format"] == "unreadable"
    made["signatures"][0]["header"] = {"crit": ["b64"]}
    assert outcomes(verify(tmp_path, trust, made))["signature"] == "fail"


# --- the form ---


def test_base64url_is_strict(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    protected, payload, signature = by_hand(jose, header(alg="EdDSA")).split(".")
    last = signature[-1]
    stray = signature[:-1] + {"A": "B", "Q": "R", "g": "h", "w": "x"}[last]
    for changed in (
        f"{protected}.{payload}.{signature}==",
        f"{protected}.{payload}.{stray}",
        f"{protected}.{payload}.{signature[:40]}\n{signature[40:]}",
        f"{protected}.{payload}=.{signature}",
        f"{protected}. {payload}.{signature}",
        f"{protected}.{payload}.{signature}\n\n",
        f"{protected}.{payload}.{signature}.",
        f"{protected}.{payload}",
    ):
        report = verify(tmp_path, trust, changed)
        assert outcomes(report)["format"] == "unreadable", changed
    for before in (" ", "\ufeff"):
        assert (
            verify(tmp_path, trust, f"{before}{protected}.{payload}.{signature}").outcome is not Outcome.PASS
        )


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"signatures": []}, "expected 1 to 16, found 0"),
        ({"signatures": [{}] * 17}, "expected 1 to 16, found 17"),
        ({"signatures": {}}, "expected a list"),
        ({"signatures": [1]}, "expected objects"),
        ({"signatures": [{"protected": header(alg="EdDSA")}]}, "there is no signature"),
        ({"signature": "AAAA"}, "has signatures and beside them signature"),
        ({"protected": header(alg="EdDSA")}, "has signatures and beside them protected"),
        ({"payload": 1}, "payload: expected text"),
        ({"payload": "a"}, "not strict base64url"),
    ],
)
def test_a_serialisation_that_is_two_or_none_is_unreadable(
    tmp_path: Path, jose: Jose, trust: Trust, members: dict[str, Any], words: str
) -> None:
    made = jose.general(PAYLOAD, ("ed25519", {"alg": "EdDSA"})) | members
    report = verify(tmp_path, trust, made)
    assert (report.format, outcomes(report)["format"]) == ("jws", "unreadable")
    assert words in reason(report, "format")


def test_a_double_member_is_unreadable(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    text = json.dumps(jose.general(PAYLOAD, ("ed25519", {"alg": "EdDSA"})))
    report = verify(tmp_path, trust, text[:-1] + f', "payload": "{b64(b"{}")}"}}')
    assert "appears twice" in reason(report, "format")


def test_more_values_than_any_statement_has_are_unreadable(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    made = jose.general(PAYLOAD, ("ed25519", {"alg": "EdDSA"}))
    made["signatures"][0]["header"] = {"x": [{"a": 0}] * 130_000}
    report = verify(tmp_path, trust, json.dumps(made))
    assert outcomes(report)["format"] == "unreadable"
    assert "more than 250000 values" in reason(report, "format")


def test_what_is_encrypted_proves_nothing(tmp_path: Path, trust: Trust) -> None:
    report = verify(tmp_path, trust, f"{header(alg='RSA-OAEP-256', enc='A256GCM')}.AAAA.AAAA.AAAA.AAAA")
    assert "encrypted" in reason(report, "format")


def test_ecdsa_is_r_and_s_side_by_side_and_neither_is_nought(
    tmp_path: Path, jose: Jose, trust: Trust
) -> None:

    text = f"{header(alg='ES256')}.{b64(PAYLOAD)}"
    der = jose["p256"].private_key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    for signature in (der, bytes(64), bytes(63) + b"\1", b"\xff" * 64, b""):
        assert outcomes(verify(tmp_path, trust, f"{text}.{b64(signature)}"))["signature"] == "fail"


def test_a_threshold_counts_different_keys(tmp_path: Path, jose: Jose) -> None:
    two = Trust.build([jose.trusted("ed25519"), jose.trusted("p256")], threshold=2)
    first, second = ("ed25519", {"alg": "EdDSA"}), ("p256", {"alg": "ES256"})
    stranger = ("ed25519-stranger", {"alg": "EdDSA"})
    assert outcomes(verify(tmp_path, two, jose.general(PAYLOAD, first, second))) == GOOD
    report = verify(tmp_path, two, jose.general(PAYLOAD, first, stranger, second))
    assert outcomes(report) == GOOD
    assert [row["valid_under"] for row in report.claims["signatures"]] == ["ed25519", None, "p256"]
    assert outcomes(verify(tmp_path, two, jose.general(PAYLOAD, first, first)))["key"] == "fail"
    assert outcomes(verify(tmp_path, two, jose.general(PAYLOAD, first, stranger)))["signature"] == "fail"


# --- what the payload says ---


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"exp": AT + 10, "nbf": AT - 10, "iat": AT - 10}, "pass"),
        ({"exp": AT - 59}, "pass"),
        ({"exp": AT - 60}, "fail"),
        ({"nbf": AT + 60}, "pass"),
        ({"nbf": AT + 61}, "fail"),
        ({"iat": AT + 61}, "fail"),
        ({"exp": str(AT + 10)}, "unreadable"),
        ({"nbf": None}, "unreadable"),
        ({"iat": AT}, None),
        ({}, None),
    ],
)
def test_a_statement_counts_from_when_until_when(
    tmp_path: Path, jose: Jose, trust: Trust, claims: dict[str, Any], outcome: str | None
) -> None:
    report = verify(tmp_path, trust, jose.compact("ed25519", json.dumps(claims).encode(), alg="EdDSA"))
    assert outcomes(report).get("validity") == outcome
    assert outcomes(report)["signature"] == "pass"


@pytest.mark.parametrize(
    "payload",
    [b'{"exp":1,"exp":9999999999}', b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":1} {"a":2}', b'{"a":1,}'],
)
def test_a_payload_that_two_readers_read_differently_is_unreadable(
    tmp_path: Path, jose: Jose, trust: Trust, payload: bytes
) -> None:
    report = verify(tmp_path, trust, jose.compact("ed25519", payload, alg="EdDSA"))
    assert outcomes(report)["validity"] == "unreadable"


def test_a_payload_that_is_no_json_is_only_measured(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    report = verify(tmp_path, trust, jose.compact("ed25519", b"\x00\x01\xff", alg="EdDSA"))
    assert outcomes(report) == GOOD
    assert report.claims["payload_size"] == 3
    assert "payload" not in report.claims


# --- as the signature of another file ---


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(bytes(range(128)) * 26_002)  # joserfc takes only text where b64 is false
    return path


@pytest.mark.parametrize("algorithm", BY)
@pytest.mark.parametrize("encoded", [True, False])
def test_a_detached_jws_is_the_signature_of_its_file(
    firmware: Path, jose: Jose, algorithm: str, encoded: bool
) -> None:
    name, options = BY[algorithm]
    trust = Trust.build([jose.trusted("p256-other"), jose.trusted(name, options=KeyOptions(**options))])
    protected = {"alg": algorithm} | ({} if encoded else {"b64": False, "crit": ["b64"]})
    compact = jws.detach_content(jose.compact(name, firmware.read_bytes(), **protected))
    head, _, signature = compact.split(".")
    for content in (
        compact,
        json.dumps({"protected": head, "signature": signature}),
        json.dumps({"signatures": [{"protected": head, "signature": signature}]}),
    ):
        report = verify_file(firmware, trust, at=AT, signature=content.encode())
        assert outcomes(report) == GOOD | {"format": "warn"}
        assert report.document["signature_file"]["form"] == "jws"
    with firmware.open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"x")
    assert outcomes(verify_file(firmware, trust, at=AT, signature=compact.encode()))["signature"] == "fail"


def test_a_jws_with_a_payload_of_its_own_proves_no_other_file(
    firmware: Path, jose: Jose, trust: Trust
) -> None:
    content = jose.compact("ed25519", firmware.read_bytes(), alg="EdDSA").encode()
    report = verify_file(firmware, trust, at=AT, signature=content)
    assert outcomes(report)["signature"] == "unreadable"
    assert "payload of its own" in reason(report, "signature")


def test_a_jws_without_its_payload_is_no_statement(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    report = verify(tmp_path, trust, jws.detach_content(jose.compact("ed25519", PAYLOAD, alg="EdDSA")))
    assert outcomes(report)["format"] == "unreadable"
    assert "its payload is not in it" in reason(report, "format")


def test_a_detached_jws_by_many_keys_names_its_own(firmware: Path, jose: Jose) -> None:
    others = [jose.trusted(f"ed25519-{n}") for n in range(40)]
    trust = Trust.build([*others, jose.trusted("ed25519")])
    for kid, outcome in (("ed25519", "pass"), ("", "fail")):
        made = jws.detach_content(jose.compact("ed25519", firmware.read_bytes(), alg="EdDSA", kid=kid))
        report = verify_file(firmware, trust, at=AT, signature=made.encode())
        assert outcomes(report)["signature"] == outcome
    assert "more key(s) were not tried: name the key by its id" in reason(report, "signature")


def test_the_same_verdict_as_joserfc(tmp_path: Path, jose: Jose, trust: Trust) -> None:
    """Over good and bad samples. Differences: none in what is accepted as signed."""
    good = jose.compact("p256", PAYLOAD, alg="ES256")
    protected, payload, signature = good.split(".")
    samples = {
        "good": good,
        "payload": f"{protected}.{b64(PAYLOAD + b' ')}.{signature}",
        "header": f"{header(alg='ES256', kid='x')}.{payload}.{signature}",
        "signature": f"{protected}.{payload}.{b64(bytes(64))}",
        "cut": f"{protected}.{payload}.{signature[:-4]}",
        "none": f"{header(alg='none')}.{payload}.",
        "stranger": jose.compact("p256-stranger", PAYLOAD, alg="ES256"),
        "crit": jose_crit(jose),
    }
    differences = set()
    for name, sample in samples.items():
        try:
            jws.deserialize_compact(sample, jose["p256"], algorithms=["ES256"])
            oracle = True
        except (JoseError, ValueError):
            oracle = False
        ours = outcomes(verify(tmp_path, trust, sample))["signature"] == "pass"
        if oracle != ours:
            differences.add(name)
    assert differences == set()


def jose_crit(jose: Jose) -> str:

    text = f"{header(alg='ES256', crit=['lot'], lot=1)}.{b64(PAYLOAD)}"
    r, s = decode_dss_signature(jose["p256"].private_key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
