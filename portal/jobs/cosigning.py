"""Witnesses are asked in threads of their own: one that is silent delays neither publishing nor others."""

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from portal.accounts.read import administrators
from portal.adapters.http import HttpClient
from portal.db import TenantSession, reading, writing
from portal.errors import LotgateError
from portal.jobs.tasks import Bench, signs_here
from portal.ledger import witnesses
from portal.notices.service import queue_mail

PATIENCE_SECONDS = 5.0
log = structlog.get_logger()


class Cosigning:
    """`look` begins to ask and returns at once; only the host that signs asks."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._http = HttpClient(PATIENCE_SECONDS)
        self._asking: dict[str, threading.Thread] = {}

    def look(self) -> None:
        """Ask every witness that has yet to cosign the last checkpoint of a log and is not being asked."""
        policy = witnesses.configured(self.bench.settings.witnesses)
        if policy is None:
            return
        if not signs_here(self.bench):
            return
        with reading(self.bench.engine) as session:
            due = witnesses.due(session, self.bench.clock, witnesses.addressed(policy))
        for one in due:
            thread = self._asking.get(one.witness.url)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=self._ask, args=(one,), name="witness", daemon=True)
                self._asking[one.witness.url] = thread
                thread.start()

    def stop(self) -> None:
        for thread in self._asking.values():
            thread.join(PATIENCE_SECONDS)

    def _ask(self, due: witnesses.Due) -> None:
        try:
            for number in due.logs:
                ask(self.bench, self._http, due.witness, number)
        except (SQLAlchemyError, LotgateError, OSError) as error:
            log.warning("asking a witness", witness=due.witness.name, error=str(error))


def ask(bench: Bench, http: HttpClient, witness: witnesses.Witness, number: int) -> None:
    """Ask one witness about one log, keep what it answered, log what does not hold; mail on an alarm."""
    checkpoint, came = witnesses.ask(lambda: reading(bench.engine), bench.clock, http, witness, number)
    with writing(bench.engine) as session:
        new = witnesses.record(session, bench.clock, witness, checkpoint, came)
        if new and came.alarm:
            _mail_administrators(bench, session, witness, came.troubles)
    for trouble in new:
        (log.error if came.alarm else log.warning)(
            "witness", witness=witness.name, ledger=number, trouble=trouble
        )


def _mail_administrators(
    bench: Bench, session: TenantSession, witness: witnesses.Witness, troubles: tuple[str, ...]
) -> None:
    said = "\n".join(troubles)
    subject = f"The ledger contradicts what the witness {witness.name} saw"
    body = (
        f"The witness {witness.name} ({witness.url}) does not cosign the transparency log:\n\n"
        f"{said}\n\n"
        "Either the log's history was changed, or somebody else signs with its keys. Neither close\n"
        "the log nor restore anything before it is known which; `lotgate fsck` and\n"
        "`lotgate ledger show` say what this portal has.\n"
    )
    for email in administrators(session):
        queue_mail(session, bench.clock, kind="witness_alarm", recipient=email, subject=subject, body=body)
