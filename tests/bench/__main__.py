"""`./run bench [NAME …]`: every measurement as a ratio in one run, on the same bytes. It never fails."""

import importlib
import sys

NAMES = ("verifier", "upload", "queue")


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - set(NAMES)
    if unknown:
        print(f"No bench {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(f"{'what':<58}{'ours':>16}{'theirs':>16}{'ratio':>8}{'need':>8}")
    for name in wanted or NAMES:
        for row in importlib.import_module(f"tests.bench.bench_{name}").run():
            print(
                f"{row['name']:<58}{row['ours']!s:>16}{row['theirs']!s:>16}{row['ratio']!s:>8}{row['need']!s:>8}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
