"""`lotgate db`: bring the database to this version's schema."""

import click
from alembic import command
from alembic.config import Config
from dbos import run_dbos_database_migrations
from sqlalchemy import Engine, make_url

from portal.db import connected
from portal.files import data_folder
from portal.settings import Settings, load_settings


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(data_folder("migrations")))
    return config


def upgrade_database(settings: Settings) -> None:
    """Create or upgrade the tables of the portal and of the job engine. Safe to repeat."""
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    with connected(settings.database) as engine:
        migrate(engine)
    run_dbos_database_migrations(settings.database)


def prepare(settings: Settings) -> None:
    """On the embedded form the database is made and upgraded by itself; elsewhere that is a person's act."""
    if settings.database.startswith("sqlite"):
        upgrade_database(settings)


def migrate(engine: Engine) -> None:
    """Run our own migrations on `engine`, in one transaction where the database can."""
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@click.group("db", help="Manage the database.")
def db_group() -> None: ...


@db_group.command("upgrade", help="Create the tables, or bring them to this version.")
def upgrade_command() -> None:
    settings = load_settings()
    upgrade_database(settings)
    click.echo(f"The database is up to date: {make_url(settings.database)!r}")
