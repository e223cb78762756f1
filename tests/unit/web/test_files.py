"""tus 1.0 at /files/, by hand: what stock clients never send. (These: tests/journeys/test_tus_clients.py.)"""

import base64
import hashlib
import io
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts.models import RoleName, User
from portal.accounts.permissions import Permission
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.evidence.spool import open_spool
from portal.settings import Settings
from portal.web.files import read_metadata
from tests.factories import Make
from tests.factories.tokens import bearer

DATA = os.urandom(50_000)
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {"Content-Type": "application/offset+octet-stream"}


class Tus:
    """A client that speaks as badly as it is told to."""

    def __init__(self, client: FlaskClient, token: dict[str, str]) -> None:
        self.client, self.token = client, token

    def send(
        self, method: str, path: str, headers: dict[str, Any] | None = None, **values: Any
    ) -> TestResponse:
        given = TUS | self.token | (headers or {})
        kept = {name: value for name, value in given.items() if value is not None}
        return self.client.open(path, method=method, headers=kept, **values)

    def create(self, length: object, headers: dict[str, Any] | None = None, **values: Any) -> TestResponse:
        return self.send("POST", "/files/", {"Upload-Length": str(length)} | (headers or {}), **values)

    def patch(
        self, path: str, offset: object, data: bytes, headers: dict[str, Any] | None = None
    ) -> TestResponse:
        return self.send("PATCH", path, PIECE | {"Upload-Offset": str(offset)} | (headers or {}), data=data)

    def opened(self, length: int = len(DATA), headers: dict[str, Any] | None = None) -> str:
        response = self.create(length, headers)
        assert response.status_code == 201, response.text
        return response.headers["Location"]

    def offset(self, path: str) -> int:
        response = self.send("HEAD", path)
        assert response.status_code == 200
        return int(response.headers["Upload-Offset"])


@pytest.fixture
def tus(app: Flask, make: Make) -> Tus:
    return Tus(app.test_client(), bearer(make, make.supplier()))


def metadata(**values: str) -> dict[str, str]:
    pairs = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())
    return {"Upload-Metadata": ",".join(pairs)}


def test_options_tell_what_is_offered_without_signing_in(client: FlaskClient, settings: Settings) -> None:
    for path in ("/files/", "/files/anything"):
        response = client.options(path)
        assert response.status_code == 204
        assert response.headers["Tus-Version"] == "1.0.0"
        assert response.headers["Tus-Max-Size"] == str(settings.upload_max_bytes)
        assert response.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
        assert set(response.headers["Tus-Extension"].split(",")) == {
            "checksum",
            "creation",
            "creation-with-upload",
            "expiration",
            "termination",
        }


def test_an_upload_from_its_creation_to_evidence(tus: Tus, store: LocalBlobStore) -> None:
    created = tus.create(len(DATA), metadata(filename="bms.bin", filetype="application/octet-stream"))
    assert created.status_code == 201
    path = created.headers["Location"]
    assert path.startswith("/files/")
    assert created.headers["Upload-Expires"] == "Tue, 24 Nov 2026 12:00:00 GMT"

    first = tus.patch(path, 0, DATA[:20_000])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "20000")
    assert "Lotgate-Evidence" not in first.headers

    asked = tus.send("HEAD", path)
    assert asked.headers["Upload-Offset"] == "20000"
    assert asked.headers["Upload-Length"] == str(len(DATA))
    assert asked.headers["Cache-Control"] == "no-store"
    assert asked.headers["Upload-Metadata"] == created.request.headers["Upload-Metadata"]

    last = tus.patch(path, 20_000, DATA[20_000:])
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(DATA)))

    state = tus.send("GET", path).get_json()
    digest = hashlib.sha256(DATA).hexdigest()
    assert state["evidence_id"] == last.headers["Lotgate-Evidence"]
    assert (state["state"], state["sha256"], state["filename"]) == ("complete", digest, "bms.bin")
    with store.open(digest) as file:
        assert file.read() == DATA
    assert tus.send("HEAD", path).headers["Lotgate-Evidence"] == state["evidence_id"]


