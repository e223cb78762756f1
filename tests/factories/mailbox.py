"""A mail server that takes everything, for tests: RFC 5321 as far as smtplib speaks it."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage


class Mailbox(socketserver.ThreadingTCPServer):
    """`mails`: what came in. `refusing`: answers everything with 451."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mails: list[EmailMessage] = []
        self.refusing = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Conversation(socketserver.StreamRequestHandler):
    server: Mailbox

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        self.say("220 mailbox")
        while line := self.rfile.readline():
            word = line.decode().split()[0].upper()
            if word == "QUIT":
                self.say("221 bye")
                return
            if word == "MAIL" and self.server.refusing:
                self.say("451 not now")
            elif word == "DATA":
                self.say("354 go on")
                text = b""
                while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                    text += line.removeprefix(b".")
                mail = message_from_bytes(text, policy=policy.default)
                assert isinstance(mail, EmailMessage)
                self.server.mails.append(mail)
                self.say("250 kept")
            else:
                self.say("250 ok")


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
