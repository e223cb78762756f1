"""Resumable uploads at `/files/`: tus 1.0, core with the extensions named in EXTENSIONS.

For stock clients, by session cookie (with the CSRF header) or bearer token. Beyond tus: `GET` of an upload
tells its state as JSON, and `Lotgate-Evidence` names the evidence that a complete upload has become.
https://tus.io/protocols/resumable-upload
"""

import base64
import binascii
import re
from contextlib import closing
from datetime import timedelta
from typing import Any, Final

from flask import Blueprint, Response, abort, current_app, jsonify, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.http import http_date

from portal.accounts.credentials import derive
from portal.clock import rfc3339
from portal.errors import Problem
from portal.evidence import uploads
from portal.evidence.models import Upload
from portal.evidence.uploads import Checksum, CommitPoints, Vault
from portal.http.context import actor, clock, parts, session
from portal.http.limits import hit
from portal.web.intake import body_of

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,expiration,termination,checksum"
PIECE: Final = "application/offset+octet-stream"
MOST_METADATA = 4096  # characters
SMALL = 1 << 20  # bytes; a piece below it costs more than it brings, and counts like any other request
_DIGESTS = {"sha1": 20, "sha256": 32}  # bytes

blueprint = Blueprint("files", __name__, url_prefix="/files")


def vault() -> Vault:
    """The vault as this installation is set up."""
    own = parts()
    return Vault(
        store=own.store,
        spool=own.spool,
        key=derive(current_app.config["SECRET_KEY"], "upload-hash-state"),
        max_bytes=own.settings.upload_max_bytes,
        quota_bytes=own.settings.supplier_quota_bytes,
        expiry=timedelta(hours=own.settings.upload_expiry_hours),
    )