def test_bytes_may_come_with_the_creation(tus: Tus) -> None:
    response = tus.create(len(DATA), PIECE, data=DATA[:100])
    assert (response.status_code, response.headers["Upload-Offset"]) == (201, "100")
    whole = tus.create(len(DATA), PIECE, data=DATA)
    assert whole.status_code == 201
    assert "Lotgate-Evidence" in whole.headers


def test_a_signed_in_page_uploads_with_its_cookie_and_csrf_token(
    make: Make, sign_in: Callable[[User], FlaskClient]
) -> None:
    client = sign_in(make.user(RoleName.SUPPLIER_CONTRIBUTOR, make.supplier()))
    headers = TUS | {"Upload-Length": "3000000"}
    created = client.post("/files/", headers=headers)
    assert created.status_code == 201
    piece = TUS | PIECE | {"Upload-Offset": "0"}
    sent = client.patch(created.headers["Location"], headers=piece, data=bytes(3_000_000))
    assert (sent.status_code, sent.headers["Upload-Offset"]) == (204, "3000000")
    del client.environ_base["HTTP_X_CSRFTOKEN"]  # as a foreign page would
    assert client.post("/files/", headers=headers).status_code == 400


@pytest.mark.parametrize("version", [None, "0.2.2", "9.9", "1.0.0, 1.0.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_t1_another_version_of_the_protocol_is_412(tus: Tus, version: str | None, method: str) -> None:
    path = "/files/" if method == "POST" else tus.opened()
    response = tus.send(method, path, {"Tus-Resumable": version, "Upload-Length": "5"})
    assert response.status_code == 412
    assert response.headers["Tus-Version"] == "1.0.0"


@pytest.mark.parametrize("offset", [0, 99, 101, len(DATA), 2**63 - 1])
def test_t2_a_wrong_offset_is_409_and_changes_nothing(tus: Tus, offset: int) -> None:
    path = tus.opened()
    tus.patch(path, 0, DATA[:100])
    response = tus.patch(path, offset, b"")
    assert response.status_code == 409
    assert "100" in response.get_json()["detail"]
    assert tus.offset(path) == 100


@pytest.mark.parametrize("offset", [0, 50, 99, 101, 150])
def test_a_piece_with_a_gap_or_an_overlap_is_409_and_changes_nothing(tus: Tus, offset: int) -> None:
    path = tus.opened()
    tus.patch(path, 0, DATA[:100])
    assert tus.patch(path, offset, DATA[offset : offset + 100]).status_code == 409
    assert tus.offset(path) == 100


@pytest.mark.parametrize(
    "value", ["bytes 100-199/300", "bytes 150-249/300", "bytes 50-149/300", "bytes */300"]
)
def test_a_content_range_beside_the_offset_is_400(tus: Tus, value: str) -> None:
    path = tus.opened()
    tus.patch(path, 0, DATA[:100])
    assert tus.patch(path, 100, DATA[100:200], {"Content-Range": value}).status_code == 400
    assert tus.offset(path) == 100


def test_the_same_piece_twice_is_409_and_counts_once(tus: Tus, store: LocalBlobStore) -> None:
    path = tus.opened()
    assert tus.patch(path, 0, DATA[:100]).status_code == 204
    assert tus.patch(path, 0, DATA[:100]).status_code == 409  # its sender never saw the answer
    assert tus.patch(path, tus.offset(path), DATA[100:]).status_code == 204
    assert [blob.sha256 for blob in store.list()] == [hashlib.sha256(DATA).hexdigest()]


@pytest.mark.parametrize("number", ["-1", "1e3", "+5", str(2**64), str(2**63), "", " ", "5.0", "0x5", "5 5"])
def test_t3_t5_a_malformed_number_is_400(tus: Tus, number: str) -> None:
    path = tus.opened()
    assert tus.patch(path, number, b"x").status_code == 400
    assert tus.create(number).status_code == 400
    assert tus.offset(path) == 0


def test_t3_digits_of_another_script_are_400(tus: Tus) -> None:
    arabic = "٣".encode().decode("latin-1")
    assert tus.create(arabic).status_code == 400


def test_a_missing_number_is_400(tus: Tus) -> None:
    assert tus.send("POST", "/files/").status_code == 400
    assert tus.send("PATCH", tus.opened(), PIECE, data=b"x").status_code == 400


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "multipart/form-data; boundary=x"])
def test_t4_another_content_type_is_415(tus: Tus, kind: str | None) -> None:
    path = tus.opened()
    assert tus.patch(path, 0, b"x", {"Content-Type": kind}).status_code == 415
    assert tus.create(1, {"Content-Type": kind}, data=b"x").status_code == 415
    assert tus.offset(path) == 0


