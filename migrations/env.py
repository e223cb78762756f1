"""Alembic's environment: the engine comes from `portal.cli.database`, or from the settings."""

from alembic import context

from portal.db import open_engine
from portal.models import metadata
from portal.settings import load_settings


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Only tables of ours: the job engine keeps its own in the same database."""
    return kind != "table" or name in metadata.tables


def run() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    with open_engine(load_settings().database).connect() as connection:
        migrate(connection)
        connection.commit()


def migrate(connection: object) -> None:
    context.configure(
        connection=connection,  # type: ignore[arg-type]
        target_metadata=metadata,
        include_name=include_name,
        render_as_batch=True,
        transaction_per_migration=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
