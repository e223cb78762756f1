"""Bundles taken apart, put together again, and checked."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785

from portal.clock import SystemClock
from portal.errors import LotgateError
from portal.ledger.policies import TrustPolicy
from portal.reports.bundles.verify import verify_bundle
from tests.factories.zips import zipped
from tests.unit.reports.bundles.conftest import World

Files = dict[str, bytes]


def packed(files: Files, *, listed: bool = True) -> bytes:
    """A bundle again; `listed`: with a manifest that fits."""
    if listed:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = [
            {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "what": ""}
            for name, data in files.items()
            if name != "manifest.json"
        ]
        files = files | {"manifest.json": rfc8785.dumps(manifest)}
    return zipped(files)


def checked(data: bytes, policy: TrustPolicy | None) -> tuple[list[str], list[str]]:
    steps: list[str] = []
    warnings: list[str] = []
    verify_bundle(io.BytesIO(data), policy, SystemClock(), steps.append, warnings.append)
    return steps, warnings


def refusal(data: bytes, world: World) -> str:
    with pytest.raises(LotgateError) as caught:
        checked(data, world.policy)
    return caught.value.message


def named(files: Files, begin: str, end: str = ".json") -> str:
    return next(name for name in files if name.startswith(begin) and name.endswith(end))


def edited(files: Files, name: str, edit: Callable[[Any], object]) -> Files:
    """With a document that says something else, in canonical form as before."""
    document = json.loads(files[name])
    edit(document)
    return files | {name: rfc8785.dumps(document)}


def lotgate(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "portal.cli", *map(str, words)], capture_output=True, text=True, check=False
    )
