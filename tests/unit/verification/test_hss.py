"""HSS/LMS: the vectors of RFC 8554, every parameter set, and what is refused, compared with pyhsslms."""

import json
from pathlib import Path
from typing import Any

import pytest

from portal.errors import TrustError
from portal.verification import FileReport, Outcome, Trust, TrustKey, inspect_key, verify_file
from tests.unit.verification.conftest import AT
from tests.unit.verification.hss import Signer, pem
from tests.unit.verification.test_firmware import outcomes, reason

VECTORS = Path(__file__).parents[2] / "vectors/hss/rfc8554.json"
SHARED = Path(__file__).parents[4] / "shared/vectors/cose/hashsig/hsssig-sig-01.json"
WIDTHS, HASHES = (1, 2, 4, 8), (("sha256", 32), ("sha256", 24), ("shake", 32), ("shake", 24))
# Of two levels of height 5 and width 8 with SHA-256: a number, two signatures, a key between them.
PART, KEY = 4 + (4 + 32 + 34 * 32) + 4 + 5 * 32, 8 + 16 + 32
UPPER, BELOW, LOWER = 4, 4 + PART, 4 + PART + KEY


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer.make()


@pytest.fixture
def message(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(bytes(range(256)) * 12_000)  # longer than what is read at once
    return path


def verified(message: Path, key: str, signature: bytes) -> FileReport:
    return verify_file(message, Trust.build([TrustKey("hss", key)]), at=AT, signature=signature)


def holds(report: FileReport) -> bool:
    found = outcomes(report)
    assert (found["signature"] == "pass") is (found["key"] == "pass")
    return found["signature"] == "pass"


def one_time_keys(report: FileReport) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report.document["signatures"][0].get("one_time_keys", [])
    return found


@pytest.mark.parametrize("test", json.loads(VECTORS.read_text())["tests"], ids=lambda test: test["name"])
def test_the_vectors_of_rfc_8554(test: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(bytes.fromhex(test["message"]))
    key, signature = pem(bytes.fromhex(test["public_key"])), bytes.fromhex(test["signature"])
    assert holds(verified(path, key, signature))
    path.write_bytes(bytes.fromhex(test["message"])[:-1])
    assert not holds(verified(path, key, signature))


@pytest.mark.skipif(not SHARED.exists(), reason="the examples of the COSE working group are not here")
def test_the_signature_in_the_example_of_the_cose_working_group(tmp_path: Path) -> None:
    example = json.loads(SHARED.read_text())
    message = bytes.fromhex(example["intermediates"]["ToBeSign_hex"])
    path = tmp_path / "message"
    path.write_bytes(message)
    key = pem(bytes.fromhex(example["input"]["sign0"]["key"]["public"]))
    signed = bytes.fromhex(example["output"]["cbor"])
    begin = signed.index(bytes.fromhex("0000000000000000000000039129"))
    assert holds(verified(path, key, signed[begin:]))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("function", "length"), HASHES)
def test_every_hash_and_width(message: Path, function: str, length: int, width: int) -> None:
    signer = Signer.make(1, f"lms_{function}_m{length}_h5", f"lmots_{function}_n{length}_w{width}")
    report = verified(message, signer.pem, signer.sign(message.read_bytes()))
    assert outcomes(report) == {
        "digest": "not_applicable", "format": "warn", "signed": "pass", "signature": "pass", "key": "pass",
        "algorithm": "pass",
    }  # fmt: skip
    assert report.document["signatures"][0]["signer"]["algorithm"] == "HSS/LMS"
    assert "RFC 8554 §6.3" in report.document["signatures"][0]["rule"]


def test_a_taller_tree_and_three_levels(message: Path) -> None:
    for levels, height in ((1, 10), (3, 5)):
        signer = Signer.make(levels, f"lms_sha256_m24_h{height}", "lmots_sha256_n24_w2")
        assert holds(verified(message, signer.pem, signer.sign(message.read_bytes())))


def test_a_tree_that_is_used_up_gives_way_to_another(message: Path) -> None:
    signer = Signer.make(2, "lms_sha256_m24_h5", "lmots_sha256_n24_w4")
    signatures = [signer.sign(message.read_bytes()) for _ in range(33)]
    last, first = (one_time_keys(verified(message, signer.pem, signatures[n])) for n in (32, 31))
    assert [(key["level"], key["index"]) for key in first] == [(1, 0), (2, 31)]
    assert [(key["level"], key["index"]) for key in last] == [(1, 1), (2, 0)]
    assert first[1]["identifier"] != last[1]["identifier"]


def test_the_report_tells_which_one_time_keys_signed_what(message: Path) -> None:
    signer = Signer.make(2, "lms_sha256_m24_h5", "lmots_sha256_n24_w4")
    signature = signer.sign(message.read_bytes())
    used = one_time_keys(verified(message, signer.pem, signature))
    assert [key["identifier"] for key in used] == [tree.I.hex() for tree in signer.private.prv]
    assert used == one_time_keys(verified(message, signer.pem, signature))
    assert all(len(key["signed"]) == 48 for key in used)

    signer.rewind()
    message.write_bytes(b"another message")
    again = one_time_keys(verified(message, signer.pem, signer.sign(b"another message")))
    assert again[0] == used[0]
    assert again[1]["index"] == used[1]["index"]
    assert again[1]["signed"] != used[1]["signed"]
    # Nothing is told of a signature that does not hold.
    message.write_bytes(b"a third message")
    assert one_time_keys(verified(message, signer.pem, signature)) == []


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _with(data: bytes, at: int, number: int) -> bytes:
    return data[:at] + number.to_bytes(4, "big") + data[at + 4 :]


SPOILT = {
    "nothing but the number of keys": lambda good: good[:4],
    "truncated by one byte": lambda good: good[:-1],
    "truncated in the upper signature": lambda good: good[: UPPER + 100],
    "truncated in the key between": lambda good: good[: BELOW + 20],
    "one level too few": lambda good: _with(good, 0, 0),
    "one level too many": lambda good: _with(good, 0, 2),
    "more levels than there are": lambda good: _with(good, 0, 0xFFFFFFFF),
    "only the lower signature": lambda good: bytes(4) + good[LOWER:],
    "an index beyond the upper tree": lambda good: _with(good, UPPER, 32),
    "an index beyond the lower tree": lambda good: _with(good, LOWER, 32),
    "an index far beyond": lambda good: _with(good, LOWER, 0x80000000 | 1),
    "another index": lambda good: _with(good, LOWER, 1),
    "another one-time type above": lambda good: _with(good, UPPER + 4, 3),
    "another one-time type below": lambda good: _with(good, LOWER + 4, 3),
    "the one-time type of another hash": lambda good: _with(good, LOWER + 4, 12),
    "an unknown one-time type": lambda good: _with(good, LOWER + 4, 17),
    "another tree type below": lambda good: _with(good, LOWER + PART - 164, 6),
    "another tree type in the key between": lambda good: _with(good, BELOW, 6),
    "an unknown tree type in the key between": lambda good: _with(good, BELOW, 25),
    "a flipped bit in the upper randomizer": lambda good: _flipped(good, UPPER + 8),
    "a flipped bit in the upper chains": lambda good: _flipped(good, UPPER + 500),
    "a flipped bit in the upper path": lambda good: _flipped(good, UPPER + PART - 1),
    "a flipped bit in the identifier between": lambda good: _flipped(good, BELOW + 8),
    "a flipped bit in the root between": lambda good: _flipped(good, BELOW + KEY - 1),
    "a flipped bit in the lower randomizer": lambda good: _flipped(good, LOWER + 8),
    "a flipped bit in the lower chains": lambda good: _flipped(good, LOWER + 700),
    "a flipped bit in the last chain": lambda good: _flipped(good, LOWER + PART - 165),
    "a flipped bit in the lower path": lambda good: _flipped(good, -1 % len(good)),
    "the upper signature twice": lambda good: good[:LOWER] + good[UPPER : UPPER + PART],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=list(SPOILT))
def test_a_spoilt_signature_is_refused_as_pyhsslms_refuses_it(
    message: Path, signer: Signer, spoil: Any
) -> None:
    data = message.read_bytes()
    signer.private._signatures_remaining, signer.private.prv[-1].q = 1024, 0
    signer.private.prv[-1].ots_priv[0]._signatures_remaining = 1
    good = signer.sign(data)
    assert len(good) == LOWER + PART
    assert holds(verified(message, signer.pem, good))
    assert signer.says(data, good)
    bad = spoil(good)
    assert not signer.says(data, bad)
    report = verified(message, signer.pem, bad)
    assert not holds(report)
    assert one_time_keys(report) == []
    assert report.outcome is Outcome.FAIL


def test_bytes_behind_a_signature_are_refused_though_pyhsslms_takes_them(message: Path) -> None:
    """RFC 8554 §6.3 wants the lengths exact; with more, one signature would have many spellings."""
    signer = Signer.make(1)
    signature = signer.sign(message.read_bytes()) + b"\0"
    assert signer.says(message.read_bytes(), signature)
    report = verified(message, signer.pem, signature)
    assert not holds(report)
    assert "1 more follow" in reason(report, "signature")


def test_why_a_signature_cannot_be_by_the_key_is_said(message: Path, signer: Signer) -> None:
    other = Signer.make(1, lmots="lmots_sha256_n32_w4")
    report = verified(message, signer.pem, other.sign(message.read_bytes()))
    assert "carries 0 key(s)" in reason(report, "signature")


def test_a_signature_by_another_key_is_refused(message: Path, signer: Signer) -> None:
    assert not holds(verified(message, Signer.make().pem, signer.sign(message.read_bytes())))


def test_a_key_of_another_number_of_levels_is_another_key(message: Path) -> None:
    one = Signer.make(1)
    two = pem((2).to_bytes(4, "big") + one.public[4:])
    assert inspect_key(two).fingerprint != inspect_key(one.pem).fingerprint
    assert not holds(verified(message, two, one.sign(message.read_bytes())))


GOOD = (2).to_bytes(4, "big") + (5).to_bytes(4, "big") + (4).to_bytes(4, "big") + bytes(48)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (GOOD[:-1], "should have 32 bytes, 31 are left"),
        (GOOD + b"\0", "1 more follow"),
        (GOOD[:3], "the number of levels"),
        (_with(GOOD, 0, 0), "0 levels"),
        (_with(GOOD, 0, 9), "9 levels"),
        (_with(GOOD, 4, 4), "LMS type 4 is not known"),
        (_with(GOOD, 4, 25), "LMS type 25 is not known"),
        (_with(GOOD, 8, 0), "one-time signature type 0 is not known"),
        (_with(GOOD, 8, 17), "one-time signature type 17 is not known"),
        (_with(GOOD, 8, 8), "mixes SHA-256 for its tree with SHA-256/192"),
        (_with(GOOD, 8, 12), "mixes SHA-256 for its tree with SHAKE256/256"),
        (b"\x04\x3c" + GOOD, "RFC 9708 wants it without"),
    ],
)
def test_a_key_that_is_none(raw: bytes, words: str) -> None:
    with pytest.raises(TrustError, match=words):
        inspect_key(pem(raw))


def test_a_key_with_parameters_is_refused() -> None:
    identifier = bytes.fromhex("300f060b2a864886f70d01091003110500")
    with pytest.raises(TrustError, match="RFC 9708 forbids"):
        inspect_key(pem(GOOD, identifier))


def test_what_is_said_of_a_key() -> None:
    info = inspect_key(pem(GOOD))
    assert (info.kind, info.algorithm, info.bits) == ("public_key", "HSS/LMS", 256)
    smaller = _with(_with(GOOD, 4, 0x14), 8, 0x10)[:-8]
    assert inspect_key(pem(smaller)).bits == 192
