"""The drill: a backup is taken while suppliers upload, the portal is lost, and what comes back is checked."""

import hashlib
import http.client
import json
import os
import shutil
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.commands import lotgate
from tests.journeys.running import Portal

pytestmark = pytest.mark.slow


@dataclass
class Delivered:
    """A piece of evidence as its supplier has it at home."""

    id: str
    file: Path


class Drill:
    def __init__(self, portal: Portal, home: Path) -> None:
        self.portal, self.home = portal, home
        self.var = portal.settings.var_dir
        home.mkdir()

    def run(self, *words: str, status: int = 0) -> str:
        done = lotgate(self.var, *words)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.portal.settings.port, timeout=60)
        kind = {"Content-Type": "application/octet-stream"} if body is not None else {}
        try:
            connection.request(method, f"/api/v1{path}", body=body, headers=self.portal.token | kind)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status in {200, 201}, text
            return json.loads(text)
        finally:
            connection.close()

    def deliver(self, content: bytes) -> Delivered:
        digest = hashlib.sha256(content).hexdigest()
        found = self.ask("POST", f"/evidence?filename=log.bin&sha256={digest}", content)
        file = self.home / f"{found['id']}.bin"
        file.write_bytes(content)
        return Delivered(found["id"], file)

    def receipt(self, delivered: Delivered) -> Path:
        path = self.home / f"{delivered.id}.tlog-proof"
        path.write_text(self.ask("GET", f"/evidence/{delivered.id}/receipt")["proof"])
        return path

    def policy(self, name: str) -> Path:
        path = self.home / name
        with urllib.request.urlopen(f"{self.portal.url}/ledger/policy", timeout=30) as answer:
            path.write_bytes(answer.read())
        return path

    def lose(self) -> None:
        """Database and evidence are gone; the signer's folder, which is elsewhere in earnest, is not."""
        self.portal.kill()
        self.portal.session.close()
        self.portal.engine.dispose()
        for path in self.var.glob("lotgate.db*"):
            path.unlink()
        shutil.rmtree(self.portal.settings.store)


@pytest.fixture
def safe(tmp_path: Path) -> Path:
    return tmp_path / "safe"


def test_old_receipts_verify_and_a_stale_backup_gets_no_signature(tmp_path: Path, safe: Path) -> None:
    with Portal(tmp_path) as portal:
        drill = Drill(portal, tmp_path / "home")
        drill.run("ledger", "create")
        early = drill.deliver(os.urandom(200_000))
        drill.run("ledger", "publish")
        receipt, policy = drill.receipt(early), drill.policy("policy")

        # Given a backup that is taken while others deliver
        ending = threading.Event()
        meanwhile: list[Delivered] = []

        def deliver() -> None:
            while not ending.is_set():
                meanwhile.append(drill.deliver(os.urandom(50_000)))

        suppliers = [threading.Thread(target=deliver) for _ in range(2)]
        for supplier in suppliers:
            supplier.start()
        try:
            said = drill.run("backup", str(safe))
        finally:
            ending.set()
            for supplier in suppliers:
                supplier.join(60)
        assert "ledger entries" in said
        late = drill.deliver(b"after the backup" * 1000)
        drill.run("ledger", "publish")
        late_receipt = drill.receipt(late)

        # When everything is lost and the backup is brought back
        drill.lose()
        said = drill.run("restore", str(safe))
        assert "The signer signs nothing for this log" in said

        # Then nothing is signed, whoever asks; and fsck finds that, and nothing else
        portal.start()
        drill.deliver(b"into the restored portal" * 1000)
        refused = drill.run("ledger", "publish", status=1)
        assert "Nothing is signed" in refused
        assert "entries were signed, the database says" in drill.run("ledger", "show")
        checked = lotgate(drill.var, "fsck", "--json")
        faults = [fault["where"] for fault in json.loads(checked.stdout)["faults"]]
        assert (checked.returncode, faults) == (1, ["the signer's memory of log 1"])

        # and the receipts from before are as good as ever, also that of what was lost
        for proof, of in ((receipt, early), (late_receipt, late)):
            drill.run("verify-receipt", str(proof), "--policy", str(policy), "--file", str(of.file))

        # When the log is closed and the next one opened, work goes on
        drill.run("ledger", "close", "--yes")
        drill.run("ledger", "create")
        drill.run("ledger", "publish")
        again = drill.receipt(early)
        new = drill.deliver(b"after the drill" * 1000)
        drill.run("ledger", "publish")
        both = drill.policy("both")
        drill.run("verify-receipt", str(again), "--policy", str(policy), "--file", str(early.file))
        drill.run("verify-receipt", str(drill.receipt(new)), "--policy", str(both), "--file", str(new.file))
        drill.run("fsck")
