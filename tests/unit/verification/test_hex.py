"""Intel HEX and SREC by intelhex, bincopy, objcopy and srec_cat: the address map, and each thing refused."""

import hashlib
import io
import random
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import bincopy
import intelhex
import pytest

from portal.verification import FileReport, Outcome, Trust, verify_file
from tests.unit.verification.conftest import AT, Keys, MakeImage, run
from tests.unit.verification.test_firmware import GOOD, outcomes, reason

NOBODY = Trust.build([])
EOF = ":00000001FF\n"
PARTS = {0x0800_0000: bytes(range(256)) * 3, 0x0800_F000: b"x" * 5000, 0x1FFF_F800: b"\x55\xaa"}


def record(kind: int, address: int, data: bytes = b"") -> str:
    body = bytes([len(data), address >> 8, address & 255, kind]) + data
    return f":{body.hex().upper()}{-sum(body) & 255:02X}\n"


def srecord(kind: int, address: int, data: bytes = b"") -> str:
    length = {0: 2, 1: 2, 2: 3, 3: 4, 4: 2, 5: 2, 6: 3, 7: 4, 8: 3, 9: 2}[kind]
    body = bytes([length + len(data) + 1]) + address.to_bytes(length, "big") + data
    return f"S{kind}{body.hex().upper()}{~sum(body) & 255:02X}\n"


def read(path: Path, text: str | bytes, trust: Trust = NOBODY, **options: Any) -> FileReport:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return verify_file(path, trust, at=AT, **options)


def expected(parts: Iterable[tuple[int, bytes]]) -> list[tuple[int, int, str]]:
    return [(address, len(data), hashlib.sha256(data).hexdigest()) for address, data in parts]


def segments(report: FileReport) -> list[tuple[int, int, str]]:
    return [(row["address"], row["size"], row["sha256"]) for row in report.claims["segments"]]


def hex_file(parts: dict[int, bytes] = PARTS, start: int | None = 0x0800_0131) -> str:
    made = intelhex.IntelHex()
    for address, data in parts.items():
        made.puts(address, data)
    if start is not None:
        made.start_addr = {"EIP": start}
    out = io.StringIO()
    made.write_hex_file(out)
    return out.getvalue()


def srec_file(bits: int = 32, parts: dict[int, bytes] = PARTS) -> str:
    made = bincopy.BinFile()
    for address, data in parts.items():
        made.add_binary(data, address & (2**bits - 1))
    made.header = "bms-main"
    made.execution_start_address = 0x131
    return str(made.as_srec(address_length_bits=bits))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_address_map_of_a_hex_file(tmp_path: Path, end: str) -> None:
    report = read(tmp_path / "a.bin", hex_file().replace("\r", "").replace("\n", end))
    assert (report.format, outcomes(report)["format"]) == ("intel-hex", "pass")
    assert segments(report) == expected(PARTS.items())
    assert report.claims["entry_point"] == 0x0800_0131
    assert outcomes(report)["signed"] == "fail"
    assert report.outcome is Outcome.FAIL


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_the_address_map_of_a_srec_file(tmp_path: Path, bits: int) -> None:
    parts = dict(PARTS) if bits == 32 else {0x100: b"abc" * 99, 0x9000: bytes(70)}
    report = read(tmp_path / "a.bin", srec_file(bits, parts))
    assert (report.format, outcomes(report)["format"]) == ("srec", "pass")
    assert segments(report) == expected(parts.items())
    assert report.claims["entry_point"] == 0x131
    assert report.claims["header"] == "bms-main"


def test_files_by_objcopy_and_srec_cat(tmp_path: Path) -> None:
    plain = tmp_path / "plain.bin"
    plain.write_bytes(random.Random(1).randbytes(200_000))
    want = expected([(0x0800_8000, plain.read_bytes())])
    for form in ("ihex", "srec"):
        out = tmp_path / form
        run("objcopy", "-I", "binary", "-O", form, "--change-addresses", "0x8008000", plain, out)
        assert segments(verify_file(out, NOBODY, at=AT)) == want
    if not shutil.which("srec_cat"):
        pytest.skip("srec_cat is not installed")
    for form in ("-Intel", "-Motorola"):
        out = tmp_path / form
        run("srec_cat", plain, "-Binary", "-offset", "0x8008000", "-o", out, form)
        assert segments(verify_file(out, NOBODY, at=AT)) == want


