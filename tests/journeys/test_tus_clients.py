"""Clients that nobody here wrote, against the running server: tuspy and tus-js-client."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from portal.evidence.models import Evidence
from tests.journeys.running import Portal

ROOT = Path(__file__).parents[2]
SIZE = 5_000_000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with Portal(tmp_path_factory.mktemp("portal")) as portal:
        yield portal


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bms.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def evidence_of(portal: Portal, url: str) -> Evidence:
    state = requests.get(url, headers=portal.token, timeout=10).json()
    assert state["state"] == "complete"
    with portal.reading() as session:
        return session.get_one(Evidence, state["evidence_id"])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("chunk", [sys.maxsize, 1 << 20, 999_983])
def test_tuspy_uploads_whole_or_in_pieces(portal: Portal, file: Path, chunk: int) -> None:
    client = TusClient(f"{portal.url}/files/", headers=portal.token)
    with file.open("rb") as stream:
        uploader = client.uploader(file_stream=stream, chunk_size=chunk, metadata={"filename": "bms.bin"})
        uploader.upload()
    evidence = evidence_of(portal, uploader.url)
    assert (evidence.sha256, evidence.size, evidence.filename) == (digest(file), SIZE, "bms.bin")


def test_tuspy_resumes_by_address_and_checks_each_piece(portal: Portal, file: Path) -> None:
    client = TusClient(f"{portal.url}/files/", headers=portal.token)
    with file.open("rb") as stream:
        first = client.uploader(file_stream=stream, chunk_size=1 << 20, upload_checksum=True)
        first.upload_chunk()
        first.upload_chunk()
    with file.open("rb") as stream:
        again = client.uploader(file_stream=stream, chunk_size=1 << 20, url=first.url, upload_checksum=True)
        assert again.offset == 2 << 20
        again.upload()
    assert evidence_of(portal, first.url).sha256 == digest(file)


def test_tuspy_is_told_of_another_file_than_declared(portal: Portal, file: Path) -> None:
    client = TusClient(f"{portal.url}/files/", headers=portal.token)
    with file.open("rb") as stream, pytest.raises(TusCommunicationError) as refusal:
        client.uploader(file_stream=stream, metadata={"sha256": "0" * 64}).upload()
    assert refusal.value.status_code == 422
    assert digest(file).encode() in refusal.value.response_content


@pytest.mark.parametrize("stop_after", [0, 2_000_000])
def test_tus_js_client_uploads_and_resumes(portal: Portal, file: Path, stop_after: int) -> None:
    node = ROOT / ".venv/bin/node"
    command = str(node) if node.exists() else shutil.which("node")
    if command is None or not (ROOT / "node_modules/tus-js-client").is_dir():
        pytest.skip("tus-js-client comes with `./run test`")
    done = subprocess.run(
        [
            command,
            str(ROOT / "tests/journeys/tus_client.mjs"),
            str(ROOT / "node_modules"),
            f"{portal.url}/files/",
            portal.token["Authorization"].removeprefix("Bearer "),
            str(file),
            str(stop_after),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    with portal.reading() as session:
        evidence = session.get_one(Evidence, told[-1]["evidence"])
    assert (evidence.sha256, evidence.filename) == (digest(file), "bms controller 2.1.0 (ß).bin")
