"""Stored bytes are read again; damage is told, marked, and never deleted."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence.models import Damage, Evidence, Scrub
from portal.evidence.scrub import Turn, due, read_again, record, state
from portal.jobs import scrubbing
from portal.jobs.tasks import Bench
from portal.ledger.models import Entry
from portal.notices.models import Message
from portal.review.facts import gather
from portal.review.service import assess
from portal.settings import Settings
from portal.submissions import service as submissions
from portal.submissions.models import AttachmentRole, Submission, SubmissionKind
from portal.verification import Outcome
from tests.factories import Make, RecordingQueue
from tests.factories.kept import Kept
from tests.factories.offered import Offered

DAYS = 30
GO_ON = threading.Event()


@pytest.fixture
def kept(session: TenantSession, clock: FixedClock, make: Make, store: LocalBlobStore, spool: Path) -> Kept:
    return Kept(session, clock, make, store, spool)


@pytest.fixture
def bench(
    engine: Engine, clock: FixedClock, store: LocalBlobStore, jobs: RecordingQueue, settings: Settings
) -> Bench:
    return Bench(engine, clock, store, jobs, settings)


def damage(store: LocalBlobStore, evidence: Evidence, data: bytes) -> None:
    path = store._path(evidence.sha256)
    path.chmod(0o640)
    path.write_bytes(data)
    path.chmod(0o440)


def read_cycle(bench: Bench, clock: FixedClock, session: TenantSession) -> int:
    """A whole cycle, in steps of a day; how many files were read."""
    session.commit()
    scrubbing.step(bench, GO_ON)
    read = 0
    for _ in range(DAYS):
        clock.advance(timedelta(days=1))
        while scrubbing.step(bench, GO_ON):
            read += 1
    session.expire_all()
    return read


def test_every_file_is_read_once_a_cycle_and_they_are_spread_over_it(
    session: TenantSession, clock: FixedClock, kept: Kept, bench: Bench
) -> None:
    supplier = kept.make.supplier()
    for number in range(40):
        kept.delivered(supplier=supplier, data=f"file {number % 30}".encode(), ago=timedelta())
    session.commit()
    scrubbing.step(bench, GO_ON)
    by_day = []
    for _ in range(DAYS):
        clock.advance(timedelta(days=1))
        count = 0
        while scrubbing.step(bench, GO_ON):
            count += 1
        by_day.append(count)
    assert sum(by_day) == 30  # the same bytes twice are one file
    assert max(by_day) < 10
    session.expire_all()
    row = session.get_one(Scrub, 1)
    assert (row.last_files, row.last_damaged, row.last_ended_at) == (30, 0, clock.now())
    assert row.last_size == sum({e.sha256: e.size for e in session.scalars(select(Evidence))}.values())
    assert (row.cursor, row.files, row.begun_at) == ("", 0, clock.now())
    session.commit()
    assert read_cycle(bench, clock, session) == 30


def test_it_goes_on_where_it_was_after_a_restart(
    session: TenantSession, clock: FixedClock, kept: Kept, bench: Bench
) -> None:
    for number in range(3):
        kept.delivered(data=f"file {number}".encode(), ago=timedelta())
    session.commit()
    scrubbing.step(bench, GO_ON)
    clock.advance(timedelta(days=DAYS))
    assert scrubbing.step(bench, GO_ON)
    first = due(session, clock, DAYS)
    session.commit()
    again = Bench(bench.engine, clock, bench.store, bench.jobs, bench.settings)
    assert scrubbing.step(again, GO_ON)
    session.expire_all()
    row = session.get_one(Scrub, 1)
    assert first is not None
    assert (row.files, row.cursor) == (2, first.sha256)


@pytest.mark.parametrize("what", ["flipped", "cut", "emptied", "gone"])
def test_damage_is_told_marked_and_never_deleted(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    bench: Bench,
    store: LocalBlobStore,
    jobs: RecordingQueue,
    offered: Offered,
    what: str,
) -> None:
    administrator = kept.make.user(RoleName.ADMINISTRATOR)
    product = kept.make.product()
    evidence = kept.delivered(
        product, b"a manifest", ago=timedelta(), kind=SubmissionKind.LOT, role=AttachmentRole.MANIFEST
    )
    submission = session.scalars(select(Submission)).one()
    offered.run(submission, {"lot.manifest": Outcome.PASS})
    assess(session, clock, product.id, cause="test")
    if what == "gone":
        store.delete(evidence.sha256)
    else:
        damage(store, evidence, {"flipped": b"A manifest", "cut": b"a mani", "emptied": b""}[what])
    assert read_cycle(bench, clock, session) == 1
    found = session.scalars(select(Damage)).one()
    assert (found.sha256, found.mended_at) == (evidence.sha256, None)
    assert session.scalars(select(Entry.subject_id).where(Entry.kind == "evidence.damaged")).all() == [
        evidence.id
    ]
    mail = session.scalars(select(Message)).one()
    assert (mail.recipient, mail.kind) == (administrator.email, "vault_damage")
    assert evidence.sha256 in mail.body
    if what != "gone":
        assert store.stat(evidence.sha256) is not None
    (check,) = gather(session, clock, product, [submission]).checks
    assert check.outcome == "unreadable"
    assert "damaged in the evidence store" in check.reason
    assert submissions.verify(session, clock, store, submission.id, lambda *_: None) is Outcome.UNREADABLE
    session.commit()
    assert jobs.waiting == [("assess", (product.id, "Damage in the evidence store"))]
    jobs.run_all()
    assert len(state(session, DAYS).damaged) == 1
    session.commit()
    read_cycle(bench, clock, session)
    assert len(session.scalars(select(Message)).all()) == 1  # told once, not in every cycle


def test_a_file_that_was_put_right_counts_again(
    session: TenantSession, clock: FixedClock, kept: Kept, bench: Bench, store: LocalBlobStore
) -> None:
    evidence = kept.delivered(data=b"right", ago=timedelta())
    damage(store, evidence, b"wrong")
    read_cycle(bench, clock, session)
    damage(store, evidence, b"right")
    read_cycle(bench, clock, session)
    assert session.scalars(select(Damage)).one().mended_at is not None
    kinds = session.scalars(
        select(Entry.kind).where(Entry.subject_id == evidence.id).order_by(Entry.seq)
    ).all()
    assert kinds == ["evidence.accepted", "evidence.damaged", "evidence.mended"]
    assert state(session, DAYS).damaged == ()


def test_a_second_worker_that_read_the_same_changes_nothing(
    session: TenantSession, clock: FixedClock, kept: Kept, bench: Bench
) -> None:
    evidence = kept.delivered(ago=timedelta())
    read_cycle(bench, clock, session)
    session.get_one(Scrub, 1).cursor = "f" * 64
    late = Turn(evidence.sha256, evidence.blake3, evidence.size, after="")
    assert record(session, clock, late, "damaged, it says") == ()
    assert session.scalars(select(Damage)).all() == []


def test_a_read_that_is_ahead_of_its_rate_ends_with_its_worker() -> None:
    ending = threading.Event()
    pace = scrubbing._slowly(1, ending)  # a byte a second
    timer = threading.Timer(0.2, ending.set)
    timer.start()
    with pytest.raises(scrubbing.Stopped):
        pace(1 << 40)
    timer.join()


def test_what_progress_raises_ends_the_read_and_is_no_damage(
    store: LocalBlobStore, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = kept.delivered(ago=timedelta())
    turn = Turn(evidence.sha256, evidence.blake3, evidence.size, "")

    def asked(path: Path, progress: object) -> None:
        assert callable(progress)
        progress(1)

    monkeypatch.setattr("portal.evidence.scrub.hash_file", asked)

    def stop(_done: int) -> None:
        raise scrubbing.Stopped

    with pytest.raises(scrubbing.Stopped):
        read_again(store, turn, stop)


def test_a_file_whose_read_fails_is_damaged(kept: Kept, store: LocalBlobStore) -> None:
    evidence = kept.delivered(ago=timedelta())
    turn = Turn(evidence.sha256, evidence.blake3, evidence.size, "")
    path = store._path(evidence.sha256)
    path.unlink()
    path.mkdir()  # reads as no file at all
    assert read_again(store, turn, lambda _: None).startswith("it cannot be read")
