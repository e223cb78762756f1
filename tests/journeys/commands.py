"""The `lotgate` command as people run it: its own process, with its own folder."""

import os
import subprocess
import sys
from pathlib import Path

TIMEOUT = 500  # s


def environment(var: Path, **more: str) -> dict[str, str]:
    """Without the developer's own settings; `more`: LOTGATE_ settings, names in lower case."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOTGATE_")}
    return kept | {"LOTGATE_VAR_DIR": str(var)} | {f"LOTGATE_{name.upper()}": more[name] for name in more}


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "portal.cli", *arguments]


def lotgate(var: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs to its end; the caller looks at the exit status."""
    return subprocess.run(
        command_line(*arguments),
        env=environment(var),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
