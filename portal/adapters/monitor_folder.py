"""What a monitor remembers, in a folder: one file a log, what troubles it told, which receipts it checked."""

import base64
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from portal.adapters.keys import private_folder, write_private
from portal.errors import LedgerError, Locked
from portal.ledger.monitoring import Followed


@dataclass(slots=True)
class Told:
    """`troubles`: by name, what does not hold and since when (RFC 3339); those in `mailed` went out."""

    troubles: dict[str, list[str]] = field(default_factory=dict)
    mailed: dict[str, str] = field(default_factory=dict)
    announced: list[str] = field(default_factory=list)


class MonitorFolder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Raises Locked where another monitor works in this folder."""
        private_folder(self.folder)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Locked(f"another monitor works in {self.folder}") from None
            yield
        finally:
            os.close(lock)

    def knows(self, origin: str) -> bool:
        """Whether a checkpoint of this log was ever believed."""
        return self._path(origin).exists()

    def followed(self, origin: str) -> Followed | None:
        """None for a log that was never seen. Raises LedgerError where the file is damaged."""
        found = self._load(self._path(origin))
        if found is None:
            return None
        try:
            edge = {
                int(level): base64.b64decode(data, validate=True) for level, data in found["edge"].items()
            }
            followed = Followed(str(found["note"]), str(found["watched"]), int(found["read"]), edge)
            if followed.root().hex() != found["root"]:
                raise ValueError
        except (ValueError, LookupError, TypeError, AttributeError, LedgerError):
            raise _damaged(self._path(origin)) from None
        return followed

    def keep(self, origin: str, followed: Followed) -> None:
        self._store(
            self._path(origin),
            {
                "origin": origin,
                "note": followed.note,
                "watched": followed.watched,
                "read": followed.read,
                "root": followed.root().hex(),
                "edge": {
                    str(level): base64.b64encode(data).decode() for level, data in followed.edge.items()
                },
            },
        )

    def told(self) -> Told:
        path = self.folder / "told.json"
        try:
            return Told(**(self._load(path) or {}))
        except TypeError:
            raise _damaged(path) from None

    def keep_told(self, told: Told) -> None:
        self._store(self.folder / "told.json", asdict(told))

    def checked_receipts(self) -> set[str]:
        """Digests of receipts that were found to hold."""
        found = self._load(self.folder / "receipts.json")
        return set(found["sha256"]) if found else set()

    def keep_checked_receipts(self, digests: set[str]) -> None:
        self._store(self.folder / "receipts.json", {"sha256": sorted(digests)})

    def keep_evidence(self, note: str) -> Path:
        """A checkpoint that contradicts what was seen: with the one remembered, it proves what happened."""
        folder = self.folder / "evidence"
        private_folder(folder)
        path = folder / f"{hashlib.sha256(note.encode()).hexdigest()[:16]}.checkpoint"
        if not path.exists():
            write_private(path, note.encode())
        return path

    def _path(self, origin: str) -> Path:
        return self.folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.json"

    def _load(self, path: Path) -> dict[str, Any] | None:
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise _damaged(path) from None
        if not isinstance(found, dict):
            raise _damaged(path)
        return found

    def _store(self, path: Path, content: dict[str, Any]) -> None:
        write_private(path, json.dumps(content).encode() + b"\n")


def _damaged(path: Path) -> LedgerError:
    return LedgerError(
        f"{path} is damaged: what was seen before is not known. Move it away, and the log is read from its "
        "beginning"
    )
