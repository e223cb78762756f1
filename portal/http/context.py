"""What a handler reaches for: the portal's parts, the request's session and actor."""

from dataclasses import dataclass
from pathlib import Path

from flask import current_app, g
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.clock import Clock
from portal.db import TenantSession
from portal.evidence.ports import BlobStore
from portal.settings import Settings
from portal.submissions.ports import JobQueue

db = SQLAlchemy(session_options={"class_": TenantSession, "expire_on_commit": False})


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one running portal, hung on the application by create_app."""

    settings: Settings
    clock: Clock
    store: BlobStore
    jobs: JobQueue
    spool: Path  # where uploads grow; same file system as the local store


def parts() -> Parts:
    found = current_app.extensions["lotgate"]
    assert isinstance(found, Parts)
    return found


def session() -> Session:
    """This request's session, already bound to the actor's tenant scope by the gate."""
    return db.session


def actor() -> Actor:
    """Who acts in this request; only call it where the access table demands an account."""
    found = g.actor
    assert isinstance(found, Actor)
    return found


def clock() -> Clock:
    return parts().clock
