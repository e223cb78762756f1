"""`lotgate ledger`: make a transparency log, see it, publish what waits, end it."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click
from sqlalchemy import func, select

from portal.adapters.keys import signer_in
from portal.cli.database import prepare
from portal.clock import SystemClock
from portal.db import TenantSession, connected, writing
from portal.errors import Conflict, LedgerError
from portal.ledger import logs, stamps, witnesses
from portal.ledger.audit import compare_keys, compare_memory
from portal.ledger.models import Log, SignedCheckpoint, StampTrouble
from portal.ledger.notes import Checkpoint
from portal.ledger.ports import Purpose
from portal.ledger.service import Fault
from portal.ledger.signing import PURPOSES
from portal.settings import Settings, load_settings


@click.group("ledger", help="The transparency log: make it, see it, publish, end it.")
def ledger_group() -> None: ...


@contextmanager
def open_ledger(settings: Settings) -> Iterator[TenantSession]:
    """A session that is committed at the end."""
    prepare(settings)
    with connected(settings.database) as engine, writing(engine) as session:
        yield session


def origin_of(settings: Settings, number: int) -> str:
    """A log's name: where it is served, without scheme (C2SP tlog-tiles)."""
    address = urlsplit(settings.public_url)
    return f"{address.netloc}{address.path.rstrip('/')}/ledger/{number}"


def create_log(settings: Settings, session: TenantSession) -> Log:
    """Numbers under which this host signed for a database that is lost are passed over."""
    number = logs.next_number(session)
    while _was_used(settings, number):
        number += 1
    signer = signer_in(settings, number, origin_of(settings, number))
    return logs.create(session, SystemClock(), signer, number)


def _was_used(settings: Settings, number: int) -> bool:
    try:
        last = _remembered(settings, number)
    except LedgerError:  # a memory that was copied, or is that of another name
        return True
    return last is not None and last.size > 0


def _remembered(settings: Settings, number: int) -> Checkpoint | None:
    """What was signed for a log of this number. Raises LedgerError."""
    origin = origin_of(settings, number)
    return signer_in(settings, number, origin).memory.last(origin)


def publish_waiting(settings: Settings, session: TenantSession) -> Iterator[SignedCheckpoint]:
    """Sign checkpoints, each committed, until nothing waits in the open log. Raises Conflict without one."""
    log = _open(session)
    signer = signer_in(settings, log.number, log.origin)
    while (made := logs.publish(session, SystemClock(), signer)) is not None:
        session.commit()
        yield made


def signer_faults(settings: Settings, session: TenantSession) -> Iterator[Fault]:
    """On the host that signs: what the signers know and remember beside what the database says."""
    for log in session.scalars(select(Log).order_by(Log.number)).all():
        signer = signer_in(settings, log.number, log.origin)
        try:
            if signer.keys.exists(Purpose.LOG_ED25519):
                yield from compare_keys(log, signer.verifier_keys())
                yield from compare_memory(session, log, signer.memory.last(log.origin))
        except LedgerError as error:
            if log.open:  # else it was closed because of that
                yield Fault(f"the signer of log {log.number}", error.message)
    yield from _lost_logs(settings, session.scalar(select(func.max(Log.number))) or 0)


def _lost_logs(settings: Settings, last: int) -> Iterator[Fault]:
    """Logs beyond the last one of the database that were signed here."""
    folders = settings.ledger.iterdir() if settings.ledger.is_dir() else ()
    for number in sorted(int(one.name) for one in folders if one.name.isascii() and one.name.isdigit()):
        where = f"the signer's memory of log {number}"
        try:
            signed = _remembered(settings, number) if number > last else None
        except LedgerError as error:
            yield Fault(where, error.message)
            continue
        if signed is not None and signed.size:
            yield Fault(
                where,
                f"says that {signed.size} entries were signed, the database has no such log: it was put "
                "back, or its log was taken out",
            )