def test_t5_a_file_over_the_limit_is_413(tus: Tus, settings: Settings) -> None:
    response = tus.create(settings.upload_max_bytes + 1)
    assert response.status_code == 413
    assert f"{settings.upload_max_bytes:,} bytes" in response.get_json()["detail"]


def test_an_empty_file_is_422_with_a_reason(tus: Tus) -> None:
    response = tus.create(0)
    assert response.status_code == 422
    assert "empty" in response.get_json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Upload-Defer-Length": "1"},
        {"Upload-Defer-Length": "2"},
        {"Upload-Concat": "partial"},
        {"Upload-Concat": "final;/files/a /files/b"},
    ],
)
def test_t6_t15_extensions_that_are_not_offered_are_400(tus: Tus, headers: dict[str, str]) -> None:
    assert tus.create(5, headers).status_code == 400


def test_t7_bytes_beyond_the_length_are_413_and_nothing_is_kept(tus: Tus) -> None:
    path = tus.opened(10)
    assert tus.patch(path, 0, b"x" * 11).status_code == 413
    assert tus.offset(path) == 0


def test_t8_a_finished_upload_takes_nothing_more(tus: Tus) -> None:
    path = tus.opened(5)
    tus.patch(path, 0, b"12345")
    for offset, data in ((0, b"12345"), (5, b""), (5, b"6")):
        assert tus.patch(path, offset, data).status_code == 409


def test_t9_a_piece_while_another_is_written_is_423(tus: Tus, spool: Any) -> None:
    path = tus.opened()
    with open_spool(spool, path.rpartition("/")[2]):
        response = tus.patch(path, 0, DATA)
    assert response.status_code == 423
    assert response.get_json()["code"] == "locked"
    assert tus.offset(path) == 0


def test_t10_a_wrong_checksum_is_460_and_the_offset_stays(tus: Tus) -> None:
    path = tus.opened()
    wrong = base64.b64encode(bytes(20)).decode()
    assert tus.patch(path, 0, DATA[:100], {"Upload-Checksum": f"sha1 {wrong}"}).status_code == 460
    assert tus.offset(path) == 0
    right = base64.b64encode(hashlib.sha256(DATA[:100]).digest()).decode()
    assert tus.patch(path, 0, DATA[:100], {"Upload-Checksum": f"sha256 {right}"}).status_code == 204


@pytest.mark.parametrize(
    "value", ["md5 AAAA", "sha1", "sha1 !!!", "sha1 AAAA", "sha256 " + "A" * 27 + "=", ""]
)
def test_t10_a_checksum_that_cannot_be_compared_is_400(tus: Tus, value: str) -> None:
    path = tus.opened()
    assert tus.patch(path, 0, DATA[:100], {"Upload-Checksum": value}).status_code == 400
    assert tus.offset(path) == 0


@pytest.mark.parametrize(
    "header",
    [
        "filename YQ==,filename Yg==",
        "filename !!!",
        "filename gIA=",
        "filename YQ",
        ",",
        "sha256 YWJj",
        "k " + "A" * 5000,
    ],
)
def test_t11_malformed_metadata_is_400(tus: Tus, header: str) -> None:
    assert tus.create(5, {"Upload-Metadata": header}).status_code == 400


def test_metadata_without_a_value_is_a_key_with_nothing() -> None:
    assert read_metadata("is_confidential,filename YS5iaW4=") == {"is_confidential": "", "filename": "a.bin"}


def test_t12_a_file_name_is_for_display_only(tus: Tus, settings: Settings) -> None:
    path = tus.opened(5, metadata(filename="../../../etc/cron.d/x"))
    tus.patch(path, 0, b"12345")
    assert tus.send("GET", path).get_json()["filename"] == "x"
    digest = hashlib.sha256(b"12345").hexdigest()
    files = {
        file.relative_to(settings.store).as_posix() for file in settings.store.rglob("*") if file.is_file()
    }
    assert files == {f"sha256/{digest[:2]}/{digest[2:4]}/{digest}"}


