"""UF2 files: the address map by family, and each thing refused. Blocks laid out by the specification."""

import re
import struct
from pathlib import Path
from typing import Any

import pytest

from portal.verification import FileReport, Outcome, verify_file
from tests.unit.verification.conftest import AT, Keys, MakeImage
from tests.unit.verification.test_firmware import GOOD, outcomes, reason
from tests.unit.verification.test_hex import NOBODY, expected, segments

RP2040 = 0xE48BFF56


def block(data: bytes, address: int, number: int = 0, count: int = 1, **members: Any) -> bytes:
    family = members.get("family", RP2040)
    flags = members.get("flags", 0 if family is None else 0x2000)
    words = (
        0x0A324655,
        0x9E5D5157,
        flags,
        address,
        members.get("length", len(data)),
        number,
        count,
        family or 0,
    )
    end = struct.pack("<I", members.get("end", 0x0AB16F30))
    return struct.pack("<8I", *words) + data.ljust(476, b"\0") + end


def blocks(data: bytes, address: int, **members: Any) -> bytes:
    parts = [data[at : at + 256] for at in range(0, len(data), 256)]
    made = (block(part, address + n * 256, n, len(parts), **members) for n, part in enumerate(parts))
    return b"".join(made)


def read(path: Path, content: bytes) -> FileReport:
    path.write_bytes(content)
    return verify_file(path, NOBODY, at=AT)


DATA = bytes(range(256)) * 300 + b"end"


def test_the_address_map_of_a_uf2_file(tmp_path: Path) -> None:
    report = read(tmp_path / "a.bin", blocks(DATA, 0x1000_0000) + blocks(b"data", 0x2000_0000, family=7))
    assert (report.format, outcomes(report)["format"]) == ("uf2", "pass")
    assert segments(report) == expected([(0x1000_0000, DATA), (0x2000_0000, b"data")])
    assert report.claims["families"] == [
        {"family": "family 0x00000007", "blocks": 1, "bytes": 4},
        {"family": "RP2040 (0xe48bff56)", "blocks": 301, "bytes": len(DATA)},
    ]
    assert outcomes(report)["signed"] == "fail"


@pytest.mark.parametrize("content", [DATA[:256], DATA])
def test_a_file_without_family(tmp_path: Path, content: bytes) -> None:
    report = read(tmp_path / "a.uf2", blocks(content, 0x1000, family=None))
    assert segments(report) == expected([(0x1000, content)])


def test_a_signed_image_inside(image: MakeImage, keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "image.uf2"
    path.write_bytes(blocks(image("p256").read_bytes(), 0x1000_8000))
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert outcomes(report) == GOOD | {"coverage": "pass"}
    assert (report.outcome, report.claims["version"]) == (Outcome.PASS, "1.4.2+7")


TWO = blocks(DATA[:512], 0x1000)
BAD = {
    "F21 a block count that is too high": (block(b"x", 0, 0, 2), "announces 2 blocks, the file has 1"),
    "F21 a block count that is too low": (block(b"x", 0, 0, 1) + block(b"y", 9, 1, 1), "announces 1 blocks"),
    "F21 two block counts": (TWO[:512] + block(b"y", 9, 1, 3), "3 blocks, those before said 2"),
    "F21 a block left out": (TWO[512:], "number 1, expected was number 0"),
    "F21 the same block twice": (TWO[:512] * 2, "number 0, expected was number 1"),
    "F21 a family whose blocks are missing": (TWO + block(b"x", 0x9000, 0, 2, family=7), "family 0x00000007"),
    "a file that is cut": (TWO[:-100], "blocks of 512 bytes"),
    "another third magic": (block(b"x", 0, end=0), "three magic numbers"),
    "another second block": (TWO[:512] + bytes(512), "offset 512: its three magic"),
    "too much content": (block(b"x", 0, length=477), "477 bytes of content, at most 476"),
    "overlapping targets": (
        block(b"xy", 0x100, 0, 2) + block(b"z", 0x101, 1, 2),
        "0x00000101 is given twice",
    ),
    "two families for one address": (block(b"x", 0) + block(b"x", 0, family=7), "given twice"),
    "beyond 4 GiB": (block(b"xy", 0xFFFF_FFFF), "over the end of 4 GiB"),
    "no content": (block(b"", 0), "holds no content"),
    "blocks for elsewhere": (block(b"x", 0, flags=0x2001), "not for the main flash"),
    "a file container": (block(b"x", 0, flags=0x1000), "belongs to a file"),
    "an MD5 sum": (block(b"x", 0, flags=0x6000), "MD5"),
    "extension tags": (block(b"x", 0, flags=0xA000), "extension tags"),
    "too many families": (
        b"".join(block(b"x", n * 8, family=n + 1) for n in range(17)),
        "more than 16 families",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_uf2_file_is_refused_for(tmp_path: Path, name: str) -> None:
    content, words = BAD[name]
    report = read(tmp_path / "bad.uf2", content)
    assert (report.format, report.outcome) == ("uf2", Outcome.UNREADABLE)
    assert re.search(words, reason(report, "format")), reason(report, "format")
