"""DSSE envelopes by securesystemslib, one a line: what passes, and each thing that is refused."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portal.errors import UnreadableFile
from portal.verification import BatchReport, EnvelopeVerdict, KeyOptions, Outcome, Trust, verify_attestations
from tests.unit.verification.conftest import AT, DIGEST, Signers, envelope, statement

Line = dict[str, Any] | str | bytes


def verify(
    folder: Path, trust: Trust, *lines: Line, at: float = AT
) -> tuple[BatchReport, list[EnvelopeVerdict]]:
    """Verify these lines; each is given as an object or as it stands."""

    def content(line: Line) -> bytes:
        if isinstance(line, bytes):
            return line
        return (line if isinstance(line, str) else json.dumps(line)).encode()

    path = folder / "attestations.jsonl"
    path.write_bytes(b"".join(content(line) + b"\n" for line in lines))
    verdicts: list[EnvelopeVerdict] = []
    report = verify_attestations(path, trust, at=at, sink=verdicts.extend)
    assert [verdict.line for verdict in verdicts] == list(range(1, report.total + 1))
    return report, verdicts


def one(folder: Path, trust: Trust, line: Line, at: float = AT) -> EnvelopeVerdict:
    report, (verdict,) = verify(folder, trust, line, at=at)
    assert report.outcome is verdict.outcome
    return verdict


@pytest.fixture
def trust(signers: Signers) -> Trust:
    return Trust.build([signers.key("ed25519"), signers.key("ecdsa"), signers.key("rsa")])


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_signed_statement(tmp_path: Path, trust: Trust, signers: Signers, kind: str) -> None:
    verdict = one(tmp_path, trust, envelope(statement(), signers[kind]))
    assert verdict.outcome is Outcome.PASS
    assert verdict.subjects == (("SN-0001", DIGEST),)
    assert verdict.key_ids == (kind,)
    assert verdict.predicate_type == "https://lotgate.example/unit-test/v1"


def test_rsa_signs_as_enrolled(tmp_path: Path, signers: Signers) -> None:
    line = envelope(statement(), signers["rsa"])
    enrolled = Trust.build([signers.key("rsa", options=KeyOptions(rsa_padding="pss"))])
    assert one(tmp_path, enrolled, line).outcome is Outcome.PASS
    assert one(tmp_path, Trust.build([signers.key("rsa")]), line).outcome is Outcome.FAIL


def test_the_keyid_is_only_a_hint(tmp_path: Path, trust: Trust, signers: Signers) -> None:
    line = envelope(statement(), signers["ed25519"])
    for keyid in ("ed25519", trust.keys[0].fingerprint, "ecdsa", "", "../../etc/passwd", None):
        line["signatures"][0]["keyid"] = keyid
        verdict = one(tmp_path, trust, line)
        assert (verdict.outcome, verdict.key_ids) == (Outcome.PASS, ("ed25519",))
    del line["signatures"][0]["keyid"]
    assert one(tmp_path, trust, line).outcome is Outcome.PASS
    stranger = envelope(statement(), signers["ed25519-stranger"])
    stranger["signatures"][0]["keyid"] = "ed25519"
    assert one(tmp_path, trust, stranger).outcome is Outcome.FAIL


def test_unknown_members_are_passed_over_and_url_safe_base64_is_read(
    tmp_path: Path, trust: Trust, signers: Signers
) -> None:
    payload = json.dumps(statement("\u00ff\u00fe??>>~~")).encode()
    line = envelope(payload, signers["ed25519"])
    line["note"] = {"a": [1, None, True]}
    line["payload"] = base64.urlsafe_b64encode(payload).decode()
    signature = base64.b64decode(line["signatures"][0]["sig"])
    line["signatures"][0]["sig"] = base64.urlsafe_b64encode(signature).decode()
    assert one(tmp_path, trust, line).outcome is Outcome.PASS


def test_two_signatures_by_two_keys_reach_a_threshold_of_two(tmp_path: Path, signers: Signers) -> None:
    trust = Trust.build([signers.key("ed25519"), signers.key("ecdsa")], threshold=2)
    verdict = one(tmp_path, trust, envelope(statement(), signers["ed25519"], signers["ecdsa"]))
    assert (verdict.outcome, verdict.key_ids) == (Outcome.PASS, ("ed25519", "ecdsa"))


def test_two_signatures_by_one_key_count_once(tmp_path: Path, signers: Signers) -> None:
    twice = signers.key("ed25519")
    again = type(twice)("the same under another id", twice.pem)
    trust = Trust.build([twice, again, signers.key("ecdsa")], threshold=2)
    line = envelope(statement(), signers["ed25519"])
    (signature,) = line["signatures"]
    line["signatures"] = [signature | {"keyid": "ed25519"}, signature | {"keyid": again.id}]
    verdict = one(tmp_path, trust, line)
    assert verdict.outcome is Outcome.FAIL
    assert "2 different approved keys must sign, 1 did" in verdict.reason


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"purposes": ("firmware",)}, "approved for firmware, not for attestation"),
        ({"distrusted_from": datetime(2026, 11, 1, tzinfo=UTC)}, "distrusted from 2026-11-01"),
        ({"not_after": datetime(2026, 11, 1, tzinfo=UTC)}, "approved until 2026-11-01"),
    ],
)
def test_a_key_that_does_not_count(
    tmp_path: Path, signers: Signers, members: dict[str, Any], words: str
) -> None:
    trust = Trust.build([signers.key("ed25519", **members)])
    verdict = one(tmp_path, trust, envelope(statement(), signers["ed25519"]))
    assert verdict.outcome is Outcome.FAIL
    assert words in verdict.reason
    assert verdict.key_ids == ()


def test_a_key_approved_under_another_id_counts(tmp_path: Path, signers: Signers) -> None:
    distrusted = signers.key("ed25519", distrusted_from=datetime(2026, 1, 1, tzinfo=UTC))
    enrolled_again = type(distrusted)("again", distrusted.pem)
    trust = Trust.build([distrusted, enrolled_again])
    line = envelope(statement(), signers["ed25519"])
    line["signatures"][0]["keyid"] = "ed25519"
    assert one(tmp_path, trust, line).key_ids == ("again",)


def test_a_changed_payload_or_signature_is_refused(tmp_path: Path, trust: Trust, signers: Signers) -> None:
    for kind in ("ed25519", "ecdsa"):
        line = envelope(statement(), signers[kind])
        other = line | {"payload": envelope(statement("SN-0002"), signers[kind])["payload"]}
        verdict = one(tmp_path, trust, other)
        assert verdict.outcome is Outcome.FAIL
        assert verdict.subjects == (("SN-0002", DIGEST),), "what it claims is told, not proven"
        signature = bytearray(base64.b64decode(line["signatures"][0]["sig"]))
        signature[-1] ^= 1
        line["signatures"][0]["sig"] = base64.b64encode(signature).decode()
        assert one(tmp_path, trust, line).outcome is Outcome.FAIL
    assert one(tmp_path, Trust.build([]), envelope(statement(), signers["ed25519"])).outcome is Outcome.FAIL


def changed(line: dict[str, Any], **members: Any) -> str:
    return json.dumps(line | members)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("", "Line 1 is empty"),
        ("   ", "Line 1 is empty"),
        ("{", "Cannot read the envelope"),
        ("[]", "a DSSE envelope"),
        (lambda line: "\ufeff" + json.dumps(line), "Cannot read the envelope"),
        (lambda line: json.dumps(line) + "{}", "trailing characters"),
        (lambda line: json.dumps(line).encode() + b"\xff", "Cannot read the envelope"),
        ("[" * 100_000, "recursion|a DSSE envelope"),
        (
            lambda line: changed(line, extra=1)[:-1] + ', "deep": ' + "[" * 5000 + "]" * 5000 + "}",
            "recursion",
        ),
        (lambda line: changed(line, extra=float("nan")), "Cannot read the envelope"),
        (
            lambda line: json.dumps(line)[:-1] + f', "payload": "{line["payload"]}"}}',
            'payload" appears twice',
        ),
        (lambda line: json.dumps(line)[:-1] + ', "x": {"a": 1, "\\u0061": 2}}', 'key "a" appears twice'),
        (lambda line: changed(line, payloadType="application/json"), "payloadType: expected"),
        (lambda line: changed(line, payloadType="application/vnd.in-toto+json "), "payloadType: expected"),
        (lambda line: changed(line, payload=line["payload"][:-3]), "payload is not strict base64"),
        (
            lambda line: changed(line, payload=line["payload"][:8] + "\n" + line["payload"][8:]),
            "strict base64",
        ),
        (lambda line: changed(line, payload=line["payload"] + "===="), "strict base64"),
        (
            lambda line: changed(
                line,
                signatures=[
                    {"sig": line["signatures"][0]["sig"][:40] + "\n" + line["signatures"][0]["sig"][40:]}
                ],
            ),
            "sig is not strict base64",
        ),
        (lambda line: changed(line, payload=1), "a string"),
        (lambda line: changed(line, signatures=[]), "signatures: expected 1 to 16, found 0"),
        (lambda line: changed(line, signatures=line["signatures"] * 17), "expected 1 to 16, found 17"),
        (lambda line: changed(line, signatures=[{"keyid": "a"}]), "missing field `sig`"),
        (lambda line: changed(line, signatures=[{"sig": "%"}]), "sig is not strict base64"),
        (lambda line: changed(line, signatures=None), "Cannot read the envelope"),
        (lambda line: json.dumps({"payload": line["payload"]}), "missing field `payloadType`"),
        (lambda line: changed(line, padding="x" * (1 << 20)), "Line 1 is longer than 1048576 bytes"),
    ],
)
def test_a_line_that_is_no_envelope_is_unreadable_and_hides_no_other(
    tmp_path: Path, trust: Trust, signers: Signers, change: Any, words: str
) -> None:
    good = envelope(statement(), signers["ed25519"])
    report, (first, second) = verify(
        tmp_path, trust, change if isinstance(change, str) else change(good), good
    )
    assert first.outcome is Outcome.UNREADABLE
    assert any(word in first.reason for word in words.split("|")), first.reason
    assert second.outcome is Outcome.PASS
    assert (report.total, report.passed, report.unreadable) == (2, 1, 1)
    assert report.outcome is Outcome.UNREADABLE


def test_base64_with_stray_bits_is_unreadable(tmp_path: Path, trust: Trust, signers: Signers) -> None:
    line = envelope(statement(), signers["ed25519"])
    signature = line["signatures"][0]["sig"]
    assert signature.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stray = alphabet[alphabet.index(signature[-3]) + 1]
    line["signatures"][0]["sig"] = signature[:-3] + stray + "=="
    assert base64.b64decode(line["signatures"][0]["sig"]) == base64.b64decode(signature), (
        "the lax say it is equal"
    )
    assert one(tmp_path, trust, line).outcome is Outcome.UNREADABLE


def test_a_payload_signed_as_plain_json_is_refused(tmp_path: Path, trust: Trust, signers: Signers) -> None:
    """The signature is valid, and over another type than that of statements."""
    line = envelope(statement(), signers["ed25519"], payload_type="application/json")
    verdict = one(tmp_path, trust, line)
    assert verdict.outcome is Outcome.UNREADABLE
    assert "payloadType: expected" in verdict.reason
    renamed = one(tmp_path, trust, line | {"payloadType": "application/vnd.in-toto+json"})
    assert (renamed.outcome, renamed.key_ids) == (Outcome.FAIL, ())


@pytest.mark.parametrize(
    ("payload", "outcome", "words"),
    [
        (statement(_type="https://in-toto.io/Statement/v0.1"), "unreadable", "_type: expected"),
        (statement(subject=[]), "fail", "has no subject"),
        (
            statement(subject=[{"name": "a", "digest": {"md5": "00", "sha1": "11"}}]),
            "fail",
            "nothing binds it",
        ),
        (statement(subject=[{"name": "a", "digest": {}}]), "fail", "nothing binds it"),
        (statement(subject=[{"name": "a"}]), "unreadable", "missing field `digest`"),
        (statement(subject=[{"name": "a", "digest": {"sha256": "abc"}}]), "unreadable", "64 lower-case"),
        (
            statement(subject=[{"name": "a", "digest": {"sha256": DIGEST.upper()}}]),
            "unreadable",
            "lower-case",
        ),
        (
            statement(subject=[{"name": "a\0b", "digest": {"sha256": DIGEST}}]),
            "unreadable",
            "control character",
        ),
        (statement(subject={"name": "a"}), "unreadable", "Cannot read the statement"),
        (statement(predicateType=None), "unreadable", "a string"),
        (b"not json", "unreadable", "Cannot read the statement"),
        (b"", "unreadable", "Cannot read the statement"),
        (json.dumps(statement()).encode() + b"\xff", "unreadable", "Cannot read the statement"),
        (b'{"predicate": {"a": 1, "a": 2}, ' + json.dumps(statement()).encode()[1:], "unreadable", "twice"),
    ],
)
def test_a_statement_that_proves_nothing(
    tmp_path: Path, trust: Trust, signers: Signers, payload: Any, outcome: str, words: str
) -> None:
    verdict = one(tmp_path, trust, envelope(payload, signers["ed25519"]))
    assert verdict.outcome is Outcome(outcome)
    assert words in verdict.reason


def test_other_digests_bind_too(tmp_path: Path, trust: Trust, signers: Signers) -> None:
    subject = [{"name": "a", "digest": {"sha512": "ab" * 64}}]
    verdict = one(tmp_path, trust, envelope(statement(subject=subject), signers["ed25519"]))
    assert (verdict.outcome, verdict.subjects) == (Outcome.PASS, (("a", ""),))


def test_a_blank_file_proves_nothing(tmp_path: Path, trust: Trust) -> None:
    report, verdicts = verify(tmp_path, trust)
    assert (report.total, report.outcome, verdicts) == (0, Outcome.UNREADABLE, [])
    with pytest.raises(FileNotFoundError):
        verify_attestations(tmp_path / "missing", trust, at=AT)
    with pytest.raises(UnreadableFile):
        verify_attestations(tmp_path, trust, at=AT)


def test_the_last_line_needs_no_end_and_an_empty_one_is_told(
    tmp_path: Path, trust: Trust, signers: Signers
) -> None:
    good = json.dumps(envelope(statement(), signers["ed25519"])).encode()
    path = tmp_path / "lines"
    for content, total, passed in (
        (good, 1, 1),
        (good + b"\n", 1, 1),
        (good + b"\r\n" + good, 2, 2),
        (good + b"\n\n", 2, 1),
        (b"\n" + good, 2, 1),
        (good + b"\n" + b"x" * (9 << 20) + b"\n" + good, 3, 2),
        (good + b"\n" + b"x" * (9 << 20), 2, 1),
    ):
        path.write_bytes(content)
        report = verify_attestations(path, trust, at=AT)
        assert (report.total, report.passed) == (total, passed)


def test_a_large_batch_names_its_culprits_in_order(tmp_path: Path, signers: Signers) -> None:
    names = [f"ed25519-{n}" for n in range(5)]
    trust = Trust.build([signers.key(name) for name in names])
    lines = [envelope(statement(f"SN-{n:04}"), signers[names[n % 5]]) for n in range(1200)]
    bad = {17, 18, 640, 1199}
    for n in bad:
        lines[n]["payload"] = envelope(statement("SN-FORGED"), signers["ed25519-0"])["payload"]
    report, verdicts = verify(tmp_path, trust, *(lines * 5))
    assert (report.total, report.failed, report.unreadable) == (6000, 20, 0)
    assert report.outcome is Outcome.FAIL
    failed = {verdict.line for verdict in verdicts if verdict.outcome is Outcome.FAIL}
    assert failed == {1 + n + 1200 * part for n in bad for part in range(5)}
    assert verdicts[3].subjects[0][0] == "SN-0003"


class Enough(Exception):
    pass


def test_an_exception_from_the_sink_or_the_progress_ends_the_work(
    tmp_path: Path, trust: Trust, signers: Signers
) -> None:
    line = json.dumps(envelope(statement(), signers["ed25519"]))
    path = tmp_path / "many"
    path.write_text((line + "\n") * 60_000)
    calls = []

    def stop(argument: object) -> None:
        calls.append(argument)
        raise Enough

    with pytest.raises(Enough):
        verify_attestations(path, trust, at=AT, sink=stop)
    with pytest.raises(Enough):
        verify_attestations(path, trust, at=AT, progress=stop)
    assert len(calls) == 2
