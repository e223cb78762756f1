import hashlib
import stat
from pathlib import Path

import pytest

from portal.adapters.blobs import LocalBlobStore
from portal.errors import NotFound, StorageFailed

DATA = b"a blob"
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def test_a_blob_is_read_only_under_its_digest(store: LocalBlobStore, source: Path) -> None:
    store.put(source, NAME)
    with store.get_local_path(NAME) as path:
        assert path.relative_to(store.root).as_posix() == f"sha256/{NAME[:2]}/{NAME[2:4]}/{NAME}"
        assert path.read_bytes() == DATA
        assert stat.S_IMODE(path.stat().st_mode) == 0o440
    found = store.stat(NAME)
    assert found is not None
    assert (found.sha256, found.size) == (NAME, len(DATA))
    assert list(store.list()) == [found]


def test_a_blob_is_never_overwritten(store: LocalBlobStore, source: Path, tmp_path: Path) -> None:
    store.put(source, NAME)
    other = tmp_path / "other"
    other.write_bytes(b"BLOBxy")
    store.put(other, NAME)
    with store.open(NAME) as file:
        assert file.read() == DATA


def test_a_blob_of_another_size_under_the_same_name_is_damage(
    store: LocalBlobStore, source: Path, tmp_path: Path
) -> None:
    store.put(source, NAME)
    other = tmp_path / "other"
    other.write_bytes(DATA + b"!")
    with pytest.raises(StorageFailed, match="damaged"):
        store.put(other, NAME)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "٠" * 64, "0" * 63 + "/"])
def test_only_digests_are_names(store: LocalBlobStore, source: Path, name: str) -> None:
    with pytest.raises(NotFound):
        store.put(source, name)
    with pytest.raises(NotFound):
        store.open(name)
    with pytest.raises(NotFound):
        store.stat(name)


def test_a_missing_blob_is_not_found(store: LocalBlobStore) -> None:
    assert store.stat(NAME) is None
    with pytest.raises(NotFound):
        store.open(NAME)
    with pytest.raises(NotFound), store.get_local_path(NAME):
        pass


def test_a_deleted_blob_is_gone(store: LocalBlobStore, source: Path) -> None:
    store.put(source, NAME)
    store.delete(NAME)
    store.delete(NAME)
    assert store.stat(NAME) is None
    assert list(store.list()) == []


def test_a_store_that_cannot_write_says_so(source: Path) -> None:
    with pytest.raises(StorageFailed):
        LocalBlobStore(source).put(source, NAME)  # the root is a file
