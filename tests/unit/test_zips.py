"""ZIP files in one canonical form: what others read of ours, and what is refused of theirs."""

import io
import shutil
import stat
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from portal import zips
from portal.errors import ZipRefused
from portal.zips import ZipReader, ZipWriter
from tests.factories.zips import unzipped, zipped

FILES = {"README.txt": b"hello\n", "evidence/ab": bytes(range(256)) * 40, "empty": b""}


def refusal(data: bytes) -> str:
    with pytest.raises(ZipRefused) as caught:
        unzipped(data)
    return caught.value.message


def test_what_was_written_is_read_in_its_order() -> None:
    assert list(unzipped(zipped(FILES)).items()) == list(FILES.items())


def test_equal_content_makes_equal_bytes() -> None:
    assert zipped(FILES) == zipped(FILES)


def test_an_empty_one_is_read() -> None:
    assert unzipped(zipped({})) == {}


@pytest.mark.parametrize("tool", ["python", "unzip", "7z"])
def test_other_programs_read_it(tool: str, tmp_path: Path) -> None:
    path = tmp_path / "ours.zip"
    path.write_bytes(zipped(FILES))
    if tool == "python":
        with zipfile.ZipFile(path) as other:
            assert other.testzip() is None
            assert {name: other.read(name) for name in other.namelist()} == FILES
        return
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    into = tmp_path / "out"
    command = {"unzip": ["unzip", "-q", path, "-d", into], "7z": ["7z", "x", f"-o{into}", path]}[tool]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    assert {name: (into / name).read_bytes() for name in FILES} == FILES


def test_zip64_is_written_where_a_number_needs_it_and_read_by_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file of more than 4 GiB and one behind it; what lies between is a hole, not bytes on the disk."""
    large = (1 << 32) + 5
    path = tmp_path / "large.zip"
    with path.open("w+b") as file:
        writer = ZipWriter(file)
        with writer.open("large", large) as entry:
            entry._crc, entry._done = zlib.crc32(b""), large  # holes need not be hashed here
            file.seek(large, 1)
        writer.add("behind", b"small")
        writer.close()
        reader = ZipReader(file)
        assert reader.members["large"].size == large
        assert reader.members["behind"].offset > 1 << 32
        assert reader.read(reader.members["behind"], 10) == b"small"
        with zipfile.ZipFile(file) as other:
            assert [info.file_size for info in other.infolist()] == [large, 5]
            assert other.read("behind") == b"small"


def test_more_files_than_16_bits_count(tmp_path: Path) -> None:
    data = zipped({f"f{number}": b"" for number in range(70_000)})
    assert len(ZipReader(io.BytesIO(data)).members) == 70_000
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert len(other.namelist()) == 70_000


def test_a_file_that_is_shorter_than_announced_is_not_written() -> None:
    writer = ZipWriter(io.BytesIO())
    with pytest.raises(ValueError, match="expected 3 bytes, found 2"), writer.open("a", 3) as entry:
        entry.write(b"ab")


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/../b", "a\\b", "C:/a", "a//b", "a/", "", "-rf", ".x", "ä", "a\n"]
)
def test_a_name_that_is_no_plain_path_is_not_written(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"is a folder|leads out|is absolute|has a backslash|other characters"
    ):
        ZipWriter(io.BytesIO()).add(name, b"")


# --- Refused: made by other programs ---------------------------------------------------------------


def by_python(
    *infos: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_STORED, **options: object
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method, **options) as other:  # type: ignore[arg-type]
        for info, data in infos:
            other.writestr(info, data)
    return file.getvalue()


def plain(name: str) -> zipfile.ZipInfo:
    """As python writes the form that we write."""
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o100644 << 16
    return info


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def dated(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (2026, 11, 21, 0, 0, 0))


def noted(name: str) -> zipfile.ZipInfo:
    info = plain(name)
    info.comment = b"look here"
    return info


def extra(name: str, field: bytes) -> zipfile.ZipInfo:
    info = plain(name)
    info.extra = field
    return info


BOMB = by_python(("bomb", bytes(10_000_000)), method=zipfile.ZIP_DEFLATED)
UPATH = struct.pack("<HHBL", 0x7075, 8, 1, zlib.crc32(b"a")) + b"evil"[:3]


def doubled(first: str, second: str) -> bytes:
    return zipped({first: b"1", "x": b"2"}).replace(b"x", second.encode())


def commented() -> bytes:
    file = io.BytesIO(by_python(("a", b"x")))
    with zipfile.ZipFile(file, "a") as other:
        other.comment = b"PK\5\6" + bytes(18)
    return file.getvalue()


def many() -> bytes:
    return bytes(10) + zips._end(200_000, 10, 0)


class Stream(io.BytesIO):
    """Cannot seek: a writer puts sizes and CRC behind the data."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError("a stream has no place")

    def seek(self, *_: int) -> int:
        raise OSError("a stream has no place")


def streamed(method: int) -> bytes:
    file = Stream()
    with zipfile.ZipFile(file, "w", method) as other:
        other.writestr(plain("a"), b"x" * 99, method)
    return file.getvalue()


