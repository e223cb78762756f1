"""`lotgate demo`: eight suppliers, played through the same verbs as the pages use."""

import json
import shutil
import socket
import sys
import textwrap
import time
from contextlib import closing
from typing import Any

import click
from sqlalchemy import select

from portal import logs
from portal.accounts.models import Organisation, OrganisationKind
from portal.cli.database import upgrade_database
from portal.cli.demo.makers import need_tools
from portal.cli.demo.outcome import outcomes, summary, write_reports
from portal.cli.demo.stage import BUYER, Login, Stage, open_stage
from portal.cli.demo.stories import STORIES
from portal.cli.ledger import create_log, open_ledger, publish_waiting
from portal.cli.serve import supervise
from portal.db import connected, reading
from portal.errors import LotgateError
from portal.settings import Settings, load_settings

WIDTH = 108


@click.command("demo", help="Play the demo: eight suppliers, real evidence, reports; then serve the portal.")
@click.option("--no-serve", is_flag=True, help="Do not serve the portal afterwards.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON object.")
@click.option("--fresh", is_flag=True, help="Remove the demo that is there, and play it from the start.")
def demo_command(no_serve: bool, as_json: bool, fresh: bool) -> None:
    settings = load_settings()
    logs.configure("WARNING")
    need_tools()
    if not no_serve:
        _need_port(settings)
    if fresh:
        _remove(settings)
    began = time.monotonic()
    upgrade_database(settings)
    played = _is_played(settings)
    with open_stage(settings) as stage:
        if played:
            click.echo("The demo is here already; making new passwords.", err=True)
            with stage.step("new passwords"):
                stage.new_secrets()
        else:
            _play(settings, stage)
    if not played:
        with stage.step("ledger published"):
            _publish(settings)
    # The worker has stopped: every core lays out pages.
    with stage.step("reports"), stage.looking() as session:
        reports = write_reports(session, settings.database, settings.var_dir / "reports")
    with stage.looking() as session:
        found, rows = summary(session), outcomes(session)
    found["reports"] = [{"path": row["path"], "pages": row["pages"]} for row in reports]
    found["steps"] = [{"name": name, "seconds": seconds} for name, seconds in stage.steps]
    found["seconds"] = round(time.monotonic() - began, 2)
    if as_json:
        found["logins"] = [{"email": row.email, "role": row.role} for row in stage.logins]
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _table(rows, found)
        _sign_in(settings, stage.logins, served=not no_serve)
    if not no_serve:
        sys.stdout.flush()
        sys.exit(supervise(settings, with_worker=True))


def _play(settings: Settings, stage: Stage) -> None:
    with open_ledger(settings) as session:
        create_log(settings, session)
    with stage.step("the buyer and its people"):
        stage.hire_buyer()
    for name, (what, story) in STORIES.items():
        with stage.step(f"{name}: {what}"):
            story(stage)


def _publish(settings: Settings) -> None:
    """What the worker had no time for any more."""
    with open_ledger(settings) as session:
        for _ in publish_waiting(settings, session):
            pass


def _is_played(settings: Settings) -> bool:
    """Whether the whole demo is in the database. Raises LotgateError when other data is."""
    with connected(settings.database) as engine, reading(engine) as session:
        names = set(session.scalars(select(Organisation.name)))
        buyer = session.scalars(
            select(Organisation.name).where(Organisation.kind == OrganisationKind.BUYER)
        ).first()
    if not names:
        return False
    if buyer != BUYER or not names <= {BUYER, *STORIES}:
        raise LotgateError(
            "this database holds other data than the demo's: set LOTGATE_VAR_DIR to another folder"
        )
    if names != {BUYER, *STORIES}:
        raise LotgateError("an earlier demo was interrupted: run it again with --fresh")
    return True


def _remove(settings: Settings) -> None:
    """Only ever removes a demo: its database says so."""
    if not settings.database.startswith("sqlite"):
        raise LotgateError("--fresh is for the embedded database; drop a PostgreSQL database yourself")
    if not (settings.var_dir / "lotgate.db").exists():
        return
    upgrade_database(settings)
    try:
        _is_played(settings)
    except LotgateError as error:
        if "other data" in error.message:
            raise
    for name in ("demo", "reports", "evidence", "mail"):
        shutil.rmtree(settings.var_dir / name, ignore_errors=True)
    shutil.rmtree(settings.ledger, ignore_errors=True)
    for file in settings.var_dir.glob("lotgate.db*"):
        file.unlink()


def _need_port(settings: Settings) -> None:
    with closing(socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise LotgateError(
                f"{settings.host}:{settings.port} cannot be served on ({error.strerror}): end what uses it, "
                "or set LOTGATE_PORT"
            ) from None


def _words(value: str) -> str:
    return value.replace("_", " ")


def _table(rows: list[Any], found: dict[str, Any]) -> None:
    click.echo("\nWhat was found\n" + "─" * WIDTH)
    click.echo(f"{'supplier':<19}{'rating':<13}{'standing':<13}{'case':<10}why")
    for row in rows:
        reason = row.why[0] if row.why else "nothing against it"
        lines = textwrap.wrap(reason, WIDTH - 55, max_lines=3, placeholder=" …")
        click.echo(
            f"{row.name:<19}{_words(row.rating):<13}{_words(row.standing):<13}{_words(row.case):<10}{lines[0]}"
        )
        for line in lines[1:]:
            click.echo(f"{'':<55}{line}")
    checks = sum(sum(counts.values()) for counts in found["checks"].values())
    click.echo("─" * WIDTH)
    click.echo(
        f"{sum(sum(c.values()) for c in found['submissions'].values())} submissions, {checks} checks, "
        f"{sum(found['cases'].values())} cases, in {found['seconds']:.0f} s."
    )
    click.echo("\nReports")
    for report in found["reports"]:
        click.echo(f"  {report['path']}  ({report['pages']} pages)")


def _sign_in(settings: Settings, logins: list[Login], *, served: bool) -> None:
    click.echo("\nHow to sign in (made now, kept nowhere in clear; the next run makes new ones)")
    for login in logins:
        second = f"  TOTP secret {login.secret}" if login.secret else ""
        click.echo(f"  {_words(login.role):<15}{login.email:<36}{login.password}{second}")
    click.echo("\nThe buyer's side asks for a code: add the secret to an authenticator app, or run")
    click.echo("  ./run lotgate users code SECRET")
    if served:
        click.echo(f"\nThe portal is at {settings.public_url} (Ctrl+C ends it)")
