"""The spool: files that are still growing. One file an upload, one writer at a time."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.errors import Locked, StorageFailed

RESERVE_BYTES = 256 << 20  # stays free on the spool's file system, so that the database can still commit
LOCK_SECONDS = 2.0  # how long a retry waits for the request that it overlaps


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (fsync of the directory)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, durably."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)


def demand_room(spool: Path, size: int) -> None:
    """Raises StorageFailed when `size` more bytes would eat into the reserve."""
    make_folder(spool)
    free = shutil.disk_usage(spool).free
    if free - RESERVE_BYTES < size:
        raise StorageFailed(
            "The evidence store is nearly full: nothing was taken. What arrived before is kept; go on with "
            "it later, or tell the administrator."
        )


class SpoolFile:
    """An open, locked file of the spool. Its methods raise StorageFailed where the disk does."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    @property
    def changed(self) -> int:
        """When anything about the file was last changed (ns): its ctime, which nobody can set back."""
        return os.fstat(self._descriptor).st_ctime_ns

    def cut(self, size: int) -> None:
        """Drop what is beyond `size`: it was never acknowledged.

        A file that is linked into the store already is evidence, and is never cut.
        """
        status = os.fstat(self._descriptor)
        if status.st_size <= size:
            return
        if status.st_nlink != 1:
            raise StorageFailed("This upload's bytes are in the store already and cannot be written again.")
        with _disk_trouble("cut"):
            os.ftruncate(self._descriptor, size)

    def write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        with _disk_trouble("written"):
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view, offset = view[written:], offset + written

    def sync(self) -> None:
        """fsync. After a failure the pages may be lost: refuse, never try again and acknowledge."""
        with _disk_trouble("made durable"):
            os.fsync(self._descriptor)


@contextmanager
def _disk_trouble(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"The bytes could not be {what} ({error.strerror}). They were not acknowledged: send them again "
            "later, or tell the administrator."
        ) from error


@contextmanager
def open_spool(spool: Path, name: str, *, wait: float = LOCK_SECONDS) -> Iterator[SpoolFile]:
    """The spool file `name` (made when it is not there), locked for this caller alone.

    The lock is the kernel's: it ends with the process that holds it, however that dies. Raises Locked when
    another request still writes after `wait` seconds.
    """
    path = spool / name
    try:
        make_folder(spool)
        fresh = not path.exists()
        descriptor = _open(path)
    except OSError as error:
        raise StorageFailed(f"The spool cannot be opened: {error.strerror}") from error
    try:
        if fresh:
            sync_folder(spool)
        _lock(descriptor, time.monotonic() + wait)
        yield SpoolFile(path, descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        # The store took it (files there are read-only) before the end could be recorded: it is only read now.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Locked(
                    "Another request is still writing to this upload. Wait a moment, ask for the offset "
                    "(HEAD) and go on from there."
                ) from None
            time.sleep(0.02)
        else:
            return


def remove_spool(spool: Path, name: str) -> None:
    (spool / name).unlink(missing_ok=True)
