"""MCUboot images by imgtool: what passes, and each thing that is refused."""

import re
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portal.verification import FileReport, Outcome, Trust, TrustKey, verify_file
from tests.unit.verification.conftest import AT, Keys, MakeImage, run

DAY = 86400


def outcomes(report: FileReport) -> dict[str, str]:
    return {check.id.removeprefix("firmware."): check.outcome.value for check in report.checks}


def reason(report: FileReport, name: str) -> str:
    return next(check.reason for check in report.checks if check.id == f"firmware.{name}")


GOOD = {
    "digest": "not_applicable",
    "format": "pass",
    "signed": "pass",
    "signature": "pass",
    "key": "pass",
    "algorithm": "pass",
}


@pytest.mark.parametrize(
    ("name", "options", "algorithm"),
    [
        ("rsa-3072", (), "pass"),
        ("rsa-2048", (), "warn"),
        ("p256", (), "pass"),
        ("p256", ("--pad-sig",), "pass"),
        ("p384", (), "pass"),
        ("p384", ("--pad-sig",), "pass"),
        ("ed25519", (), "pass"),
        ("ed25519", ("--sha", "512"), "pass"),
        ("ed25519", ("--pure",), "pass"),
        ("ed25519", ("--public-key-format", "full"), "pass"),
    ],
)
def test_an_image_signed_with_an_approved_key(
    image: MakeImage, keys: Keys, name: str, options: tuple[str, ...], algorithm: str
) -> None:
    report = verify_file(image(name, *options), keys.trust("other", name), at=AT)
    assert outcomes(report) == GOOD | {"algorithm": algorithm}
    assert report.outcome is Outcome(algorithm)
    assert report.format == "mcuboot"
    assert report.key_id == name
    assert report.key_fingerprint is not None
    assert report.claims["version"] == "1.4.2+7"


def test_what_the_image_claims(image: MakeImage, keys: Keys) -> None:
    path = image(
        "ed25519", "--security-counter", "9", "--dependencies", "(1, 2.3.4+5)", "--load-addr", "0x8000"
    )
    trust = keys.trust("ed25519")
    claims = verify_file(path, trust, at=AT).claims
    assert claims["security_counter"] == 9
    assert claims["dependencies"] == [{"image": 1, "at_least": "2.3.4+5"}]
    assert (claims["load_addr"], claims["img_size"], claims["hdr_size"]) == (0x8000, 5000, 32)
    assert claims["flags"] == ["RAM_LOAD"]
    assert (claims["encrypted"], claims["pure"]) == (False, False)
    assert claims["signature_algorithm"] == "Ed25519"
    assert claims["key_hash"] == trust.keys[0].mcuboot_key_hash
    assert claims["hash"] == claims["computed_hash"]
    assert [(tlv["name"], tlv["protected"]) for tlv in claims["tlvs"]] == [
        ("SEC_CNT", True),
        ("DEPENDENCY", True),
        ("SHA256", False),
        ("KEYHASH", False),
        ("ED25519", False),
    ]


@pytest.mark.parametrize("size", [16, (1 << 20) - 32, 5_000_001 // 16 * 16])
def test_large_images_are_streamed(image: MakeImage, keys: Keys, tmp_path: Path, size: int) -> None:
    path = image("p256", "--slot-size", "0x600000", size=size)
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert report.outcome is Outcome.PASS
    assert report.size == path.stat().st_size


def test_the_declared_digest(image: MakeImage, keys: Keys) -> None:
    path, trust = image(), keys.trust("ed25519")
    sha256 = verify_file(path, trust, at=AT).sha256
    assert outcomes(verify_file(path, trust, at=AT, declared_sha256=sha256.upper()))["digest"] == "pass"
    other = verify_file(path, trust, at=AT, declared_sha256="0" * 64)
    assert outcomes(other) == GOOD | {"digest": "fail"}
    assert other.outcome is Outcome.FAIL
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        verify_file(path, trust, at=AT, declared_sha256="sha256:00")


def test_no_approved_key(image: MakeImage, keys: Keys) -> None:
    for trust in (keys.trust("other"), Trust.build([])):
        report = verify_file(image(), trust, at=AT)
        expected = GOOD | {"signature": "not_run", "key": "fail", "algorithm": "not_run"}
        assert outcomes(report) == expected
        assert report.outcome is Outcome.FAIL
        assert report.key_id is None
        assert report.claims["key_hash"] in reason(report, "key")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"purposes": ("attestation",)}, "approved for attestation, not for firmware"),
        ({"distrusted_from": datetime(2026, 11, 21, 12, tzinfo=UTC)}, "distrusted from 2026-11-21T12:00:00Z"),
        ({"not_before": datetime(2026, 11, 22, tzinfo=UTC)}, "approved from 2026-11-22"),
        ({"not_after": datetime(2026, 11, 20, tzinfo=UTC)}, "approved until 2026-11-20"),
    ],
)
def test_a_key_that_does_not_count(
    image: MakeImage, keys: Keys, members: dict[str, datetime], words: str
) -> None:
    report = verify_file(image(), keys.trust("ed25519", **members), at=AT)
    assert outcomes(report) == GOOD | {"key": "fail"}
    assert words in reason(report, "key")
    assert report.outcome is Outcome.FAIL