@ledger_group.command("create", help="Make keys and open a log. Entries that wait are published into it.")
def create_command() -> None:
    settings = load_settings()
    with open_ledger(settings) as session:
        log = create_log(settings, session)
        session.commit()  # before anything is told
        click.echo(f"Log {log.number} is open: {log.origin}")
        _tell_keys(settings, log)
        click.echo("Give these to who shall check it:")
        for key in log.keys.splitlines():
            click.echo(f"  {key if len(key) < 120 else f'{key[:116]}…'}")
        click.echo(f"In full: {settings.public_url.rstrip('/')}/ledger/policy")


@ledger_group.command("show", help="The logs, who cosigned what, and what waits for a checkpoint.")
def show_command() -> None:
    settings = load_settings()
    with open_ledger(settings) as session:
        found = session.scalars(select(Log).order_by(Log.number)).all()
        for log in found:
            state = "open" if log.open else f"closed {log.closed_at:%Y-%m-%d}"
            click.echo(f"Log {log.number}, {log.origin}: {log.head:,} entries, {state}")
            if log.open:
                _tell_keys(settings, log)
            for one in witnesses.standings(session, log):
                cosigned = f"cosigned {one.size:,} entries, {one.at:%Y-%m-%d %H:%M:%S} UTC"
                click.echo(f"  {one.name} (key {one.key_id}) {cosigned}")
            _tell_stamps(session, settings, log)
        if not found:
            click.echo("There is no log yet: `lotgate ledger create` makes one.")
        elif (since := logs.waiting_since(session)) is not None:
            click.echo(f"Entries wait for a checkpoint since {since:%Y-%m-%d %H:%M:%S} UTC.")
        for fault in signer_faults(settings, session):
            click.echo(f"{fault.where}: {fault.text}")
        for quiet in witnesses.silent(session, witnesses.configured(settings.witnesses)):
            mark = "ALARM: " if quiet.alarm else ""
            for trouble in quiet.troubles:
                named = f"{quiet.witness.name} ({quiet.witness.url}), asked about {quiet.origin}"
                click.echo(f"{mark}Witness {named}: {trouble}")


@ledger_group.command("publish", help="Sign a checkpoint over what waits, as the worker does.")
def publish_command() -> None:
    settings = load_settings()
    with open_ledger(settings) as session:
        for made in publish_waiting(settings, session):
            click.echo(f"Log {made.log}: {made.size:,} entries")


@ledger_group.command("close", help="End the open log for good; `create` opens the next one, with new keys.")
@click.confirmation_option(prompt="A closed log is never opened again. Close it?")
def close_command() -> None:
    with open_ledger(load_settings()) as session:
        log = _open(session)
        logs.close(session, SystemClock(), log)
        session.commit()
        click.echo(f"Log {log.number} ({log.origin}) is closed with {log.head:,} entries.")


def _tell_keys(settings: Settings, log: Log) -> None:
    """Where each private key is, as far as this host has them."""
    try:
        keys = signer_in(settings, log.number, log.origin).keys
        for purpose in PURPOSES:
            there = keys.place(purpose) if keys.exists(purpose) else "not on this host"
            click.echo(f"  key {purpose.value}: {there}")
    except LedgerError as error:
        click.echo(f"  keys: {error.message}")


def _tell_stamps(session: TenantSession, settings: Settings, log: Log) -> None:
    stamp = stamps.newest(session, log)
    if stamp is not None:
        until = f"{stamp.size:,} entries, {stamp.time:%Y-%m-%d %H:%M:%S} UTC, by {stamp.authority}"
        click.echo(f"  newest time stamp: {until}")
    elif log.head and not settings.timestamp_url:
        click.echo("  no time stamps (setting timestamp_url): time is what this portal claims")
    if trouble := session.get(StampTrouble, log.number):
        click.echo(f"  TROUBLE with time stamps, {trouble.at:%Y-%m-%d %H:%M} UTC: {trouble.why}")
        click.echo(f"  tries: {trouble.failures}; the next at {trouble.again_at:%Y-%m-%d %H:%M} UTC")


def _open(session: TenantSession) -> Log:
    log = logs.open_log(session)
    if log is None:
        raise Conflict("No log is open: `lotgate ledger create` makes one.")
    return log
