from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from portal.accounts.actors import Actor
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence import service
from portal.evidence.models import Evidence, Upload, UploadState
from portal.evidence.spool import open_spool
from portal.evidence.sweep import Swept
from portal.evidence.uploads import Vault


@pytest.fixture
def clock() -> FixedClock:
    """The files of the store carry the machine's time, so that must be about now."""
    return FixedClock(datetime.now(UTC))


def sweep(session: TenantSession, clock: FixedClock, vault: Vault) -> Swept:
    swept = service.sweep(session, clock, vault.store, vault.spool)
    session.commit()
    return swept


def orphan(vault: Vault, data: bytes, name: str) -> None:
    source = vault.spool / "made"
    source.write_bytes(data)
    vault.store.put(source, name)
    source.unlink()


def test_what_is_alive_is_left_alone(
    session: TenantSession, actor: Actor, clock: FixedClock, vault: Vault, opened: Callable[..., Upload]
) -> None:
    upload = opened(10)
    (vault.spool / upload.id).write_bytes(b"12345")
    service.receive_bytes(session, actor, clock, vault.store, vault.spool, b"data", filename="a", limit=10)
    session.commit()
    clock.advance(timedelta(hours=48))
    assert sweep(session, clock, vault) == Swept(uploads=0, files=0, blobs=0)
    assert (vault.spool / upload.id).exists()
    assert len(list(vault.store.list())) == 1


def test_an_upload_without_progress_is_ended_and_its_bytes_removed(
    session: TenantSession, clock: FixedClock, vault: Vault, opened: Callable[..., Upload]
) -> None:
    upload = opened(10)
    (vault.spool / upload.id).write_bytes(b"12345")
    clock.advance(timedelta(hours=72))
    assert sweep(session, clock, vault) == Swept(uploads=1, files=1, blobs=0)
    session.expire_all()
    assert session.get_one(Upload, upload.id).state is UploadState.TERMINATED
    assert not (vault.spool / upload.id).exists()
    assert sweep(session, clock, vault) == Swept(uploads=0, files=0, blobs=0)


def test_files_of_nobody_go_after_a_day(session: TenantSession, clock: FixedClock, vault: Vault) -> None:
    stray = vault.spool / "0123.part"
    stray.write_bytes(b"left by a crash")
    assert sweep(session, clock, vault).files == 0
    clock.advance(timedelta(hours=25))
    assert sweep(session, clock, vault).files == 1
    assert not stray.exists()


def test_a_file_in_use_is_left(session: TenantSession, clock: FixedClock, vault: Vault) -> None:
    clock.advance(timedelta(hours=25))
    with open_spool(vault.spool, "busy.part"):
        assert sweep(session, clock, vault).files == 0
    assert sweep(session, clock, vault).files == 1


def test_an_orphan_blob_goes_after_a_day_but_evidence_never(
    session: TenantSession, actor: Actor, clock: FixedClock, vault: Vault
) -> None:
    orphan(vault, b"never recorded", "0" * 64)
    kept = service.receive_bytes(
        session, actor, clock, vault.store, vault.spool, b"data", filename="a", limit=10
    )
    session.commit()
    assert sweep(session, clock, vault).blobs == 0
    clock.advance(timedelta(hours=25))
    assert sweep(session, clock, vault).blobs == 1
    assert [blob.sha256 for blob in vault.store.list()] == [kept.sha256]
    assert session.scalars(select(Evidence)).one().id == kept.id


def test_evidence_whose_row_somebody_took_away_is_no_orphan(
    session: TenantSession, actor: Actor, clock: FixedClock, vault: Vault
) -> None:
    """Or whoever can write the database would have us destroy what is under hold."""
    kept = service.receive_bytes(
        session, actor, clock, vault.store, vault.spool, b"data", filename="a", limit=10
    )
    session.execute(text("PRAGMA foreign_keys = OFF"))
    for (trigger,) in session.execute(
        text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'evidence'")
    ).all():
        session.execute(text(f"DROP TRIGGER {trigger}"))
    session.execute(text("DELETE FROM evidence"))
    session.commit()
    clock.advance(timedelta(hours=25))
    assert sweep(session, clock, vault).blobs == 0
    assert [blob.sha256 for blob in vault.store.list()] == [kept.sha256]


def test_an_orphan_that_is_delivered_again_is_no_orphan(vault: Vault, tmp_path: Path) -> None:
    orphan(vault, b"again", "1" * 64)
    path = vault.store._path("1" * 64)  # type: ignore[attr-defined]
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        orphan(vault, b"again", "1" * 64)
