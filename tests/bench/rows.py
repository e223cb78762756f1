"""Measurements as rows of one table: ours, theirs, the ratio and what it must be."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

Row = dict[str, str | float]


def compared(name: str, ours: list[float], theirs: list[float], need: float) -> Row:
    """Seconds of both, the best of each, because whatever else the machine does only adds to them."""
    best, other = min(ours), min(theirs)
    return {"name": name, "ours": best, "theirs": other, "ratio": other / best, "need": need}


def limited(name: str, found: float, limit: float) -> Row:
    """What must not be more than `limit`."""
    return {"name": name, "ours": found, "theirs": limit, "ratio": limit / found, "need": 1.0}


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Keep another core at work."""
    if not wanted:
        yield
        return
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def show(rows: list[Row]) -> int:
    """Print the table; 0 if everything is as it must be."""
    print(f"{'what (ours: theirs)':<74}{'ours':>9}{'theirs':>9}{'ratio':>8}{'need':>7}")
    failed = 0
    for row in rows:
        good = float(row["ratio"]) >= float(row["need"])
        failed += not good
        ours, theirs = (f"{float(row[side]):.3g}" for side in ("ours", "theirs"))
        word = "ok" if good else "NOT"
        ratio, need = (f"{float(row[part]):.2f}" for part in ("ratio", "need"))
        print(f"{row['name']:<74}{ours:>9}{theirs:>9}{ratio:>8}{need:>7}  {word}", flush=True)
    return 1 if failed else 0
