"""The log as clients of others read it: what the portal serves, checked by golang.org/x/mod/sumdb
and by tlog-scales.
"""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from flask import Flask
from flask.testing import FlaskClient
from tlog_scales import signing, tlog
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.writer import TilesWriter

from portal.errors import LedgerError
from portal.ledger import logs
from portal.ledger.notes import VerifierKey, open_note
from portal.ledger.proofs import Proof
from portal.ledger.tree import HASH, WIDTH, Tree, leaf_hash, tile_path, tile_width
from tests.unit.ledger.conftest import ORIGIN, Ledger

PACKAGES = Path("/usr/share/gocode")
SOURCE = Path(__file__).parent / "go" / "client.go"


@pytest.fixture(scope="module")
def client_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None or not (PACKAGES / "src/golang.org/x/mod/sumdb").is_dir():
        pytest.skip("golang-go and golang-golang-x-mod-dev are not installed")
    built = tmp_path_factory.mktemp("go") / "client"
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(PACKAGES),
        "GOFLAGS": "",
        "GOCACHE": str(built.parent / "cache"),
    }
    subprocess.run(
        [go, "build", "-o", str(built), str(SOURCE)], check=True, env=environment, cwd=built.parent
    )
    return built


def mirror(client: FlaskClient, size: int, folder: Path) -> None:
    """Every file of the log, under its own path."""
    paths = ["checkpoint"]
    for level in range(4):
        number = 0
        while width := tile_width(size, level, number):
            paths.append(tile_path(level, number, width))
            if level == 0:
                paths.append(tile_path("entries", number, width))
            number += 1
    for path in paths:
        answer = client.get(f"/ledger/1/{path}")
        assert answer.status_code == 200, path
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(answer.data)


@pytest.fixture
def served(ledger: Ledger, app: Flask, tmp_path: Path) -> Path:
    """Two checkpoints of a log, mirrored: `old` and the newest."""
    folder = tmp_path / "mirror"
    ledger.add(1000)
    first = ledger.publish()
    assert first is not None
    (tmp_path / "old").write_text(first.note)
    ledger.add(69_000)
    while ledger.publish() is not None:
        pass
    mirror(app.test_client(), 70_000, folder)
    return folder


def run(program: Path, key: str, folder: Path, *indexes: int) -> tuple[int, str]:
    line = [str(program), key, str(folder), str(folder.parent / "old"), *map(str, indexes)]
    ended = subprocess.run(line, capture_output=True, text=True)
    return ended.returncode, ended.stdout


def test_go_finds_entries_included_and_checkpoints_consistent(
    client_program: Path, served: Path, ledger: Ledger
) -> None:
    key = str(ledger.signer.verifier_keys()[0])
    status, told = run(client_program, key, served, 0, 12_345, 69_999)
    assert told.splitlines() == [
        "checkpoint ok: 70000 entries, signatures verified 1, unknown 1",
        "checkpoint ok: 1000 entries, signatures verified 1, unknown 1",
        "consistency ok",
        "inclusion ok: 0",
        "inclusion ok: 12345",
        "inclusion ok: 69999",
    ]
    assert status == 0
    # One bit, in a tile, in this entry (the 58th of its bundle), in the checkpoint.
    for path, part in ((tile_path(0, 48), 0.5), (tile_path("entries", 48), 57.5 / 256), ("checkpoint", 0.01)):
        content = (served / path).read_bytes()
        at = int(len(content) * part)
        (served / path).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        status, told = run(client_program, key, served, 12_345)
        assert (status, "REFUSED" in told) == (1, True), path
        (served / path).write_bytes(content)


# --- A client in Python -----------------------------------------------------------------------------


@pytest.fixture
def small(ledger: Ledger, app: Flask, tmp_path: Path) -> Path:
    """As `served`, smaller."""
    ledger.add(300)
    first = ledger.publish()
    assert first is not None
    (tmp_path / "old").write_text(first.note)
    ledger.add(1200)
    ledger.publish()
    mirror(app.test_client(), 1500, tmp_path / "mirror")
    return tmp_path / "mirror"


def test_tlog_scales_finds_entries_included_and_checkpoints_consistent(small: Path, ledger: Ledger) -> None:
    old = tlog.Checkpoint.from_text((small.parent / "old").read_text())
    reader = TilesReader(LocalBackend(small))
    new = reader.get_checkpoint()
    assert (old.size, new.size) == (300, 1500)
    for key in ledger.signer.verifier_keys():  # Ed25519 and ML-DSA-44
        theirs = signing.Vkey.from_string(str(key))
        for checkpoint in (old, new):
            checkpoint.verify(theirs)
            with pytest.raises(InvalidSignature):
                replace(checkpoint, size=checkpoint.size + 1).verify(theirs)
    assert reader.calculate_root_hash() == new.root_hash
    proof = reader.get_consistency_proof(300, 1500)
    proof.check(old.root_hash, new.root_hash)
    with pytest.raises(tlog.ConsistencyProofInvalid):
        proof.check(old.root_hash[::-1], new.root_hash)
    for index in (0, 255, 256, 777, 1499):
        leaf = reader.get_entry(index)
        assert leaf == logs.opening(ledger.entry(index)).leaf()
        path = reader.get_inclusion_proof(index, 1500)
        path.check(leaf_hash(leaf), new.root_hash)
        assert ledger.receipt(index).hashes == tuple(path.node_hashes)
        with pytest.raises(tlog.InclusionProofInvalid):
            path.check(leaf_hash(leaf + b" "), new.root_hash)