def test_records_in_any_order_make_the_same_segments(tmp_path: Path) -> None:
    data = random.Random(2).randbytes(1024)
    lines = [record(0, at, data[at : at + 16]) for at in range(0, 1024, 16)]
    random.Random(3).shuffle(lines)
    report = read(tmp_path / "a.hex", "".join(lines) + EOF)
    assert segments(report) == expected([(0, data)])


def test_segmented_addresses(tmp_path: Path) -> None:
    text = record(2, 0, b"\x12\x34") + record(0, 0x10, b"abc") + record(3, 0, b"\x12\x34\x00\x10") + EOF
    report = read(tmp_path / "a.hex", text)
    assert segments(report) == expected([(0x12350, b"abc")])
    assert report.claims["entry_point"] == 0x12350


def test_a_jump_over_four_gigabytes_costs_nothing(tmp_path: Path) -> None:
    text = record(0, 0, b"a") + record(4, 0, b"\xff\xff") + record(0, 0xFFFF, b"b") + EOF
    report = read(tmp_path / "sparse.hex", text)
    assert segments(report) == expected([(0, b"a"), (0xFFFF_FFFF, b"b")])


A = record(0, 0x100, b"0123456789")
BAD_HEX = {
    "F1 a bad checksum": (A[:-3] + "00\n" + EOF, "line 1 .offset 0.: the checksum is wrong"),
    "F1 a flipped digit": (A + record(0, 0x200, b"x").replace("78", "79") + EOF, "line 2 .*checksum"),
    "F2 no end-of-file record": (A, "the file is cut"),
    "F2 data after the end-of-file record": (A + EOF + A, "line 3 .*follows the end-of-file record"),
    "F2 bytes after the end-of-file record": (A + EOF + "hidden", "follows the end-of-file record"),
    "two end-of-file records": (A + EOF + EOF, "follows the end-of-file record"),
    "end-of-file record with content": (A + record(1, 0, b"x"), "address 0 and 0 bytes of content"),
    "F4 overlapping records": (A + record(0, 0x105, b"x") + EOF, "0x00000105 is given twice"),
    "F4 the same record twice": (A + A + EOF, "0x00000100 is given twice"),
    "beyond 4 GiB": (A + record(4, 0, b"\xff\xff") + record(0, 0xFFFF, b"xy") + EOF, "the 4 GiB"),
    "over the end of a segment": (
        A + record(2, 0, b"\x10\x00") + record(0, 0xFFFF, b"xy") + EOF,
        "64 KiB segment",
    ),
    "an unknown record type": (A + record(6, 0) + EOF, "type 0x06 does not exist"),
    "an extended address of one byte": (A + record(4, 0, b"x") + EOF, "2 bytes of content"),
    "an extended address with an address": (A + record(4, 1, b"xy") + EOF, "address 0x0001"),
    "two start addresses": (A + record(5, 0, bytes(4)) * 2 + EOF, "second start address"),
    "a record longer than it says": (A + ":02000000AAAA00AC\n" + EOF, "announces 2 bytes"),
    "a record shorter than it says": (A + ":04000000AAAAA8\n" + EOF, "announces 4 bytes"),
    "an odd digit": (A + ":0100000000F\n" + EOF, "pairs of hexadecimal digits"),
    "other characters": (A + ":01000000ZZFF\n" + EOF, "pairs of hexadecimal digits"),
    "text between": (A + "; version 3\n" + EOF, "begins with a colon"),
    "a line without end": (A + ":" + "0" * 100_000, "longer than any record"),
    "no content": (record(4, 0, b"\x08\x00") + EOF, "holds no content"),
}


@pytest.mark.parametrize("name", BAD_HEX)
def test_a_hex_file_is_refused_for(tmp_path: Path, name: str) -> None:
    text, words = BAD_HEX[name]
    report = read(tmp_path / "bad.hex", text)
    assert report.format == "intel-hex"
    assert outcomes(report)["format"] == "unreadable"
    assert report.claims == {}
    assert report.outcome is Outcome.UNREADABLE
    assert re.search(words, reason(report, "format")), reason(report, "format")


