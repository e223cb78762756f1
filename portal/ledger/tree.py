"""Merkle trees of RFC 6962 §2.1 in the tiles of C2SP tlog-tiles: what a log computes and a client checks.

A tile of level L holds up to 256 hashes of 32 bytes, each the root of a complete subtree of 256**L leaves.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from portal.errors import LedgerError

HASH: Final = 32
WIDTH: Final = 256  # hashes in a full tile
_HEIGHT: Final = 8
MAX_PROOF: Final = 63  # a tree of 2**63 leaves needs no more; the witness protocol refuses more

# Gives the first `width` hashes of the tile at (level, number), concatenated. Raises LedgerError without it.
Read = Callable[[int, int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


EMPTY: Final = hashlib.sha256(b"").digest()


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """The path of a tile below a log's prefix; `level` is "entries" for an entry bundle (tlog-tiles)."""
    parts = [f"{number % 1000:03d}"]
    while number := number // 1000:
        parts.append(f"x{number % 1000:03d}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(reversed(parts))}{partial}"


def tile_width(size: int, level: int, number: int) -> int:
    """How many hashes the tile at (level, number) has in a tree of `size` leaves; 0 where it has none."""
    return max(0, min(WIDTH, (size >> (_HEIGHT * level)) - number * WIDTH))


class Tree:
    """A tree of `size` leaves, read from tiles. Each tile is read once."""

    def __init__(self, size: int, read: Read) -> None:
        self.size = size
        self._read = read
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}

    def root(self) -> bytes:
        return self._range(0, self.size) if self.size else EMPTY

    def root_at(self, size: int) -> bytes:
        """The root that the tree had at an earlier size."""
        if not 0 <= size <= self.size:
            raise LedgerError(f"no root at size {size}: the log has {self.size} entries")
        return self._range(0, size) if size else EMPTY

    def inclusion(self, index: int) -> list[bytes]:
        """The audit path of a leaf, its sibling first (RFC 6962 §2.1.1)."""
        if not 0 <= index < self.size:
            raise LedgerError(f"no entry {index}: the log has {self.size} entries")
        proof: list[bytes] = []
        first, end = 0, self.size
        while end - first > 1:
            middle = first + _split(end - first)
            if index < middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(first, middle))
                first = middle
        return proof[::-1]

    def consistency(self, old: int) -> list[bytes]:
        """That the tree of `old` leaves is a beginning of this one (RFC 6962 §2.1.2)."""
        if not 0 < old <= self.size:
            raise LedgerError(f"no proof from size {old}: the log has {self.size} entries")
        proof: list[bytes] = []
        first, end, whole = 0, self.size, True
        while old != end:
            middle = first + _split(end - first)
            if old <= middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(first, middle))
                first, whole = middle, False
        if not whole:
            proof.append(self._range(first, end))
        return proof[::-1]

    def _range(self, first: int, end: int) -> bytes:
        """The hash over the leaves first..end, where `first` is where such a subtree may begin."""
        length = end - first
        top = _split(length) if length > 1 else 1
        if length == 1 or top * 2 == length:
            return self._complete(length.bit_length() - 1, first)
        return node_hash(self._range(first, first + top), self._range(first + top, end))

    def _complete(self, level: int, first: int) -> bytes:
        """The hash over 2**level leaves from `first` on, a multiple of it."""
        tile_level, height = divmod(level, _HEIGHT)
        at = first >> level
        number, offset = divmod(at, WIDTH >> height)
        return self._tile(tile_level, number)[height][offset]

    def _tile(self, level: int, number: int) -> list[list[bytes]]:
        """The hashes of a tile, and those of every complete subtree above them within it."""
        rows = self._tiles.get((level, number))
        if rows is None:
            width = tile_width(self.size, level, number)
            data = self._read(level, number, width)
            if len(data) != width * HASH:
                raise LedgerError(
                    f"{tile_path(level, number, width)}: expected {width * HASH} bytes, found {len(data)}"
                )
            rows = [[data[at : at + HASH] for at in range(0, len(data), HASH)]]
            sha256 = hashlib.sha256
            while len(below := rows[-1]) > 1:
                pairs = zip(below[::2], below[1::2], strict=False)
                rows.append([sha256(b"\x01" + left + right).digest() for left, right in pairs])
            self._tiles[level, number] = rows
        return rows


def _split(length: int) -> int:
    """The largest power of two below `length`."""
    return 1 << ((length - 1).bit_length() - 1)


def grow(size: int, leaves: Iterable[bytes], read: Read) -> Iterator[tuple[int, int, bytes]]:
    """The tiles that change when leaf hashes join a tree of `size`: (level, number, all their hashes).

    Each changed tile comes once, as it is at the end.
    """
    added, level, rest = list(leaves), 0, size
    while added:
        number, width = divmod(rest, WIDTH)
        data = (read(level, number, width) if width else b"") + b"".join(added)
        added, rest = [], number
        for at in range(0, len(data), WIDTH * HASH):
            tile = data[at : at + WIDTH * HASH]
            yield level, number, tile
            number += 1
            if len(tile) == WIDTH * HASH:
                added.append(root_of_full(tile))
        level += 1


def root_of_full(tile: bytes) -> bytes:
    """What stands for a full tile in the one above it."""
    sha256 = hashlib.sha256
    row = [tile[at : at + 2 * HASH] for at in range(0, len(tile), 2 * HASH)]
    while True:
        hashes = [sha256(b"\x01" + pair).digest() for pair in row]
        if len(hashes) == 1:
            return hashes[0]
        row = [left + right for left, right in zip(hashes[::2], hashes[1::2], strict=True)]


# --- What a client checks -------------------------------------------------------------------------


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 §2.1.3.2. Raises LedgerError where the proof does not show that the leaf is in the tree."""
    if not 0 <= index < size:
        raise LedgerError(f"the proof is for entry {index} of a log of {size} entries")
    at, last, found = index, size - 1, leaf
    for number, sibling in enumerate(proof):
        if last == 0:
            raise LedgerError(f"the proof has {len(proof)} hashes, entry {index} of {size} needs {number}")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise LedgerError(f"the proof is too short: {len(proof)} hashes for entry {index} of {size}")
    if found != root:
        raise LedgerError(f"the proof does not lead to the root: entry {index} is not in this log")


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162 §2.1.4.2. Raises LedgerError where the older tree is no beginning of the newer one."""
    if not 0 <= old <= new:
        raise LedgerError(f"the log went back from {old} to {new} entries")
    if old in (0, new):
        if proof:
            raise LedgerError(f"no proof was expected from {old} to {new} entries, found {len(proof)} hashes")
        if old == new and old_root != new_root:
            raise LedgerError(f"two different logs of {new} entries: history was rewritten")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise LedgerError(f"the proof from {old} to {new} entries is empty")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise LedgerError(f"the proof from {old} to {new} entries is too long: {len(proof)} hashes")
        if at & 1 or at == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise LedgerError(f"the proof from {old} to {new} entries is too short: {len(proof)} hashes")
    if older != old_root or newer != new_root:
        raise LedgerError(f"the log of {new} entries does not continue that of {old}: history was rewritten")
