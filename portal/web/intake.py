"""The body of a large request, as fast as the socket gives it.

gunicorn's own body object copies every byte several times; for gigabytes that costs as much as hashing them.
Where the server is gunicorn with a plain socket and the length is known, the bytes are received directly, and
gunicorn is told how many it need no longer expect. Everywhere else `wsgi.input` is read as it is.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.http.body import Body, LengthReader

from portal.evidence.uploads import Source

SILENCE_SECONDS = 60  # a sender that says nothing for so long is gone, and its lock with it


class _Direct:
    """Reads a body of known length from the socket; never beyond its end."""

    def __init__(self, reader: LengthReader, connection: socket.socket) -> None:
        self._reader, self._connection = reader, connection

    def read(self, size: int, /) -> bytes:
        size = min(size, self._reader.length)
        block: bytes = self._reader.unreader.take_buffered()  # what came along with the headers
        if len(block) > size:
            self._reader.unreader.unread(block[size:])
            block = block[:size]
        elif len(block) < size:
            block += self._connection.recv(size - len(block), socket.MSG_WAITALL)
        self._reader.length -= len(block)
        return block


@contextmanager
def body_of(environ: dict[str, Any]) -> Iterator[Source]:
    """The request's bytes. `read` returns fewer than asked, or raises OSError, when the sender is gone."""
    body, connection = environ["wsgi.input"], environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        yield body
        return
    # gunicorn waits for a silent sender for ever. A time limit of the kernel's, unlike settimeout, leaves the
    # socket blocking, so that one call can wait for a whole block.
    _limit_silence(connection, SILENCE_SECONDS)
    try:
        plain = type(connection) is socket.socket  # not TLS
        if plain and type(body) is Body and type(body.reader) is LengthReader:
            yield _Direct(body.reader, connection)
        else:
            yield body
    finally:
        _limit_silence(connection, 0)


def _limit_silence(connection: socket.socket, seconds: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, 0))