S = srecord(1, 0x100, b"0123456789")
END = srecord(9, 0)
BAD_SREC = {
    "F1 a bad checksum": (S[:-3] + "00\n" + END, "checksum is wrong"),
    "F5 a count that lies": (S + srecord(5, 2) + END, "counts 2 data records, the file has 1"),
    "F5 a long count that lies": (S * 1 + srecord(6, 0x10001) + END, "counts 65537 data records"),
    "F5 two counts": (S + srecord(5, 1) * 2 + END, "second record that counts"),
    "data after the count": (S + srecord(5, 1) + srecord(1, 0x900, b"x") + END, "follows the record that"),
    "no end": (S, "the file is cut"),
    "something after the end": (S + END + S, "follows the end record"),
    "an end with content": (S + srecord(9, 0, b"x"), "has no content"),
    "the reserved type": (S + srecord(4, 0) + END, "S4 does not exist"),
    "a header that is not first": (S + srecord(0, 0, b"x") + END, "S0 record is the first"),
    "overlapping records": (S + srecord(2, 0x105, b"x") + END, "given twice"),
    "beyond 16 bits": (S + srecord(1, 0xFFFF, b"xy") + END, "what an S1 record reaches"),
    "beyond 24 bits": (S + srecord(2, 0xFFFFFF, b"xy") + END, "what an S2 record reaches"),
    "beyond 32 bits": (S + srecord(3, 0xFFFFFFFF, b"xy") + END, "what an S3 record reaches"),
    "a record without address": (S + "S102 FD\n".replace(" ", "") + END, "announces 2 bytes"),
    "a record without checksum": (S + "S10200\n" + END, "announces 2 bytes|bytes of address"),
    "text between": (S + "S\n" + END, "S and a digit"),
    "no content": (srecord(0, 0, b"x") + END, "holds no content"),
}


@pytest.mark.parametrize("name", BAD_SREC)
def test_a_srec_file_is_refused_for(tmp_path: Path, name: str) -> None:
    text, words = BAD_SREC[name]
    report = read(tmp_path / "bad.srec", text)
    assert report.format == "srec"
    assert outcomes(report)["format"] == "unreadable"
    assert report.outcome is Outcome.UNREADABLE
    assert re.search(words, reason(report, "format")), reason(report, "format")


def by_intelhex(text: str) -> list[tuple[int, int, str]] | None:
    try:
        made = intelhex.IntelHex(io.StringIO(text))
        return expected((a, made.tobinstr(a, b - 1)) for a, b in made.segments())
    except intelhex.IntelHexError:
        return None


def by_bincopy(text: str, form: str) -> list[tuple[int, int, str]] | None:
    try:
        made = bincopy.BinFile()
        getattr(made, f"add_{form}")(text)
        return expected((part.address, bytes(part.data)) for part in made.segments)
    except (bincopy.Error, ValueError):
        return None


# What others take and we refuse: content that not everybody sees, or a file that may have been cut.
TAKEN_BY = {
    "intelhex": {
        "F2 no end-of-file record",
        "F2 data after the end-of-file record",
        "F2 bytes after the end-of-file record",
        "two end-of-file records",
        "beyond 4 GiB",
        "over the end of a segment",
        "no content",
    },
    "bincopy ihex": {
        "F2 no end-of-file record",
        "two end-of-file records",
        "end-of-file record with content",
        "beyond 4 GiB",
        "over the end of a segment",
        "an extended address of one byte",
        "an extended address with an address",
        "two start addresses",
        "no content",
    },
    "bincopy srec": {
        "F5 a count that lies",
        "F5 a long count that lies",
        "F5 two counts",
        "data after the count",
        "no end",
        "an end with content",
        "a header that is not first",
        "beyond 16 bits",
        "beyond 24 bits",
        "beyond 32 bits",
        "no content",
    },
}


def test_what_other_readers_take_is_listed() -> None:
    taken = {
        "intelhex": {name for name, (text, _) in BAD_HEX.items() if by_intelhex(text) is not None},
        "bincopy ihex": {name for name, (text, _) in BAD_HEX.items() if by_bincopy(text, "ihex") is not None},
        "bincopy srec": {
            name for name, (text, _) in BAD_SREC.items() if by_bincopy(text, "srec") is not None
        },
    }
    assert taken == TAKEN_BY


@pytest.mark.parametrize("form", ["ihex", "srec"])
def test_a_changed_character_gives_the_same_verdict_as_other_readers(tmp_path: Path, form: str) -> None:
    parts = {0x1000: bytes(range(64)), 0xFFF8: b"boundary", 0x1_0000: b"next"}
    good = hex_file(parts) if form == "ihex" else srec_file(32, parts)
    chance = random.Random(4)
    refused = 0
    for _ in range(300):
        at = chance.randrange(len(good))
        text = good[:at] + chance.choice("0123456789ABCDEFabcdef:SG ") + good[at + 1 :]
        report = read(tmp_path / "changed", text)
        mine = segments(report) if outcomes(report)["format"] == "pass" else None
        theirs = by_intelhex(text) if form == "ihex" else by_bincopy(text, "srec")
        refused += mine is None
        if mine is not None:
            assert mine == theirs, text
        elif (
            theirs is not None
        ):  # a mark, a type or a line end was hit: a record changes its meaning or is lost
            assert good[at] in ":S\n\r" or good[at - 1] == "S" or text[at] == "S", (at, text)
    assert refused > 200


