"""Time stamps are asked for in a thread of its own: an authority that is silent delays nothing else."""

import threading
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from portal.adapters.http import HttpClient
from portal.db import reading, writing
from portal.errors import LedgerError, LotgateError
from portal.jobs.tasks import Bench
from portal.ledger import stamps
from portal.suppliers import timestamping

PATIENCE_SECONDS = 20.0
log = structlog.get_logger()


class Stamping:
    """`look` begins to ask where a checkpoint wants a stamp, and returns at once."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._asking: threading.Thread | None = None

    def look(self) -> None:
        if not self.bench.settings.timestamp_url or (self._asking and self._asking.is_alive()):
            return
        with reading(self.bench.engine) as session:
            if stamps.due(session, self.bench.clock, _every(self.bench)) is None:
                return
        self._asking = threading.Thread(target=self._ask, name="stamping", daemon=True)
        self._asking.start()

    def stop(self) -> None:
        if self._asking is not None:
            self._asking.join(PATIENCE_SECONDS)

    def _ask(self) -> None:
        try:
            stamp_ledger(self.bench)
        except (SQLAlchemyError, LotgateError, OSError) as error:
            log.warning("time stamp", error=str(error))


def stamp_ledger(bench: Bench) -> None:
    """Ask for the time stamp that is due, if one is; keep what holds, remember why what does not."""
    settings = bench.settings
    with reading(bench.engine) as session:
        checkpoint = stamps.due(session, bench.clock, _every(bench))
        believed = timestamping.entries(session)
    if checkpoint is None or not settings.timestamp_url:
        return
    http = HttpClient(PATIENCE_SECONDS)
    try:
        stamp = stamps.obtain(http, settings.timestamp_url, checkpoint, believed, bench.clock)
    except LedgerError as error:
        log.warning("no time stamp", log=checkpoint.log, size=checkpoint.size, why=error.message)
        with writing(bench.engine) as session:
            stamps.failed(session, bench.clock, checkpoint, error.message)
        return
    with writing(bench.engine) as session:
        stamps.keep(session, stamp)
    log.info("time stamp", log=checkpoint.log, size=checkpoint.size, authority=stamp.authority)


def _every(bench: Bench) -> timedelta:
    return timedelta(minutes=bench.settings.timestamp_minutes)
