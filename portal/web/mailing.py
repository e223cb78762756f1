"""Mail that pages cause: a template filled in, queued in the request's transaction, delivered after it."""

from typing import Any

from flask import render_template

from portal.http.context import clock, parts, session
from portal.notices.service import queue_mail


def mail(kind: str, recipient: str, subject: str, **values: Any) -> None:
    """Queue `templates/email/<kind>.txt`. Links begin with `public_url`, never with the request's host."""
    body = render_template(f"email/{kind}.txt", public_url=public_url(), **values)
    queue_mail(session(), clock(), kind=kind, recipient=recipient, subject=subject, body=body)


def public_url() -> str:
    return parts().settings.public_url.rstrip("/")
