"""`lotgate bundle`: one assessment, with all that is needed to check it, as one file."""

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import click
from sqlalchemy import select

from portal.adapters.blobs import LocalBlobStore
from portal.db import connected, reading
from portal.errors import NotFound
from portal.ledger import logs, witnesses
from portal.reports.bundles.write import write_bundle
from portal.reports.read import case_assessment_id
from portal.review.models import Case
from portal.settings import load_settings


@click.command("bundle", help="Write one assessment, with all that is needed to check it, into one file.")
@click.argument("assessment", metavar="ASSESSMENT")
@click.option("--digests-only", is_flag=True, help="Without the evidence itself.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
def bundle_command(assessment: str, digests_only: bool, output: Path | None) -> None:
    """ASSESSMENT is its id, or `case:NUMBER` for the one that a case was decided on.

    Nothing is left behind where it fails; a file that is there already gives way to the new one.
    """
    path = output or Path(f"assessment-{assessment.replace(':', '-')}.zip")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w+b") as file:
            _write(assessment, file, digests_only=digests_only)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    click.echo(f"{path}: {path.stat().st_size:,} bytes")


def _write(assessment: str, file: BinaryIO, *, digests_only: bool) -> None:
    settings = load_settings()
    # The portal goes on serving, and what is read is of one moment.
    with connected(settings.database) as engine, reading(engine) as session:
        if assessment.startswith("case:"):
            number = assessment.removeprefix("case:")
            case = session.scalars(
                select(Case).where(Case.number == (int(number) if number.isdecimal() else -1))
            ).first()
            if case is None:
                raise NotFound(f"there is no case {number}")
            assessment = case_assessment_id(session, case)
        write_bundle(
            session,
            LocalBlobStore(settings.store),
            assessment,
            file,
            policy=logs.policy_text(session, settings.public_url, witnesses.configured(settings.witnesses)),
            digests_only=digests_only,
        )
