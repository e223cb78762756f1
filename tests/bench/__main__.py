"""`./run bench [NAME …]`: every measurement as a ratio in one run, on the same bytes. It never fails."""

import importlib
import sys

NAMES = ("verifier", "confined", "content", "upload", "queue", "ledger", "bundle", "retention")


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - set(NAMES)
    if unknown:
        print(f"No bench {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(f"{'what':<78}{'ours':>10}{'theirs':>10}{'ratio':>8}{'need':>7}")
    for name in wanted or NAMES:
        for row in importlib.import_module(f"tests.bench.bench_{name}").run():
            ours, theirs = (f"{float(row[side]):.4g}" for side in ("ours", "theirs"))
            ratio, need = (f"{float(row[part]):.2f}" for part in ("ratio", "need"))
            print(f"{row['name']:<78}{ours:>10}{theirs:>10}{ratio:>8}{need:>7}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
