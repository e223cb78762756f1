"""Hashing beside openssl and cat: hot, cold, eight files at once, an upload by one process after another."""

import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portal.verification import Hasher, Trust, TrustKey, hash_file, verify_file
from tests.bench.rows import Row, compared

LARGE = 4 << 30
SMALL = 512 << 20
UPLOAD = 1 << 30
PIECE = 8 << 20
ROUNDS = 3
KEY = bytes(32)
FORK = get_context("fork")


def _write(path: Path, size: int) -> Path:
    block = os.urandom(1 << 20)
    with path.open("wb") as out:
        for _ in range(size >> 20):
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return path


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _openssl(name: str, path: Path) -> None:
    subprocess.run(["openssl", "dgst", f"-{name}", path], check=True, capture_output=True)


def _cat(path: Path) -> None:
    with path.open("rb") as file:
        subprocess.run(["cat"], stdin=file, stdout=subprocess.DEVNULL, check=True)


def _forget(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _with_sha384(path: Path) -> None:
    """A signature by a P-384 key asks for SHA-384 too; that it does not hold costs the same."""
    key = generate_private_key(SECP384R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    trust = Trust.build([TrustKey("p384", pem)])
    verify_file(path, trust, purpose="firmware", at=time.time(), signature=bytes.fromhex("3006020101020101"))


def bench_large(folder: Path) -> list[Row]:
    path = _write(folder / "large", LARGE)
    try:
        _cat(path)
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, work in (
                ("ours", lambda: hash_file(path)),
                ("sha256", lambda: _openssl("sha256", path)),
                ("ours384", lambda: _with_sha384(path)),
                ("sha384", lambda: _openssl("sha384", path)),
            ):
                times.setdefault(name, []).append(_seconds(work))
        for _ in range(ROUNDS):
            for name, work in (("cold", lambda: hash_file(path)), ("cat", lambda: _cat(path))):
                _forget(path)
                times.setdefault(name, []).append(_seconds(work))
    finally:
        path.unlink()
    return [
        compared(
            "SHA-256 + BLAKE3, hot 4 GiB: openssl dgst -sha256 (s)", times["ours"], times["sha256"], 1 / 1.10
        ),
        compared(
            "  and SHA-384, as verify_file: openssl dgst -sha384 (s)",
            times["ours384"],
            times["sha384"],
            1 / 1.15,
        ),
        compared("SHA-256 + BLAKE3, cold 4 GiB: cat >/dev/null (s)", times["cold"], times["cat"], 0.9),
    ]


def _on_one_core(work: Callable[[], float]) -> float:
    """What `work` says in a process that may use one core only."""
    ours, theirs = FORK.Pipe()

    def confined() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        theirs.send(work())

    process = FORK.Process(target=confined)
    process.start()
    seconds: float = ours.recv()
    process.join()
    return seconds


def bench_eight(folder: Path) -> list[Row]:
    """The rate of eight files at once beside that of one, on one core and on all of them."""
    paths = [_write(folder / f"small-{n}", SMALL) for n in range(8)]
    one_core, alone, together = [], [], []
    try:
        with ThreadPoolExecutor(8) as threads:
            for _ in range(ROUNDS):
                one_core.append(_on_one_core(lambda: _seconds(lambda: hash_file(paths[0]))))
                alone.append(_seconds(lambda: hash_file(paths[0])))
                together.append(_seconds(lambda: list(threads.map(hash_file, paths))) / 8)
    finally:
        for path in paths:
            path.unlink()
    return [
        compared("Eight files of 512 MiB at once: one on one core (s a file)", together, one_core, 1.8),
        # For information: the digests of one file are made beside each other, so it uses two cores itself.
        compared("  one alone on all cores (s a file)", together, alone, 0.0),
    ]


def _pieces(path: Path, asked: Connection) -> None:
    """Take up states, hash a piece onto each, and hand them on with the seconds that took."""
    while (message := asked.recv()) is not None:
        state, offset = message
        began = time.perf_counter()
        hasher = Hasher.resume(state, KEY)
        hasher.update_from_file(path, offset, PIECE)
        after = hasher.export_state(KEY)
        asked.send((after, time.perf_counter() - began))


class _Uploader:
    """A process that hashes pieces."""

    def __init__(self, path: Path) -> None:
        self.asked, theirs = FORK.Pipe()
        self.process = FORK.Process(target=_pieces, args=(path, theirs))
        self.process.start()

    def piece(self, state: bytes, offset: int) -> tuple[bytes, float]:
        self.asked.send((state, offset))
        after, seconds = self.asked.recv()
        return after, seconds

    def end(self) -> None:
        self.asked.send(None)
        self.process.join()


def _upload(path: Path, workers: list[_Uploader]) -> float:
    """1 GiB in pieces, each by another process than the one before it; seconds from message to message.

    Without `workers`, each is one that did not exist before.
    """
    state, seconds = Hasher().export_state(KEY), 0.0
    for nth, offset in enumerate(range(0, UPLOAD, PIECE)):
        worker = workers[nth % len(workers)] if workers else _Uploader(path)
        state, piece = worker.piece(state, offset)
        if not workers:
            worker.end()
        seconds += piece
    assert Hasher.resume(state, KEY).digests() == hash_file(path)
    return seconds


def bench_upload(folder: Path) -> list[Row]:
    """1 GiB in pieces of 8 MiB, as the processes of a server get them in turn, and as newborn ones would."""
    path = _write(folder / "upload", UPLOAD)
    whole, turns, newborn = [], [], []
    workers = [_Uploader(path) for _ in range(4)]
    try:
        for _ in range(ROUNDS):
            whole.append(_seconds(lambda: Hasher().update_from_file(path, 0, UPLOAD)))
            turns.append(_upload(path, workers))
            newborn.append(_upload(path, []))
    finally:
        for worker in workers:
            worker.end()
        path.unlink()
    return [
        compared("1 GiB in 8 MiB pieces, four processes in turn: uninterrupted (s)", turns, whole, 1 / 1.1),
        # For information: a process pays for the first touch of each page of its memory.
        compared("  a newborn process for each piece", newborn, whole, 0.0),
    ]


def run(folder: Path) -> list[Row]:
    return [*bench_large(folder), *bench_eight(folder), *bench_upload(folder)]
