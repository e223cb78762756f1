"""A vault in a fresh folder, and a supplier who delivers to it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from portal.accounts.actors import Actor
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence import uploads
from portal.evidence.models import Upload
from portal.evidence.uploads import CommitPoints, Vault
from tests.factories import Make

KEY = b"k" * 32
Run = Callable[[CommitPoints], None]


@pytest.fixture
def vault(store: LocalBlobStore, spool: Path) -> Vault:
    return Vault(
        store=store, spool=spool, key=KEY, max_bytes=1 << 30, quota_bytes=1 << 31, expiry=timedelta(hours=72)
    )


@pytest.fixture
def actor(make: Make) -> Actor:
    return make.supplier_actor()


@pytest.fixture
def run(session: TenantSession) -> Run:
    """Drive a verb as a door does: commit at every point where it asks for it."""

    def drive(points: CommitPoints) -> None:
        try:
            for _ in points:
                session.commit()
        finally:
            points.close()
            session.rollback()

    return drive


@pytest.fixture
def opened(session: TenantSession, actor: Actor, clock: FixedClock, vault: Vault) -> Callable[..., Upload]:
    """`opened(length=…)` is a committed, empty upload of `actor`."""

    def open_one(length: int, **values: str) -> Upload:
        filename = values.pop("filename", "image.bin")
        upload = uploads.create_upload(
            session, actor, clock, vault, length=length, filename=filename, **values
        )
        session.commit()
        return upload

    return open_one
