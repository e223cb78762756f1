"""Blob stores: the local folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from portal.errors import NotFound, StorageFailed
from portal.evidence.ports import BlobStat
from portal.evidence.spool import make_folder, sync_folder

_HEX = frozenset("0123456789abcdef")


class LocalBlobStore:
    """Blobs under `root/sha256/ab/cd/<hex>`, read-only files, linked into place and never overwritten."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, sha256: str) -> Path:
        if len(sha256) != 64 or not _HEX.issuperset(sha256):
            raise NotFound(f"no blob has the name {sha256[:80]!r}")
        return self.root / "sha256" / sha256[:2] / sha256[2:4] / sha256

    def put(self, source: Path, sha256: str) -> None:
        target = self._path(sha256)
        try:
            make_folder(target.parent)
            descriptor = os.open(source, os.O_RDONLY)
            try:
                os.fchmod(descriptor, 0o440)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(source, target)
            except FileExistsError:
                found = target.stat()
                if found.st_size != source.stat().st_size:
                    raise StorageFailed(f"blob {sha256} is damaged in the store: its size differs") from None
                # Its ctime says that it was put now: the sweeper of orphans leaves it for another day.
                # Its mtime stays: who reads it meanwhile does not take this for a change.
                os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
            # All the way up: a folder made by another request a moment ago may not be durable yet.
            for folder in target.parents[:4]:
                sync_folder(folder)
        except OSError as error:
            raise StorageFailed(f"blob {sha256} could not be stored: {error.strerror}") from error

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self._path(sha256).open("rb")
        except FileNotFoundError:
            raise NotFound(f"the store has no blob {sha256}") from None

    @contextmanager
    def get_local_path(self, sha256: str) -> Iterator[Path]:
        path = self._path(sha256)
        if not path.is_file():
            raise NotFound(f"the store has no blob {sha256}")
        yield path

    def stat(self, sha256: str) -> BlobStat | None:
        try:
            return _stat(self._path(sha256))
        except FileNotFoundError:
            return None

    def delete(self, sha256: str) -> None:
        path = self._path(sha256)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)

    def list(self) -> Iterator[BlobStat]:
        top = self.root / "sha256"
        for path in sorted(top.glob("??/??/*")) if top.is_dir() else ():
            yield _stat(path)


def _stat(path: Path) -> BlobStat:
    status = path.stat()
    # ctime: set by the link, by chmod and by utime, and by nobody who only reads.
    return BlobStat(path.name, status.st_size, datetime.fromtimestamp(status.st_ctime, UTC))
