"""ELF files: what is loaded where, what made them, and each thing refused. By gcc, objcopy and go."""

import hashlib
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.verification import FileReport, Outcome, verify_file
from tests.unit.verification.conftest import AT, Keys, MakeImage, run
from tests.unit.verification.test_firmware import GOOD, outcomes, reason
from tests.unit.verification.test_hex import NOBODY, expected, segments

ONE, TWO = b"vectors and code" * 64, b"constants" * 40
BASE = 0x0800_0000


def by_hand(*loads: tuple[int, bytes], wide: bool = False, order: str = "<", machine: int = 40) -> bytes:
    """An executable with one PT_LOAD for each part, laid out by the gABI."""
    header, entry = (64, 56) if wide else (52, 32)
    at = header + entry * len(loads)
    table, content = b"", b""
    for address, data in loads:
        size = len(data)
        table += (
            struct.pack(f"{order}IIQQQQQQ", 1, 5, at, address, address, size, size, 4)
            if wide
            else struct.pack(f"{order}8I", 1, at, address, address, size, size, 5, 4)
        )
        content += data
        at += size
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    form = f"{order}HHI{'QQQ' if wide else 'III'}IHHHHHH"
    words = (2, machine, 1, BASE + 1, header, 0, 0, header, entry, len(loads), 0, 0, 0)
    return ident + struct.pack(form, *words) + table + content


def read(path: Path, content: bytes) -> FileReport:
    path.write_bytes(content)
    return verify_file(path, NOBODY, at=AT)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_address_map(tmp_path: Path, wide: bool, order: str) -> None:
    report = read(tmp_path / "a", by_hand((BASE, ONE), (0x2000_0000, TWO), wide=wide, order=order))
    assert (report.format, outcomes(report)["format"], outcomes(report)["signed"]) == ("elf", "pass", "fail")
    assert segments(report) == expected([(BASE, ONE), (0x2000_0000, TWO)])
    claims = report.claims
    assert (claims["machine"], claims["type"], claims["entry_point"]) == ("Arm", "executable", BASE + 1)
    assert claims["class"] == ("64 bits" if wide else "32 bits")
    assert claims["byte_order"] == ("little-endian" if order == "<" else "big-endian")
    assert claims["memory"][0]["access"] == "rx"


def test_segments_that_follow_each_other_in_memory_but_not_in_the_file(tmp_path: Path) -> None:
    content = by_hand((BASE + len(TWO), ONE), (BASE, TWO))
    assert segments(read(tmp_path / "a", content)) == expected([(BASE, TWO + ONE)])