def test_evidence_from_before_the_distrust_still_counts(image: MakeImage, keys: Keys) -> None:
    trust = keys.trust("ed25519", distrusted_from=datetime(2026, 11, 21, 12, 0, 1, tzinfo=UTC))
    assert verify_file(image(), trust, at=AT).outcome is Outcome.PASS
    assert verify_file(image(), trust, at=AT + 1).outcome is Outcome.FAIL


def test_a_certificate_counts_while_it_is_valid(image: MakeImage, keys: Keys) -> None:
    now = datetime.now(UTC).timestamp()
    trust = Trust.build([TrustKey("certificate", keys.certificate("rsa-3072", days=30))])
    path = image("rsa-3072")
    assert verify_file(path, trust, at=now + DAY).outcome is Outcome.PASS
    for at in (now - DAY, now + 40 * DAY):
        late = verify_file(path, trust, at=at)
        assert outcomes(late) == GOOD | {"key": "fail"}
        assert "the certificate of key" in reason(late, "key").lower()


def test_two_keys_are_needed_and_one_signed(image: MakeImage, keys: Keys) -> None:
    report = verify_file(image(), keys.trust("ed25519", "other", threshold=2), at=AT)
    assert outcomes(report) == GOOD | {"key": "fail"}
    assert "2 different approved keys must sign, 1 did" in reason(report, "key")


def test_an_image_without_signature(image: MakeImage, keys: Keys) -> None:
    report = verify_file(image(None), keys.trust("ed25519"), at=AT)
    nothing = dict.fromkeys(("signature", "key", "algorithm"), "not_run")
    assert outcomes(report) == GOOD | nothing | {"signed": "fail"}
    assert "its hash alone proves nothing" in reason(report, "signed")


def test_an_encrypted_image_without_signature(image: MakeImage, keys: Keys, tmp_path: Path) -> None:
    public = tmp_path / "encryption.pem"
    public.write_text(keys.public("p256"))
    report = verify_file(image(None, "-E", str(public)), keys.trust("ed25519"), at=AT)
    assert report.claims["encrypted"]
    assert outcomes(report)["signed"] == "fail"
    assert "it proves nothing about who made it" in reason(report, "signed")


def test_an_encrypted_and_signed_image_cannot_be_verified_here(
    image: MakeImage, keys: Keys, tmp_path: Path
) -> None:
    public = tmp_path / "encryption.pem"
    public.write_text(keys.public("p256"))
    path = image("ed25519", "-E", str(public))
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    unproven = {"signature": "unreadable", "key": "not_run", "algorithm": "not_run"}
    assert outcomes(report) == GOOD | unproven
    assert "over the content before encryption" in reason(report, "signature")
    assert report.outcome is Outcome.UNREADABLE
    assert report.key_id is None


def test_every_flipped_byte_of_what_is_signed_is_noticed(image: MakeImage, keys: Keys) -> None:
    path, trust = image("ed25519", "--security-counter", "9", size=64), keys.trust("ed25519")
    good = path.read_bytes()
    for at in range(len(good)):
        changed = bytearray(good)
        changed[at] ^= 0x01
        path.write_bytes(changed)
        report = verify_file(path, trust, at=AT)
        assert report.outcome is not Outcome.PASS, f"byte {at} of {len(good)}"
        assert report.key_id is None, f"byte {at} of {len(good)}"


def test_an_image_cut_anywhere_is_noticed(image: MakeImage, keys: Keys) -> None:
    path, trust = image("ed25519", size=64), keys.trust("ed25519")
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        report = verify_file(path, trust, at=AT)
        assert report.outcome in (Outcome.UNREADABLE, Outcome.FAIL), f"{length} bytes"
        if length >= 4:
            assert outcomes(report)["format"] == "unreadable"
            assert "cut" in reason(report, "format") or "end of the file" in reason(report, "format")