def test_t13_another_suppliers_upload_answers_like_none(tus: Tus, app: Flask, make: Make) -> None:
    path = tus.opened()
    stranger = Tus(app.test_client(), bearer(make, make.supplier()))
    for method in ("HEAD", "GET", "PATCH", "DELETE"):
        answers = [
            stranger.send(method, target, PIECE | {"Upload-Offset": "0"})
            for target in (path, "/files/" + "0" * 32, "/files/nonsense")
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.data for answer in answers}) == 1
        headers = [{k: v for k, v in answer.headers if k != "Date"} for answer in answers]
        assert headers[0] == headers[1] == headers[2]
    assert tus.offset(path) == 0


def test_t14_a_method_cannot_be_overridden(tus: Tus) -> None:
    path = tus.opened()
    for method in ("POST", "PATCH", "GET"):
        response = tus.send(method, path, {"X-HTTP-Method-Override": "DELETE"})
        assert response.status_code == 405
    assert tus.offset(path) == 0


def test_t16_an_expired_upload_is_410(tus: Tus, clock: FixedClock) -> None:
    path = tus.opened()
    clock.advance(timedelta(hours=72))
    assert tus.send("HEAD", path).status_code == 410
    assert tus.patch(path, 0, DATA).status_code == 410


def test_an_ended_upload_is_410(tus: Tus) -> None:
    path = tus.opened()
    tus.patch(path, 0, DATA[:10])
    assert tus.send("DELETE", path).status_code == 204
    for method in ("HEAD", "DELETE"):
        assert tus.send(method, path).status_code == 410
    assert tus.patch(path, 10, DATA[10:]).status_code == 410


def test_t17_what_arrived_before_the_connection_was_cut_is_kept(tus: Tus) -> None:
    path = tus.opened()
    response = tus.client.open(
        path,
        method="PATCH",
        headers=TUS | tus.token | PIECE | {"Upload-Offset": "0"},
        input_stream=io.BytesIO(DATA[:1234]),
        environ_overrides={"CONTENT_LENGTH": str(len(DATA))},
    )
    assert response.status_code == 422
    assert tus.offset(path) == 1234


def test_t18_small_pieces_count_as_requests_and_large_ones_do_not(tus: Tus, app: Flask) -> None:
    object.__setattr__(app.extensions["lotgate"].settings, "api_rate", "5 per minute")
    large = bytes(1 << 20)
    path = tus.opened(8 * len(large))
    assert {tus.patch(path, n * len(large), large).status_code for n in range(7)} == {204}
    answers = [tus.patch(path, 7 * len(large), b"").status_code for _ in range(6)]
    assert answers == [204, 204, 204, 204, 204, 429]
    assert tus.patch(path, 7 * len(large), large).status_code == 204


def test_t20_another_file_than_declared_is_422_and_gone(tus: Tus, store: LocalBlobStore) -> None:
    path = tus.opened(5, metadata(sha256="ab" * 32))
    response = tus.patch(path, 0, b"12345")
    assert response.status_code == 422
    assert tus.send("HEAD", path).status_code == 410
    assert list(store.list()) == []


def test_nobody_uploads_without_an_account_or_the_right(client: FlaskClient, app: Flask, make: Make) -> None:
    anonymous = client.post("/files/", headers=TUS | {"Upload-Length": "5"})
    assert anonymous.status_code == 401
    reader = Tus(app.test_client(), bearer(make, make.supplier(), [Permission.SUPPLIER_SUBMISSION_READ]))
    assert reader.create(5).status_code == 403


def test_a_form_of_any_size_is_not_read_here(make: Make, sign_in: Callable[[User], FlaskClient]) -> None:
    client = sign_in(make.user(RoleName.SUPPLIER_CONTRIBUTOR, make.supplier()))
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    response = client.post("/files/", headers=TUS | form, data=bytes(2 << 20))
    assert response.status_code == 413


def test_errors_are_problem_json(tus: Tus) -> None:
    response = tus.send("GET", "/files/" + "0" * 32)
    assert response.content_type == "application/problem+json"
    assert response.get_json()["code"] == "not_found"
    assert response.headers["Tus-Resumable"] == "1.0.0"
