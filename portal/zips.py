"""ZIP files in one canonical form: equal content makes equal bytes, and only that form is read.

APPNOTE.TXT 6.3.10. Files are stored without compression, one after the other from offset 0, without gap,
comment, attribute or date; sizes and CRC stand before the data; ZIP64 records are there where a number needs
them and nowhere else; behind the last file come the directory and its end. Any ZIP program reads it. Since a
reader knows every byte that is not content, nothing can hide, overlap, unpack to more than it is, or be read
in two ways.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Self

from portal.errors import ZipRefused

FILES_MAX: Final = 100_000
NAME_MAX: Final = 200
CHUNK: Final = 1024 * 1024
_LARGE: Final = 0xFFFF_FFFF  # from here on a number stands in a ZIP64 record
_MANY: Final = 0xFFFF
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_DATE: Final = 0x0021  # 1980-01-01, the first that there is
_ATTRIBUTES: Final = 0o100644 << 16  # an ordinary file
_UNIX: Final = 3 << 8
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Member:
    """One file: its name, size in bytes, CRC-32, and where its header begins."""

    name: str
    size: int
    crc: int
    offset: int

    def local(self) -> bytes:
        """The header before its data (4.3.7)."""
        extra, size = b"", self.size
        if self.size >= _LARGE:
            extra, size = struct.pack("<2H2Q", 1, 16, self.size, self.size), _LARGE
        name = self.name.encode()
        head = _LOCAL.pack(
            b"PK\3\4", _version(extra), 0, 0, 0, _DATE, self.crc, size, size, len(name), len(extra)
        )
        return head + name + extra

    def central(self) -> bytes:
        """Its line of the directory (4.3.12)."""
        size, offset, values = self.size, self.offset, []
        if size >= _LARGE:
            values += [size, size]
            size = _LARGE
        if offset >= _LARGE:
            values.append(offset)
            offset = _LARGE
        extra = struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values) if values else b""
        name = self.name.encode()
        version = _version(extra)
        head = _CENTRAL.pack(
            b"PK\1\2",
            _UNIX | version,
            version,
            0,
            0,
            0,
            _DATE,
            self.crc,
            size,
            size,
            len(name),
            len(extra),
            0,
            0,
            0,
            _ATTRIBUTES,
            offset,
        )
        return head + name + extra

    @property
    def data(self) -> int:
        """Where its bytes begin."""
        return self.offset + len(self.local())


def _version(extra: bytes) -> int:
    return 45 if extra else 20


def _end(count: int, size: int, offset: int) -> bytes:
    """What stands behind the directory (4.3.14 to 4.3.16)."""
    wide = b""
    if count >= _MANY or size >= _LARGE or offset >= _LARGE:
        wide = _END64.pack(b"PK\6\6", _END64.size - 12, _UNIX | 45, 45, 0, 0, count, count, size, offset)
        wide += _LOCATOR.pack(b"PK\6\7", 0, offset + size, 1)
    few = min(count, _MANY)
    return wide + _END.pack(b"PK\5\6", 0, 0, few, few, min(size, _LARGE), min(offset, _LARGE), 0)


def name_problem(name: str) -> str:
    """What is wrong with a name; empty when nothing is."""
    if "\\" in name:
        return "has a backslash"
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        return "is absolute"
    parts = name.split("/")
    if ".." in parts:
        return "leads out of its folder"
    if name.endswith("/"):
        return "is a folder"
    if len(name) > NAME_MAX:
        return f"is longer than {NAME_MAX} characters"
    if not all(map(_PART.fullmatch, parts)):
        return "has other characters than letters, digits, '.', '_' and '-', or begins with one of the last"
    return ""


class ZipWriter:
    """Writes into an empty file that can seek. Memory does not grow with the size of what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members: list[Member] = []
        self._names: set[str] = set()

    def add(self, name: str, data: bytes) -> None:
        with self.open(name, len(data)) as member:
            member.write(data)

    def open(self, name: str, size: int) -> "Entry":
        """A file of exactly `size` bytes: write them in a `with` block."""
        if problem := name_problem(name):
            raise ValueError(f"{name!r} {problem}")
        if name.lower() in self._names:
            raise ValueError(f"{name!r} is there already")
        self._names.add(name.lower())
        return Entry(self._file, self._members, name, size)

    def close(self) -> None:
        """Write the directory. The file itself stays open."""
        offset = self._file.tell()
        size = sum(self._file.write(member.central()) for member in self._members)
        self._file.write(_end(len(self._members), size, offset))


