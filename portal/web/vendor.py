"""`python -m portal.web.vendor`: puts the browser code that npm fetched where pages load it from.

Nothing of it is in git. Run `npm ci` first; package-lock.json fixes versions and digests.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(__file__).resolve().parents[1] / "static" / "vendor"


@dataclass(frozen=True, slots=True)
class Copied:
    """One file of a package, and its name here."""

    package: str
    source: str
    name: str


FILES = (
    Copied("htmx.org", "dist/htmx.min.js", "htmx.min.js"),
    Copied("htmx.org", "LICENSE", "htmx.LICENSE.txt"),
    Copied("tus-js-client", "dist/tus.min.js", "tus.min.js"),
    Copied("tus-js-client", "LICENSE", "tus.LICENSE.txt"),
    Copied("@fontsource-variable/inter", "files/inter-latin-wght-normal.woff2", "inter-latin.woff2"),
    Copied("@fontsource-variable/inter", "files/inter-latin-ext-wght-normal.woff2", "inter-latin-ext.woff2"),
    Copied("@fontsource-variable/inter", "LICENSE", "inter.LICENSE.txt"),
)


def vendor(modules: Path = ROOT / "node_modules", target: Path = TARGET) -> list[str]:
    """Copy what is new or changed; returns the names of the files written (none the second time).

    Raises FileNotFoundError that names the package when `npm ci` has not brought it.
    """
    wanted = {item.name: _read(modules / item.package / item.source) for item in FILES}
    wanted["README.md"] = _readme(modules).encode()
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in wanted.items():
        path = target / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
            written.append(name)
    return written


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: not there; run `npm ci` in the project's folder first") from None


def _readme(modules: Path) -> str:
    lines = ["# Browser code by others", "", "Written by `python -m portal.web.vendor`; not in git.", ""]
    for package in dict.fromkeys(item.package for item in FILES):
        about = json.loads(_read(modules / package / "package.json"))
        files = ", ".join(item.name for item in FILES if item.package == package)
        lines.append(f"- {package} {about['version']} ({about['license']}): {files}")
    return "\n".join(lines) + "\n"


def main() -> int:
    try:
        written = vendor()
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"Browser code: {len(written)} files written, the others were there.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
