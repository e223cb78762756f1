"""A log as somebody else serves it, over HTTP or as a folder: what an old checkpoint is compared with."""

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from portal.errors import LedgerError
from portal.ledger.notes import MAX_NOTE, Checkpoint
from portal.ledger.ports import Http
from portal.ledger.tree import HASH, Read, Tree, check_consistency, tile_path

Fetch = Callable[[str], bytes]
_LARGEST: Final = 256 * 1024


def source(place: str, http: Http) -> Fetch:
    """Reads files below a log's address (`https://…/ledger/1/`) or below a folder. Raises LedgerError."""
    if urlsplit(place).scheme in ("http", "https"):
        return lambda path: _get(http, f"{place.rstrip('/')}/{path}")
    folder = Path(place)
    if not folder.is_dir():
        raise LedgerError(f"expected the address of a log or a folder, found {place!r}")
    return lambda path: _file(folder / path)


def _get(http: Http, url: str) -> bytes:
    try:
        reply = http.get(url, _LARGEST)
    except OSError as error:
        raise LedgerError(f"{url} cannot be read: {error}") from None
    if reply.status != 200:
        raise LedgerError(f"{url}: expected status 200, found {reply.status}")
    return reply.body


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > _LARGEST:
        raise LedgerError(f"{path}: expected at most {_LARGEST:,} bytes")
    return data


def newest_note(fetch: Fetch) -> str:
    """The newest checkpoint there. Nothing is verified yet."""
    try:
        return fetch("checkpoint")[: MAX_NOTE + 1].decode()
    except UnicodeDecodeError:
        raise LedgerError("the checkpoint is no text in UTF-8") from None


def check_continues(old: Checkpoint, new: Checkpoint, fetch: Fetch) -> None:
    """That a log has only grown from one checkpoint to another: computed from its tiles, which are believed
    only as far as they lead to the newer root. Raises LedgerError."""
    if old.origin != new.origin:
        raise LedgerError(f"the older checkpoint is of {old.origin!r}, the newer of {new.origin!r}")
    if old.size > new.size:
        raise LedgerError(f"the other checkpoint is older: {new.size:,} entries, this one has {old.size:,}")
    proof = []
    if 0 < old.size < new.size:
        proof = Tree(new.size, _tiles(fetch)).consistency(old.size)
    check_consistency(old.size, new.size, old.root, new.root, proof)


def _tiles(fetch: Fetch) -> Read:
    def read(level: int, number: int, width: int) -> bytes:
        """A partial tile may be gone once there is a full one (tlog-tiles)."""
        try:
            data = fetch(tile_path(level, number, width))
        except LedgerError:
            data = fetch(tile_path(level, number))
        if len(data) < width * HASH:
            raise LedgerError(f"{tile_path(level, number, width)}: expected {width * HASH} bytes")
        return data[: width * HASH]

    return read
