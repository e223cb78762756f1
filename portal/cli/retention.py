"""`lotgate retention`: what the rules would let go, and its deletion, for who administers the host."""

import json
import time

import click
from sqlalchemy import select

from portal.accounts.actors import Actor, actor_of
from portal.accounts.models import User
from portal.accounts.service import is_admitted
from portal.adapters.blobs import LocalBlobStore
from portal.clock import SystemClock
from portal.db import TenantSession, connected, open_session, reading
from portal.errors import NotFound
from portal.formats import day
from portal.retention import service
from portal.settings import load_settings


@click.group("retention", help="What the retention rules would let go, and its deletion.")
def retention_group() -> None: ...


@retention_group.command("preview", help="List what would go, and the digest that names this list.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def preview_command(as_json: bool) -> None:
    # It never waits for writers, nor they for it.
    with connected(load_settings().database) as engine, reading(engine) as session:
        found = service.preview(session, SystemClock())
    if as_json:
        click.echo(
            json.dumps(
                {
                    "version": 1,
                    "digest": found.digest,
                    "rules_version": found.rules.version,
                    "files": [
                        {
                            "id": item.file.id,
                            "sha256": item.file.sha256,
                            "size": item.file.size,
                            "filename": item.file.filename,
                            "supplier": item.file.supplier,
                            "rule": item.rule,
                            "kept_until": item.kept_until.isoformat(),
                        }
                        for item in found.goes
                    ],
                    "more": found.more,
                    "old_files_that_stay": found.stays_total,
                },
                indent=2,
            )
        )
        return
    for item in found.goes:
        click.echo(f"{item.file.sha256}  {item.file.size:>14,}  {item.file.filename}")
        click.echo(f"    {item.file.supplier}; {item.rule}; kept until {day(item.kept_until)}")
    click.echo(
        f"{len(found.goes):,} files would go, {found.size:,} bytes; {found.stays_total:,} old files stay."
    )
    if found.more:
        click.echo(f"{found.more:,} more come the next time.")
    if found.goes:
        click.echo(f"To delete exactly these: lotgate retention apply {found.digest} --by ADDRESS")


@retention_group.command("apply", help="Delete what the preview with this digest listed, if it is still so.")
@click.argument("digest")
@click.option("--by", "email", required=True, help="The administrator's address: whom the record names.")
@click.confirmation_option(prompt="The bytes of these files are gone for good. Delete them?")
def apply_command(digest: str, email: str) -> None:
    settings = load_settings()
    clock, store = SystemClock(), LocalBlobStore(settings.store)
    with connected(settings.database) as engine, open_session(engine) as session:
        actor = _actor(session, email)
        done = service.delete(session, actor, clock, digest=digest)
        session.commit()
        click.echo(f"{len(done.goes):,} files are deleted by {actor.name}.")
        removed = 0
        while step := service.remove_bytes(session, clock, store):
            session.commit()
            removed += step
            time.sleep(service.PAUSE_SECONDS)
        session.commit()
        click.echo(
            f"{removed:,} were taken out of the store; what another delivery or a hold needs stays there."
        )


def _actor(session: TenantSession, email: str) -> Actor:
    user = session.scalars(select(User).where(User.email == email.strip().lower())).one_or_none()
    if user is None or not is_admitted(user):
        raise NotFound(f"Nobody who may sign in has the address {email}.")
    return actor_of(user, method="cli")
