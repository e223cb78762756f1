"""A file of the vault as it was delivered: always a download, never shown, whatever it says it is."""

import base64
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from flask import Response

from portal.errors import NotFound
from portal.evidence.models import Evidence
from portal.http.context import parts, session

PIECE: Final = 1 << 20  # bytes of a download that are in memory at once


def download(evidence_id: str) -> Response:
    """The file, as far as the session may see it. Raises NotFound."""
    found = session().get(Evidence, evidence_id)
    if found is None:
        raise NotFound("There is no such file.")
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
