"""`./run conformance`: every set of vectors, in Rust and in Python, and one table. Nothing is fetched."""

import subprocess
import sys
from typing import Any

import pytest

RUST = ("wycheproof", "ed25519_rule", "pkits")
Row = tuple[str, int, int, int]


class Collector:
    """What the tests recorded of their sets, and what was skipped."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.rows += [value for name, value in report.user_properties if name == "conformance"] * (
            report.when == "call"
        )
        if report.skipped:
            self.skipped.append(str(report.longrepr[2]).removeprefix("Skipped: "))


def rust() -> tuple[int, list[Row], list[str]]:
    command = ["cargo", "test", "--quiet", "--locked", "--release", "--no-default-features"]
    command += ["--manifest-path", "verifier_rs/Cargo.toml"]
    for name in RUST:
        command += ["--test", name]
    done = subprocess.run([*command, "--", "--nocapture"], stdout=subprocess.PIPE, text=True)
    rows, skipped = [], []
    for line in done.stdout.splitlines():
        _, mark, rest = line.partition("conformance: ")
        if mark:
            name, *numbers = rest.split("\t")
            cases, passed, exceptions = map(int, numbers)
            rows.append((name, cases, passed, exceptions))
        elif "skipped: " in line:
            skipped.append(line.partition("skipped: ")[2])
    if done.returncode:
        print(done.stdout)
    return done.returncode, rows, skipped


def main(arguments: list[str]) -> int:
    print("==> Vectors in Rust", file=sys.stderr)
    failed, rows, skipped = rust()
    print("==> Vectors in Python", file=sys.stderr)
    collector = Collector()
    failed |= int(pytest.main(["-q", "-p", "no:cacheprovider", "tests/conformance", *arguments], [collector]))
    rows += collector.rows
    width = max((len(name) for name, *_ in rows), default=0)
    print(f"\n{'set':{width}}  {'cases':>6}  {'as theirs':>9}  {'listed exceptions':>17}")
    for name, cases, passed, exceptions in sorted(rows):
        print(f"{name:{width}}  {cases:6}  {passed:9}  {exceptions:17}")
    for line in sorted({*skipped, *collector.skipped}):
        print(f"skipped: {line}")
    print(f"{sum(row[1] for row in rows)} cases of {len(rows)} sets{'; something failed' if failed else ''}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
