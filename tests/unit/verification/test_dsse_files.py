"""A DSSE envelope as one file, alone or as the signature of another: what passes, and what is refused."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError

from portal.verification import (
    FileReport,
    KeyOptions,
    Outcome,
    Trust,
    TrustKey,
    verify_attestations,
    verify_file,
)
from tests.unit.verification.conftest import AT, DIGEST, Signers, envelope, statement
from tests.unit.verification.test_firmware import GOOD, outcomes, reason

BUILDER = "https://builder.example/release@v2"
SLSA = "https://slsa.dev/provenance/v1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
UNKNOWN = {"statement": "warn"}


def provenance(builder: str = BUILDER, **members: Any) -> dict[str, Any]:
    return {
        "buildDefinition": {
            "buildType": "https://builder.example/type/v1",
            "externalParameters": {"source": "git+https://git.example/bms", "tag": "v1.4.2", "flags": [1, 2]},
            "resolvedDependencies": [{"uri": "pkg:generic/a"}, {"uri": "pkg:generic/b"}],
        },
        "runDetails": {
            "builder": {"id": builder},
            "metadata": {"invocationId": "run-17", "startedOn": "2026-11-20T10:00:00Z"},
        },
        **members,
    }


def summary(result: str = "PASSED") -> dict[str, Any]:
    return {
        "verifier": {"id": BUILDER},
        "timeVerified": "2026-11-20T10:00:00Z",
        "resourceUri": "pkg:generic/bms@1.4.2",
        "policy": {"uri": "https://policy.example/p1"},
        "verificationResult": result,
        "verifiedLevels": ["SLSA_BUILD_LEVEL_3"],
    }


@pytest.fixture
def trust(signers: Signers) -> Trust:
    return Trust.build([signers.key("ed25519"), signers.key("ecdsa")])


def verify(
    folder: Path, trust: Trust, content: dict[str, Any] | bytes, indent: int | None = None
) -> FileReport:
    path = folder / "statement.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, indent=indent).encode())
    return verify_file(path, trust, at=AT)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_an_envelope_is_a_file(
    tmp_path: Path, trust: Trust, signers: Signers, kind: str, indent: int | None
) -> None:
    report = verify(tmp_path, trust, envelope(statement(), signers[kind]), indent)
    assert outcomes(report) == GOOD | UNKNOWN
    assert (report.format, report.key_id) == ("dsse", kind)
    assert report.claims["payload_type"] == "application/vnd.in-toto+json"
    assert report.claims["subjects"] == [{"name": "SN-0001", "sha256": DIGEST}]
    assert report.claims["predicate_type"] == "https://lotgate.example/unit-test/v1"
    assert report.claims["predicate"] == {"stage": "end-of-line", "capacity_ah": 280.1}
    assert report.claims["signatures"][0]["valid_under"] == kind


def test_a_long_payload_before_the_payload_type_is_recognised(
    tmp_path: Path, trust: Trust, signers: Signers
) -> None:
    made = envelope(statement(predicate={"log": "x" * 200_000}), signers["ed25519"])
    in_order = {name: made[name] for name in ("payload", "signatures", "payloadType")}
    assert outcomes(verify(tmp_path, trust, in_order)) == GOOD | UNKNOWN


def test_file_and_batch_agree_with_securesystemslib(tmp_path: Path, trust: Trust, signers: Signers) -> None:
    """The same verdict on good and bad envelopes. Difference: none."""
    both = envelope(statement(), signers["ed25519"], signers["ecdsa"])
    cases: dict[str, dict[str, Any]] = {
        "one": envelope(statement(), signers["ed25519"]),
        "both": both,
        "stranger": envelope(statement(), signers["ed25519-stranger"]),
        "stranger and approved": envelope(statement(), signers["ed25519-stranger"], signers["ecdsa"]),
        "payload changed": both | {"payload": envelope(statement("SN-0002"), signers["ecdsa"])["payload"]},
        "signature cut": both | {"signatures": [{"keyid": "", "sig": both["signatures"][0]["sig"][:-8]}]},
        "signatures swapped": both
        | {
            "signatures": [
                {"keyid": both["signatures"][0]["keyid"], "sig": both["signatures"][1]["sig"]},
                {"keyid": both["signatures"][1]["keyid"], "sig": both["signatures"][0]["sig"]},
            ]
        },
    }
    approved = [signers["ed25519"].public_key, signers["ecdsa"].public_key]
    differences = set()
    for name, made in cases.items():
        try:
            Envelope.from_dict(json.loads(json.dumps(made))).verify(approved, 1)
            oracle = True
        except VerificationError:
            oracle = False
        report = verify(tmp_path, trust, made)
        alone = outcomes(report)["signature"] == outcomes(report)["key"] == "pass"
        lines = tmp_path / "lines.jsonl"
        lines.write_text(json.dumps(made) + "\n")
        batch = verify_attestations(lines, trust, at=AT, sink=lambda _: None).outcome is Outcome.PASS
        assert alone == batch, name
        if alone != oracle:
            differences.add(name)
    # keyid is an unauthenticated hint for us; securesystemslib takes only the key that it names.
    assert differences == {"signatures swapped"}


def test_a_threshold_counts_different_keys(tmp_path: Path, signers: Signers) -> None:
    two = Trust.build([signers.key("ed25519"), signers.key("ecdsa")], threshold=2)
    assert outcomes(verify(tmp_path, two, envelope(statement(), signers["ed25519"], signers["ecdsa"]))) == (
        GOOD | UNKNOWN
    )
    twice = verify(tmp_path, two, envelope(statement(), signers["ed25519"], signers["ed25519"]))
    assert outcomes(twice)["key"] == "fail"
    assert "2 different approved keys must sign, 1 did" in reason(twice, "key")
    # One key under two ids is one key.
    key = signers.key("ed25519")
    same = Trust.build([key, TrustKey("again", key.pem)], threshold=2)
    assert outcomes(verify(tmp_path, same, envelope(statement(), signers["ed25519"])))["key"] == "fail"


def test_a_signature_by_a_stranger_beside_an_approved_one_is_told(
    tmp_path: Path, trust: Trust, signers: Signers
) -> None:
    made = envelope(statement(), signers["ed25519-stranger"], signers["ecdsa"])
    report = verify(tmp_path, trust, made)
    assert outcomes(report) == GOOD | UNKNOWN
    assert "1 more signature(s)" in reason(report, "format")
    assert [row["valid_under"] for row in report.claims["signatures"]] == [None, "ecdsa"]
    alone = verify(tmp_path, trust, envelope(statement(), signers["ed25519-stranger"]))
    assert (outcomes(alone)["signature"], outcomes(alone)["key"]) == ("fail", "not_run")
    nobody = verify(tmp_path, Trust.build([]), made)
    assert (outcomes(nobody)["signature"], outcomes(nobody)["key"]) == ("fail", "fail")


def test_a_key_enrolled_for_something_else_or_distrusted_does_not_count(
    tmp_path: Path, signers: Signers
) -> None:
    made = envelope(statement(), signers["ed25519"])
    manifest = Trust.build([signers.key("ed25519", purposes=("manifest",))])
    assert outcomes(verify(tmp_path, manifest, made))["key"] == "fail"
    # Under another id the same key may count.
    both = Trust.build(
        [
            signers.key("ed25519", purposes=("manifest",)),
            TrustKey("second", signers.key("ed25519").pem),
        ]
    )
    report = verify(tmp_path, both, made)
    assert (outcomes(report), report.key_id) == (GOOD | UNKNOWN, "second")


def test_a_payload_signed_as_plain_json_is_refused(tmp_path: Path, trust: Trust, signers: Signers) -> None:
    report = verify(
        tmp_path, trust, envelope(statement(), signers["ed25519"], payload_type="application/json")
    )
    assert outcomes(report)["format"] == "unreadable"
    assert report.key_id is None
    assert 'payloadType: expected "application/vnd.in-toto+json"' in reason(report, "format")


def test_a_changed_payload_type_breaks_the_signature(tmp_path: Path, trust: Trust, signers: Signers) -> None:
    other = envelope(statement(), signers["ed25519"], payload_type="application/vnd.in-toto+JSON")
    report = verify(tmp_path, trust, other)
    assert outcomes(report)["format"] == "unreadable"
    assert 'payloadType: expected "application/vnd.in-toto+json"' in reason(report, "format")
    assert outcomes(verify(tmp_path, trust, other | {"payloadType": "application/vnd.in-toto+json"}))[
        "signature"
    ] == ("fail")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"signatures": []}, "expected 1 to 16, found 0"),
        ({"payload": "e30"}, "not strict base64"),
        ({"payload": "e31="}, "not strict base64"),
        ({"payload": "e30=\n"}, "not strict base64"),
        ({"payload": base64.b64encode(b"[]").decode()}, "an in-toto statement"),
        ({"payload": base64.b64encode(b'{"_type":"a","_type":"b"}').decode()}, "appears twice"),
        ({"payload": base64.b64encode(b"\xef\xbb\xbf{}").decode()}, "expected value"),
        ({"payload": base64.b64encode(b"\xff{}").decode()}, "expected value"),
        ({"payload": base64.b64encode(b'{"a":' + b"[" * 100_000).decode()}, "recursion limit"),
        ({"payload": base64.b64encode(b'{"a":1e400}').decode()}, "number out of range"),
    ],
)
def test_what_cannot_be_read_is_unreadable(
    tmp_path: Path, trust: Trust, signers: Signers, change: dict[str, Any], words: str
) -> None:
    report = verify(tmp_path, trust, envelope(statement(), signers["ed25519"]) | change)
    assert outcomes(report)["format"] == "unreadable"
    assert words in reason(report, "format")
    assert report.outcome is not Outcome.PASS


def test_a_double_member_a_second_envelope_or_too_many_bytes_are_unreadable(
    tmp_path: Path, trust: Trust, signers: Signers
) -> None:
    text = json.dumps(envelope(statement(), signers["ed25519"])).encode()
    for content, words in (
        (text[:-1] + b', "payloadType": "application/vnd.in-toto+json"}', "appears twice"),
        (text + b"\n" + text, "trailing characters"),
        (text + b" " * 16 * 1024 * 1024, "expected at most 16777216"),
    ):
        report = verify(tmp_path, trust, content)
        assert (report.format, outcomes(report)["format"]) == ("dsse", "unreadable")
        assert words in reason(report, "format")


@pytest.mark.parametrize("digest", [{"sha1": "0" * 40}, {"md5": "0" * 32}, {}])
def test_a_subject_that_nothing_binds_proves_nothing(
    tmp_path: Path, trust: Trust, signers: Signers, digest: dict[str, str]
) -> None:
    made = envelope(statement(subject=[{"name": "a", "digest": digest}]), signers["ed25519"])
    report = verify(tmp_path, trust, made)
    assert outcomes(report)["statement"] == "fail"
    assert "nothing binds it" in reason(report, "statement")


# --- predicates ---


def test_slsa_provenance_by_a_key_that_is_bound_to_its_builder(tmp_path: Path, signers: Signers) -> None:
    bound = Trust.build([signers.key("ed25519", builders=("https://other.example/", BUILDER))])
    made = envelope(statement(predicateType=SLSA, predicate=provenance()), signers["ed25519"])
    report = verify(tmp_path, bound, made)
    assert outcomes(report) == GOOD | {"statement": "pass", "builder": "pass"}
    assert report.claims["predicate"] == {
        "builder": BUILDER,
        "build_type": "https://builder.example/type/v1",
        "external_parameters": {
            "source": "git+https://git.example/bms",
            "tag": "v1.4.2",
            "flags": "2 item(s)",
        },
        "resolved_dependencies": 2,
        "invocation": "run-17",
        "started": "2026-11-20T10:00:00Z",
        "finished": None,
    }


@pytest.mark.parametrize("builder", ["https://builder.example/release@v3", BUILDER + "/", BUILDER.upper()])
def test_slsa_provenance_that_names_a_builder_of_its_own_choice_is_refused(
    tmp_path: Path, signers: Signers, builder: str
) -> None:
    made = envelope(statement(predicateType=SLSA, predicate=provenance(builder)), signers["ed25519"])
    for trust in (
        Trust.build([signers.key("ed25519", builders=(BUILDER,))]),
        Trust.build([signers.key("ed25519"), signers.key("ecdsa", builders=(builder,))]),
    ):
        report = verify(tmp_path, trust, made)
        assert outcomes(report)["signature"] == "pass"
        assert outcomes(report)["builder"] == "fail"
        assert "no key that signed" in reason(report, "builder")


def test_slsa_provenance_by_nobody_that_we_know(tmp_path: Path, signers: Signers) -> None:
    made = envelope(statement(predicateType=SLSA, predicate=provenance()), signers["ed25519-stranger"])
    report = verify(tmp_path, Trust.build([signers.key("ed25519", builders=(BUILDER,))]), made)
    assert outcomes(report)["builder"] == "not_run"


@pytest.mark.parametrize(
    ("predicate", "lacks"),
    [
        ({}, "runDetails.builder.id"),
        (provenance(runDetails={"builder": {"id": 1}}), "runDetails.builder.id"),
        (provenance(buildDefinition={"externalParameters": {}}), "buildDefinition.buildType"),
        (provenance(buildDefinition={"buildType": "x"}), "buildDefinition.externalParameters"),
        ("text", "runDetails.builder.id"),
    ],
)
def test_slsa_provenance_without_what_it_must_have_is_unreadable(
    tmp_path: Path, signers: Signers, predicate: object, lacks: str
) -> None:
    trust = Trust.build([signers.key("ed25519", builders=(BUILDER,))])
    report = verify(
        tmp_path, trust, envelope(statement(predicateType=SLSA, predicate=predicate), signers["ed25519"])
    )
    assert outcomes(report)["statement"] == "unreadable"
    assert lacks in reason(report, "statement")


@pytest.mark.parametrize(
    ("result", "outcome"), [("PASSED", "pass"), ("FAILED", "fail"), ("passed", "unreadable")]
)
def test_a_verification_summary_says_whether_it_passed(
    tmp_path: Path, signers: Signers, result: str, outcome: str
) -> None:
    trust = Trust.build([signers.key("ed25519", builders=(BUILDER,))])
    made = envelope(statement(predicateType=SUMMARY, predicate=summary(result)), signers["ed25519"])
    report = verify(tmp_path, trust, made)
    assert (outcomes(report)["statement"], outcomes(report)["builder"]) == (outcome, "pass")
    assert report.claims["predicate"]["levels"] == ["SLSA_BUILD_LEVEL_3"]


def test_control_characters_and_long_texts_of_strangers_are_not_shown(
    tmp_path: Path, trust: Trust, signers: Signers
) -> None:
    made = envelope(statement(predicate={"a\0b": "\x1b[31m" + "x" * 1000}), signers["ed25519"])
    ((name, value),) = verify(tmp_path, trust, made).claims["predicate"].items()
    assert name == "a\ufffdb"
    assert value == "\ufffd[31m" + "x" * 195 + "…"


# --- as the signature of another file ---


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


def about(path: Path, *names: str, **members: Any) -> dict[str, Any]:
    digests = {name: hashlib.new(name, path.read_bytes()).hexdigest() for name in names or ("sha256",)}
    other = {"name": "other", "digest": {"sha256": DIGEST}}
    return statement(subject=[other, {"name": path.name, "digest": digests}], **members)


@pytest.mark.parametrize("names", [("sha256",), ("sha384",), ("sha512",), ("sha256", "sha512", "sha1")])
def test_a_statement_is_the_signature_of_the_file_that_it_is_about(
    firmware: Path, trust: Trust, signers: Signers, names: tuple[str, ...]
) -> None:
    made = json.dumps(envelope(about(firmware, *names), signers["ed25519"]), indent=1).encode()
    report = verify_file(firmware, trust, at=AT, signature=made)
    assert outcomes(report) == GOOD | {"format": "warn"} | UNKNOWN
    assert report.document["signature_file"]["form"] == "in-toto"
    assert report.document["signature_file"]["claims"]["subject_count"] == 2


def test_a_valid_statement_about_another_file_is_refused(
    firmware: Path, trust: Trust, signers: Signers
) -> None:
    made = json.dumps(envelope(about(firmware), signers["ed25519"])).encode()
    firmware.write_bytes(firmware.read_bytes() + b"\0")
    report = verify_file(firmware, trust, at=AT, signature=made)
    assert outcomes(report)["signature"] == "fail"
    assert "about other bytes" in reason(report, "signature")
    assert report.key_id is None


def test_one_digest_that_contradicts_is_enough_to_refuse(
    firmware: Path, trust: Trust, signers: Signers
) -> None:
    said = about(firmware, "sha256", "sha512")
    said["subject"][1]["digest"]["sha512"] = "0" * 128
    report = verify_file(
        firmware, trust, at=AT, signature=json.dumps(envelope(said, signers["ed25519"])).encode()
    )
    assert outcomes(report)["signature"] == "fail"


def test_a_file_bound_by_sha1_alone_is_refused(firmware: Path, trust: Trust, signers: Signers) -> None:
    made = json.dumps(envelope(about(firmware, "sha1"), signers["ed25519"])).encode()
    report = verify_file(firmware, trust, at=AT, signature=made)
    assert (outcomes(report)["signature"], outcomes(report)["statement"]) == ("fail", "fail")


def test_provenance_of_the_file_by_a_bound_builder(firmware: Path, signers: Signers) -> None:
    made = envelope(about(firmware, predicateType=SLSA, predicate=provenance()), signers["ed25519"])
    trust = Trust.build([signers.key("ed25519", builders=(BUILDER,))])
    report = verify_file(firmware, trust, at=AT, signature=json.dumps(made).encode())
    assert outcomes(report) == GOOD | {"format": "warn", "statement": "pass", "builder": "pass"}


def test_rsa_signs_as_enrolled(tmp_path: Path, signers: Signers) -> None:
    made = envelope(statement(), signers["rsa"])
    enrolled = Trust.build([signers.key("rsa", options=KeyOptions(rsa_padding="pss"))])
    assert outcomes(verify(tmp_path, enrolled, made)) == GOOD | UNKNOWN
    assert outcomes(verify(tmp_path, Trust.build([signers.key("rsa")]), made))["signature"] == "fail"