@blueprint.url_value_preprocessor
def _limit_body(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Pieces have limits of their own; anything else is not read beyond the portal's limit."""
    if request.mimetype == PIECE:
        request.max_content_length = parts().settings.upload_max_bytes


@blueprint.before_request
def _check_version() -> Response | None:
    if "X-HTTP-Method-Override" in request.headers:
        abort(405, "The header X-HTTP-Method-Override is not taken: send the request with its real method.")
    asks_only = request.method in {"GET", "OPTIONS"}  # not of the protocol, or before its version is known
    if not asks_only and request.headers.get("Tus-Resumable") != VERSION:
        abort(412, f"Expected the header Tus-Resumable: {VERSION}.")
    return None


@blueprint.after_request
def _name_version(response: Response) -> Response:
    response.headers["Tus-Resumable"] = VERSION
    if response.status_code == 412:
        response.headers["Tus-Version"] = VERSION
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.route("/", methods=["OPTIONS"], provide_automatic_options=False)
@blueprint.route("/<upload_id>", methods=["OPTIONS"], provide_automatic_options=False)
def options(upload_id: str = "") -> Response:  # noqa: ARG001 - the same for every upload, there or not
    return Response(
        status=204,
        headers={
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(parts().settings.upload_max_bytes),
            "Tus-Checksum-Algorithm": ",".join(uploads.CHECKSUMS),
        },
    )


@blueprint.route("/", methods=["POST"], provide_automatic_options=False)
def create() -> Response:
    for header in ("Upload-Defer-Length", "Upload-Concat"):
        if header in request.headers:
            raise _wrong(header, "a request without it", "it", "This extension is not offered.")
    length = _number("Upload-Length")
    given = request.headers.get("Upload-Metadata", "")
    metadata = read_metadata(given)
    checksum = _checksum()
    size = _size()
    if size != 0 and request.content_type != PIECE:
        abort(415, f"Expected Content-Type: {PIECE} for bytes that come with the creation.")
    upload = uploads.create_upload(
        session(),
        actor(),
        clock(),
        vault(),
        length=length,
        filename=metadata.get("filename", ""),
        declared_sha256=metadata.get("sha256"),
        tus_metadata=given,
    )
    session().commit()
    if size != 0:
        _append(upload, 0, size, checksum)
    response = _show(upload, Response(status=201))
    response.headers["Location"] = url_for("files.state", upload_id=upload.id)
    return response


@blueprint.route("/<upload_id>", methods=["GET", "HEAD"], provide_automatic_options=False)
def state(upload_id: str) -> Response:
    if request.method == "HEAD" and request.headers.get("Tus-Resumable") != VERSION:
        abort(412, f"Expected the header Tus-Resumable: {VERSION}.")
    upload = _load(upload_id)
    if uploads.unfinished(upload):  # the server died after the last byte: say how it ends now
        _run(uploads.complete(session(), actor(), clock(), vault(), upload))
    response = jsonify(describe(upload)) if request.method == "GET" else Response()
    response.headers["Upload-Length"] = str(upload.length)
    if upload.tus_metadata:
        response.headers["Upload-Metadata"] = upload.tus_metadata
    return _show(upload, response)


@blueprint.route("/<upload_id>", methods=["PATCH"], provide_automatic_options=False)
def append(upload_id: str) -> Response:
    if request.content_type != PIECE:
        abort(415, f"Expected Content-Type: {PIECE}.")
    if "Content-Range" in request.headers:  # a second place for the same bytes: one of both would be wrong
        raise _wrong("Content-Range", "Upload-Offset alone", "both", "Say the place with Upload-Offset.")
    offset, checksum = _number("Upload-Offset"), _checksum()
    size = _size()
    if size is None or size < SMALL:
        hit(parts().settings.api_rate, "small piece", actor().user_id)
    upload = _load(upload_id)
    _append(upload, offset, size, checksum)
    return _show(upload, Response(status=204))


@blueprint.route("/<upload_id>", methods=["DELETE"], provide_automatic_options=False)
def end(upload_id: str) -> Response:
    _run(uploads.terminate(session(), actor(), clock(), vault(), _load(upload_id)))
    return Response(status=204)


def describe(upload: Upload) -> dict[str, Any]:
    """What `GET` tells of an upload; also what the upload page asks."""
    evidence = uploads.evidence_of(session(), upload)
    return {
        "id": upload.id,
        "state": upload.state.value,
        "offset": upload.offset,
        "length": upload.length,
        "filename": upload.filename,
        "expires_at": rfc3339(upload.expires_at) if evidence is None else None,
        "evidence_id": upload.evidence_id,
        "sha256": evidence.sha256 if evidence else None,
        "blake3": evidence.blake3 if evidence else None,
    }


def read_metadata(header: str) -> dict[str, str]:
    """`Upload-Metadata`: `key base64,key base64,…`. Raises BadRequest."""
    if len(header) > MOST_METADATA:
        raise _wrong("Upload-Metadata", f"at most {MOST_METADATA} characters", str(len(header)))
    found: dict[str, str] = {}
    for pair in header.split(",") if header else ():
        key, _, value = pair.strip().partition(" ")
        if not re.fullmatch(r"[\x21-\x7e]{1,64}", key):
            raise _wrong("Upload-Metadata", "keys of visible ASCII characters", repr(key[:64]))
        if key in found:
            raise _wrong("Upload-Metadata", "each key once", f"{key} twice")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise _wrong("Upload-Metadata", f"base64 of UTF-8 text for {key}", repr(value[:64])) from None
    declared = found.get("sha256")
    if declared is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", declared):
        raise _wrong("Upload-Metadata", "64 hexadecimal digits for sha256", repr(declared[:80]))
    return found


def _number(header: str) -> int:
    """A decimal number below 2^63, ASCII digits only."""
    value = request.headers.get(header)
    if value is None:
        raise _wrong(header, "a whole number", "nothing")
    if not re.fullmatch(r"[0-9]{1,19}", value) or int(value) >= 1 << 63:
        raise _wrong(header, "a whole number from 0 to 2^63 - 1, digits only", repr(value[:40]))
    return int(value)


def _checksum() -> Checksum | None:
    value = request.headers.get("Upload-Checksum")
    if value is None:
        return None
    algorithm, _, encoded = value.partition(" ")
    if algorithm not in uploads.CHECKSUMS:
        raise _wrong("Upload-Checksum", " or ".join(uploads.CHECKSUMS), repr(algorithm[:40]))
    try:
        digest = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != _DIGESTS[algorithm]:
        raise _wrong("Upload-Checksum", f"base64 of {_DIGESTS[algorithm]} bytes", repr(encoded[:64]))
    return Checksum(algorithm, digest)


def _wrong(header: str, expected: str, found: str, fix: str = "") -> BadRequest:
    return BadRequest(str(Problem(header, expected, found, fix)))


def _size() -> int | None:
    """How many bytes come with this request; None: only their end tells."""
    if request.content_length is not None:
        return request.content_length
    return None if "chunked" in request.headers.get("Transfer-Encoding", "").lower() else 0


def _load(upload_id: str) -> Upload:
    return uploads.load_upload(session(), clock(), upload_id)


def _append(upload: Upload, offset: int, size: int | None, checksum: Checksum | None) -> None:
    with body_of(request.environ) as source:
        _run(
            uploads.append(
                session(),
                actor(),
                clock(),
                vault(),
                upload,
                source,
                offset=offset,
                length=size,
                checksum=checksum,
            )
        )


def _run(points: CommitPoints) -> None:
    """Commit wherever the verb asks for it. (The one place where a request commits more than once.)"""
    with closing(points):
        for _ in points:
            session().commit()


def _show(upload: Upload, response: Response) -> Response:
    response.headers["Upload-Offset"] = str(upload.offset)
    if upload.evidence_id is not None:
        response.headers["Lotgate-Evidence"] = upload.evidence_id
    else:
        response.headers["Upload-Expires"] = http_date(upload.expires_at)
    return response
