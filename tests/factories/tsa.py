"""A time-stamp authority: `openssl ts -reply` behind a small HTTP server, which can also misbehave."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from asn1crypto import tsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from portal.ledger.stamps import query
from tests.unit.verification.authority import Identity, root

CONFIGURATION = """
[tsa]
serial = {folder}/serial
default_policy = 1.2.3.4.1
signer_digest = sha256
digests = {digests}
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class Authority:
    """`mood` says what it does with what it is asked; `asked` is how often it was."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        now = datetime.now(UTC)
        self.folder, self.mood, self.asked = folder, "honest", 0
        self.anchor: Identity = root("Clock root", start=now - timedelta(900), end=now + timedelta(900))
        self._write(
            self.anchor.issue(
                "Clock",
                usages=[ExtendedKeyUsageOID.TIME_STAMPING],
                critical_usages=True,
                start=now - timedelta(50),
                end=now + timedelta(50),
            )
        )
        (folder / "serial").write_text("01\n")
        (folder / "ca.pem").write_text(self.anchor.pem)
        self.url = ""

    def _write(self, authority: Identity) -> None:
        self.certificate, self.key = authority.write(self.folder, "authority")

    def reply(self, asked: bytes) -> bytes:
        """What openssl answers to this request."""
        digests = "sha512" if self.mood == "rejecting" else "sha256"
        (self.folder / "ts.cnf").write_text(CONFIGURATION.format(folder=self.folder, digests=digests))
        (self.folder / "query").write_bytes(asked)
        command = [
            "openssl",
            "ts",
            "-reply",
            "-queryfile",
            self.folder / "query",
            "-signer",
            self.certificate,
        ]
        command += ["-inkey", self.key, "-config", self.folder / "ts.cnf", "-section", "tsa"]
        command += ["-chain", self.folder / "ca.pem"]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def answer(self, asked: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body."""
        self.asked += 1
        kind = {"Content-Type": "application/timestamp-reply"}
        nonce = tsp.TimeStampReq.load(asked)["nonce"].native
        digest = tsp.TimeStampReq.load(asked)["message_imprint"]["hashed_message"].native
        match self.mood:
            case "another imprint":
                return 200, kind, self.reply(query(b"something else", nonce))
            case "another nonce":
                other = tsp.TimeStampReq.load(query(b"", nonce ^ 1))
                other["message_imprint"]["hashed_message"] = digest
                return 200, kind, self.reply(other.dump(force=True))
            case "no nonce":
                other = tsp.TimeStampReq.load(asked)
                bare = {"version": 1, "message_imprint": other["message_imprint"], "cert_req": True}
                return 200, kind, self.reply(tsp.TimeStampReq(bare).dump())
            case "garbage":
                return 200, kind, b"\x30\x03\x02\x01\x00 and more"
            case "oversized":
                return 200, kind, bytes(300 * 1024)
            case "redirecting":
                return 302, {"Location": self.url}, b""
            case "a page":
                return 200, {"Content-Type": "text/html"}, b"<p>Please sign in.</p>"
            case "failing":
                return 503, kind, b""
            case "cut short":
                return 200, kind | {"Content-Length": "100000"}, self.reply(asked)
            case _:
                return 200, kind, self.reply(asked)


@contextmanager
def authority(folder: Path) -> Iterator[Authority]:
    made = Authority(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/timestamp-query"
            status, headers, body = made.answer(asked)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if made.mood == "silent":
                body, rest = body[:10], 600
                self.wfile.write(body)
                while rest and made.mood == "silent":
                    time.sleep(0.1)
                    rest -= 1
                return
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}/tsa"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    made.mood = "gone"
    server.shutdown()
    server.server_close()
    thread.join()
