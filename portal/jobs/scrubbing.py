"""The thread of a worker that reads the vault again: nicely, slowly, and only when something is due."""

import os
import threading
import time
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from portal.errors import LotgateError
from portal.evidence import scrub
from portal.jobs.tasks import Bench, reading, writing
from portal.reassessment.touched import products_of_evidence

LOOK_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 3600.0  # of one wait: a timer takes no more than some number of seconds
log = structlog.get_logger()


class Stopped(Exception):  # no error: the worker ends
    """Raised inside a long read when the worker ends; the file is read anew after the next start."""


def run(bench: Bench, ending: threading.Event) -> None:
    """Until the worker ends. Lowest priority of this thread for the processor, and by that for the disk."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    except OSError:
        log.info("scrub without low priority")
    while bench.settings.scrub_days > 0 and not ending.wait(LOOK_SECONDS):
        try:
            while not ending.is_set() and step(bench, ending):
                pass
        except Stopped:
            return
        except (SQLAlchemyError, LotgateError, OSError) as error:
            log.warning("scrub", error=str(error))


def step(bench: Bench, ending: threading.Event) -> bool:
    """Read one blob that is due; False when there is none."""
    days = bench.settings.scrub_days
    with reading(bench) as session:
        turn = scrub.due(session, bench.clock, days)
        over = turn is None and scrub.is_over(session, bench.clock, days)
    if over:
        with writing(bench) as session:
            scrub.end_cycle(session, bench.clock, days)
    if turn is None:
        return False
    pace = _slowly(bench.settings.scrub_bytes_per_second, ending)
    wrong = scrub.read_again(bench.store, turn, pace)
    with writing(bench) as session:
        changed = scrub.record(session, bench.clock, turn, wrong)
        cause = "Damage in the evidence store" if wrong else "Damage in the evidence store is mended"
        for product_id in products_of_evidence(session, changed):
            bench.jobs.enqueue(session, "assess", product_id, cause)
    if wrong:
        log.error("damaged evidence", sha256=turn.sha256, what=wrong)
    pace(turn.size)  # small files are over before their progress is asked
    return True


def _slowly(rate: int, ending: threading.Event) -> scrub.Progress:
    """Progress that keeps a read at `rate` bytes a second, and ends it with the worker."""
    begun = time.monotonic()

    def pace(done: int) -> None:
        ahead = done / rate - (time.monotonic() - begun)
        if ending.wait(min(max(ahead, 0), LONGEST_SECONDS)):
            raise Stopped

    return pace
