"""Carriers of mail: a folder of .eml files, which is the embedded default and needs no server; a server."""

import smtplib
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from portal.clock import Clock


class MailFolder:
    """Writes each mail as `<message id>.eml` (RFC 5322) into a folder; twice the same is one file."""

    def __init__(self, folder: Path, sender: str = "lotgate@localhost") -> None:
        self.folder, self.sender = folder, sender

    def deliver(self, message_id: str, recipient: str, subject: str, body: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, recipient, subject
        mail["Message-ID"] = f"<{message_id}@lotgate>"
        mail.set_content(body)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{message_id}.part"
        partial.write_bytes(bytes(mail))
        partial.replace(self.folder / f"{message_id}.eml")


class MailServer:
    """Hands mail to an SMTP server that takes it from this machine, as a relay beside it does."""

    def __init__(self, host: str, port: int, sender: str, clock: Clock) -> None:
        self.host, self.port, self.sender, self.clock = host, port, sender, clock

    def deliver(self, message_id: str, recipient: str, subject: str, body: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, recipient, subject
        mail["Message-ID"] = f"<{message_id}@lotgate>"
        mail["Date"] = format_datetime(self.clock.now())
        mail.set_content(body)
        with smtplib.SMTP(self.host, self.port, timeout=30) as server:  # its errors are OSErrors
            server.send_message(mail)
