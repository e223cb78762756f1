"""The native verifier, built from verifier_rs/. Only portal.verification imports it."""

from collections.abc import Callable
from os import PathLike
from typing import final

@final
class Digests:
    size: int
    sha256: str
    blake3: str

@final
class Hasher:
    def __new__(cls) -> Hasher: ...
    def update(self, data: bytes) -> None: ...
    def update_from_file(
        self,
        path: str | PathLike[str],
        offset: int,
        length: int,
        progress: Callable[[int], object] | None = None,
    ) -> None: ...
    @property
    def size(self) -> int: ...
    def digests(self) -> Digests: ...
    def export_state(self, key: bytes) -> bytes: ...
    @staticmethod
    def resume(state: bytes, key: bytes) -> Hasher: ...

def hash_file(path: str | PathLike[str], progress: Callable[[int], object] | None = None) -> Digests: ...
def fault() -> None: ...
