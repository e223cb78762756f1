"""Digests by other tools, states that travel between processes, cancel, and faults that are contained."""

import hashlib
import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from portal import _verifier
from portal.errors import UnreadableFile, VerifierFault, VerifierStateError
from portal.verification import Hasher, hash_file
from portal.verification.faults import contained

KEY = bytes(range(32))
# BLAKE3 of nothing and of "abc", as published with the algorithm's test vectors and b3sum's documentation.
BLAKE3_EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
BLAKE3_ABC = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


def content(size: int) -> bytes:
    return hashlib.shake_128(b"content").digest(size)


@pytest.mark.parametrize(("data", "blake3"), [(b"", BLAKE3_EMPTY), (b"abc", BLAKE3_ABC)])
def test_published_digests(data: bytes, blake3: str) -> None:
    hasher = Hasher()
    hasher.update(data)
    digests = hasher.digests()
    assert (digests.size, digests.sha256, digests.blake3) == (
        len(data),
        hashlib.sha256(data).hexdigest(),
        blake3,
    )


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 7_654_321])
def test_a_file_has_the_digests_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = content(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    fed = Hasher()
    for start in range(0, size, 300_001):
        fed.update(data[start : start + 300_001])
    digests = hash_file(path)
    assert digests == fed.digests()
    assert digests.sha256 == hashlib.sha256(data).hexdigest()
    assert digests.size == size


def test_a_state_is_taken_up_by_another_process(tmp_path: Path) -> None:
    data = content(3_000_000)
    state = tmp_path / "state"
    state.write_bytes(Hasher().export_state(KEY))
    program = (
        "import sys; from pathlib import Path; from portal.verification import Hasher\n"
        "key, state = bytes(range(32)), Path(sys.argv[1])\n"
        "hasher = Hasher.resume(state.read_bytes(), key)\n"
        "hasher.update(sys.stdin.buffer.read()); state.write_bytes(hasher.export_state(key))\n"
    )
    for start in range(0, len(data), 1_100_007):
        piece = data[start : start + 1_100_007]
        subprocess.run([sys.executable, "-c", program, state], input=piece, check=True)
    digests = Hasher.resume(state.read_bytes(), KEY).digests()
    assert digests.size == len(data)
    assert digests.sha256 == hashlib.sha256(data).hexdigest()
    assert len(state.read_bytes()) < 4096


def test_a_state_is_refused_when_forged_cut_or_of_another_key() -> None:
    hasher = Hasher()
    hasher.update(content(5000))
    state = hasher.export_state(KEY)
    forged = bytearray(state)
    forged[40] ^= 1
    for bad, key in [(bytes(forged), KEY), (state[:-1], KEY), (b"", KEY), (state, bytes(32))]:
        with pytest.raises(VerifierStateError, match="hash the stored bytes again"):
            Hasher.resume(bad, key)
    with pytest.raises(ValueError, match="expected 32 bytes"):
        hasher.export_state(b"short")


def test_stored_bytes_are_hashed_again_from_disk(tmp_path: Path) -> None:
    data = content(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    hasher = Hasher()
    hasher.update_from_file(path, 0, 1_234_567)
    assert hasher.size == 1_234_567
    hasher.update(data[1_234_567:])
    assert hasher.digests() == hash_file(path)
    with pytest.raises(UnreadableFile, match="found a file of 3000000 bytes"):
        hasher.update_from_file(path, 2_999_999, 2)
    assert hasher.digests() == hash_file(path), "a refused update changes nothing"


def test_what_was_written_is_read_back_piece_by_piece(tmp_path: Path) -> None:
    data, path = content(9_000_001), tmp_path / "file"
    path.write_bytes(b"")
    hasher, done = Hasher(), 0
    for size in (1, 1023, 4 << 20, (4 << 20) + 1, 0):
        piece = data[done : done + size]
        with path.open("ab") as out:
            out.write(piece)
        hasher.update(piece)
        assert hasher.read_back(path)
        done += size
    resumed = Hasher.resume(hasher.export_state(KEY), KEY)
    resumed.update(data[done:])
    assert not resumed.read_back(path), "these bytes are not there yet"
    with path.open("ab") as out:
        out.write(data[done:-1] + b"?")
    assert not resumed.read_back(path), "the last byte is another"
    path.write_bytes(data)
    assert resumed.read_back(path)
    with pytest.raises(UnreadableFile, match="directory"):
        resumed.read_back(tmp_path)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        hash_file(tmp_path / "missing")
    assert missing.value.filename == str(tmp_path / "missing")
    with pytest.raises(UnreadableFile, match="directory"):
        hash_file(tmp_path)
    with pytest.raises(UnreadableFile, match="regular file"):
        hash_file("/dev/null")


class Enough(BaseException):
    """Not an Exception, as KeyboardInterrupt is none."""


def test_progress_is_told_and_its_exception_cancels_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(8 << 30)

    def stop(done: int) -> None:
        assert done > 0
        raise Enough

    began = time.monotonic()
    with pytest.raises(Enough):
        hash_file(path, stop)
    assert time.monotonic() - began < 3, "hashing it all takes longer"


def test_other_threads_run_while_a_file_is_hashed(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    done = threading.Event()

    def work() -> None:
        hash_file(path)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not done.wait(0.01):
        turns += 1
    thread.join()
    assert turns > 3


def _hash_in_child(path: str) -> str:
    return hash_file(path).sha256


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_can_hash_although_its_parent_did(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(3_000_000))
    expected = hash_file(path).sha256
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_hash_in_child, (str(path),)).get(timeout=30) == expected


def test_a_panic_becomes_an_error_that_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VerifierFault, match="Nothing was verified"):
        contained(_verifier.fault)()
    with pytest.raises(Enough):
        contained(lambda: (_ for _ in ()).throw(Enough()).__next__())()
    assert "panicked" in capfd.readouterr().err
