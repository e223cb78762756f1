"""Which database a test runs on: SQLite where it says nothing."""

import pytest
from sqlalchemy import text

from portal.db import connected

ON_BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"])
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"])


def emptied(url: str) -> str:
    """The PostgreSQL database, without what the test before left in it."""
    with connected(url) as engine, engine.begin() as connection:
        for schema in ("public", "dbos"):
            connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    return url
