"""DFU files by dfu-suffix (dfu-util) and DfuSe files laid out by UM0391, and each thing refused."""

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.verification import FileReport, Outcome, verify_file
from tests.unit.verification.conftest import AT, Keys, MakeImage, run
from tests.unit.verification.test_firmware import GOOD, outcomes, reason
from tests.unit.verification.test_hex import NOBODY, expected, segments
from tests.unit.verification.tools import ask

BASE = 0x0800_0000
ONE, TWO = b"main flash" * 99, b"option bytes"


def suffixed(content: bytes, version: int = 0x011A, length: int = 16) -> bytes:
    made = content + struct.pack("<HHHH3sB", 0x0002, 0xDF11, 0x0483, version, b"UFD", length)
    return made + struct.pack("<I", ~zlib.crc32(made) & 0xFFFF_FFFF)


def target(*elements: tuple[int, bytes], name: bytes = b"Internal Flash", number: int = 0) -> bytes:
    body = b"".join(struct.pack("<II", at, len(data)) + data for at, data in elements)
    head = struct.pack("<6sBI255sII", b"Target", number, 1, name, len(body), len(elements))
    return head + body


def prefixed(*targets: bytes) -> bytes:
    body = b"".join(targets)
    return struct.pack("<5sBIB", b"DfuSe", 1, len(body) + 11, len(targets)) + body


def read(path: Path, content: bytes) -> FileReport:
    path.write_bytes(content)
    return verify_file(path, NOBODY, at=AT)


TARGETS = (target((BASE, ONE), (BASE + 0x8000, TWO)), target((0x1FFF_C000, TWO), name=b"Option", number=1))
DFUSE = suffixed(prefixed(*TARGETS))


def test_the_address_map_of_a_dfuse_file(tmp_path: Path) -> None:
    report = read(tmp_path / "a.bin", DFUSE)
    assert (report.format, outcomes(report)["format"], outcomes(report)["signed"]) == ("dfu", "pass", "fail")
    assert segments(report) == expected([(BASE, ONE), (BASE + 0x8000, TWO), (0x1FFF_C000, TWO)])
    claims = report.claims
    assert (claims["vendor_id"], claims["product_id"], claims["device_version"]) == (
        "0x0483",
        "0xdf11",
        "0x0002",
    )
    assert claims["dfu_version"] == "1.1a"
    assert [(row["name"], row["alternate_setting"], row["elements"]) for row in claims["targets"]] == [
        ("Internal Flash", 0, 2),
        ("Option", 1, 1),
    ]


@pytest.mark.skipif(not shutil.which("dfu-suffix"), reason="dfu-util is not installed")
def test_the_same_verdict_as_dfu_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.dfu"
    path.write_bytes(ONE)
    run("dfu-suffix", "-v", "0x0483", "-p", "0xdf11", "-d", "0x0102", "-a", path)
    report = verify_file(path, NOBODY, at=AT)
    assert (report.format, outcomes(report)["format"]) == ("dfu", "pass")
    assert segments(report) == expected([(0, ONE)])
    claims = report.claims
    assert (claims["vendor_id"], claims["product_id"], claims["device_version"]) == (
        "0x0483",
        "0xdf11",
        "0x0102",
    )
    good = path.read_bytes()
    for at in [*range(0, len(good), 97), *range(len(good) - 16, len(good))]:
        changed = bytearray(good)
        changed[at] ^= 0x01
        path.write_bytes(changed)
        ours = outcomes(verify_file(path, NOBODY, at=AT))["format"] == "pass"
        assert ours == (ask("dfu-suffix", "-c", path).returncode == 0), f"byte {at} of {len(good)}"
    path.write_bytes(DFUSE)
    assert ask("dfu-suffix", "-c", path).returncode == 0


@pytest.mark.parametrize("wrap", ["plain", "dfuse"])
def test_a_signed_image_inside(image: MakeImage, keys: Keys, tmp_path: Path, wrap: str) -> None:
    content = image("p256").read_bytes()
    path = tmp_path / "image.dfu"
    path.write_bytes(
        suffixed(content, 0x0100) if wrap == "plain" else suffixed(prefixed(target((BASE, content))))
    )
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert report.claims["version"] == "1.4.2+7"
    assert outcomes(report) == GOOD | {"coverage": "pass"}


def change(at: int, form: str, value: int) -> Callable[[bytes], bytes]:
    def made(content: bytes) -> bytes:
        new = struct.pack(form, value)
        return suffixed(content[:at] + new + content[at + len(new) : -16])

    return made


FIRST = 11 + 274
BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a wrong CRC": (lambda c: c[:-1] + bytes([c[-1] ^ 1]), "the CRC is"),
    "a file that is cut": (lambda c: c[:-20], "the file is cut"),
    "no suffix": (lambda c: c[:-16], "the file is cut"),
    "another prefix version": (change(5, "<B", 2), "version 2"),
    "another size": (change(6, "<I", 99), "announces 99 bytes"),
    "a target too many": (change(10, "<B", 3), "is cut"),
    "a target too few": (change(10, "<B", 1), "something stands between"),
    "a target that is none": (change(11, "<B", 0x58), 'expected "Target"'),
    "a target over the end": (change(11 + 266, "<I", 0xFFFF_FFF0), "more than the file"),
    "too many elements": (change(11 + 270, "<I", 1025), "limit (1024)"),
    "an element too few": (change(11 + 270, "<I", 1), "its elements end at"),
    "an element too many": (change(11 + 270, "<I", 3), "is cut"),
    "an element over the end": (change(FIRST + 4, "<I", 0xFFFF_FFF0), "its target ends at"),
    "an element over 4 GiB": (change(FIRST, "<I", 0xFFFF_FFF0), "over the end of 4 GiB"),
    "overlapping elements": (change(FIRST, "<I", BASE + 0x7FFF), "given twice"),
    "another DFU version": (lambda c: suffixed(c[:-16], 0x0200), "DFU version 2.00"),
    "the version of plain DFU": (lambda c: suffixed(c[:-16], 0x0100), "does not fit its begin"),
    "nothing inside": (lambda _: suffixed(prefixed(target())), "holds no content"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_dfuse_file_is_unreadable_for(tmp_path: Path, name: str) -> None:
    made, words = BAD[name]
    report = read(tmp_path / "bad.dfu", made(DFUSE))
    assert (report.format, report.outcome) == ("dfu", Outcome.UNREADABLE)
    assert words in reason(report, "format"), reason(report, "format")
