"""Requests to others: whatever they send, or do not send, an answer ends."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from portal.adapters.http import HttpClient

PAUSE = 0.02  # s; each byte comes long before a step's own limit
PATIENCE = 0.6

Serve = Callable[[bytes, bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answers one request: the first part at once, the second one byte at a time, for a minute at most."""
    listeners: list[socket.socket] = []
    ending = threading.Event()

    def start(at_once: bytes, slowly: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(at_once)
                try:
                    for byte in slowly:
                        connection.sendall(bytes([byte]))
                        if ending.wait(PAUSE):
                            return
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield start
    ending.set()
    for listener in listeners:
        listener.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
LONG = b"x" * 3000


@pytest.mark.parametrize(
    ("at_once", "slowly"),
    [
        (b"", b"HTTP/1.1 200 " + LONG),
        (HEAD, b"X-Slow: " + LONG),
        (HEAD + b"\r\n", LONG),
        (HEAD + b"Content-Length: 3000\r\n\r\n", LONG),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + LONG),
    ],
    ids=["status", "header", "body", "body of a known length", "chunk"],
)
def test_an_answer_that_comes_byte_by_byte_is_given_up(serve: Serve, at_once: bytes, slowly: bytes) -> None:
    """Or a portal could keep its monitor waiting for ever, and so from telling anybody."""
    begun = time.monotonic()
    with pytest.raises(OSError, match="took more than"):
        HttpClient(PATIENCE).get(serve(at_once, slowly), 1 << 20)
    assert time.monotonic() - begun < len(slowly) * PAUSE / 2


def test_an_answer_in_time_is_whole(serve: Serve) -> None:
    reply = HttpClient(30).get(serve(HEAD + b"Content-Length: 4\r\n\r\n", b"whol"), 1 << 20)
    assert (reply.status, reply.content_type, reply.body) == (200, "text/plain", b"whol")


def test_an_answer_that_breaks_off_is_refused(serve: Serve) -> None:
    with pytest.raises(OSError, match=r"ends after 4 of 5 bytes|IncompleteRead"):
        HttpClient(30).get(serve(HEAD + b"Content-Length: 5\r\n\r\n", b"whol"), 1 << 20)


def test_an_answer_that_is_too_long_is_refused(serve: Serve) -> None:
    with pytest.raises(OSError, match="more than 10 bytes"):
        HttpClient(30).get(serve(HEAD + b"\r\n" + LONG, b""), 10)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "nonsense"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(OSError, match="not an address with http or https"):
        HttpClient(1).get(url, 10)


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    reply = HttpClient(30).get(
        serve(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", b""), 10
    )
    assert reply.status == 302
