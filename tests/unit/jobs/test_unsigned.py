"""A log that is not signed any more is told: on its page, in answers, and to administrators by mail."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.app import create_app
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.jobs.tasks import UNSIGNED, Bench, publish_ledger, tell_unsigned
from portal.ledger import logs
from portal.ledger.service import append
from portal.notices.models import Message
from portal.settings import Settings
from tests.factories import Make, RecordingQueue


@pytest.fixture
def bench(
    settings: Settings,
    engine: Engine,
    session: TenantSession,
    clock: FixedClock,
    store: LocalBlobStore,
    jobs: RecordingQueue,
    make: Make,
) -> Bench:
    make.user(RoleName.ADMINISTRATOR)
    logs.create(session, clock, signer_in(settings, 1, "portal.example/ledger/1"))
    session.commit()
    return Bench(engine=engine, clock=clock, store=store, jobs=jobs, settings=settings)


def record(session: TenantSession, clock: FixedClock) -> None:
    append(session, clock, "evidence.accepted", "1" * 32, {})
    session.commit()


def mails(session: TenantSession) -> int:
    found = len(session.scalars(select(Message).where(Message.kind == UNSIGNED)).all())
    session.rollback()  # the job writes in a session of its own
    return found


def test_administrators_are_told_once_a_day_of_a_log_that_is_not_signed(
    bench: Bench, session: TenantSession, clock: FixedClock, tmp_path: Path
) -> None:
    record(session, clock)
    publish_ledger(bench)
    clock.advance(timedelta(hours=1))
    record(session, clock)
    tell_unsigned(bench)
    assert mails(session) == 0  # it may be about to be signed
    clock.advance(logs.OVERDUE + timedelta(minutes=1))
    app = create_app(bench.settings, clock=clock, jobs=bench.jobs)
    assert "No checkpoint was signed for a while" in app.test_client().get("/ledger/").text
    elsewhere = replace(bench, settings=replace(bench.settings, ledger_dir=tmp_path / "no keys here"))
    for _ in range(3):
        publish_ledger(elsewhere)
        tell_unsigned(elsewhere)
    assert mails(session) == 1
    clock.advance(timedelta(days=1, minutes=1))
    tell_unsigned(bench)
    assert mails(session) == 2
    publish_ledger(bench)
    clock.advance(timedelta(days=2))
    tell_unsigned(bench)
    assert mails(session) == 2
    assert "No checkpoint was signed" not in app.test_client().get("/ledger/").text


def test_a_closed_log_without_a_next_one_is_told_too(
    bench: Bench, session: TenantSession, clock: FixedClock
) -> None:
    log = logs.open_log(session)
    assert log is not None
    logs.close(session, clock, log)
    record(session, clock)
    clock.advance(timedelta(hours=1))
    tell_unsigned(bench)
    assert mails(session) == 1


def test_entries_from_before_a_log_was_opened_are_no_alarm(
    settings: Settings,
    engine: Engine,
    session: TenantSession,
    clock: FixedClock,
    store: LocalBlobStore,
    jobs: RecordingQueue,
    make: Make,
) -> None:
    make.user(RoleName.ADMINISTRATOR)
    bench = Bench(engine=engine, clock=clock, store=store, jobs=jobs, settings=settings)
    record(session, clock)
    clock.advance(timedelta(days=30))
    tell_unsigned(bench)  # nobody has opened a log
    logs.create(session, clock, signer_in(settings, 1, "portal.example/ledger/1"))
    session.commit()
    tell_unsigned(bench)  # it was opened just now
    assert mails(session) == 0
