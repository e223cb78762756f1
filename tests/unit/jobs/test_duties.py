"""What one worker does for all: lent to one at a time, taken over from the dead, given back by who ends."""

import multiprocessing
import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, delete

from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import open_session
from portal.jobs.duties import SECONDS, Duties, Duty
from portal.jobs.models import DutyLoan
from portal.jobs.tasks import Bench
from portal.jobs.worker import Place
from portal.settings import Settings
from tests.factories import RecordingQueue
from tests.factories.databases import ON_BOTH

pytestmark = ON_BOTH


@pytest.fixture
def bench(
    engine: Engine, clock: FixedClock, store: LocalBlobStore, jobs: RecordingQueue, settings: Settings
) -> Bench:
    return Bench(engine, clock, store, jobs, settings)


def test_a_duty_is_one_workers_for_as_long_as_it_renews_it(bench: Bench, clock: FixedClock) -> None:
    one, other = Duties(bench, "one"), Duties(bench, "other")
    for _ in range(10):
        assert (one.mine(Duty.SCRUB), other.mine(Duty.SCRUB)) == (True, False)
        clock.advance(timedelta(seconds=SECONDS - 1))
    assert other.mine(Duty.STAMPS)
    assert not one.mine(Duty.STAMPS)


def test_the_duty_of_a_worker_that_is_silent_goes_to_another_and_is_not_its_own_any_more(
    bench: Bench, clock: FixedClock
) -> None:
    one, other = Duties(bench, "one"), Duties(bench, "other")
    assert one.mine(Duty.HOUSE)
    clock.advance(timedelta(seconds=SECONDS))
    assert other.mine(Duty.HOUSE)
    assert not one.mine(Duty.HOUSE)
    assert Duties(bench, "other").mine(Duty.HOUSE)  # begun again, under its name


def test_what_is_given_back_is_free_at_once(bench: Bench) -> None:
    one, other = Duties(bench, "one"), Duties(bench, "other")
    assert all(map(one.mine, Duty))
    one.give_back()
    assert all(map(other.mine, Duty))
    one.give_back()  # what it no longer has stays with the other
    assert not any(map(one.mine, Duty))


def test_who_is_not_fit_neither_takes_nor_keeps_a_duty(bench: Bench, clock: FixedClock) -> None:
    """As where the next log has its keys on another host."""
    one, other = Duties(bench, "one"), Duties(bench, "other")
    assert not one.mine(Duty.LEDGER, lambda: False)
    assert one.mine(Duty.LEDGER, lambda: True)
    clock.advance(timedelta(seconds=SECONDS))
    assert not one.mine(Duty.LEDGER, lambda: False)
    assert other.mine(Duty.LEDGER)


def test_of_many_that_ask_at_once_one_has_the_duty(bench: Bench, clock: FixedClock) -> None:
    for nth in range(6):
        if nth % 2:  # taken over from one that is silent, else there is no row yet
            clock.advance(timedelta(seconds=SECONDS))
        else:
            with open_session(bench.engine) as session:
                session.execute(delete(DutyLoan))
                session.commit()
        start = threading.Barrier(6)
        got: list[str] = []

        def ask(name: str, start: threading.Barrier = start, got: list[str] = got) -> None:
            duties = Duties(bench, name)
            start.wait()
            if duties.mine(Duty.SCRUB):
                got.append(name)

        threads = [threading.Thread(target=ask, args=(f"{nth}-{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1


def _name(settings: Settings) -> str:
    return Place(settings).executor_id


def test_two_workers_of_one_folder_have_two_names_and_the_next_one_has_the_first_again(
    settings: Settings, engine: Engine
) -> None:
    place = Place(settings)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_name, (settings,)) == f"{place.executor_id}#1"
        first = place.executor_id
        place.leave()
        assert pool.apply(_name, (settings,)) == first
