"""Verbs of the outbox."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.notices.models import Message
from portal.notices.ports import MailCarrier

MAX_ATTEMPTS = 8


def queue_mail(
    session: Session, clock: Clock, *, kind: str, recipient: str, subject: str, body: str
) -> Message:
    """Write one mail into the caller's transaction; it leaves only if that commits.

    `kind` is a stable name ("invitation", "changes_requested"). Line breaks in the subject are removed.
    """
    message = Message(
        kind=kind,
        recipient=recipient,
        subject=" ".join(subject.split())[:200],
        body=body,
        created_at=clock.now(),
    )
    session.add(message)
    return message


def queued_since(session: Session, kind: str, moment: datetime) -> bool:
    """Whether a mail of this kind was written after a moment, so that it is not said again and again."""
    wanted = select(Message.id).where(Message.kind == kind, Message.created_at > moment).limit(1)
    return session.scalars(wanted).first() is not None


def waiting(session: Session, limit: int = 100) -> list[Message]:
    """Mail still to be delivered, oldest first; what failed MAX_ATTEMPTS times waits for a person."""
    return list(
        session.scalars(
            select(Message)
            .where(Message.sent_at.is_(None), Message.attempts < MAX_ATTEMPTS)
            .order_by(Message.created_at)
            .limit(limit)
            .with_for_update(skip_locked=True)  # two workers never carry the same mail at once
        )
    )


def deliver(clock: Clock, carrier: MailCarrier, message: Message) -> bool:
    """Hand one message to the carrier and note how that went; the caller commits.

    At least once: a worker that dies between delivery and commit delivers again.
    """
    message.attempts += 1
    try:
        carrier.deliver(message.id, message.recipient, message.subject, message.body)
    except OSError as error:
        message.last_error = str(error)[:500]
        return False
    message.sent_at = clock.now()
    message.last_error = ""
    return True