class Entry:
    """One file that is being written."""

    def __init__(self, file: BinaryIO, members: list[Member], name: str, size: int) -> None:
        self._file, self._members, self._name, self._size = file, members, name, size
        self._crc = self._done = 0

    def __enter__(self) -> Self:
        self._offset = self._file.tell()
        self._file.write(Member(self._name, self._size, 0, self._offset).local())
        return self

    def write(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._done += len(data)
        self._file.write(data)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        if self._done != self._size:
            raise ValueError(f"{self._name!r}: expected {self._size} bytes, found {self._done}")
        member = Member(self._name, self._size, self._crc, self._offset)
        end = self._file.tell()
        self._file.seek(self._offset)
        self._file.write(member.local())
        self._file.seek(end)
        self._members.append(member)


# --- Reading --------------------------------------------------------------------------------------


class ZipReader:
    """The files of a ZIP in canonical form. Raises ZipRefused, which says what is wrong and where."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.members = {member.name: member for member in _members(file)}

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The bytes of a file, in pieces. Raises ZipRefused at the end where they do not have its CRC."""
        self._file.seek(member.data)
        left, crc = member.size, 0
        while left:
            data = self._file.read(min(CHUNK, left))
            if not data:
                raise ZipRefused(f"{member.name}: the file ends within it")
            left, crc = left - len(data), zlib.crc32(data, crc)
            yield data
        if crc != member.crc:
            raise ZipRefused(f"{member.name}: its bytes do not have its CRC")

    def read(self, member: Member, limit: int) -> bytes:
        """A small file whole. Raises ZipRefused over `limit` bytes."""
        if member.size > limit:
            raise ZipRefused(f"{member.name}: expected at most {limit:,} bytes, found {member.size:,}")
        return b"".join(self.chunks(member))


def _members(file: BinaryIO) -> list[Member]:
    length = file.seek(0, 2)
    count, size, offset, end = _directory(file, length)
    if count > FILES_MAX or size > FILES_MAX * (_CENTRAL.size + NAME_MAX + 28):
        raise ZipRefused(f"it has {count:,} files; expected at most {FILES_MAX:,}")
    if offset + size != end:
        raise ZipRefused(
            f"its directory of {size:,} bytes is said to begin at {offset:,}, but its end stands at {end:,}: "
            "something was put before the files, behind them or between"
        )
    directory = _at(file, offset, size)
    members, names, at, place = [], set[str](), 0, 0
    for number in range(1, count + 1):
        member, at = _entry(directory, at, number)
        if member.name.lower() in names:
            raise ZipRefused(f"{member.name!r} is there twice")
        names.add(member.name.lower())
        place = _in_place(file, member, place)
        members.append(member)
    if at != size:
        raise ZipRefused(f"its directory has {size - at:,} bytes more than its {count:,} files need")
    if place != offset:
        raise ZipRefused(f"{offset - place:,} bytes stand behind the last file: they belong to none")
    if _at(file, end, length - end) != _end(count, size, offset):
        raise ZipRefused("the end of its directory is not in canonical form")
    return members


def _directory(file: BinaryIO, length: int) -> tuple[int, int, int, int]:
    """How many files, how long the directory is, where it begins, and where its end does."""
    tail = _at(file, max(0, length - 65_557), min(length, 65_557))
    last = tail[-_END.size :]
    if len(last) < _END.size or last[:4] != b"PK\5\6":
        found = tail.rfind(b"PK\5\6")
        if found < 0 or len(tail) - found < _END.size:
            raise ZipRefused("it is no ZIP file, or its end is missing")
        more = len(tail) - found - _END.size
        raise ZipRefused(f"{more:,} bytes stand behind its end: a ZIP in canonical form has none there")
    _, disk, first_disk, here, count, size, offset, comment = _END.unpack(last)
    if comment or disk or first_disk or here != count:
        raise ZipRefused("its end speaks of a comment, or of several disks")
    end = length - _END.size
    if count == _MANY or size == _LARGE or offset == _LARGE:
        end -= _LOCATOR.size + _END64.size
        if end < 0:
            raise ZipRefused("its end speaks of ZIP64 records that are not there")
        wide = _END64.unpack(_at(file, end, _END64.size))
        if wide[0] != b"PK\6\6":
            raise ZipRefused("its end speaks of ZIP64 records that are not where they belong")
        count, size, offset = wide[7:]
    return count, size, offset, end


def _entry(directory: bytes, at: int, number: int) -> tuple[Member, int]:
    """The file in one line of the directory, and where the next line begins."""
    where = f"file {number} of the directory"
    if len(directory) - at < _CENTRAL.size or directory[at : at + 4] != b"PK\1\2":
        raise ZipRefused(f"{where} is missing: its end counts more files than there are")
    head = _CENTRAL.unpack_from(directory, at)
    _, _, _, flags, method, _, _, crc, packed, size, names, extras, comments, _, _, mode, offset = head
    end = at + _CENTRAL.size + names
    raw = directory[at + _CENTRAL.size : end]
    name = raw.decode("ascii", "replace")
    if problem := name_problem(name):
        raise ZipRefused(f"{where}: the name {name[:NAME_MAX]!r} {problem}")
    if flags & 0x2041:
        raise ZipRefused(f"{name!r} is encrypted")
    if mode >> 28 not in (0, 0o10):
        raise ZipRefused(f"{name!r} is no ordinary file (a link or a device)")
    if method != 0:
        raise ZipRefused(f"{name!r} is compressed (method {method}): files are stored as they are")
    if packed != size:
        raise ZipRefused(f"{name!r} has {packed:,} bytes here and is said to unpack to {size:,}")
    extra = directory[end : end + extras]
    if extra[:2] == b"\1\0" and (extras - 4) % 8 == 0 and extras <= 28:
        values = list(struct.unpack(f"<{(extras - 4) // 8}Q", extra[4:]))
        if size == _LARGE and len(values) > 1:
            size = values.pop(0)
            values.pop(0)
        if offset == _LARGE and values:
            offset = values.pop(0)
    member = Member(name, size, crc, offset)
    if directory[at : end + extras + comments] != member.central():
        raise ZipRefused(
            f"{name!r} is not written in canonical form (date, attributes, comment, extra field or flags): "
            "the file was packed again by another program"
        )
    return member, end + extras


def _in_place(file: BinaryIO, member: Member, place: int) -> int:
    """Where the next file must begin, when this one stands at `place` with the header that it must have."""
    if member.offset < place:
        raise ZipRefused(f"{member.name!r} overlaps the file before it")
    if member.offset > place:
        raise ZipRefused(f"{member.offset - place:,} bytes before {member.name!r} belong to no file")
    expected = member.local()
    found = _at(file, place, len(expected))
    if found != expected:
        named = ""
        if len(found) >= _LOCAL.size and found[:4] == b"PK\3\4":
            length = _LOCAL.unpack_from(found)[9]
            name = _at(file, place + _LOCAL.size, min(length, 2 * NAME_MAX))
            if name != member.name.encode():
                named = f" (it is named {name.decode('ascii', 'backslashreplace')!r} there)"
        raise ZipRefused(f"{member.name!r}: the header before its data says something else{named}")
    return place + len(expected) + member.size


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
