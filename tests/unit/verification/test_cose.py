"""COSE messages by pycose, as one file or as the signature of another: what passes, and what is refused."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pycose.exceptions import CoseException
from pycose.messages import Sign1Message

from portal.verification import FileReport, KeyOptions, Outcome, Trust, TrustKey, verify_file
from tests.unit.verification.conftest import AT, Keys
from tests.unit.verification.cose import EDDSA, ES256, ByHand, key_of, sign, sign1
from tests.unit.verification.test_firmware import GOOD, outcomes, reason

PAYLOAD = b"This is the content."
BY: dict[str, tuple[str, dict[str, str]]] = {
    "ES256": ("p256", {}),
    "ES384": ("p384", {"ecdsa_encoding": "der"}),
    "EDDSA": ("ed25519", {}),
    "PS256": ("rsa-3072", {"rsa_padding": "pss"}),
    "PS384": ("rsa-3072", {"rsa_padding": "pss", "hash": "sha384"}),
    "PS512": ("rsa-3072", {"rsa_padding": "pss", "hash": "sha512"}),
}
SHA256, SHA384, SHA512 = -16, -43, -44


@pytest.fixture
def trust(keys: Keys) -> Trust:
    return keys.trust("rsa-3072", "p256", "p384", "ed25519")


@pytest.fixture
def by_hand(keys: Keys) -> ByHand:
    return ByHand(keys)


def enrolled(keys: Keys, name: str, options: dict[str, str]) -> Trust:
    other = TrustKey("other", keys.public("other"))
    return Trust.build([other, TrustKey(name, keys.public(name), options=KeyOptions(**options))])


def verify(folder: Path, trust: Trust, content: bytes, at: float = AT) -> FileReport:
    path = folder / "message.cose"
    path.write_bytes(content)
    return verify_file(path, trust, at=at)


@pytest.mark.parametrize("algorithm", BY)
@pytest.mark.parametrize("tag", [True, False])
def test_a_message_by_a_key_enrolled_for_its_algorithm(
    tmp_path: Path, keys: Keys, algorithm: str, tag: bool
) -> None:
    name, options = BY[algorithm]
    made = sign1(keys.private(name), algorithm, PAYLOAD, tag=tag)
    report = verify(tmp_path, enrolled(keys, name, options), made)
    assert outcomes(report) == GOOD
    assert (report.format, report.key_id) == ("cose", name)
    assert report.claims["message"] == "COSE_Sign1"
    assert report.claims["payload_size"] == len(PAYLOAD)


@pytest.mark.parametrize(
    ("number", "key"),
    [(-48, mldsa.MLDSA44PrivateKey), (-49, mldsa.MLDSA65PrivateKey), (-50, mldsa.MLDSA87PrivateKey)],
)
def test_ml_dsa(tmp_path: Path, number: int, key: Any) -> None:
    private = key.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    trust = Trust.build([TrustKey("ml-dsa", pem)])
    for alg, outcome in ((number, "pass"), (-48 if number != -48 else -49, "fail")):
        header = cbor2.dumps({1: alg})
        value = private.sign(cbor2.dumps(["Signature1", header, b"", PAYLOAD]))
        made = cbor2.dumps(cbor2.CBORTag(18, [header, {}, PAYLOAD, value]))
        assert outcomes(verify(tmp_path, trust, made))["signature"] == outcome


def test_several_signers_and_a_threshold(tmp_path: Path, keys: Keys) -> None:
    ed25519, p256, other = keys.private("ed25519"), keys.private("p256"), keys.private("other")
    two = keys.trust("ed25519", "p256", threshold=2)
    good = sign(PAYLOAD, (ed25519, "EDDSA"), (other, "EDDSA"), (p256, "ES256"))
    report = verify(tmp_path, two, good)
    assert outcomes(report) == GOOD
    assert [row["valid_under"] for row in report.claims["signatures"]] == ["ed25519", None, "p256"]
    twice = sign(PAYLOAD, (ed25519, "EDDSA"), (ed25519, "EDDSA"))
    assert outcomes(verify(tmp_path, two, twice))["key"] == "fail"
    one = sign(PAYLOAD, (ed25519, "EDDSA"), (other, "EDDSA"))
    assert outcomes(verify(tmp_path, two, one))["signature"] == "fail"


# --- the algorithm ---


@pytest.mark.parametrize(
    ("algorithm", "other"), [("PS256", {}), ("PS384", BY["PS256"][1]), ("PS512", BY["PS384"][1])]
)
def test_another_algorithm_than_enrolled_is_no_second_chance(
    tmp_path: Path, keys: Keys, algorithm: str, other: dict[str, str]
) -> None:
    made = sign1(keys.private("rsa-3072"), algorithm, PAYLOAD)
    assert outcomes(verify(tmp_path, enrolled(keys, "rsa-3072", other), made))["signature"] == "fail"


def test_alg_only_in_the_unprotected_header_is_refused(tmp_path: Path, trust: Trust, by_hand: ByHand) -> None:
    for protected in (b"", cbor2.dumps({})):
        made = by_hand.sign1(protected, PAYLOAD, unprotected={1: EDDSA})
        report = verify(tmp_path, trust, made)
        assert outcomes(report)["signature"] == "fail"
        assert "no alg in its protected header" in reason(report, "signature")


@pytest.mark.parametrize("alg", [-36, -47, -8000, "EdDSA", 5, 2**63 - 1])
def test_an_algorithm_that_no_key_is_enrolled_for_is_refused(
    tmp_path: Path, trust: Trust, by_hand: ByHand, alg: int | str
) -> None:
    assert outcomes(verify(tmp_path, trust, by_hand.sign1({1: alg}, PAYLOAD)))["signature"] == "fail"


def test_a_certificate_or_key_that_the_message_brings_is_passed_over(
    tmp_path: Path, keys: Keys, trust: Trust, by_hand: ByHand
) -> None:
    for label, name in ((33, "x5chain"), (32, "x5bag"), (35, "x5u")):
        members = {label: b"certificate" if label != 35 else "https://attacker.example/"}
        stranger = by_hand.sign1({1: EDDSA}, PAYLOAD, unprotected=members, name="other")
        report = verify(tmp_path, trust, stranger)
        assert outcomes(report)["signature"] == "fail"
        assert f"brings its own key ({name})" in reason(report, "format")
        approved = by_hand.sign1({1: EDDSA} | members, PAYLOAD)
        assert outcomes(verify(tmp_path, trust, approved)) == GOOD


def test_a_self_signed_certificate_in_the_header_is_no_trust(
    tmp_path: Path, keys: Keys, trust: Trust, by_hand: ByHand
) -> None:
    """Its signature holds under the key that it brings itself."""
    der = base64.b64decode("".join(keys.certificate("other").splitlines()[1:-1]))
    for members in ({33: der}, {33: [der]}, {32: der}):
        for protected, unprotected in (({1: EDDSA} | members, {}), ({1: EDDSA}, members)):
            made = by_hand.sign1(protected, PAYLOAD, unprotected=unprotected, name="other")
            assert outcomes(verify(tmp_path, keys.trust("other"), made)) == GOOD
            for approved in (trust, Trust.build([])):
                report = verify(tmp_path, approved, made)
                assert report.outcome is Outcome.FAIL
                assert report.key_id is None
                assert "brings its own key" in reason(report, "format")


@pytest.mark.parametrize(
    "kid", [b"../../etc/passwd", b"' OR 1=1 --", b"\0", b"\xff\xfe", b"p256", b"x" * 10_000]
)
def test_the_key_id_is_only_a_hint(tmp_path: Path, trust: Trust, by_hand: ByHand, kid: bytes) -> None:
    for name, outcome in (("ed25519", "pass"), ("other", "fail")):
        made = by_hand.sign1({1: EDDSA}, PAYLOAD, unprotected={4: kid}, name=name)
        assert outcomes(verify(tmp_path, trust, made))["signature"] == outcome


# --- the headers ---


@pytest.mark.parametrize(
    ("protected", "unprotected"),
    [
        ({1: EDDSA, 2: [-70000], -70000: 1}, {}),
        ({1: EDDSA, 2: ["lot"], "lot": 1}, {}),
        ({1: EDDSA, 2: [3]}, {}),
        ({1: EDDSA, 2: []}, {}),
        ({1: EDDSA, 2: 1}, {}),
        ({1: EDDSA}, {2: [1]}),
    ],
)
def test_a_critical_parameter_that_is_not_understood_is_refused(
    tmp_path: Path, trust: Trust, by_hand: ByHand, protected: dict[Any, Any], unprotected: dict[Any, Any]
) -> None:
    report = verify(tmp_path, trust, by_hand.sign1(protected, PAYLOAD, unprotected=unprotected))
    assert outcomes(report)["signature"] == "fail"
    assert "crit" in reason(report, "signature")


def test_a_critical_parameter_that_is_understood(tmp_path: Path, trust: Trust, by_hand: ByHand) -> None:
    made = by_hand.sign1({1: EDDSA, 2: [3], 3: "text/plain"}, PAYLOAD)
    assert outcomes(verify(tmp_path, trust, made)) == GOOD


@pytest.mark.parametrize(
    ("protected", "unprotected", "words"),
    [
        (bytes.fromhex("a201270127"), {}, "appears twice"),
        (bytes.fromhex("a1013807"), {}, "shortest form"),
        (bytes.fromhex("bf0127ff"), {}, "indefinite"),
        (bytes.fromhex("a10127a0"), {}, "ends at byte 3"),
        (bytes.fromhex("80"), {}, "is no map"),
        (bytes.fromhex("ff"), {}, "indefinite"),
        (cbor2.dumps({1: EDDSA, 2**63: 1}), {}, "outside of 64 bits"),
        (cbor2.dumps({1: EDDSA, -(2**63) - 1: 1}), {}, "outside of 64 bits"),
        (cbor2.dumps({1: EDDSA, 1.5: 1}), {}, "neither a number nor a text"),
        (cbor2.dumps({1: EDDSA}), {1: ES256}, "in the protected and in the unprotected"),
        (cbor2.dumps({1: EDDSA}), {4: "text"}, "kid: expected a byte string"),
        (cbor2.dumps({1: EDDSA}), {258: SHA256}, "unprotected header (RFC 9995"),
        (cbor2.dumps({1: EDDSA, 258: SHA256, 3: "text/plain"}), {}, "exclude each other"),
        (cbor2.dumps({1: EDDSA, -1: b"x" * 70_000}), {}, "expected at most 65536"),
        (cbor2.dumps({1: EDDSA, -1: float("nan")}), {}, "not finite"),
    ],
)
def test_a_header_that_can_be_read_in_two_ways_is_unreadable(
    tmp_path: Path, trust: Trust, by_hand: ByHand, protected: bytes, unprotected: dict[Any, Any], words: str
) -> None:
    report = verify(tmp_path, trust, by_hand.sign1(protected, PAYLOAD, unprotected=unprotected))
    assert (report.format, outcomes(report)["format"]) == ("cose", "unreadable")
    assert words in reason(report, "format")


# --- the form ---


def test_a_message_that_is_none_or_two_is_unreadable(tmp_path: Path, keys: Keys, trust: Trust) -> None:
    made = sign1(keys.private("ed25519"), "EDDSA", PAYLOAD)
    several = sign(PAYLOAD, (keys.private("ed25519"), "EDDSA"))
    assert made[0] == 0xD2
    assert several[:2] == b"\xd8\x62"
    for content, words in (
        (made + b"\0", "ends at byte"),
        (made[:-1], "more bytes"),
        (made[:1] + several[2:], "do not agree"),
        (several[:2] + made[1:], "do not agree"),
        (b"\xd1" + made[1:], "shared secret"),
        (b"\xd0" + made[1:], "encrypted"),
        (b"\xd8\x3d" + made[1:], None),
        (b"\xd2\xd2" + made[1:], None),
    ):
        report = verify(tmp_path, trust, content)
        assert outcomes(report)["signature"] != "pass", content
        if words is not None:
            assert outcomes(report)["format"] == "unreadable"
            assert words in reason(report, "format")


def test_deep_or_endless_items_are_unreadable(
    tmp_path: Path, keys: Keys, trust: Trust, by_hand: ByHand
) -> None:
    made = by_hand.sign1({1: EDDSA}, PAYLOAD)
    head = made[: made.index(b"\xa0")]
    for inside, words in (
        (b"\xa1\x63lot" + b"\x81" * 10_000, "levels"),
        (b"\xa1\x63lot\x9b" + b"\xff" * 8, "items"),
        (b"\xa1\x63lot\xc2\x5a\x40\0\0\0", "more bytes"),
        (b"\xa1\x63lot\x1c", "reserved"),
        (b"\xa1\x63lot\xff", "indefinite"),
        (b"\xa1\x63lot\x61\x80", "not UTF-8"),
    ):
        report = verify(tmp_path, trust, head + inside + made[made.index(b"\xa0") + 1 :])
        assert outcomes(report)["format"] == "unreadable"
        assert words in reason(report, "format")


def test_ecdsa_is_r_and_s_side_by_side_and_neither_is_nought(
    tmp_path: Path, keys: Keys, trust: Trust, by_hand: ByHand
) -> None:
    for value in (bytes(64), bytes(63) + b"\1", b"\xff" * 64, b"", b"\x30" * 70):
        message = [cbor2.dumps({1: ES256}), {}, PAYLOAD, value]
        report = verify(tmp_path, trust, cbor2.dumps(cbor2.CBORTag(18, message)))
        assert outcomes(report)["signature"] == "fail"


# --- tokens ---


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({4: int(AT) + 10, 5: int(AT) - 10, 6: int(AT)}, "pass"),
        ({4: AT + 0.5}, "pass"),
        ({4: int(AT) - 59}, "pass"),
        ({4: int(AT) - 60}, "fail"),
        ({5: int(AT) + 61}, "fail"),
        ({4: "tomorrow"}, "unreadable"),
        ({4: 2**64 - 1}, "unreadable"),
        ({1: 5}, "unreadable"),
        ({1: "nordhaven"}, None),
    ],
)
@pytest.mark.parametrize("where", ["tag", "untagged", "header"])
def test_a_token_counts_from_when_until_when(
    tmp_path: Path, trust: Trust, by_hand: ByHand, claims: dict[int, Any], outcome: str | None, where: str
) -> None:
    match where:
        case "tag":
            made = by_hand.sign1({1: EDDSA}, cbor2.dumps(claims), tags=(61, 18))
        case "untagged":
            made = by_hand.sign1({1: EDDSA}, cbor2.dumps(claims))
        case _:
            made = by_hand.sign1({1: EDDSA, 15: claims}, PAYLOAD)
    report = verify(tmp_path, trust, made)
    assert outcomes(report)["signature"] == "pass"
    assert outcomes(report).get("validity") == outcome


def test_a_token_is_shown(tmp_path: Path, trust: Trust, by_hand: ByHand) -> None:
    claims = {1: "nordhaven", 2: "SN-0001", 3: "lotgate", 6: int(AT), 7: b"\x0b\x71", 100: "more"}
    report = verify(tmp_path, trust, by_hand.sign1({1: EDDSA}, cbor2.dumps(claims), tags=(61, 18)))
    assert {
        name: report.claims[name] for name in ("issuer", "subject", "audience", "token_id", "issued")
    } == {
        "issuer": "nordhaven",
        "subject": "SN-0001",
        "audience": "lotgate",
        "token_id": "0b71",
        "issued": "2026-11-21T12:00:00Z",
    }
    assert report.claims["other_claims"] == 1


def test_a_payload_that_is_said_to_be_a_token_and_is_none_is_unreadable(
    tmp_path: Path, trust: Trust, by_hand: ByHand
) -> None:
    for made in (
        by_hand.sign1({1: EDDSA}, PAYLOAD, tags=(61, 18)),
        by_hand.sign1({1: EDDSA, 16: "application/cwt"}, b"\xa2\x01\x61a\x01\x61b"),
    ):
        assert outcomes(verify(tmp_path, trust, made))["validity"] == "unreadable"


# --- as the signature of another file ---


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(bytes(range(256)) * 13_001)
    return path


@pytest.mark.parametrize("algorithm", BY)
def test_a_detached_message_is_the_signature_of_its_file(firmware: Path, keys: Keys, algorithm: str) -> None:
    name, options = BY[algorithm]
    made = sign1(keys.private(name), algorithm, firmware.read_bytes(), detached=True)
    trust = enrolled(keys, name, options)
    report = verify_file(firmware, trust, at=AT, signature=made)
    assert outcomes(report) == GOOD | {"format": "warn"}
    assert report.document["signature_file"]["form"] == "cose"
    with firmware.open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"x")
    assert outcomes(verify_file(firmware, trust, at=AT, signature=made))["signature"] == "fail"


def test_a_message_without_its_payload_is_no_statement(tmp_path: Path, keys: Keys, trust: Trust) -> None:
    report = verify(tmp_path, trust, sign1(keys.private("ed25519"), "EDDSA", PAYLOAD, detached=True))
    assert outcomes(report)["format"] == "unreadable"
    assert "its payload is not in it" in reason(report, "format")


def test_a_message_with_a_payload_of_its_own_proves_no_other_file(
    firmware: Path, keys: Keys, trust: Trust
) -> None:
    made = sign1(keys.private("ed25519"), "EDDSA", firmware.read_bytes()[:1000])
    report = verify_file(firmware, trust, at=AT, signature=made)
    assert outcomes(report)["signature"] == "unreadable"
    assert "payload of its own" in reason(report, "signature")


@pytest.mark.parametrize(("number", "name"), [(SHA256, "sha256"), (SHA384, "sha384"), (SHA512, "sha512")])
def test_a_hash_envelope_proves_the_file_with_its_digest(
    firmware: Path, trust: Trust, by_hand: ByHand, number: int, name: str
) -> None:
    header = {1: EDDSA, 258: number, 259: "application/octet-stream", 260: "https://files.example/f"}
    made = by_hand.sign1(header, hashlib.new(name, firmware.read_bytes()).digest())
    report = verify_file(firmware, trust, at=AT, signature=made)
    assert outcomes(report) == GOOD | {"format": "warn"}
    assert report.document["signature_file"]["claims"]["payload_is"].endswith("digest")
    firmware.write_bytes(firmware.read_bytes() + b"\0")
    report = verify_file(firmware, trust, at=AT, signature=made)
    assert outcomes(report)["signature"] == "fail"
    assert "about other bytes" in reason(report, "signature")


def test_a_hash_envelope_by_a_weak_hash_or_a_stranger_proves_nothing(
    firmware: Path, trust: Trust, by_hand: ByHand
) -> None:
    sha1 = by_hand.sign1({1: EDDSA, 258: -14}, hashlib.sha1(firmware.read_bytes()).digest())
    assert outcomes(verify_file(firmware, trust, at=AT, signature=sha1))["signature"] == "unreadable"
    digest = hashlib.sha256(firmware.read_bytes()).digest()
    stranger = by_hand.sign1({1: EDDSA, 258: SHA256}, digest, name="other")
    assert outcomes(verify_file(firmware, trust, at=AT, signature=stranger))["signature"] == "fail"
    cut = by_hand.sign1({1: EDDSA, 258: SHA256}, digest[:16])
    assert outcomes(verify_file(firmware, trust, at=AT, signature=cut))["signature"] == "fail"


def test_the_same_verdict_as_pycose(tmp_path: Path, keys: Keys, by_hand: ByHand, trust: Trust) -> None:
    """Over good and bad samples; the differences are listed with their reason."""
    good = sign1(keys.private("ed25519"), "EDDSA", PAYLOAD)
    header, open_header, payload, _ = cbor2.loads(good).value
    samples = {
        "good": good,
        "payload": by_hand.sign1({1: EDDSA}, PAYLOAD, signed=b"other"),
        "signature": cbor2.dumps(cbor2.CBORTag(18, [header, open_header, payload, bytes(64)])),
        "stranger": by_hand.sign1({1: EDDSA}, PAYLOAD, name="other"),
        "double label": by_hand.sign1(bytes.fromhex("a201270127"), PAYLOAD),
        "unknown crit": by_hand.sign1({1: EDDSA, 2: [-70000], -70000: 1}, PAYLOAD),
        "alg unprotected": by_hand.sign1(b"", PAYLOAD, unprotected={1: EDDSA}),
        "long number": by_hand.sign1(bytes.fromhex("a1013807"), PAYLOAD),
    }
    differences = set()
    for name, sample in samples.items():
        try:
            # Not CoseMessage.decode: pycose 1.1 does not take what cbor2 6 makes of a tagged array.
            parts = list(cbor2.loads(sample).value)
            message = Sign1Message.from_cose_obj(
                [parts[0], dict(parts[1]), *parts[2:]], allow_unknown_attributes=True
            )
            message.key = key_of(keys.private("ed25519"))
            oracle = bool(message.verify_signature())
        except (CoseException, ValueError):
            oracle = False
        ours = outcomes(verify(tmp_path, trust, sample))["signature"] == "pass"
        if oracle != ours:
            differences.add(name)
            assert oracle
            assert not ours
    # pycose reads what has two readings, takes alg from either header and does not look at crit.
    assert differences == {"double label", "unknown crit", "alg unprotected", "long number"}


def test_random_bytes_are_no_message(tmp_path: Path, trust: Trust) -> None:
    report = verify(tmp_path, trust, bytes.fromhex("8443010203") + bytes(200))
    assert (report.format, report.outcome) == ("opaque", Outcome.FAIL)
