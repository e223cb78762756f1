"""A server killed with -9 in the middle of uploads: nothing acknowledged is lost, nothing is half-written."""

import hashlib
import http.client
import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from portal.evidence.models import Evidence, Upload
from portal.ledger.service import verify_chain
from tests.journeys.commands import lotgate
from tests.journeys.running import Portal

SIZE = 24 << 20
PIECE = 1 << 20
KILLS = 6
TUS = {"Tus-Resumable": "1.0.0"}
pytestmark = pytest.mark.slow


class Client:
    """A tus client that survives its server. `acknowledged` is the highest offset that a 2xx named."""

    def __init__(self, portal: Portal, data: bytes) -> None:
        self.portal, self.data = portal, data
        self.location = ""
        self.acknowledged = 0
        self.evidence: str | None = None
        self.lost: list[tuple[int, int]] = []

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.portal.settings.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=TUS | self.portal.token | headers)
            answer = connection.getresponse()
            answer.read()
            return answer
        finally:
            connection.close()

    def create(self) -> None:
        answer = self.ask("POST", "/files/", {"Upload-Length": str(len(self.data))})
        assert answer.status == 201
        self.location = answer.headers["Location"]

    def step(self) -> None:
        """Ask for the offset, send one piece. Raises OSError while the server is dead."""
        answer = self.ask("HEAD", self.location, {})
        if answer.status == 503:  # the database is busy after the kill: the answer says to come again
            time.sleep(0.2)
            return
        assert answer.status == 200, answer.status
        offset = int(answer.headers["Upload-Offset"])
        if offset < self.acknowledged:
            self.lost.append((self.acknowledged, offset))
        self.evidence = answer.headers.get("Lotgate-Evidence")
        if self.evidence is not None:
            return
        piece = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
        answer = self.ask("PATCH", self.location, piece, self.data[offset : offset + PIECE])
        if answer.status == 204:
            self.acknowledged = int(answer.headers["Upload-Offset"])
            self.evidence = answer.headers.get("Lotgate-Evidence")
        else:
            assert answer.status in {409, 423, 503}, answer.status

    def run(self) -> None:
        while self.evidence is None:
            try:
                self.step()
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)


def test_uploads_survive_kills_at_random_moments(tmp_path: Path) -> None:
    seed = int(os.environ.get("LOTGATE_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)  # named in the failure, so that it can be repeated
    with Portal(tmp_path) as portal:
        clients = [Client(portal, chance.randbytes(SIZE)) for _ in range(2)]
        for client in clients:
            client.create()
        threads = [threading.Thread(target=client.run) for client in clients]
        for thread in threads:
            thread.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 0.6))
            portal.kill()
            portal.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), f"seed {seed}"

        for client in clients:
            assert client.lost == [], f"seed {seed}: acknowledged bytes were lost"
            assert client.evidence is not None
            with portal.reading() as session:
                evidence = session.get_one(Evidence, client.evidence)
            digest = hashlib.sha256(client.data).hexdigest()
            assert (evidence.sha256, evidence.size) == (digest, SIZE), f"seed {seed}"
            stored = portal.settings.store / "sha256" / digest[:2] / digest[2:4] / digest
            assert hashlib.sha256(stored.read_bytes()).hexdigest() == digest, f"seed {seed}"
        with portal.reading() as session:
            assert session.scalar(select(func.count()).select_from(Evidence)) == len(clients)
            assert list(verify_chain(session)) == []
        checked = lotgate(portal.settings.var_dir, "fsck")
        assert checked.returncode == 0, f"seed {seed}: {checked.stdout}{checked.stderr}"


def test_a_vanished_client_leaves_what_arrived(tmp_path: Path) -> None:
    with Portal(tmp_path) as portal:
        client = Client(portal, random.Random(1).randbytes(3_000_000))
        client.create()
        raw = socket.create_connection(("127.0.0.1", portal.settings.port))
        head = "".join(
            f"{name}: {value}\r\n"
            for name, value in (
                TUS
                | portal.token
                | {
                    "Host": "localhost",
                    "Content-Type": "application/offset+octet-stream",
                    "Content-Length": "3000000",
                    "Upload-Offset": "0",
                }
            ).items()
        )
        raw.sendall(f"PATCH {client.location} HTTP/1.1\r\n{head}\r\n".encode() + client.data[:1_234_567])
        raw.close()
        deadline = time.monotonic() + 20
        while (client.ask("HEAD", client.location, {}).headers["Upload-Offset"]) == "0":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with portal.reading() as session:
            assert session.scalars(select(Upload.offset)).one() == 1_234_567
        client.run()
        with portal.reading() as session:
            evidence = session.scalars(select(Evidence)).one()
        assert evidence.sha256 == hashlib.sha256(client.data).hexdigest()


def test_two_pieces_in_one_connection_do_not_mix(tmp_path: Path) -> None:
    """Pipelined requests: the bytes after one piece are the next request, not part of the file."""
    with Portal(tmp_path) as portal:
        client = Client(portal, b"0123456789")
        client.create()

        def piece(offset: int, data: bytes) -> bytes:
            headers = TUS | portal.token | {"Host": "localhost", "Upload-Offset": str(offset)}
            headers |= {
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(len(data)),
            }
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            return f"PATCH {client.location} HTTP/1.1\r\n{lines}\r\n".encode() + data

        with socket.create_connection(("127.0.0.1", portal.settings.port), timeout=20) as raw:
            raw.sendall(piece(0, b"01234") + piece(5, b"56789"))
            answers = b""
            while answers.count(b"HTTP/1.1 204") < 2:
                block = raw.recv(65536)
                assert block, answers
                answers += block
        assert b"Upload-Offset: 5\r\n" in answers
        assert b"Upload-Offset: 10\r\n" in answers
        with portal.reading() as session:
            evidence = session.scalars(select(Evidence)).one()
        assert evidence.sha256 == hashlib.sha256(b"0123456789").hexdigest()