HEADER = struct.Struct("<IIHHIIBBHII")


def build(
    *entries: tuple[int, bytes],
    protected: tuple[tuple[int, bytes], ...] = (),
    trailing: bytes = b"",
    protected_size: int | None = None,
    header_size: int = 32,
    image_size: int | None = None,
    total: int | None = None,
) -> bytes:
    """An image laid out by hand, for what no tool would make."""

    def area(magic: int, entries: tuple[tuple[int, bytes], ...], total: int | None = None) -> bytes:
        body = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in entries)
        return struct.pack("<HH", magic, len(body) + 4 if total is None else total) + body

    payload = b"payload!"
    extra = area(0x6908, protected) if protected else b""
    header = HEADER.pack(
        0x96F3B83D,
        0,
        header_size,
        len(extra) if protected_size is None else protected_size,
        len(payload) if image_size is None else image_size,
        0,
        *(1, 2, 3, 4, 0),
    )
    return header + payload + extra + area(0x6907, entries, total) + trailing


HASH = (0x10, bytes(32))
KEYHASH = (0x01, bytes(32))
SIGNATURE = (0x24, bytes(64))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(build(HASH, header_size=0), "header size", id="header size 0"),
        pytest.param(build(HASH, header_size=40000), "is cut", id="header beyond the file"),
        pytest.param(build(HASH, image_size=2**32 - 1), "is cut", id="image beyond the file"),
        pytest.param(build(HASH, total=400), "is cut", id="TLV area beyond the file"),
        pytest.param(build(HASH, total=0), "length of 0", id="TLV area of length 0"),
        pytest.param(build(HASH, total=38), "follow the TLV area|past the end", id="TLV past the area's end"),
        pytest.param(build((0x50A0, b"")), "is empty", id="TLV of length 0"),
        pytest.param(build(), "records no hash", id="no hash"),
        pytest.param(build(KEYHASH, SIGNATURE), "records no hash", id="signature but no hash"),
        pytest.param(build(HASH, HASH), "SHA256 .0x10. appears twice", id="two hashes"),
        pytest.param(build(HASH, (0x11, bytes(48))), "different kinds", id="hashes of two kinds"),
        pytest.param(build((0x10, bytes(31))), "31 bytes, expected 32", id="hash of wrong length"),
        pytest.param(build(HASH, SIGNATURE), "not preceded by a KEYHASH", id="signature without KEYHASH"),
        pytest.param(build(HASH, KEYHASH), "not followed by a signature", id="KEYHASH without signature"),
        pytest.param(build(HASH, KEYHASH, KEYHASH, SIGNATURE), "without a signature between", id="two names"),
        pytest.param(
            build(HASH, KEYHASH, SIGNATURE, KEYHASH, SIGNATURE), "name the same key", id="one key twice"
        ),
        pytest.param(build(HASH, KEYHASH, (0x24, bytes(63))), "63 bytes, expected 64", id="short signature"),
        pytest.param(build(HASH, KEYHASH, (0x20, bytes(384))), "expected 256", id="RSA-3072 posing as 2048"),
        pytest.param(
            build(HASH, (0x50, bytes(4))), "SEC_CNT .0x50. does not belong", id="unprotected counter"
        ),
        pytest.param(build(HASH, (0x40, bytes(12))), "DEPENDENCY", id="unprotected dependency"),
        pytest.param(build(HASH, protected=((0x50, bytes(5)),)), "5 bytes, expected 4", id="long counter"),
        pytest.param(
            build(HASH, protected=((0x50, bytes(4)), (0x50, bytes(4)))), "appears twice", id="two counters"
        ),
        pytest.param(build(HASH, protected=(HASH,)), "does not belong", id="protected hash"),
        pytest.param(
            build(HASH, protected=((0x50, bytes(4)),), protected_size=0),
            "announces a protected",
            id="hidden area",
        ),
        pytest.param(
            build(HASH, protected=((0x50, bytes(4)),), protected_size=16),
            "announces a protected",
            id="area size",
        ),
        pytest.param(build(HASH, protected_size=12), "announces a protected", id="area missing"),
        pytest.param(build(HASH, trailing=b"\xff" * 9), "9 bytes follow the TLV area", id="trailing data"),
        pytest.param(build(HASH, *[(0xA0, b"x")] * 64), "more than 64 entries", id="too many TLVs"),
        pytest.param(build(HASH, (0x25, b"\x02")), "SIG_PURE is 02", id="strange SIG_PURE"),
        pytest.param(bytes.fromhex("96f3b83d") + bytes(60), "big-endian", id="big-endian"),
    ],
)
def test_a_malformed_image_is_unreadable(tmp_path: Path, keys: Keys, content: bytes, words: str) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(content)
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    assert outcomes(report)["format"] == "unreadable"
    assert outcomes(report)["signed"] == "not_run"
    assert report.outcome is Outcome.UNREADABLE
    assert re.search(words, reason(report, "format")), reason(report, "format")


