"""A portal as it runs in earnest: gunicorn on a free port, its own folder, one supplier with a token."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from flask import Flask
from sqlalchemy.orm import Session

from portal.cli.database import upgrade_database
from portal.cli.serve import web_command_line
from portal.clock import FixedClock
from portal.db import open_engine, open_session, reading
from portal.settings import Settings
from portal.suppliers.models import Supplier
from tests.factories import Make
from tests.factories.tokens import bearer

START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers. Raises RuntimeError with its log when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{log.read_text()}") from error
            time.sleep(0.05)


class Portal:
    """`with Portal(folder) as portal:` serves; `kill()` is -9, `start()` begins again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(var_dir=folder / "var", secret_key="s" * 40, port=free_port())
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self.log = folder / "server.log"
        upgrade_database(self.settings)
        self.engine = open_engine(self.settings.database)
        self.session = open_session(self.engine)
        self.make = Make(self.session, FixedClock(datetime.now(UTC)), Flask("tests"), entered=True)
        self.supplier: Supplier = self.make.supplier()
        self.token = bearer(self.make, self.supplier)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOTGATE_")}
        for name in ("var_dir", "secret_key", "port"):
            environment[f"LOTGATE_{name.upper()}"] = str(getattr(self.settings, name))
        environment["LOTGATE_PUBLIC_URL"] = self.url
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                web_command_line(self.settings),
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.url, self.process, self.log)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """What the server has committed by now; never holds the write lock."""
        with reading(self.engine) as session:
            yield session

    def pids(self) -> list[int]:
        """The server's own processes: the arbiter and its workers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii")
        return [self.process.pid, *map(int, children.split())]

    def kill(self) -> None:
        """kill -9 of everything at once: nothing can be tidied up."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.session.close()
        self.engine.dispose()
