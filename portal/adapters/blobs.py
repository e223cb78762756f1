"""Blob stores: the local folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from portal.errors import NotFound, StorageFailed
from portal.evidence.ports import BlobStat


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (fsync of the directory)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalBlobStore:
    """Blobs under `root/sha256/ab/cd/<hex>`, read-only files, linked into place and never overwritten."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, sha256: str) -> Path:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise NotFound(f"no blob has the name {sha256[:80]!r}")
        return self.root / "sha256" / sha256[:2] / sha256[2:4] / sha256

    def put(self, source: Path, sha256: str) -> None:
        target = self._path(sha256)
        try:
            self._make_folder(target.parent)
            descriptor = os.open(source, os.O_RDONLY)
            try:
                os.fchmod(descriptor, 0o440)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(source, target)
            except FileExistsError:
                if target.stat().st_size != source.stat().st_size:
                    raise StorageFailed(f"blob {sha256} is damaged in the store: its size differs") from None
            sync_folder(target.parent)
        except OSError as error:
            raise StorageFailed(f"blob {sha256} could not be stored: {error.strerror}") from error

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            sync_folder(new.parent)

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
            return BlobStat(sha256, self._path(sha256).stat().st_size)
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
            yield BlobStat(path.name, path.stat().st_size)
