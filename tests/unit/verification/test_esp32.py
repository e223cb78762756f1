"""Images of Espressif's chips and their Secure Boot v2 signatures, made by esptool and espsecure."""

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path

import intelhex
import pytest
from espsecure import main
from esptool import FatalError
from esptool.bin_image import ELFSection, ESP32C3FirmwareImage, ESP32C5FirmwareImage, ESP32FirmwareImage

from portal.verification import FileReport, Outcome, verify_file
from tests.unit.verification.conftest import AT, Keys
from tests.unit.verification.test_firmware import GOOD, outcomes, reason
from tests.unit.verification.test_hex import expected, segments

RAM = bytes(n * 13 % 256 for n in range(1024))
ELF = hashlib.sha256(b"the ELF file").digest()


def descriptor(counter: int = 7) -> bytes:
    names = ("1.4.2", "bms-main", "12:00:00", "Nov 21 2026", "v5.3.1")
    fields = struct.pack("<32s32s16s16s32s", *(name.encode() for name in names))
    return struct.pack("<II8x", 0xABCD5432, counter) + fields + ELF + bytes(80)


def image(folder: Path, kind: type = ESP32C3FirmwareImage, **members: bool | int) -> Path:
    made = kind()
    made.entrypoint = 0x4038_0000
    made.flash_mode = 2
    for name, value in members.items():
        setattr(made, name, value)
    flash = made.ROM_LOADER.DROM_MAP_START + 0x20
    made.segments = [ELFSection(b".flash", flash, descriptor(), 0), ELFSection(b".ram", 0x4038_0000, RAM, 0)]
    path = folder / "app.bin"
    made.save(str(path))
    return path


def espsecure(*arguments: str | Path) -> str:
    """In this process; raises what espsecure raises."""
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        main([str(argument) for argument in arguments])
    return out.getvalue()


def sign(path: Path, *keys: Path) -> Path:
    out = path.with_name("signed.bin")
    files = [argument for key in keys for argument in ("--keyfile", key)]
    espsecure("sign-data", "--version", "2", *files, "--output", out, path)
    return out


def espsecure_takes(path: Path, key: Path) -> bool:
    try:
        done = espsecure("verify-signature", "--version", "2", "--keyfile", key, path)
    except (FatalError, AssertionError):
        return False
    return "verification successful" in done


def read(path: Path, content: bytes, keys: Keys, name: str = "rsa-3072") -> FileReport:
    path.write_bytes(content)
    return verify_file(path, keys.trust(name), at=AT)


@pytest.mark.parametrize("name", ["rsa-3072", "p256", "p384"])
def test_an_image_signed_with_an_approved_key(tmp_path: Path, keys: Keys, name: str) -> None:
    path = sign(image(tmp_path), keys.private(name))
    report = verify_file(path, keys.trust("other", name), at=AT)
    assert outcomes(report) == GOOD, report.checks
    assert (report.format, report.outcome, report.key_id) == ("esp32", Outcome.PASS, name)
    assert espsecure_takes(path, keys.private(name))


def test_the_key_digest_is_the_one_that_espsecure_prints(tmp_path: Path, keys: Keys) -> None:
    for name in ("rsa-3072", "p256", "p384"):
        path = sign(image(tmp_path), keys.private(name))
        printed = espsecure("signature-info-v2", path)
        digest = "".join(re.findall(r"\b[0-9a-f]{2}\b", printed.partition("block 0:")[2]))
        assert len(digest) == 64, printed
        report = verify_file(path, keys.trust("other"), at=AT)
        assert report.claims["signatures"][0]["key_digest"] == digest
        assert digest in reason(report, "key")
        assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("not_run", "fail")


def test_what_the_image_claims(tmp_path: Path, keys: Keys) -> None:
    path = image(tmp_path, min_rev_full=101, max_rev_full=199)
    report = verify_file(path, keys.trust("rsa-3072"), at=AT)
    assert (outcomes(report)["format"], outcomes(report)["signed"]) == ("pass", "fail")
    claims = report.claims
    assert (claims["version"], claims["project"], claims["security_counter"]) == ("1.4.2", "bms-main", 7)
    assert (claims["build_date"], claims["build_time"]) == ("Nov 21 2026", "12:00:00")
    assert (claims["idf_version"], claims["elf_sha256"]) == ("v5.3.1", ELF.hex())
    assert (claims["chip"], claims["flash_mode"], claims["entry_point"]) == ("ESP32-C3", "DIO", 0x4038_0000)
    assert (claims["lowest_chip_revision"], claims["highest_chip_revision"]) == ("v1.1", "v1.99")
    assert claims["sha256"] == path.read_bytes()[-32:].hex()
    by_address = {row["address"]: row for row in claims["segments"]}
    assert by_address[0x4038_0000]["sha256"] == hashlib.sha256(RAM).hexdigest()


