"""`lotgate fsck`: prove that database, evidence store and ledger agree."""

import json
import sys

import click

from portal.adapters.blobs import LocalBlobStore
from portal.clock import SystemClock
from portal.db import begin_reading, open_engine, open_session
from portal.reports.consistency import examine
from portal.settings import load_settings


@click.command("fsck", help="Prove that database, evidence store and ledger agree; name what does not.")
@click.option("--quick", is_flag=True, help="Compare sizes only, without reading every byte again.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def fsck_command(quick: bool, as_json: bool) -> None:
    """Exit status 0 when everything agrees, 1 when something does not."""
    settings = load_settings()
    begin_reading()  # fsck never waits for writers, nor they for it
    engine = open_engine(settings.database)
    faults = []
    with open_session(engine) as session:
        found = examine(
            session,
            SystemClock(),
            LocalBlobStore(settings.store),
            settings.store / "spool",
            deep=not quick,
            tell=lambda what: click.echo(f"Checking {what} …", err=True),
        )
        for fault in found:
            faults.append({"where": fault.where, "fault": fault.text})
            if not as_json:
                click.echo(f"{fault.where}: {fault.text}")
    engine.dispose()
    if as_json:
        click.echo(json.dumps({"version": 1, "clean": not faults, "faults": faults}, indent=2))
    else:
        click.echo("Database, evidence store and ledger agree." if not faults else f"{len(faults)} faults.")
    sys.exit(1 if faults else 0)
