"""A batch as columns: the same facts as the objects, and what a keyid decides where there are many keys."""

import json
import time
from pathlib import Path

import pytest

from portal.verification import Chunk, EnvelopeVerdict, KeyOptions, Outcome, Trust, verify_attestations
from tests.unit.verification.conftest import AT, DIGEST, Signers, envelope, statement


def write(folder: Path, *lines: object) -> Path:
    path = folder / "attestations.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_the_columns_say_what_the_verdicts_say(tmp_path: Path, signers: Signers) -> None:
    rsa = signers.key("rsa", options=KeyOptions(rsa_padding="pss"))
    trust = Trust.build([signers.key("ed25519"), signers.key("ecdsa"), rsa])
    other = "0f" * 32
    several = statement(
        subject=[
            {"name": "Züri-1", "digest": {"sha256": other}},
            {"name": "", "digest": {"sha512": "ab" * 64}},
            {"name": "third", "digest": {"sha256": DIGEST}},
        ],
        predicateType="https://example.com/another/v2",
    )
    path = write(
        tmp_path,
        envelope(statement("SN-1"), signers["ed25519"]),
        "",
        envelope(several, signers["rsa"], signers["ecdsa"]),
        envelope(statement("SN-3"), signers["ed25519-stranger"]),
        envelope(statement("SN-4"), signers["ecdsa"]),
    )
    chunks: list[Chunk] = []
    verdicts: list[EnvelopeVerdict] = []
    report = verify_attestations(path, trust, at=AT, columns=chunks.append, sink=verdicts.extend)
    assert (report.total, report.passed, report.failed, report.unreadable) == (5, 3, 1, 1)
    (chunk,) = chunks
    assert (chunk.first, chunk.count) == (1, 5)
    assert [(failure.line, failure.outcome) for failure in chunk.failures] == [
        (2, Outcome.UNREADABLE),
        (4, Outcome.FAIL),
    ]
    assert list(chunk.lines) == [0, 2, 4]
    assert list(chunk.signers) == [1, 2, 1]
    assert [trust.keys[key].id for key in chunk.keys] == ["ed25519", "rsa", "ecdsa", "ecdsa"]
    assert list(chunk.subjects) == [1, 3, 1]
    assert list(chunk.subject_rows()) == [
        (1, "SN-1", bytes.fromhex(DIGEST)),
        (3, "Züri-1", bytes.fromhex(other)),
        (3, "", b""),
        (3, "third", bytes.fromhex(DIGEST)),
        (5, "SN-4", bytes.fromhex(DIGEST)),
    ]
    assert list(chunk.kinds) == [0, 1, 0]
    assert chunk.predicate_types[1] == "https://example.com/another/v2"
    assert [verdict.line for verdict in verdicts] == [1, 2, 3, 4, 5]
    assert verdicts[2].subjects == (("Züri-1", other), ("", ""), ("third", DIGEST))
    assert verdicts[2].key_ids == ("rsa", "ecdsa")
    assert verdicts[2].predicate_type == "https://example.com/another/v2"


def test_chunks_follow_each_other_without_a_gap(tmp_path: Path, signers: Signers) -> None:
    trust = Trust.build([signers.key("ed25519")])
    line = json.dumps(envelope(statement(), signers["ed25519"]))
    path = write(tmp_path, *([line] * 3 + [""]) * 6000)
    chunks: list[Chunk] = []
    report = verify_attestations(path, trust, at=AT, columns=chunks.append)
    assert (report.total, report.passed, report.unreadable) == (24_000, 18_000, 6000)
    following = 1
    passed = []
    for chunk in chunks:
        assert chunk.first == following
        assert chunk.count <= 8192
        following += chunk.count
        passed.extend(chunk.first + after for after in chunk.lines)
    assert passed == [n for n in range(1, 24_001) if n % 4]


@pytest.mark.parametrize(("others", "outcome"), [(15, Outcome.PASS), (16, Outcome.FAIL)])
def test_with_more_than_16_keys_a_keyid_that_names_one_of_them_chooses_it(
    tmp_path: Path, signers: Signers, others: int, outcome: Outcome
) -> None:
    keys = [signers.key("ed25519"), *(signers.key(f"ed25519-{n}") for n in range(others))]
    line = envelope(statement(), signers["ed25519"])
    (signature,) = line["signatures"]
    signature["keyid"] = "ed25519-3"
    (verdict,) = _verdicts(write(tmp_path, line), Trust.build(keys))
    assert verdict.outcome is outcome
    assert (outcome is Outcome.PASS) == ('names key "ed25519-3"' not in verdict.reason)
    for keyid in ("ed25519", keys[0].pem[:10], "unknown", ""):
        signature["keyid"] = keyid
        (verdict,) = _verdicts(write(tmp_path, line), Trust.build(keys))
        assert verdict.outcome is Outcome.PASS


def _verdicts(path: Path, trust: Trust) -> list[EnvelopeVerdict]:
    verdicts: list[EnvelopeVerdict] = []
    verify_attestations(path, trust, at=AT, sink=verdicts.extend)
    return verdicts


class Enough(Exception):
    pass


@pytest.mark.parametrize("good", [True, False])
def test_it_ends_soon_after_the_progress_says_so(tmp_path: Path, signers: Signers, good: bool) -> None:
    trust = Trust.build([signers.key("ed25519")])
    line = json.dumps(envelope(statement(), signers["ed25519" if good else "ed25519-stranger"]))
    path = tmp_path / "many"
    path.write_text((line + "\n") * 100_000)
    said: list[float] = []

    def stop(done: int) -> None:
        said.append(time.process_time())
        raise Enough

    with pytest.raises(Enough):
        verify_attestations(path, trust, at=AT, progress=stop)
    # Processor time, because the machine may be busy: far less than what is left would take.
    assert len(said) == 1
    assert time.process_time() - said[0] < 0.2
