"""What a carrier of mail must do."""

from typing import Protocol


class MailCarrier(Protocol):
    def deliver(self, message_id: str, recipient: str, subject: str, body: str) -> None:
        """Deliver one mail or raise OSError. The same `message_id` may come twice."""
        ...
