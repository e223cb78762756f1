"""`lotgate fsck`: prove that database, evidence store and ledger agree."""

import json
import sys
import time
from itertools import chain
from pathlib import Path

import click
from sqlalchemy import Engine

from portal.adapters.blobs import LocalBlobStore
from portal.cli.ledger import signer_faults
from portal.clock import SystemClock
from portal.db import connected, open_session, reading
from portal.ledger import witnesses
from portal.ledger.service import Fault
from portal.reports.consistency import examine
from portal.reports.journal import compare
from portal.settings import Settings, load_settings

TRIES = 3
PAUSE_SECONDS = 1.0


@click.command("fsck", help="Prove that database, evidence store and ledger agree; name what does not.")
@click.option("--quick", is_flag=True, help="Compare sizes only, without reading every byte again.")
@click.option(
    "--journal",
    type=click.Path(exists=True, path_type=Path),
    help="What a client noted when it delivered: answers of the API as lines of JSON, or receipts.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def fsck_command(journal: Path | None, *, quick: bool, as_json: bool) -> None:
    """Exit status 0 when everything agrees, 1 when something does not. Writers need not wait for it."""
    settings = load_settings()
    faults = []
    with connected(settings.database) as engine, reading(engine) as session:
        found = chain(
            _memory(settings, engine),
            examine(
                session,
                SystemClock(),
                LocalBlobStore(settings.store),
                settings.store / "spool",
                deep=not quick,
                tell=lambda what: click.echo(f"Checking {what} …", err=True),
            ),
            witnesses.audit(session, witnesses.configured(settings.witnesses)),
            compare(session, journal) if journal else (),
        )
        for fault in found:
            faults.append({"where": fault.where, "fault": fault.text})
            if not as_json:
                click.echo(f"{fault.where}: {fault.text}")
    if as_json:
        click.echo(json.dumps({"version": 1, "clean": not faults, "faults": faults}, indent=2))
    else:
        said = "1 fault." if len(faults) == 1 else f"{len(faults)} faults."
        click.echo(said if faults else "Database, evidence store and ledger agree.")
    sys.exit(1 if faults else 0)


def _memory(settings: Settings, engine: Engine) -> list[Fault]:
    """On the host that signs: whether the signer remembers what the database says.

    A checkpoint that is signed just now is in one of them before the other: a fault is looked at again.
    """
    found: list[Fault] = []
    for _ in range(TRIES):
        with open_session(engine) as session:
            found = list(signer_faults(settings, session))
        if not found:
            break
        time.sleep(PAUSE_SECONDS)
    return found
