"""What a blob store must do."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class BlobStat:
    sha256: str
    size: int  # bytes
    stored_at: datetime  # when it was last put: an orphan is only one when this is long ago


class BlobStore(Protocol):
    """Immutable blobs by SHA-256 (hex).

    When `put` returns, the bytes are durable under their digest; a blob that is already there is kept as it
    is (after a comparison of sizes) and counts as put now. Nothing is ever overwritten. Failures raise
    StorageFailed; a missing blob raises NotFound.
    """

    def put(self, source: Path, sha256: str) -> None:
        """Take the finished, fsynced file `source` into the store. It may be moved (linked) or copied."""
        ...

    def open(self, sha256: str) -> BinaryIO: ...

    def get_local_path(self, sha256: str) -> AbstractContextManager[Path]:
        """A real path for the verifier, valid inside the `with`."""
        ...

    def stat(self, sha256: str) -> BlobStat | None: ...

    def delete(self, sha256: str) -> None: ...

    def list(self) -> Iterator[BlobStat]: ...
