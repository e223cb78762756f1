"""What is only ever downloaded: a file of the vault as it was delivered, and the report on an image."""

import base64
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from flask import Response
from sqlalchemy import select

from portal.errors import Gone, NotFound
from portal.evidence.models import Evidence
from portal.evidence.service import receipt
from portal.http.context import parts, session
from portal.ledger.proofs import Proof
from portal.submissions.firmware.models import FirmwareRelease

PIECE: Final = 1 << 20  # bytes of a download that are in memory at once


def download(evidence_id: str) -> Response:
    """The file, as far as the session may see it. Raises NotFound, Gone."""
    found = session().get(Evidence, evidence_id)
    if found is None:
        raise NotFound("There is no such file.")
    if found.tombstone is not None:
        raise Gone(found.tombstone.told)
    source = parts().store.open(found.sha256)

    def pieces() -> Iterator[bytes]:
        with source:
            while piece := source.read(PIECE):
                yield piece

    sha256 = base64.b64encode(bytes.fromhex(found.sha256)).decode()
    response = Response(
        pieces(),
        mimetype="application/octet-stream",
        headers={
            "Content-Length": str(found.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.filename, safe='')}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Repr-Digest": f"sha-256=:{sha256}:",
            "X-Content-Type-Options": "nosniff",
        },
    )
    response.call_on_close(source.close)  # HEAD and readers that leave never begin the pieces
    return response


def download_receipt(evidence_id: str) -> Response:
    """The receipt of a file, if the session may see it. Raises NotFound, Conflict while it is not ready."""
    return download_proof(receipt(session(), evidence_id), evidence_id)


def download_proof(proof: Proof, name: str) -> Response:
    return Response(
        str(proof),
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.tlog-proof"'},
    )


def download_report(submission_id: str) -> Response:
    """What the verifier found in the image of a submission, if the session may see it. Raises NotFound."""
    release = (
        session()
        .scalars(select(FirmwareRelease).where(FirmwareRelease.submission_id == submission_id))
        .one_or_none()
    )
    if release is None or release.report is None:
        raise NotFound("There is no such report.")
    return Response(
        release.report,
        mimetype="application/json",
        headers={"Content-Disposition": f'attachment; filename="image-{submission_id}.json"'},
    )
