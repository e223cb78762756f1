"""A 2 GiB upload over loopback tus beside what the disk and the hash alone can do, in one run.

Run it with `python -m tests.bench.bench_upload`.
"""

import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portal.suppliers.keys import decide_key, register_key
from portal.suppliers.models import KeyPurpose
from tests.journeys.commands import command_line, environment
from tests.journeys.running import Portal

PIECE = 16 << 20
SIZE = 2 << 30
MEMORY_LIMIT = 64 << 20
VERDICT_SECONDS = 1.0
SHARED_MEMORY = Path("/dev/shm")  # the tmpfs that every Linux has
Row = dict[str, str | float]


@dataclass(frozen=True)
class Measured:
    """Seconds for all pieces, seconds from sending the last one until the checks of the worker can be read,
    growth of the web process in bytes."""

    seconds: float
    verdict: float
    growth: int


@contextmanager
def working(portal: Portal) -> Iterator[None]:
    """A worker beside the server, as `lotgate serve` runs them."""
    with (portal.settings.var_dir.parent / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            command_line("worker", "--no-upgrade"),
            env=environment(portal.settings.var_dir, secret_key=portal.settings.secret_key),
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            worker.kill()
            worker.wait()


def resident(portal: Portal) -> int:
    """Resident memory of the server's processes together, in bytes, without what is shared from files."""
    total = 0
    for pid in portal.pids():
        for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
    return total


def upload(portal: Portal, data: bytes, size: int) -> Measured:
    """Send `size` bytes in pieces that repeat `data`, as any tus client would; submit them, signed."""
    component = portal.make.product(portal.supplier).components[0].id
    key = approved_key(portal)
    whole = hashlib.sha256()
    for _ in range(size // PIECE):
        whole.update(data)
    signature = key.sign(whole.digest(), ECDSA(Prehashed(SHA256())))
    connection = http.client.HTTPConnection("127.0.0.1", portal.settings.port, timeout=120)
    headers = portal.token | {"Tus-Resumable": "1.0.0"}
    connection.request("POST", "/files/", headers=headers | {"Upload-Length": str(size)})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201, answer.status
    location = answer.headers["Location"]
    kept = ask(connection, portal, "POST", "/api/v1/evidence?filename=image.sig", signature)
    before, peak, last = resident(portal), 0, 0.0

    began = time.perf_counter()
    for offset in range(0, size, PIECE):
        last = time.perf_counter()
        piece = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
        connection.request("PATCH", location, body=data, headers=headers | piece)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 204, answer.status
        if offset % (PIECE * 8) == 0:
            peak = max(peak, resident(portal))
    seconds = time.perf_counter() - began
    image = {
        "component_id": component,
        "version": "1.0.0",
        "image_id": answer.headers["Lotgate-Evidence"],
        "signature_id": kept["id"],
    }
    submission = ask(connection, portal, "POST", "/api/v1/submissions/firmware", image)
    while submission["state"] in ("submitted", "verifying"):
        time.sleep(0.02)
        submission = ask(connection, portal, "GET", f"/api/v1/submissions/{submission['id']}")
    verdict = time.perf_counter() - last
    found = {check["id"]: check["outcome"] for check in submission["checks"]}
    assert found["firmware.signature"] == found["firmware.key"] == "pass", submission
    connection.close()
    return Measured(seconds, verdict, max(peak, resident(portal)) - before)


def ask(
    connection: http.client.HTTPConnection, portal: Portal, method: str, path: str, body: object = None
) -> dict[str, Any]:
    """One call of the API; its answer."""
    raw = isinstance(body, bytes)
    content = body if raw or body is None else json.dumps(body)
    headers = portal.token | {"Content-Type": "application/octet-stream" if raw else "application/json"}
    connection.request(method, path, body=content, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status in (200, 201), text
    found: dict[str, Any] = json.loads(text)
    return found


def approved_key(portal: Portal) -> EllipticCurvePrivateKey:
    """A key that counts for the portal's supplier; what it signs is a digest, which is known on arrival."""
    key = generate_private_key(SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    make = portal.make
    row = register_key(
        portal.session,
        make.supplier_actor(portal.supplier),
        make.clock,
        label="Release",
        purposes=[KeyPurpose.FIRMWARE],
        pem=pem,
    )
    decide_key(
        portal.session,
        make.actor(),
        make.clock,
        row.id,
        approve=True,
        fingerprint_typed=row.fingerprint[-8:],
        note="read out over the telephone",
    )
    portal.session.commit()
    return key


def plain_writes(folder: Path, source: Path, size: int) -> float:
    """Seconds of `dd` writing the same pieces into the same folder, each with an fsync."""
    target = folder / "plain"
    began = time.perf_counter()
    for number in range(size // PIECE):
        subprocess.run(
            [
                "dd",
                f"if={source}",
                f"of={target}",
                f"bs={PIECE}",
                "count=1",
                f"seek={number}",
                "conv=notrunc,fsync",
                "status=none",
            ],
            check=True,
        )
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def hashing(path: Path) -> float:
    """Seconds of `openssl dgst -sha256` over a hot file; the best of three."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(["openssl", "dgst", "-sha256", path], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return min(times)


def rate(size: int, seconds: float) -> float:
    return size / seconds / 1e6


def run(size: int = SIZE) -> list[Row]:
    """Each: name, ours, theirs, ratio (ours by theirs) and the ratio that is needed."""
    data = os.urandom(PIECE)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:  # not /tmp, which may be memory
        folder = Path(name)
        source = folder / "piece"
        source.write_bytes(data)
        theirs = plain_writes(folder, source, size)
        with Portal(folder) as portal, working(portal):
            upload(portal, data, PIECE * 4)  # the first requests fill caches: not what is measured
            ours = upload(portal, data, size)
        theirs = min(theirs, plain_writes(folder, source, size))
    rows.append(
        {
            "name": "tus upload, fsync each piece, against dd with fsync each (MB/s)",
            "ours": rate(size, ours.seconds),
            "theirs": rate(size, theirs),
            "ratio": theirs / ours.seconds,
            "need": 0.60,
        }
    )
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as name:
        folder = Path(name)
        with Portal(folder) as portal, working(portal):
            upload(portal, data, PIECE * 4)
            quick = upload(portal, data, size)
            portal.kill()
            stored = max(portal.settings.store.glob("sha256/*/*/*"), key=lambda path: path.stat().st_size)
            openssl = hashing(stored)
    rows.append(
        {
            "name": "tus upload into memory against openssl dgst -sha256 (MB/s)",
            "ours": rate(size, quick.seconds),
            "theirs": rate(size, openssl),
            "ratio": openssl / quick.seconds,
            "need": 0.40,
        }
    )
    growth, verdict = max(ours.growth, quick.growth, 1), max(ours.verdict, quick.verdict)
    rows.append(
        {
            "name": "growth of the web process (MiB) under its limit",
            "ours": growth / (1 << 20),
            "theirs": MEMORY_LIMIT / (1 << 20),
            "ratio": MEMORY_LIMIT / growth,
            "need": 1.0,
        }
    )
    rows.append(
        {
            "name": "last piece sent until the checks are there (s) under its limit",
            "ours": verdict,
            "theirs": VERDICT_SECONDS,
            "ratio": VERDICT_SECONDS / verdict,
            "need": 1.0,
        }
    )
    return rows


def main() -> int:
    results = run()
    for result in results:
        print(
            f"{result['name']}: ours {result['ours']:.3f}, theirs {result['theirs']:.3f}, "
            f"ratio {result['ratio']:.2f} (need {result['need']:.2f})"
        )
    return 0 if all(float(result["ratio"]) >= float(result["need"]) for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