def accented(first: str, second: str) -> bytes:
    return by_python((plain(first), b"1"), (plain(second), b"2"))


def setuid(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o104755 << 16
    return info


FOREIGN: dict[str, tuple[Callable[[], bytes], str]] = {
    "Z1_out_of_its_folder": (lambda: by_python((plain("../a"), b"x")), "leads out of its folder"),
    "Z2_absolute": (lambda: by_python((plain("/etc/passwd"), b"x")), "is absolute"),
    "Z3_backslash": (lambda: zipped({"aXb": b""}).replace(b"aXb", b"a\\b"), "has a backslash"),
    "Z3_drive": (lambda: by_python((plain("C:/a"), b"x")), "is absolute"),
    "Z4_symlink": (lambda: by_python((link("a"), b"/etc/passwd")), "no ordinary file"),
    "Z8_doubled": (lambda: doubled("a", "a"), "is there twice"),
    "Z9_doubled_but_for_case": (lambda: doubled("a", "A"), "is there twice"),
    "Z9_doubled_but_for_normal_form": (lambda: accented("caf\u00e9", "cafe\u0301"), "other characters"),
    "Z9_ligature": (lambda: accented("file", "\ufb01le"), "other characters"),
    "Z12_data_descriptor": (lambda: streamed(zipfile.ZIP_STORED), "not written in canonical form"),
    "Z12_data_descriptor_compressed": (lambda: streamed(zipfile.ZIP_DEFLATED), r"compressed \(method 8\)"),
    "Z10_bomb": (lambda: BOMB, r"compressed \(method 8\)"),
    "Z17_prefix": (lambda: b"#!/bin/sh\n" + zipped(FILES), "something was put before the files"),
    "Z15_trailing": (lambda: zipped(FILES) + b"more", "4 bytes stand behind its end"),
    "Z15_two_archives": (lambda: zipped(FILES) + zipped({"b": b"x"}), "something was put before the files"),
    "Z15_comment": (commented, "something was put before the files"),
    "Z19_bzip2": (lambda: by_python(("a", b"x" * 99), method=zipfile.ZIP_BZIP2), r"method 12"),
    "Z19_lzma": (lambda: by_python(("a", b"x" * 99), method=zipfile.ZIP_LZMA), r"method 14"),
    "Z20_too_many_files": (many, "at most 100,000"),
    "Z21_control_character": (lambda: by_python((plain("a\x1bb"), b"x")), "other characters"),
    "Z21_right_to_left": (lambda: by_python((plain("a\u202egnp"), b"x")), "other characters"),
    "Z22_unicode_path": (lambda: by_python((extra("a", UPATH), b"x")), "not written in canonical form"),
    "Z26_setuid": (lambda: by_python((setuid("a"), b"x")), "not written in canonical form"),
    "folder": (lambda: by_python((plain("a/"), b"")), "is a folder"),
    "date": (lambda: by_python((dated("a"), b"x")), "not written in canonical form"),
    "file_comment": (lambda: by_python((noted("a"), b"x")), "not written in canonical form"),
    "no_zip": (lambda: b"%PDF-1.7\n" * 10, "no ZIP file"),
    "nothing": (lambda: b"", "no ZIP file"),
    "cut_off": (lambda: zipped(FILES)[:-30], "no ZIP file|missing"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("trick", FOREIGN)
def test_is_refused(trick: str) -> None:
    make, said = FOREIGN[trick]
    with pytest.raises(ZipRefused, match=said):
        unzipped(make())


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["zip", "-q", "-r", "t.zip", "a"], "canonical form|method 8"),
        (["zip", "-q", "-0", "-X", "t.zip", "a"], "canonical form"),
        (["zip", "-q", "-P", "secret", "t.zip", "a"], "is encrypted"),
        (["zip", "-q", "-y", "t.zip", "link"], "no ordinary file"),
        (["7z", "a", "t.zip", "a"], "canonical form|method"),
        (["7z", "a", "-psecret", "-mem=AES256", "t.zip", "a"], "is encrypted"),
    ],
    ids=["zip", "zip_stored", "Z18_zip_encrypted", "Z4_zip_symlink", "7z", "Z18_7z_encrypted"],
)
def test_what_this_program_packed_is_refused(command: list[str], said: str, tmp_path: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to("a")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(ZipRefused, match=said):
        unzipped((tmp_path / "t.zip").read_bytes())


# --- Refused: ours, tampered with -------------------------------------------------------------------


def at(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def test_Z13_another_name_before_the_data_is_refused() -> None:  # noqa: N802
    assert "it is named 'REXDME.txt' there" in refusal(at(zipped(FILES), 30, b"REXDME.txt"))


def test_Z14_another_size_before_the_data_is_refused() -> None:  # noqa: N802
    assert "the header before its data says something else" in refusal(
        at(zipped(FILES), 18, struct.pack("<L", 5))
    )


def test_another_size_in_the_directory_is_refused() -> None:
    data = zipped(FILES)
    place = data.index(b"PK\1\2") + 24
    assert "is said to unpack to 7" in refusal(at(data, place, struct.pack("<L", 7)))
    assert "the header before its data says something else" in refusal(
        at(data, place - 4, struct.pack("<2L", 5, 5))
    )


def test_Z11_overlapping_files_are_refused() -> None:  # noqa: N802
    data = zipped({"a": b"1", "b": b"1"})
    second = data.rindex(b"PK\1\2")
    assert "overlaps the file before it" in refusal(at(data, second + 42, struct.pack("<L", 0)))


def test_a_gap_between_files_is_refused() -> None:
    data = zipped({"a": b"1"})
    end = struct.pack("<L", 32 + 6)
    moved = data[:32] + b"hidden" + data[32:]
    assert "6 bytes stand behind the last file" in refusal(at(moved, len(moved) - 6, end))


def test_Z16_zip64_records_that_are_not_needed_are_refused() -> None:  # noqa: N802
    data = zipped({"a": b"1"})
    size = len(data) - 22 - 32
    wide = zips._END64.pack(b"PK\6\6", 44, 0x032D, 45, 0, 0, 1, 1, size, 32) + zips._LOCATOR.pack(
        b"PK\6\7", 0, 32 + size, 1
    )
    refusal(data[:-22] + wide + data[-22:])
    refusal(data[:-22] + wide + at(data[-22:], 10, b"\xff\xff"))


def wide(*values: int) -> bytes:
    """A ZIP64 extra field."""
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def with_extra(field: bytes, *, size: int = 0xFFFFFFFF, offset: int = 0) -> bytes:
    """One file of one byte whose line of the directory has this extra field."""
    data = zipped({"a": b"1"})
    line = at(data[32:-22], 20, struct.pack("<2L", size, size))
    line = at(at(line, 30, struct.pack("<H", len(field))), 42, struct.pack("<L", offset)) + field
    end = at(data[-22:], 12, struct.pack("<L", len(line)))
    return data[:32] + line + end


@pytest.mark.parametrize(
    "data",
    [
        with_extra(wide(1, 1)),  # it needs none
        with_extra(wide(1, 1), size=1),
        with_extra(wide(1 << 40, 1 << 40)),
        with_extra(wide(0xFFFFFFFF, 0xFFFFFFFF)),
        with_extra(wide(1, 1 << 40)),
        with_extra(wide((1 << 64) - 1, (1 << 64) - 1)),
        with_extra(wide(1, 1, 0), offset=0xFFFFFFFF),
        with_extra(wide(0), size=1, offset=0xFFFFFFFF),
        with_extra(b""),
        with_extra(b"\1\0\x10\0"),
        with_extra(b"\1\0"),
    ],
)
def test_Z16_zip64_fields_that_lie_are_refused(data: bytes) -> None:  # noqa: N802
    refusal(data)


@pytest.mark.parametrize(
    "values", [{"offset": 33}, {"size": 1 << 40}, {"count": 2}, {"place": 0}, {"disks": 2}]
)
def test_Z16_zip64_ends_that_lie_are_refused(values: dict[str, int]) -> None:  # noqa: N802
    data = zipped({f"f{number}": b"" for number in range(0xFFFF)})
    unzipped(data)
    found = data.rindex(b"PK\6\6")
    head, count, size, offset = data[:found], 0xFFFF, *struct.unpack_from("<2Q", data, found + 40)
    place, disks = found, 1
    count, size, offset = (
        values.get(n, old) for n, old in (("count", count), ("size", size), ("offset", offset))
    )
    place, disks = values.get("place", place), values.get("disks", disks)
    end64 = zips._END64.pack(b"PK\6\6", 44, 0x032D, 45, 0, 0, count, count, size, offset)
    refusal(head + end64 + zips._LOCATOR.pack(b"PK\6\7", 0, place, disks) + data[-22:])


def test_Z28_offsets_that_lead_out_of_the_file_are_refused() -> None:  # noqa: N802
    data = zipped(FILES)
    for value in (0xFFFFFFFE, 0x7FFFFFFF, len(data)):
        refusal(at(data, len(data) - 6, struct.pack("<L", value)))


def test_changed_bytes_do_not_have_their_crc() -> None:
    data = zipped(FILES)
    assert "do not have its CRC" in refusal(data.replace(b"hello", b"hullo"))


def test_another_crc_in_both_headers_is_refused() -> None:
    data = zipped({"a": b"1"})
    crc, other = struct.pack("<L", zlib.crc32(b"1")), struct.pack("<L", zlib.crc32(b"2"))
    assert data.count(crc) == 2
    assert "do not have its CRC" in refusal(data.replace(crc, other))


def test_more_bytes_than_the_caller_wants_are_refused() -> None:
    reader = ZipReader(io.BytesIO(zipped(FILES)))
    with pytest.raises(ZipRefused, match="at most 3 bytes, found 6"):
        reader.read(reader.members["README.txt"], 3)


def test_no_single_changed_byte_goes_unnoticed() -> None:
    data = zipped({"a": b"12", "b/c": b"3"})
    for place in range(len(data)):
        refusal(at(data, place, bytes([data[place] ^ 0x20])))
