"""What has a limit of its own: a million envelopes in little memory, stopping, starting, a small image."""

import json
import os
import resource
import subprocess
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from imgtool.main import imgtool

from portal.verification import Chunk, Trust, TrustKey, verify_attestations, verify_file
from tests.bench.envelopes import make_envelopes
from tests.bench.rows import Row, limited

MANY = 1_000_000
DIFFERENT = 20_000
MEMORY = 300.0  # MiB
STOP = 0.2  # seconds
IMPORT = 50.0  # ms
IMAGE = 1.0  # ms


class Enough(Exception):
    pass


def _trust(keys: dict[str, Ed25519PrivateKey]) -> Trust:
    def pem(key: Ed25519PrivateKey) -> str:
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    return Trust.build([TrustKey(name, pem(key)) for name, key in keys.items()])


def _many(path: Path, trust_keys: dict[str, bytes], back: Connection) -> None:
    """In a process of its own, whose memory is measured."""
    trust = _trust({name: Ed25519PrivateKey.from_private_bytes(raw) for name, raw in trust_keys.items()})
    rows = told = 0

    def take(chunk: Chunk) -> None:
        nonlocal rows
        rows += len(chunk.lines)

    def tell(done: int) -> None:
        nonlocal told
        told += 1

    report = verify_attestations(path, trust, at=time.time(), columns=take, progress=tell)
    assert (report.passed, rows) == (MANY, MANY)
    assert told > 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = [0.0]

    def stop(_done: int) -> None:
        said[0] = time.perf_counter()
        raise Enough

    try:
        verify_attestations(path, trust, at=time.time(), columns=take, progress=stop)
    except Enough:
        back.send((peak, time.perf_counter() - said[0], report.seconds))


def bench_many(folder: Path) -> list[Row]:
    keys = {f"key-{n}": Ed25519PrivateKey.generate() for n in range(300)}
    part, path = folder / "part.jsonl", folder / "many.jsonl"
    make_envelopes(part, DIFFERENT, keys)
    content = part.read_bytes()
    with path.open("wb") as out:
        for _ in range(MANY // DIFFERENT):
            out.write(content)
    del content
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    raw = {name: key.private_bytes_raw() for name, key in keys.items()}
    process = context.Process(target=_many, args=(path, raw, theirs))
    process.start()
    peak, stopped, seconds = ours.recv()
    process.join()
    path.unlink()
    return [
        limited(f"1,000,000 envelopes ({seconds:.1f} s): memory at most (MiB)", peak, MEMORY),
        limited("  stopped by its progress: within (s)", stopped, STOP),
    ]


def bench_start() -> Row:
    code = "import time; t = time.perf_counter(); import portal._verifier; print(time.perf_counter() - t)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(7)
    ]
    return limited("import portal._verifier: at most (ms)", 1000 * min(runs), IMPORT)


def bench_image(folder: Path) -> Row:
    key, payload, image = folder / "key.pem", folder / "payload", folder / "image"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", key], check=True)
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], check=True, capture_output=True)
    payload.write_bytes(os.urandom(3900))
    signing = ["sign", "-k", key, "--header-size", "32", "--pad-header", "--version", "1.0.0"]
    signing += ["--slot-size", "0x40000", "--align", "4", payload, image]
    assert CliRunner().invoke(imgtool, [str(part) for part in signing]).exit_code == 0
    trust = Trust.build([TrustKey("key", public.stdout.decode())])
    times = []
    for _ in range(500):
        began = time.perf_counter()
        report = verify_file(image, trust, purpose="firmware", at=time.time())
        times.append(time.perf_counter() - began)
    assert report.outcome.value == "pass", json.dumps([str(check) for check in report.checks])
    return limited("an MCUboot image of 4 KiB: at most (ms)", 1000 * sorted(times)[250], IMAGE)


def run(folder: Path) -> list[Row]:
    return [*bench_many(folder), bench_start(), bench_image(folder)]
