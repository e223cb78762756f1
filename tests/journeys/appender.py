"""`python -m tests.journeys.appender VAR`: appends an entry and publishes it, each time in a new process.

It does so once with VAR, so that everything is imported. Then each line on stdin names such a folder. The
process that does the work is told by a line with its id and waits to be continued; a second line tells how it
ended: 0, 3 where it was refused properly, or the signal, negative.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from portal.adapters.keys import signer_in
from portal.clock import SystemClock
from portal.db import open_engine, open_session
from portal.errors import LotgateError
from portal.ledger import logs
from portal.ledger.service import append
from portal.settings import Settings

REFUSED = 3


def append_and_publish(settings: Settings) -> None:
    """As a request and then the worker: two transactions."""
    engine = open_engine(settings.database)
    try:
        with open_session(engine) as session:
            append(session, SystemClock(), "drill.noted", "0" * 32, {"name": "Nordhaven"})
            session.commit()
        with open_session(engine) as session:
            log = logs.open_log(session)
            assert log is not None
            logs.publish(session, SystemClock(), signer_in(settings, log.number, log.origin))
            session.commit()
    finally:
        engine.dispose()


def _work(settings: Settings) -> int:
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        append_and_publish(settings)
    except (LotgateError, SQLAlchemyError) as error:
        with suppress(OSError):  # writing may be what fails
            print(f"refused: {error}", file=sys.stderr, flush=True)
        return REFUSED
    return 0


def main() -> None:
    append_and_publish(Settings(var_dir=Path(sys.argv[1])))
    for line in sys.stdin:
        settings = Settings(var_dir=Path(line.strip()))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = _work(settings)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                raise
            finally:
                os._exit(status)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