# --- MCUboot images inside ---


@pytest.fixture
def wrapped(image: MakeImage, tmp_path: Path) -> Callable[..., Path]:
    """An image that imgtool writes as Intel HEX."""

    def make(key: str | None = "p256", *options: str, size: int = 3000) -> Path:
        return image(key, "--hex-addr", "0x0800c000", *options, size=size, name="image.hex")

    return make


@pytest.mark.parametrize("name", ["p256", "rsa-3072", "ed25519"])
@pytest.mark.parametrize("options", [(), ("--pad",), ("--confirm",), ("--confirm", "--max-align", "32")])
def test_a_wrapped_image_is_verified_like_a_plain_one(
    wrapped: Callable[..., Path], keys: Keys, name: str, options: tuple[str, ...]
) -> None:
    report = verify_file(wrapped(name, "--security-counter", "7", *options), keys.trust("other", name), at=AT)
    assert outcomes(report) == GOOD | {"coverage": "pass"}
    assert report.outcome is Outcome.PASS
    assert (report.format, report.key_id) == ("intel-hex", name)
    assert (report.claims["version"], report.claims["security_counter"]) == ("1.4.2+7", 7)
    assert report.claims["segments"][0]["content"] == "MCUboot image"
    assert report.claims["segments"][0]["address"] == 0x0800_C000


def test_a_wrapped_pure_image(wrapped: Callable[..., Path], keys: Keys) -> None:
    report = verify_file(wrapped("ed25519", "--pure"), keys.trust("ed25519"), at=AT)
    assert report.outcome is Outcome.PASS
    assert report.claims["pure"]


def test_a_wrapped_image_with_another_content_fails(wrapped: Callable[..., Path], keys: Keys) -> None:
    path = wrapped()
    made = intelhex.IntelHex(str(path))
    made[0x0800_C000 + 100] ^= 1
    made.write_hex_file(str(path))
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert (outcomes(report)["format"], outcomes(report)["signature"]) == ("fail", "fail")


def test_a_wrapped_image_by_a_stranger_or_by_nobody_fails(wrapped: Callable[..., Path], keys: Keys) -> None:
    assert outcomes(verify_file(wrapped("p256"), keys.trust("other"), at=AT))["key"] == "fail"
    found = verify_file(wrapped(None), keys.trust("other"), at=AT)
    assert (outcomes(found)["signed"], outcomes(found)["coverage"]) == ("fail", "fail")


def test_content_beside_the_signed_image_is_told(wrapped: Callable[..., Path], keys: Keys) -> None:
    """A boot loader in the same file is loaded with it, but the image's signature does not cover it."""
    path = wrapped()
    made = intelhex.IntelHex(str(path))
    made.puts(0x0800_0000, b"boot loader")
    made.write_hex_file(str(path))
    trust = keys.trust("p256", "ed25519")
    report = verify_file(path, trust, at=AT)
    assert outcomes(report) == GOOD | {"coverage": "fail"}
    assert "0x08000000 (11 bytes)" in reason(report, "coverage")
    private = keys.private("ed25519")
    signature = run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", path)
    assert verify_file(path, trust, at=AT, signature=signature).outcome is Outcome.PASS


def test_a_trailer_before_the_image_is_content_like_any_other(
    wrapped: Callable[..., Path], keys: Keys
) -> None:
    path = wrapped("p256")
    made = intelhex.IntelHex(str(path))
    made.puts(0x0800_0000, bytes.fromhex("77c295f360d2ef7f3552500f2cb67980"))
    made.write_hex_file(str(path))
    assert outcomes(verify_file(path, keys.trust("p256"), at=AT))["coverage"] == "fail"


def test_a_damaged_image_inside(wrapped: Callable[..., Path], keys: Keys) -> None:
    path = wrapped()
    made = intelhex.IntelHex(str(path))
    made[0x0800_C000 + 12] ^= 1  # the size of the image
    made.write_hex_file(str(path))
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert outcomes(report)["format"] == "unreadable"
    assert "begins like an MCUboot image" in reason(report, "format")
    assert report.outcome is not Outcome.PASS
