"""The thread of a worker that reads the vault again: nicely, slowly, and only when something is due."""

import os
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from portal.db import reading, writing
from portal.errors import LotgateError
from portal.evidence import scrub
from portal.jobs.duties import Duties, Duty
from portal.jobs.tasks import Bench
from portal.reassessment.touched import products_of_evidence

LOOK_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 5.0  # of one wait, so that the duty is renewed meanwhile
log = structlog.get_logger()


class Stopped(Exception):  # no error: the worker ends, or another one reads
    """Raised inside a long read; the file is read anew."""


def run(bench: Bench, ending: threading.Event, duties: Duties) -> None:
    """Until the worker ends, while it is this worker's duty.

    Lowest priority of this thread for the processor, and by that for the disk.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    except OSError:
        log.info("scrub without low priority")

    def mine() -> bool:
        return duties.mine(Duty.SCRUB)

    while bench.settings.scrub_days > 0 and not ending.wait(LOOK_SECONDS):
        try:
            while not ending.is_set() and mine() and step(bench, ending, mine):
                pass
        except Stopped:
            continue
        except (SQLAlchemyError, LotgateError, OSError) as error:
            log.warning("scrub", error=str(error))


def step(bench: Bench, ending: threading.Event, mine: Callable[[], bool] = lambda: True) -> bool:
    """Read one blob that is due, while that is `mine` to do; False when there is none."""
    days = bench.settings.scrub_days
    with reading(bench.engine) as session:
        turn = scrub.due(session, bench.clock, days)
        over = turn is None and scrub.is_over(session, bench.clock, days)
    if over:
        with writing(bench.engine) as session:
            scrub.end_cycle(session, bench.clock, days)
    if turn is None:
        return False
    pace = _slowly(bench.settings.scrub_bytes_per_second, ending, mine)
    wrong = scrub.read_again(bench.store, turn, pace)
    with writing(bench.engine) as session:
        changed = scrub.record(session, bench.clock, turn, wrong)
        cause = "Damage in the evidence store" if wrong else "Damage in the evidence store is mended"
        for product_id in products_of_evidence(session, changed):
            bench.jobs.enqueue(session, "assess", product_id, cause)
    if wrong:
        log.error("damaged evidence", sha256=turn.sha256, what=wrong)
    pace(turn.size)  # small files are over before their progress is asked
    return True


def _slowly(rate: int, ending: threading.Event, mine: Callable[[], bool] = lambda: True) -> scrub.Progress:
    """Progress that keeps a read at `rate` bytes a second, and ends it with the worker or its duty."""
    begun = time.monotonic()

    def pace(done: int) -> None:
        while True:
            ahead = done / rate - (time.monotonic() - begun)
            if ending.wait(min(max(ahead, 0), LONGEST_SECONDS)) or not mine():
                raise Stopped
            if ahead <= LONGEST_SECONDS:
                return

    return pace
