"""What it costs that files are read in confined processes.

Run it with `python -m tests.bench confined`.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from portal.verification import Trust, hash_file, verify_file

AT = 1_795_262_400.0
FILES = 1000
MAX_MS = 2.0
LARGE = 1 << 30


def run() -> Iterator[dict[str, object]]:
    trust = Trust.build([])
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, "small.bin")
        small.write_bytes(os.urandom(4096))
        verify_file(small, trust, at=AT)  # starts the first process
        began = time.perf_counter()
        for _ in range(FILES):
            verify_file(small, trust, at=AT)
        took = (time.perf_counter() - began) * 1000 / FILES
        yield row("a 4 KiB file through a confined process, beside 2 ms", took, MAX_MS, 1.0)

        large = Path(folder, "large.bin")
        with large.open("wb") as out:
            out.truncate(LARGE)
        hash_file(large)  # into the page cache
        times = []
        for work in (lambda: verify_file(large, trust, at=AT), lambda: hash_file(large)):
            began = time.perf_counter()
            work()
            times.append((time.perf_counter() - began) * 1000)
        yield row("a 1 GiB file through a confined process, beside only hashing it here", *times, 1.1)


def row(name: str, ours: float, theirs: float, need: float) -> dict[str, object]:
    return {"name": f"{name} (ms)", "ours": ours, "theirs": theirs, "ratio": ours / theirs, "need": need}
