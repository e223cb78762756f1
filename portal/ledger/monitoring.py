"""What a monitor checks of a log that it reads over HTTP: C2SP tlog-tiles, by a policy of its own.

Every entry is read once. What is remembered is the newest checkpoint that was believed, and the right edge of
the tree of what was read: at most 255 hashes a level.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from portal.errors import LedgerError
from portal.ledger.leaves import Opening, tag
from portal.ledger.notes import MAX_NOTE, Checkpoint, Opened, open_note
from portal.ledger.policies import TrustPolicy
from portal.ledger.ports import Http
from portal.ledger.proofs import Proof
from portal.ledger.tree import (
    EMPTY,
    HASH,
    WIDTH,
    Tree,
    check_consistency,
    grow,
    leaf_hash,
    tile_path,
    tile_width,
)

MAX_BUNDLE: Final = WIDTH * (2 + 65_535)  # bytes
STEP: Final = 64  # bundles between two times that what was read is kept
TILES: Final = 512  # that are in memory at once: 4 MiB


class Trouble(LedgerError):
    """Something about a log does not hold. `kind` is a stable name."""

    def __init__(self, message: str, kind: str = "trouble") -> None:
        super().__init__(message)
        self.kind = kind


UNREACHABLE: Final = "unreachable"


@dataclass(frozen=True, slots=True)
class Followed:
    """What is remembered of a log: `note` is the newest checkpoint believed, as it was signed.

    `read` entries were read and hashed; `edge` has the incomplete tiles over them, by level. `watched` is the
    digest of the watch key that they were read with.
    """

    note: str
    watched: str = ""
    read: int = 0
    edge: dict[int, bytes] = field(default_factory=dict)

    def root(self) -> bytes:
        """The root over the entries that were read. Raises LedgerError where the edge is another."""
        return Tree(self.read, self._tile).root() if self.read else EMPTY

    def _tile(self, level: int, _number: int, width: int) -> bytes:
        data = self.edge.get(level, b"")
        if len(data) != width * HASH:
            raise LedgerError(f"what is remembered of level {level} is damaged")
        return data


@dataclass(frozen=True, slots=True)
class About:
    """An entry about the supplier whose key is watched with."""

    index: int
    at: str


# --- Over HTTP ------------------------------------------------------------------------------------


class RemoteLog:
    """The files of one log, as they are served below `url`. Raises Trouble for what is missing or wrong."""

    def __init__(self, http: Http, url: str) -> None:
        self._http, self._url = http, url
        self._tile = lru_cache(TILES)(self._fetch_tile)

    def checkpoint(self) -> str:
        try:
            return self._fetch("checkpoint", MAX_NOTE).decode()
        except UnicodeDecodeError:
            raise Trouble("the checkpoint is not text", "signature") from None

    def tree(self, size: int) -> Tree:
        return Tree(size, self._tile)

    def tile(self, level: int, number: int, width: int) -> bytes:
        return self._tile(level, number, width)

    def bundle(self, number: int, width: int) -> list[bytes]:
        """The entries of a bundle."""
        path = tile_path("entries", number, width)
        data = self._fetch_part("entries", number, width, MAX_BUNDLE)
        entries: list[bytes] = []
        at = 0
        while at + 2 <= len(data) and len(entries) < width:
            (length,) = struct.unpack_from(">H", data, at)
            entries.append(data[at + 2 : at + 2 + length])
            at += 2 + length
        if len(entries) != width or at > len(data):
            raise Trouble(f"{path} does not hold {width} entries", "entries")
        return entries

    def _fetch_tile(self, level: int, number: int, width: int) -> bytes:
        data = self._fetch_part(level, number, width, WIDTH * HASH)[: width * HASH]
        if len(data) != width * HASH:
            raise Trouble(f"{tile_path(level, number, width)} has {len(data)} bytes", "tile")
        return data

    def _fetch_part(self, level: int | str, number: int, width: int, limit: int) -> bytes:
        """A tile or bundle; the full one where the partial one is no longer there (tlog-tiles)."""
        try:
            return self._fetch(tile_path(level, number, width), limit)
        except Trouble as trouble:
            if trouble.kind != "missing" or width == WIDTH:
                raise
        try:
            return self._fetch(tile_path(level, number), limit)
        except Trouble as trouble:
            if trouble.kind == "missing":
                raise Trouble(f"{tile_path(level, number, width)} is not there", "missing") from None
            raise

    def _fetch(self, path: str, limit: int) -> bytes:
        try:
            reply = self._http.get(f"{self._url}/{path}", limit)
        except OSError as error:
            raise Trouble(f"{self._url}/{path}: {error}", UNREACHABLE) from None
        if reply.status == 404:
            raise Trouble(f"{path} is not there", "missing")
        if reply.status != 200:
            raise Trouble(f"{self._url}/{path}: status {reply.status}", UNREACHABLE)
        return reply.body


# --- Checking -------------------------------------------------------------------------------------


def believed(text: str, origin: str, policy: TrustPolicy) -> Opened:
    """A checkpoint that this log signed. Raises Trouble. The quorum is for the caller to ask for."""
    try:
        keys = [key for key in policy.logs if key.name == origin]
        return open_note(text, keys, list(policy.witnesses.values()))
    except LedgerError as error:
        raise Trouble(error.message, "signature") from None


def demand_extension(remote: RemoteLog, new: Checkpoint, old: Checkpoint) -> None:
    """That `new` continues `old`, and that the tiles make its root. Raises Trouble."""
    if new.size < old.size:
        raise Trouble(f"the log went back from {old.size:,} to {new.size:,} entries", "rollback")
    if new.size == old.size:
        if new.root != old.root:
            raise Trouble(
                f"two different logs of {new.size:,} entries are signed: history was rewritten", "fork"
            )
        return
    tree = remote.tree(new.size)
    if tree.root() != new.root:
        raise Trouble(f"the tiles do not make the root that is signed over {new.size:,} entries", "tile")
    if not old.size:
        if old.root != EMPTY:
            raise Trouble("the root of an empty log is not that of nothing", "fork")
        return
    proof, root = tree.consistency(old.size), tree.root_at(old.size)
    try:
        check_consistency(old.size, new.size, root, new.root, proof)
    except LedgerError:
        raise Trouble(
            f"the tiles do not fit together below {old.size:,} entries: one is altered", "tile"
        ) from None
    if root != old.root:
        raise Trouble(
            f"the log of {new.size:,} entries does not continue the one of {old.size:,} that was seen: "
            "history was rewritten",
            "fork",
        )


def read_on(
    remote: RemoteLog,
    new: Checkpoint,
    followed: Followed,
    pick: Callable[[int, bytes], About | None],
    keep: Callable[[Followed], None],
) -> Iterator[About]:
    """Read every entry that was not read yet; what `pick` finds in them comes once they are proven.

    After each STEP bundles the tree over what was read is proven to be a beginning of the one that is signed,
    then kept. Raises Trouble.
    """
    while followed.read < new.size:
        first, edge = followed.read, dict(followed.edge)
        hashes: list[bytes] = []
        picked: list[About | None] = []
        end = min(new.size, (first // WIDTH + STEP) * WIDTH)
        for number in range(first // WIDTH, (end + WIDTH - 1) // WIDTH):
            known = max(0, first - number * WIDTH)
            entries = _bundle(remote, new.size, number)[known:]
            picked += map(pick, range(number * WIDTH + known, end), entries)
            hashes += map(leaf_hash, entries)
        for level, number, data in grow(first, hashes, lambda level, *_: edge.get(level, b"")):  # noqa: B023
            width = tile_width(new.size, level, number)
            if remote.tile(level, number, width)[: len(data)] != data:
                raise Trouble(f"{tile_path(level, number, width)} is not what the entries make", "tile")
            edge[level] = b"" if len(data) == WIDTH * HASH else data
        followed = replace(followed, read=end, edge={level: data for level, data in edge.items() if data})
        _demand_beginning(remote, new, followed)
        yield from filter(None, picked)
        keep(followed)


def _bundle(remote: RemoteLog, size: int, number: int) -> list[bytes]:
    """The entries of a bundle that hash into its tile."""
    width = tile_width(size, 0, number)
    entries = remote.bundle(number, width)
    if b"".join(map(leaf_hash, entries)) != remote.tile(0, number, width):
        raise Trouble(
            f"{tile_path('entries', number, width)} does not hash into {tile_path(0, number, width)}: "
            "one of them is altered",
            "entries",
        )
    return entries


def _demand_beginning(remote: RemoteLog, new: Checkpoint, followed: Followed) -> None:
    tree = remote.tree(new.size)
    proof = tree.consistency(followed.read) if followed.read < new.size else []
    try:
        check_consistency(followed.read, new.size, followed.root(), new.root, proof)
    except LedgerError:
        raise Trouble(
            f"the first {followed.read:,} entries, as they were read, are not those of the signed log",
            "entries",
        ) from None


def about(watch_key: str, first_seq: int, index: int, entry: bytes) -> About | None:
    """The entry, if it is about the supplier with this key; earlier logs have `first_seq` entries."""
    try:
        leaf = json.loads(entry)
        if leaf["supplier"] == tag(watch_key, first_seq + index):
            return About(index, str(leaf["at"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        pass  # another kind of entry: it is in the tree, and about nobody that we know
    return None


def demand_receipt(
    text: str, policy: TrustPolicy, remotes: Mapping[str, RemoteLog], newest: Mapping[str, Checkpoint]
) -> None:
    """That a receipt holds, and that its checkpoint is a beginning of its log by now. Raises Trouble."""
    try:
        proof = Proof.parse(text)
        opened = proof.check(Opening.load(proof.extra).leaf(), policy.logs, list(policy.witnesses.values()))
    except LedgerError as error:
        raise Trouble(error.message, "receipt") from None
    origin = opened.checkpoint.origin
    if origin not in newest:
        raise Trouble(f"its log {origin} could not be read", UNREACHABLE)
    demand_extension(remotes[origin], newest[origin], opened.checkpoint)