def test_a_vendor_entry_posing_as_a_signature_is_none(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(build(HASH, (0xA024, bytes(64))))
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    assert outcomes(report)["signed"] == "fail"
    assert report.claims["tlvs"][1]["name"] == "vendor"


def test_entry_0xa022_posing_as_the_signature_0x22_is_none(image: MakeImage, keys: Keys) -> None:
    """Readers that look at the lower byte only take it for the ECDSA signature that it was."""
    path = image("p256")
    content = path.read_bytes()
    at = content.rindex(b"\x22\x00", 0, len(content) - 64)
    assert verify_file(path, keys.trust("p256"), at=AT).outcome is Outcome.PASS
    path.write_bytes(content[:at] + b"\x22\xa0" + content[at + 2 :])
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert report.outcome is Outcome.UNREADABLE
    assert "not followed by a signature" in reason(report, "format")


def test_a_signature_of_another_kind_than_its_key(image: MakeImage, keys: Keys) -> None:
    path = image("p256")
    content = path.read_bytes()
    trust = keys.trust("ed25519", "p256")
    named, other = (bytes.fromhex(trust.keys[n].mcuboot_key_hash) for n in (1, 0))
    path.write_bytes(content.replace(named, other))
    report = verify_file(path, trust, at=AT)
    assert outcomes(report)["signature"] == "fail"
    assert "the key that it names is Ed25519" in reason(report, "signature")


def test_an_embedded_and_a_detached_signature_both_count(
    image: MakeImage, keys: Keys, tmp_path: Path
) -> None:
    path, trust = image("p256"), keys.trust("p256", "ed25519", threshold=2)
    assert outcomes(verify_file(path, trust, at=AT)) == GOOD | {"key": "fail"}
    private = keys.private("ed25519")
    signature = run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", path)
    assert verify_file(path, trust, at=AT, signature=signature).outcome is Outcome.PASS
    bad = verify_file(path, trust, at=AT, signature=signature[:-1] + bytes([signature[-1] ^ 1]))
    assert outcomes(bad)["signature"] == "fail"
    assert bad.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("name", "content", "kind", "outcome"),
    [
        ("empty.bin", b"", "empty", "unreadable"),
        ("image.mcuboot.bin", b"\xff" * 4096, "opaque", "warn"),
        ("cut elf.pdf", b"\x7fELF" + bytes(60), "elf", "unreadable"),
        ("hex", b":10010000214601360121470136007EFE09D2190140\r\n:00000001FF\r\n", "intel-hex", "pass"),
        ("cut hex", b":10010000214601360121470136007EFE09D2190140\r\n", "intel-hex", "unreadable"),
        ("cut srec", b"S00F000068656C6C6F202020202000003C\n", "srec", "unreadable"),
        ("a colon", b":-) 0123456789\n", "opaque", "warn"),
        ("a list", b"S1,S2,S3\n", "opaque", "warn"),
        ("cut uf2", b"UF2\n\x57\x51\x5d\x9e" + bytes(504), "uf2", "unreadable"),
        (
            "cut dfu",
            bytes(100) + b"\x00\x00\x01\x00\x02\x00\x00\x01UFD\x10\x01\x02\x03\x04",
            "dfu",
            "unreadable",
        ),
    ],
)
def test_other_formats_are_known_by_their_bytes_not_by_their_name(
    tmp_path: Path, keys: Keys, name: str, content: bytes, kind: str, outcome: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    assert (report.format, outcomes(report)["format"]) == (kind, outcome)
    assert report.outcome is (Outcome.UNREADABLE if "cut" in name else Outcome.FAIL)


@pytest.mark.parametrize("at", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(image: MakeImage, keys: Keys, at: float) -> None:
    with pytest.raises(ValueError, match="seconds since 1970"):
        verify_file(image(), keys.trust("ed25519"), at=at)
