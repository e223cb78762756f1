"""docs/check-at-home.md: its commands are run as they stand there, on a real bundle."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.reports.bundles.conftest import World

PAGE = Path(__file__).parents[4] / "docs" / "check-at-home.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
TOOLS = ("unzip", "openssl", "go", "sha256sum", "python3")


@pytest.fixture
def home(world: World, whole: bytes, policy_file: Path, tmp_path: Path) -> Path:
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if not Path("/usr/share/gocode/src/golang.org/x/mod/sumdb").is_dir():
        pytest.skip("golang-golang-x-mod-dev is not installed")
    (tmp_path / "bundle.zip").write_bytes(whole)
    return tmp_path


def done(home: Path, blocks: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-eu", "-c", "\n".join(blocks)], cwd=home, capture_output=True, text=True, check=False
    )


def test_each_command_of_the_page_runs_and_says_what_it_should(home: Path) -> None:
    found = done(home, BLOCKS)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Signature Verified Successfully" in found.stdout
    assert re.search(r"^\d+ decision\.made ", found.stdout, re.MULTILINE)
    assert re.search(r"^entry \d+ is in portal\.example/ledger/1$", found.stdout, re.MULTILINE)
    assert re.search(r"^2026-\S+ approve_with_conditions$", found.stdout, re.MULTILINE)


def test_a_changed_checkpoint_does_not_pass(home: Path) -> None:
    change = "sed -i '2s/$/0/' ledger/1/checkpoint"
    found = done(home, [BLOCKS[0], change, BLOCKS[1]])
    assert found.returncode != 0
    assert "Signature Verified Successfully" not in found.stdout


def test_a_changed_file_does_not_pass(home: Path) -> None:
    unpack, compare = BLOCKS[0].split("cd bundle\n")
    found = done(home, [unpack, "cd bundle", "echo >> evidence.json", compare])
    assert found.returncode != 0
    assert "evidence.json: FAILED" in found.stdout


def test_a_receipt_of_another_text_does_not_pass(home: Path) -> None:
    change = (
        "for receipt in ledger/1/entries/*; do sed -i '2s/^extra ...../extra eyJib/' $receipt; done\n"
        "sed -i '3s/index /index 1/' ledger/1/entries/*"
    )
    found = done(home, [BLOCKS[0], change, BLOCKS[2]])
    assert found.returncode != 0
    assert "not in this log" in found.stderr
