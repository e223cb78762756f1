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
BAD = 37
KEYS = 300
ROUNDS = 5
CRITERION = Path("verifier_rs/target/criterion")


def spoil(path: Path, bad: Path, count: int) -> None:
    """The same envelopes, but every so often one has the payload of the one after it."""
    with path.open() as lines, bad.open("w") as out:
        spoiled = None
        for n, line in enumerate(lines):
            if spoiled is not None:
                out.write(json.dumps(spoiled | {"payload": json.loads(line)["payload"]}) + "\n")
                spoiled = None
            if n % (count // BAD) == 1000:
                spoiled = json.loads(line)
            else:
                out.write(line)


def bench_envelopes(folder: Path, count: int = ENVELOPES) -> list[Row]:
    keys = {f"key-{n}": Ed25519PrivateKey.generate() for n in range(KEYS)}
    pems = {
        name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for name, key in keys.items()
    }
    path = folder / "envelopes.jsonl"
    make_envelopes(path, count, keys)
    trust = Trust.build([TrustKey(name, pem.decode()) for name, pem in pems.items()])
    cores = os.cpu_count() or 1
    bad = folder / "bad.jsonl"
    spoil(path, bad, count)
    ours, theirs, spoiled = [], [], []
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
            began = time.perf_counter()
            report = verify_attestations(bad, trust, at=time.time())
            spoiled.append(time.perf_counter() - began)
            assert (report.passed, report.failed) == (count - BAD, BAD), report
    return [
        compared(f"{count:,} DSSE/Ed25519 envelopes, {cores} cores: Python loop (s)", ours, theirs, 6.0),
        compared(f"  {BAD} bad of {count:,}: none bad (s)", spoiled, ours, 1 / 1.10),
    ]


def bench_criterion() -> list[Row]:
    """Envelopes, parse included, beside the bare verification of the same signatures (seconds)."""
    subprocess.run(
        [
            *("cargo", "bench", "--quiet", "--locked", "--no-default-features", "--bench", "signatures"),
            *("--manifest-path", "verifier_rs/Cargo.toml"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )

    def samples(group: str, name: str) -> list[float]:
        found = json.loads((CRITERION / group / name / "new" / "sample.json").read_text())
        return [spent / turns / 1e9 for spent, turns in zip(found["times"], found["iters"], strict=True)]

    return [
        compared(
            "Ed25519 envelopes: bare ed25519-dalek verify_batch (s)",
            samples("ed25519", "envelopes"),
            samples("ed25519", "bare"),
            1 / 1.25,
        ),
        compared(
            "  all bad: single verifications (s)",
            samples("ed25519", "envelopes-all-bad"),
            samples("ed25519", "singles"),
            1 / 2.5,
        ),
        *(
            compared(
                f"{name} envelopes: bare verifications (s)",
                samples(name, "envelopes"),
                samples(name, "bare"),
                1 / 1.15,
            )
            for name in ("ecdsa-p256", "rsa-3072")
        ),
    ]


def run() -> list[Row]:
    """Each: name, ours, theirs, ratio (above 1 we are faster) and the ratio that is needed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*bench_envelopes(folder), *verifier_hashing.run(folder), *verifier_limits.run(folder)]


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
