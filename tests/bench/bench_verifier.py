"""How fast the verifier is beside what a user would otherwise run: the same bytes, in one run.

`./run bench-verifier` prints all of it as one table; `--busy` keeps another core at work meanwhile,
`--criterion` measures envelopes beside the bare verification of their signatures too (some minutes).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portal.verification import Trust, TrustKey, verify_attestations
from tests.bench import verifier_hashing, verifier_limits
from tests.bench.envelopes import loop_over_cryptography, make_envelopes, shares
from tests.bench.rows import Row, busy, compared, show

ENVELOPES = 100_000
KEYS = 300
ROUNDS = 3
CRITERION = Path("verifier_rs/target/criterion")


def bench_envelopes(folder: Path, count: int = ENVELOPES) -> Row:
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
            jobs = [pool.submit(loop_over_cryptography, path, *share, pems) for share in shares(path, cores)]
            assert sum(job.result() for job in jobs) == count
            theirs.append(time.perf_counter() - began)
    return compared(f"{count:,} DSSE/Ed25519 envelopes, {cores} cores: Python loop (s)", ours, theirs, 6.0)


def bench_criterion() -> list[Row]:
    """Envelopes, parse included, beside the bare verification of the same signatures (medians, seconds)."""
    subprocess.run(
        [
            *("cargo", "bench", "--quiet", "--locked", "--no-default-features", "--bench", "signatures"),
            *("--manifest-path", "verifier_rs/Cargo.toml"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )

    def median(group: str, name: str) -> float:
        found = json.loads((CRITERION / group / name / "new" / "estimates.json").read_text())
        return float(found["median"]["point_estimate"]) / 1e9

    good = median("ed25519", "envelopes")
    return [
        compared(
            "Ed25519 envelopes: bare ed25519-dalek verify_batch (s)",
            [good],
            [median("ed25519", "bare")],
            1 / 1.25,
        ),
        compared(
            "  37 bad of 100,000: none bad (s)", [median("ed25519", "envelopes-37-bad")], [good], 1 / 1.10
        ),
        compared(
            "  all bad: single verifications (s)",
            [median("ed25519", "envelopes-all-bad")],
            [median("ed25519", "singles")],
            1 / 2.5,
        ),
        *(
            compared(
                f"{name} envelopes: bare verifications (s)",
                [median(name, "envelopes")],
                [median(name, "bare")],
                1 / 1.15,
            )
            for name in ("ecdsa-p256", "rsa-3072")
        ),
    ]


def run() -> list[Row]:
    """Each: name, ours, theirs, ratio (above 1 we are faster) and the ratio that is needed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [bench_envelopes(folder), *verifier_hashing.run(folder), *verifier_limits.run(folder)]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", action="store_true", help="keep another core at work meanwhile")
    parser.add_argument("--criterion", action="store_true", help="the bare verifications too")
    wanted = parser.parse_args(arguments)
    with busy(wanted.busy):
        rows = run()
        if wanted.criterion:
            rows += bench_criterion()
    return show(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