def test_a_file_by_objcopy_has_the_same_map_as_its_hex_form(tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    source.write_text(
        "const int table[9] = {1, 2, 3}; int state = 7; int main(void) { return table[1] + state; }"
    )
    run("gcc", "-static", "-nostdlib", "-e", "main", "-Wl,--build-id=sha1", "-o", tmp_path / "main", source)
    report = verify_file(tmp_path / "main", NOBODY, at=AT)
    told = run("readelf", "-W", "-n", "-h", "-S", tmp_path / "main").decode()
    assert outcomes(report)["format"] == "pass"
    assert report.claims["build_id"] == re.search(r"Build ID: (\w+)", told)[1]  # type: ignore[index]
    assert hex(report.claims["entry_point"]) == re.search(r"Entry point address:\s+(\w+)", told)[1]  # type: ignore[index]
    assert report.claims["compilers"][0].startswith("GCC")
    names = re.findall(r"^\s+\[ *\d+\] (\.\S+)", told, re.M)
    assert [row["name"] for row in report.claims["sections"]] == names
    # What objcopy puts at each address is what we say is there.
    run("objcopy", "-O", "srec", tmp_path / "main", tmp_path / "main.srec")
    theirs = {
        row["address"]: row for row in verify_file(tmp_path / "main.srec", NOBODY, at=AT).claims["segments"]
    }
    content = (tmp_path / "main").read_bytes()
    for row in report.claims["memory"]:
        assert row["bytes"] <= row["size"]
    held = [(row["address"], row["address"] + row["size"]) for row in report.claims["segments"]]
    assert all(any(start <= at < end for start, end in held) for at in theirs)
    digests = {row["sha256"] for row in report.claims["segments"]}
    assert hashlib.sha256(content[: report.claims["segments"][0]["size"]]).hexdigest() in digests


def test_a_program_of_this_system_and_an_object_file(tmp_path: Path) -> None:
    report = verify_file(Path(shutil.which("openssl") or "/bin/sh"), NOBODY, at=AT)
    assert (report.format, outcomes(report)["format"]) == ("elf", "pass"), reason(report, "format")
    assert re.fullmatch(r"[0-9a-f]{40}", report.claims["build_id"])
    source = tmp_path / "part.c"
    source.write_text("int f(void) { return 1; }")
    run("gcc", "-c", "-o", tmp_path / "part.o", source)
    report = verify_file(tmp_path / "part.o", NOBODY, at=AT)
    assert (outcomes(report)["format"], report.claims["type"]) == ("pass", "relocatable")
    assert report.claims["segments"] == []


def test_a_program_by_go(tmp_path: Path) -> None:
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    (tmp_path / "main.go").write_text("package main\nfunc main() {}\n")
    run("sh", "-c", f"cd {tmp_path} && HOME={tmp_path} GO111MODULE=off go build -o main main.go")
    claims = verify_file(tmp_path / "main", NOBODY, at=AT).claims
    assert claims["go_version"].startswith("go1.")
    assert claims["go_build_id"]


def test_a_detached_signature_covers_the_file(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "main"
    path.write_bytes(by_hand((BASE, ONE)))
    made = run("openssl", "dgst", "-sha256", "-sign", keys.private("p256"), path)
    report = verify_file(path, keys.trust("p256"), at=AT, signature=made)
    assert outcomes(report) == GOOD


def test_a_signed_image_inside(image: MakeImage, keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "image.elf"
    path.write_bytes(by_hand((BASE, image("p256").read_bytes())))
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert outcomes(report) == GOOD | {"coverage": "pass"}
    assert report.claims["version"] == "1.4.2+7"


def put(content: bytes, at: int, form: str, value: int) -> bytes:
    made = struct.pack(form, value)
    return content[:at] + made + content[at + len(made) :]


def again(content: bytes) -> bytes:
    """Every segment loads the content of the first one, and the file has no other."""
    (first,) = struct.unpack_from("<I", content, 52 + 4)
    for entry in range(52, first, 32):
        content = put(content, entry + 4, "<I", first)
    return content[: first + len(ONE)]


GOOD_FILE = by_hand((BASE, ONE), (0x2000_0000, TWO))
BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another class": (lambda c: put(c, 4, "<B", 3), "class, byte order or version"),
    "a header that is cut": (lambda c: c[:40], "the header is cut"),
    "headers outside": (lambda c: put(c, 28, "<I", 0xFFFF_FF00), "program headers end at"),
    "too many headers": (lambda c: put(c, 44, "<H", 257), "at most 256"),
    "headers of another length": (lambda c: put(c, 42, "<H", 33), "of 33 bytes"),
    "sections outside": (
        lambda c: put(put(put(c, 32, "<I", len(c)), 46, "<H", 40), 48, "<H", 1),
        "section headers end at",
    ),
    "a segment outside": (lambda c: put(c, 52 + 4, "<I", len(c)), "its content is outside"),
    "a segment that is cut": (lambda c: c[:-1], "its content is outside"),
    "more content than memory": (lambda c: put(c, 52 + 20, "<I", 8), "do not fit"),
    "a segment over 4 GiB": (lambda c: put(c, 52 + 12, "<I", 0xFFFF_FFF0), "do not fit"),
    "the same bytes for five places": (
        lambda _: again(by_hand(*((BASE + n * 0x10000, ONE) for n in range(5)))),
        "the same bytes again and again",
    ),
    "overlapping segments": (lambda c: put(c, 84 + 12, "<I", BASE + 4), "given twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_elf_file_is_unreadable_for(tmp_path: Path, name: str) -> None:
    change, words = BAD[name]
    report = read(tmp_path / "bad", change(GOOD_FILE))
    assert (report.format, report.outcome) == ("elf", Outcome.UNREADABLE)
    assert words in reason(report, "format")
