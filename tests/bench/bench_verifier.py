"""How fast the verifier is beside what a user would otherwise run: the same bytes, in one run.

Run it with `python -m tests.bench.bench_verifier`.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from portal.verification import Trust, TrustKey, hash_file, verify_attestations

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPES = 100_000
KEYS = 300
HASH_BYTES = 1 << 30
ROUNDS = 3


def _pae(payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def make_envelopes(path: Path, count: int, keys: dict[str, Ed25519PrivateKey]) -> None:
    """Write `count` signed in-toto statements of about 1.2 kB an envelope, one a line."""
    names = list(keys)
    with path.open("w") as out:
        for n in range(count):
            serial = f"LOT-2026-11-{n:08}"
            statement = {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": serial, "digest": {"sha256": sha256(serial.encode()).hexdigest()}}],
                "predicateType": "https://lotgate.example/unit-test/v1",
                "predicate": {
                    "stage": "end-of-line",
                    "measured": {"capacity_ah": 280.1, "resistance_mohm": 0.18, "ocv_v": 3.289},
                    "station": {"id": "EOL-07", "operator": "4711", "calibrated": "2026-10-01T00:00:00Z"},
                    "log": "0123456789abcdef" * 22,
                },
            }
            payload = json.dumps(statement).encode()
            name = names[n % len(names)]
            envelope = {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"keyid": name, "sig": base64.b64encode(keys[name].sign(_pae(payload))).decode()}
                ],
            }
            out.write(json.dumps(envelope) + "\n")


def loop_over_cryptography(path: Path, start: int, end: int, pems: dict[str, bytes]) -> int:
    """What a user would write: json and cryptography, line by line. Returns how many lines are good."""
    keys = {name: load_pem_public_key(pem) for name, pem in pems.items()}
    good = 0
    with path.open("rb") as lines:
        lines.seek(start)
        while lines.tell() < end:
            envelope = json.loads(lines.readline())
            payload = base64.b64decode(envelope["payload"])
            signature = envelope["signatures"][0]
            keys[signature["keyid"]].verify(base64.b64decode(signature["sig"]), _pae(payload))  # type: ignore[call-arg,union-attr]
            statement = json.loads(payload)
            good += bool(statement["subject"][0]["digest"]["sha256"])
    return good


def _shares(path: Path, parts: int) -> list[tuple[int, int]]:
    size = path.stat().st_size
    cuts = [0]
    with path.open("rb") as lines:
        for part in range(1, parts):
            lines.seek(size * part // parts)
            lines.readline()
            cuts.append(lines.tell())
    return list(zip(cuts, [*cuts[1:], size], strict=True))


def bench_envelopes(folder: Path, count: int = ENVELOPES) -> dict[str, str | float]:
    keys = {f"key-{n}": Ed25519PrivateKey.generate() for n in range(KEYS)}
    pems = {
        name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for name, key in keys.items()
    }
    path = folder / "envelopes.jsonl"
    make_envelopes(path, count, keys)
    trust = Trust.build([TrustKey(name, pem.decode()) for name, pem in pems.items()])
    cores = os.cpu_count() or 1
    ours, theirs = [], []
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        # Starting and importing are not timed.
        list(pool.map(loop_over_cryptography, [path] * cores, [0] * cores, [1] * cores, [pems] * cores))
        for _ in range(ROUNDS):
            began = time.perf_counter()
            report = verify_attestations(path, trust, at=time.time())
            ours.append(time.perf_counter() - began)
            assert report.passed == count, report
            began = time.perf_counter()
            jobs = [pool.submit(loop_over_cryptography, path, *share, pems) for share in _shares(path, cores)]
            assert sum(job.result() for job in jobs) == count
            theirs.append(time.perf_counter() - began)
    return {
        "name": f"{count:,} DSSE/Ed25519 envelopes, {cores} cores (seconds)",
        "ours": min(ours),
        "theirs": min(theirs),
        "ratio": min(theirs) / min(ours),
        "need": 2.0,
    }


def bench_hash(folder: Path, size: int = HASH_BYTES) -> dict[str, str | float]:
    path = folder / "big"
    block = os.urandom(1 << 20)
    with path.open("wb") as out:
        for _ in range(size >> 20):
            out.write(block)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        hash_file(path)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run(["openssl", "dgst", "-sha256", path], check=True, capture_output=True)
        theirs.append(time.perf_counter() - began)
    path.unlink()
    return {
        "name": "SHA-256 + BLAKE3 of a hot file against openssl dgst -sha256 (GB/s)",
        "ours": size / min(ours) / 1e9,
        "theirs": size / min(theirs) / 1e9,
        "ratio": min(theirs) / min(ours),
        # At most 1.10 of the time of SHA-256 alone.
        "need": 1 / 1.10,
    }


def run() -> list[dict[str, str | float]]:
    """Each: name, ours, theirs, ratio (above 1 we are faster) and the ratio that is needed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [bench_envelopes(folder), bench_hash(folder)]


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
