"""`lotgate backup` and `lotgate restore`: the embedded form, taken while it serves and brought back whole."""

import sys
from pathlib import Path

import click

from portal import __version__
from portal.adapters.backups import Backup, backups, prune, restore, take
from portal.adapters.keys import signer_in
from portal.cli.database import upgrade_database
from portal.cli.ledger import open_ledger, signer_faults
from portal.clock import SystemClock
from portal.errors import NotFound
from portal.ledger.logs import open_log
from portal.ledger.signing import PURPOSES
from portal.settings import load_settings

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("backup", help="Add a backup of database and evidence to FOLDER, while the portal serves.")
@click.argument("folder", type=FOLDER)
@click.option(
    "--keep", type=click.IntRange(min=1), help="Afterwards remove all backups but so many of the newest."
)
@click.option("--despite-damage", is_flag=True, help="Save what is whole, and name what is not.")
def backup_command(folder: Path, keep: int | None, *, despite_damage: bool) -> None:
    """Exit status 1 when something was damaged."""
    made, damaged = take(
        load_settings(), folder, SystemClock(), __version__, _tell, despite_damage=despite_damage
    )
    for what in damaged:
        click.echo(what)
    click.echo(
        f"Backup {made.name}: {made.entries:,} ledger entries, {made.files:,} files of evidence "
        f"({made.bytes:,} bytes)."
    )
    if keep is not None and (gone := prune(folder, keep)):
        click.echo(f"{gone} older {'backup' if gone == 1 else 'backups'} removed.")
    click.echo("The ledger's keys are not in it, and the signer's memory must not be: see docs/backup.md.")
    sys.exit(1 if damaged else 0)


@click.command("restore", help="Bring back the newest backup in FOLDER, where there is no database yet.")
@click.argument("folder", type=FOLDER)
@click.option("--backup", "name", help="Another one than the newest: its name, such as 20261121T201005Z.")
@click.option("--despite-damage", is_flag=True, help="Bring back what is whole, and name what is not.")
def restore_command(folder: Path, name: str | None, *, despite_damage: bool) -> None:
    """Exit status 1 when something was damaged."""
    settings = load_settings()
    backup = _find(folder, name)
    damaged = restore(settings, folder, backup, _tell, despite_damage=despite_damage)
    upgrade_database(settings)
    click.echo(f"Backup {backup.name} of {backup.made_at} is back: {backup.entries:,} ledger entries.")
    for what in damaged:
        click.echo(what)
    with open_ledger(settings) as session:
        for fault in signer_faults(settings, session):
            click.echo(f"{fault.where}: {fault.text}")
            click.echo(
                "What was published after this backup is not in it. The signer signs nothing for this log: "
                "`lotgate ledger close` and `create` begin the next one."
            )
        log = open_log(session)
        if log is not None and not signer_in(settings, log.number, log.origin).keys.exists(PURPOSES[0]):
            click.echo(
                f"The keys of log {log.number} are not on this host: nothing is signed here. Where they are "
                "lost, `lotgate ledger close` and `create` begin the next log."
            )
    click.echo("Run `lotgate fsck` before the portal serves.")
    sys.exit(1 if damaged else 0)


def _find(folder: Path, name: str | None) -> Backup:
    found = {path.stem: path for path in backups(folder)}
    if not found:
        raise NotFound(f"There is no backup in {folder}.")
    if name is not None and name not in found:
        raise NotFound(f"There is no backup {name} in {folder}; there are: {', '.join(found)}.")
    return Backup.load(found[name or max(found)])


def _tell(what: str) -> None:
    click.echo(f"{what} …", err=True)