@pytest.mark.parametrize("kind", [ESP32FirmwareImage, ESP32C3FirmwareImage, ESP32C5FirmwareImage])
@pytest.mark.parametrize(
    "members", [{}, {"append_digest": False}, {"secure_pad": "2"}, {"pad_to_size": 0x40000}]
)
def test_images_in_all_their_forms(
    tmp_path: Path, keys: Keys, kind: type, members: dict[str, bool | int]
) -> None:
    report = verify_file(image(tmp_path, kind, **members), keys.trust("rsa-3072"), at=AT)
    assert outcomes(report)["format"] == "pass", reason(report, "format")
    assert ("padding" in outcomes(report)) == ("pad_to_size" in members)


def test_the_descriptor_of_a_boot_loader(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "bootloader.bin"
    made = ESP32C3FirmwareImage()
    told = struct.pack("<B3xI32s24s16x", 0x50, 3, b"v5.3.1", b"Nov 21 2026 12:00:00")
    made.segments = [ELFSection(b".told", 0x3FCD_0000, told, 0), ELFSection(b".ram", 0x4038_0000, RAM, 0)]
    made.save(str(path))
    claims = verify_file(path, keys.trust("rsa-3072"), at=AT).claims
    told_of = {name: claims[name] for name in ("version", "project", "idf_version", "build_date")}
    assert told_of == {
        "version": "3",
        "project": "boot loader",
        "idf_version": "v5.3.1",
        "build_date": "Nov 21 2026 12:00:00",
    }


def test_three_signatures_must_all_be_by_approved_keys(tmp_path: Path, keys: Keys) -> None:
    names = ("rsa-3072", "p256", "p384")
    path = sign(image(tmp_path), *(keys.private(name) for name in names))
    report = verify_file(path, keys.trust(*names, threshold=3), at=AT)
    assert outcomes(report) == GOOD, report.checks
    assert len(report.claims["signatures"]) == 3
    report = verify_file(path, keys.trust("rsa-3072", "p256"), at=AT)
    assert outcomes(report)["key"] == "fail"


def test_an_image_inside_intel_hex(tmp_path: Path, keys: Keys) -> None:
    path = sign(image(tmp_path), keys.private("p256"))
    made = intelhex.IntelHex()
    made.frombytes(path.read_bytes(), 0x1_0000)
    made.write_hex_file(tmp_path / "app.hex")
    report = verify_file(tmp_path / "app.hex", keys.trust("p256"), at=AT)
    assert outcomes(report) == GOOD | {"coverage": "pass"}
    assert report.claims["version"] == "1.4.2"
    (row,) = report.claims["segments"]  # the file's own map, and beside it the image's
    assert (row["address"], row["content"]) == (0x1_0000, "ESP32 image")
    assert {row["address"] for row in report.claims["image_segments"]} >= {0x4038_0000}
    assert (report.claims["entry_point"], report.claims["image_entry_point"]) == (None, 0x4038_0000)


def put(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def flipped(content: bytes, at: int) -> bytes:
    return put(content, at, bytes([content[at] ^ 1]))


def block(content: bytes, at: int, value: bytes) -> bytes:
    """The last sector with other bytes in its first block, and the CRC that belongs to them."""
    start = len(content) - 4096
    changed = put(content, start + at, value)
    crc = zlib.crc32(changed[start : start + 1196])
    return put(changed, start + 1196, struct.pack("<I", crc))


Change = Callable[[bytes], bytes]
BAD: dict[str, tuple[Change, str]] = {
    "a segment beyond the end": (lambda c: put(c, 28, struct.pack("<I", 0xF0_0000)), "segment 0 .* is cut"),
    "a segment of odd length": (lambda c: put(c, 28, b"\x01"), "multiple of 4"),
    "a segment over 4 GiB": (lambda c: put(c, 24, b"\xff" * 4), "over the end of 4 GiB"),
    "a file that is cut": (lambda c: c[:300], "is cut|end of the file"),
    "a block with a wrong CRC": (
        lambda c: flipped(c, len(c) - 4096 + 40),
        "signature block 0: the CRC-32 is",
    ),
    "a block of an unknown version": (lambda c: block(c, 2, b"\x05"), "no combination that is known"),
    "bytes beside the blocks": (lambda c: flipped(c, len(c) - 1), "something follows the 1 signature block"),
    "bytes in the unused part of a block": (lambda c: flipped(c, len(c) - 4096 + 1204), "is not zero"),
    "a reserved byte of a block": (lambda c: block(c, 3, b"\x01"), "is not zero"),
    "four blocks": (
        lambda c: put(c, len(c) - 4096, c[len(c) - 4096 :][:1216] * 3 + b"\xe7"),
        "something follows the 3 signature",
    ),
    "a signature sector elsewhere": (
        lambda c: c[:-4096] + b"\xff" * 4096 + c[-4096:],
        "the boot loader looks for it at",
    ),
    "other bytes behind the image": (lambda c: c[:-4096] + b"another image", "neither erased flash"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_image_is_unreadable_for(tmp_path: Path, keys: Keys, name: str) -> None:
    change, words = BAD[name]
    good = sign(image(tmp_path), keys.private("rsa-3072")).read_bytes()
    report = read(tmp_path / "bad.bin", change(good), keys)
    assert (report.format, report.outcome) == ("esp32", Outcome.UNREADABLE)
    assert re.search(words, reason(report, "format")), reason(report, "format")


def test_segments_that_overlap_are_refused(tmp_path: Path, keys: Keys) -> None:
    content = image(tmp_path).read_bytes()
    segments_of = [
        (row["address"], row["size"]) for row in read(tmp_path / "a", content, keys).claims["segments"]
    ]
    at = 24 + 8 + segments_of[0][1]
    report = read(tmp_path / "b", put(content, at, struct.pack("<I", segments_of[0][0] + 4)), keys)
    assert "overlaps another one" in reason(report, "format")


def test_a_secure_boot_v1_signature_is_refused_by_name(tmp_path: Path, keys: Keys) -> None:
    report = read(tmp_path / "v1", image(tmp_path).read_bytes() + bytes(68), keys)
    assert "Secure Boot v1" in reason(report, "format")


def test_a_damaged_image_fails(tmp_path: Path, keys: Keys) -> None:
    content = image(tmp_path).read_bytes()
    assert "checksum 0x" in reason(read(tmp_path / "a", flipped(content, 40), keys), "format")
    assert "SHA-256 that it records" in reason(
        read(tmp_path / "b", flipped(content, -1 % len(content)), keys), "format"
    )


def test_a_signature_over_another_image(tmp_path: Path, keys: Keys) -> None:
    good = sign(image(tmp_path), keys.private("p256")).read_bytes()
    other = image(tmp_path, flash_mode=0).read_bytes()
    padded = other.ljust(-(-len(other) // 4096) * 4096, b"\xff")
    report = read(tmp_path / "bad.bin", padded + good[-4096:], keys, "p256")
    assert outcomes(report)["signature"] == "fail"
    assert "not what was signed" in reason(report, "signature")


@pytest.mark.parametrize(("name", "at"), [("rsa-3072", 900), ("p256", 110), ("p384", 160)])
def test_a_changed_signature_fails(tmp_path: Path, keys: Keys, name: str, at: int) -> None:
    good = sign(image(tmp_path), keys.private(name)).read_bytes()
    old = good[len(good) - 4096 + at]
    report = read(tmp_path / "bad.bin", block(good, at, bytes([old ^ 1])), keys, name)
    assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("fail", "not_run")


@pytest.mark.parametrize("at", [40, 36 + 384, 36 + 388 + 3, 36 + 774])
def test_a_block_whose_key_is_not_quite_the_approved_one(tmp_path: Path, keys: Keys, at: int) -> None:
    """The chip calculates with what stands in the block, so each of the four numbers must be the key's."""
    good = sign(image(tmp_path), keys.private("rsa-3072")).read_bytes()
    old = good[len(good) - 4096 + at]
    report = read(tmp_path / "bad.bin", block(good, at, bytes([old ^ 1])), keys)
    assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("not_run", "fail")


# espsecure takes any sector at the end for the signatures, passes over broken blocks, and verifies with the
# key that it is given, not with the one in the block. We refuse all of that. Nor does it look at what stands
# beside the blocks, which nothing covers.
@pytest.mark.parametrize("name", ["rsa-3072", "p256", "p384"])
def test_the_same_verdict_as_espsecure_on_changed_bytes(tmp_path: Path, keys: Keys, name: str) -> None:
    path = sign(image(tmp_path), keys.private(name))
    good, trust, key = path.read_bytes(), keys.trust(name), keys.private(name)
    sector = len(good) - 4096
    assert espsecure_takes(path, key)
    for at in [*range(0, sector, 1501), *range(sector, sector + 1216, 61), sector + 1205, len(good) - 5]:
        path.write_bytes(flipped(good, at))
        assert verify_file(path, trust, at=AT).outcome is not Outcome.PASS, f"byte {at}"
        assert not espsecure_takes(path, key) or at >= sector + 1200, f"byte {at}"


def test_the_map_of_segments_is_that_of_esptool(tmp_path: Path, keys: Keys) -> None:
    path = image(tmp_path, ESP32FirmwareImage)
    with path.open("rb") as file:
        theirs = ESP32FirmwareImage(file)
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert segments(report) == expected([(part.addr, part.data) for part in theirs.segments])
