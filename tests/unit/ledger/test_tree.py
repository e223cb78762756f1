"""Trees in tiles against the definitions of RFC 6962, and proofs against every way of being wrong."""

import hashlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import LedgerError
from portal.ledger.tree import (
    EMPTY,
    HASH,
    Read,
    Tree,
    check_consistency,
    check_inclusion,
    grow,
    leaf_hash,
    tile_path,
    tile_width,
)


def plain(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, as it stands there."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + plain(leaves[:k]) + plain(leaves[k:])).digest()


class Stored:
    """Tiles in memory."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.leaves: list[bytes] = []

    def read(self, level: int, number: int, width: int) -> bytes:
        return self.tiles[level, number][: width * HASH]

    def add(self, count: int) -> None:
        size = len(self.leaves)
        new = [leaf_hash(f"entry {size + nth}".encode()) for nth in range(count)]
        for level, number, data in grow(size, new, self.read):
            assert data.startswith(self.tiles.get((level, number), b""))  # a tile only grows
            self.tiles[level, number] = data
        self.leaves += new

    def tree(self, size: int | None = None) -> Tree:
        return Tree(len(self.leaves) if size is None else size, self.read)


@pytest.fixture(scope="module")
def stored() -> Stored:
    stored = Stored()
    stored.add(70_000)
    return stored


@given(st.lists(st.integers(1, 400), max_size=8))
def test_roots_are_those_of_the_definition_however_the_tree_grew(steps: list[int]) -> None:
    stored = Stored()
    for step in steps:
        stored.add(step)
    assert stored.tree().root() == plain(stored.leaves)


def test_the_empty_tree_and_earlier_sizes(stored: Stored) -> None:
    assert Stored().tree().root() == EMPTY == hashlib.sha256().digest()
    tree = stored.tree()
    for size in (0, 1, 255, 256, 257, 65_535, 65_536, 69_999, 70_000):
        assert tree.root_at(size) == plain(stored.leaves[:size])


def test_the_tiles_are_those_of_the_specification(stored: Stored) -> None:
    """Its example: 273 full tiles and one of 112, one full and one of 17, one of 1."""
    widths = {place: len(data) // HASH for place, data in stored.tiles.items()}
    expected = {(0, n): 256 for n in range(273)} | {(0, 273): 112, (1, 0): 256, (1, 1): 17, (2, 0): 1}
    assert widths == expected
    assert all(tile_width(70_000, *place) == width for place, width in widths.items())
    assert tile_width(70_000, 0, 274) == tile_width(70_000, 3, 0) == 0


def test_paths_are_those_of_the_specification() -> None:
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path("entries", 0, 17) == "tile/entries/000.p/17"
    assert tile_path(2, 1_000) == "tile/2/x001/000"


@given(st.data())
def test_every_entry_is_proven_and_no_other(stored: Stored, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70_000))
    index = data.draw(st.integers(0, size - 1))
    tree = stored.tree(size)
    proof, root, leaf = tree.inclusion(index), tree.root(), stored.leaves[index]
    check_inclusion(leaf, index, size, proof, root)
    wrong = data.draw(st.integers(0, size - 1).filter(lambda other: other != index)) if size > 1 else None
    with pytest.raises(LedgerError):
        check_inclusion(leaf_hash(b"another"), index, size, proof, root)
    if wrong is not None:
        with pytest.raises(LedgerError):
            check_inclusion(leaf, wrong, size, proof, root)
    for broken in (proof[:-1], [*proof, EMPTY], [EMPTY, *proof]):
        if broken != proof:
            with pytest.raises(LedgerError):
                check_inclusion(leaf, index, size, broken, root)


@given(st.data())
def test_a_tree_continues_its_beginnings_and_nothing_else(stored: Stored, data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 70_000))
    old = data.draw(st.integers(1, new))
    tree = stored.tree(new)
    proof = tree.consistency(old)
    roots = tree.root_at(old), tree.root()
    check_consistency(old, new, *roots, proof)
    with pytest.raises(LedgerError):
        check_consistency(old, new, EMPTY, roots[1], proof)
    with pytest.raises(LedgerError):
        check_consistency(old, new, roots[0], EMPTY, proof)
    for broken in (proof[:-1], [*proof, EMPTY]):
        if broken != proof:
            with pytest.raises(LedgerError):
                check_consistency(old, new, *roots, broken)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        flipped = [*proof]
        flipped[place] = bytes([flipped[place][0] ^ 1]) + flipped[place][1:]
        with pytest.raises(LedgerError):
            check_consistency(old, new, *roots, flipped)


def test_an_index_past_the_size_and_a_log_that_went_back_are_refused(stored: Stored) -> None:
    tree = stored.tree(1000)
    with pytest.raises(LedgerError, match="no entry 1000"):
        tree.inclusion(1000)
    with pytest.raises(LedgerError, match="entry 1000 of a log of 1000"):
        check_inclusion(stored.leaves[1], 1000, 1000, tree.inclusion(1), tree.root())
    with pytest.raises(LedgerError, match="went back from 1000 to 999"):
        check_consistency(1000, 999, tree.root(), tree.root_at(999), [])
    with pytest.raises(LedgerError, match="rewritten"):
        check_consistency(1000, 1000, tree.root(), tree.root_at(999), [])


def tampering(stored: Stored, place: tuple[int, int], tampered: bytes) -> Read:
    def read(level: int, number: int, width: int) -> bytes:
        held = tampered if (level, number) == place else stored.tiles[level, number]
        return held[: width * HASH]

    return read


def test_a_tampered_tile_is_found_by_whoever_knows_the_root(stored: Stored) -> None:
    rng = random.Random(7)
    root = stored.tree().root()
    for place, data in [*rng.sample(sorted(stored.tiles.items()), 5), ((1, 0), stored.tiles[1, 0])]:
        at = rng.randrange(len(data))
        tampered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

        tree = Tree(70_000, tampering(stored, place, tampered))
        # A leaf that has what was touched beside its path.
        index = ((place[1] * 256 + at // HASH) ^ 1) << (8 * place[0])
        index = index if index < 70_000 else 0
        with pytest.raises(LedgerError, match="does not lead to the root"):
            check_inclusion(stored.leaves[index], index, 70_000, tree.inclusion(index), root)


def test_a_short_tile_is_named(stored: Stored) -> None:
    tree = Tree(70_000, lambda level, number, width: stored.read(level, number, width)[:-1])
    with pytest.raises(LedgerError, match=r"tile/2/000\.p/1: expected 32 bytes, found 31"):
        tree.root()
