"""A sender who takes all day must not keep the others from writing."""

import io
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from typing_extensions import Buffer

from portal.accounts.models import RoleName, User
from tests.factories import Make
from tests.factories.tokens import bearer


class Dribble(io.BytesIO):
    """A request's body. Whenever the server waits for it, another connection tries to write."""

    def __init__(self, database: Path, data: bytes) -> None:
        super().__init__(data)
        self.database = database
        self.reads = self.blocked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._try()
        return super().read(size)

    def readinto(self, buffer: Buffer, /) -> int:
        self._try()
        return super().readinto(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        self._try()
        return super().readline(size)

    def _try(self) -> None:
        self.reads += 1
        with closing(sqlite3.connect(self.database, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
                other.execute("ROLLBACK")
            except sqlite3.OperationalError:
                self.blocked += 1


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


def test_a_form_on_its_way_locks_nobody_out(
    make: Make, sign_in: Callable[[User], FlaskClient], database: Path
) -> None:
    client = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    del client.environ_base["HTTP_X_CSRFTOKEN"]  # so that the token is looked for in the form
    body = Dribble(database, b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n')
    client.post(
        "/s/submissions/new/firmware",
        input_stream=body,
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": str(len(body.getvalue()))},
    )
    assert body.reads > 0
    assert body.blocked == 0


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/v1/evidence?filename=a", {}),
        ("/files/", {"Tus-Resumable": "1.0.0", "Upload-Length": "100000"}),
    ],
)
def test_a_file_on_its_way_locks_nobody_out(
    app: Flask, make: Make, database: Path, path: str, headers: dict[str, str]
) -> None:
    token = bearer(make, make.supplier())
    body = Dribble(database, bytes(100_000))
    response = app.test_client().post(
        path,
        headers=token | headers,
        input_stream=body,
        content_type="application/offset+octet-stream",
        environ_overrides={"CONTENT_LENGTH": "100000"},
    )
    assert response.status_code == 201, response.text
    assert body.reads > 0
    assert body.blocked == 0
