"""SHA-256 and BLAKE3 in one pass, over bytes as they arrive or over a file."""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Self

from portal import _verifier
from portal.verification.faults import contained

Progress = Callable[[int], object]
"""Called with what is done so far at most every 100 ms; an exception from it ends the work unchanged."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Length in bytes and digests in lower-case hexadecimal."""

    size: int
    sha256: str
    blake3: str


def _digests(native: _verifier.Digests) -> Digests:
    return Digests(size=native.size, sha256=native.sha256, blake3=native.blake3)


class Hasher:
    """SHA-256 and BLAKE3 of what it is fed. Large pieces are hashed on two cores, without the GIL.

    `export_state` and `resume` carry it to another process; the state is authenticated with a key of 32
    bytes, because a forged state would forge the digest. One thread at a time.
    """

    def __init__(self, native: _verifier.Hasher | None = None) -> None:
        """Begin anew (`resume` passes what it took up)."""
        self._native = _verifier.Hasher() if native is None else native

    @contained
    def update(self, data: bytes) -> None:
        """Feed more bytes."""
        self._native.update(data)

    @contained
    def update_later(self, data: bytes) -> None:
        """Feed more bytes, on another thread: waits only for those that were fed before."""
        self._native.update_later(data)

    @contained
    def update_from_file(
        self, path: str | PathLike[str], offset: int, length: int, progress: Progress | None = None
    ) -> None:
        """Feed `length` bytes of a file from `offset`; nothing is fed when it raises.

        Raises OSError, and UnreadableFile when the file is shorter or changes meanwhile.
        """
        self._native.update_from_file(path, offset, length, progress)

    @contained
    def read_back(self, path: str | PathLike[str]) -> bool:
        """Read again, from a file, what was fed since the last time (or since `resume`): is it the same?

        Raises OSError when it cannot be read, UnreadableFile when it changes meanwhile.
        """
        return self._native.read_back(path)

    @property
    def size(self) -> int:
        """How many bytes were fed."""
        return self._native.size

    @contained
    def digests(self) -> Digests:
        """The digests so far; more can be fed afterwards."""
        return _digests(self._native.digests())

    @contained
    def export_state(self, key: bytes) -> bytes:
        """The state (at most about 3 KiB), authenticated with `key` (32 bytes)."""
        return self._native.export_state(key)

    @classmethod
    @contained
    def resume(cls, state: bytes, key: bytes) -> Self:
        """Go on from an exported state.

        Raises VerifierStateError when the state is damaged, forged, of another version or made with another
        key: hash the stored bytes again then (`update_from_file`).
        """
        return cls(_verifier.Hasher.resume(state, key))


@contained
def hash_file(path: str | PathLike[str], progress: Progress | None = None) -> Digests:
    """Size and digests of a regular file, read once in bounded memory.

    What of it was not in the page cache before is not there afterwards: a check of many stored files does not
    push out what others need.

    Raises OSError when it cannot be read, UnreadableFile when it is not a regular file or changes meanwhile.
    """
    return _digests(_verifier.hash_file(path, progress))