def test_a_log_that_tlog_scales_wrote_is_read_by_us(tmp_path: Path) -> None:
    keys = Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()
    signers = signing.PlainEd25519Signer(ORIGIN, keys[0]), signing.MLDSA44CosignatureSigner(ORIGIN, keys[1])
    writer = TilesWriter.create(tmp_path / "log", ORIGIN)
    for leaf in range(1000):
        writer.add_leaf(b"leaf %d" % leaf)
    writer.commit(list(signers))
    note = (tmp_path / "log" / "checkpoint").read_text()
    ours = [VerifierKey.parse(signer.vkey.serialize()) for signer in signers]  # type: ignore[no-untyped-call]
    checkpoint = open_note(note, ours).checkpoint

    def read(level: int, number: int, width: int) -> bytes:
        stored: int = tile_width(checkpoint.size, level, number)
        return (tmp_path / "log" / tile_path(level, number, stored)).read_bytes()[: width * HASH]

    tree = Tree(checkpoint.size, read)
    assert tree.root() == checkpoint.root
    for index in (0, 511, 999):
        proof = Proof.of(index, tree.inclusion(index), note, b"")
        assert proof.check(b"leaf %d" % index, ours).checkpoint == checkpoint
        with pytest.raises(LedgerError):
            proof.check(b"leaf %d" % (index + 1), ours)


# --- What is served -------------------------------------------------------------------------------


def test_tiles_are_kept_for_ever_and_checkpoints_not_at_all(ledger: Ledger, client: FlaskClient) -> None:
    ledger.add(600)
    ledger.publish()
    tile = client.get("/ledger/1/tile/0/001")
    assert tile.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (tile.mimetype, len(tile.data)) == ("application/octet-stream", WIDTH * 32)
    assert "Set-Cookie" not in tile.headers
    checkpoint = client.get("/ledger/1/checkpoint")
    assert checkpoint.headers["Cache-Control"] == "no-store"
    assert checkpoint.content_type == "text/plain; charset=utf-8"
    assert checkpoint.text == logs.checkpoint(ledger.session, ledger.log).note


def test_every_cache_may_keep_a_tile_for_everybody_and_none_that_it_is_missing(
    ledger: Ledger, client: FlaskClient
) -> None:
    """Whoever asks: a signed-in browser, a page of another site, a program. A tile comes a second later."""
    ledger.add(600)
    ledger.publish()
    client.get("/account/sign-in")  # from now on this browser has a cookie
    for path, cached in (
        ("1/tile/0/001", "public, max-age=31536000, immutable"),
        ("1/tile/entries/002.p/88", "public, max-age=31536000, immutable"),
        ("1/checkpoint", "no-store"),
        ("policy", "no-store"),
        ("1/tile/0/002", "no-store"),
        ("2/checkpoint", "no-store"),
    ):
        headers = client.get(f"/ledger/{path}").headers
        assert headers["Cache-Control"] == cached, path
        assert "Vary" not in headers
        assert "Set-Cookie" not in headers
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize(
    "path",
    [
        "2/checkpoint",
        "1/tile/0/003",
        "1/tile/0/002",
        "1/tile/0/002.p/89",
        "1/tile/0/002.p/256",
        "1/tile/0/002.p/088",
        "1/tile/0/000.p/0",
        "1/tile/00/000",
        "1/tile/0/x000/000",
        "1/tile/0/0",
        "1/tile/64/000",
        "1/tile/0/x999/x999/x999/x999/x999/999",
        "1/tile/data/000",
        "1/tile/0/000/",
        "1/tile/0/٠٠٠",
        "1/tile/entries/002.p/89",
        "x/checkpoint",
        "9999999999/checkpoint",
        "99999999999999999999/checkpoint",
        "1/stamps/99999999999999999999.tsr",
    ],
)
def test_what_is_not_there_answers_404(ledger: Ledger, client: FlaskClient, path: str) -> None:
    ledger.add(600)
    ledger.publish()
    answer = client.get(f"/ledger/{path}")
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert "Set-Cookie" not in answer.headers


def test_a_log_without_a_checkpoint_answers_404(ledger: Ledger, client: FlaskClient) -> None:
    assert client.get("/ledger/1/checkpoint").status_code == 404


def test_the_policy_names_the_keys_of_every_log(ledger: Ledger, client: FlaskClient) -> None:
    lines = client.get("/ledger/policy").text.splitlines()
    keys = [str(key) for key in ledger.signer.verifier_keys()]
    assert [line.split()[:2] for line in lines] == [["log", keys[0]], ["log", keys[1]], ["quorum", "none"]]
