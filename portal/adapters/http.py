"""Requests over HTTP to addresses that somebody configured: no redirect, no file: address, no long wait."""

import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final, cast
from urllib.error import URLError
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from portal import __version__
from portal.ledger.ports import Reply

PIECE: Final = 64 * 1024


class _Cut:
    """Ends a connection from outside: who sends a byte now and then would keep every single step in time."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.done = threading.Event()

    def __call__(self) -> None:
        self.done.set()
        if self.socket is not None:
            with suppress(OSError):  # it has ended by itself
                self.socket.shutdown(socket.SHUT_RDWR)

    def watch(self, connected: socket.socket) -> None:
        self.socket = connected
        if self.done.is_set():  # to connect took all the time
            self()


class _Asked(Request):
    cut: _Cut


def _watched(kind: type[HTTPConnection], req: Request) -> type[HTTPConnection]:
    """Connections of a kind that the request's cut can end."""
    cut = cast(_Asked, req).cut

    class Connection(kind):  # type: ignore[misc, valid-type]  # mypy takes no class from an argument
        def connect(self) -> None:
            super().connect()
            cut.watch(self.sock)

    return Connection


class _Plain(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_watched(HTTPConnection, req), req)


class _Secure(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_watched(HTTPSConnection, req), req)


class HttpClient:
    """`timeout` (seconds) is for each step of a connection, and for the whole of it.

    Proxies are those of the environment (https_proxy …), certificates those that the system trusts.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._opener = OpenerDirector()  # without the handlers that follow redirects or read files
        for handler in (ProxyHandler(), _Plain(), _Secure()):
            self._opener.add_handler(handler)

    def get(self, url: str, limit: int) -> Reply:
        return self._ask(_request(url), limit)

    def post(self, url: str, body: bytes, limit: int, content_type: str = "text/plain") -> Reply:
        return self._ask(_request(url, body, content_type), limit)

    def _ask(self, request: _Asked, limit: int) -> Reply:
        request.add_header("User-Agent", f"lotgate/{__version__}")
        timer = threading.Timer(self.timeout, request.cut)
        timer.daemon = True
        timer.start()
        try:
            return self._answer(request, limit)
        except URLError as error:
            raise self._late(request) or OSError(str(error.reason)) from None
        except (HTTPException, ValueError) as error:
            raise self._late(request) or OSError(f"{type(error).__name__}: {error}") from None
        except OSError as error:
            raise self._late(request) or error from None
        finally:
            timer.cancel()

    def _answer(self, request: _Asked, limit: int) -> Reply:
        response = self._opener.open(request, timeout=self.timeout)
        if response is None:
            raise OSError(f"{request.full_url} is not an address with http or https")
        with response:
            body = bytearray()
            while piece := response.read1(PIECE):
                body += piece
                if len(body) > limit:
                    raise OSError(f"the answer has more than {limit:,} bytes")
            if late := self._late(request):  # what was cut off looks like an end
                raise late
            if (stated := response.headers.get("Content-Length")) and stated != str(len(body)):
                raise OSError(f"the answer ends after {len(body):,} of {stated[:20]} bytes")
            return Reply(response.status, response.headers.get("Content-Type", ""), bytes(body))

    def _late(self, request: _Asked) -> TimeoutError | None:
        return (
            TimeoutError(f"the answer took more than {self.timeout:g} s")
            if request.cut.done.is_set()
            else None
        )


def _request(url: str, body: bytes | None = None, content_type: str = "") -> _Asked:
    headers = {"Content-Type": content_type} if content_type else {}
    try:
        asked = _Asked(url, body, headers)  # the opener knows http and https only
        asked.cut = _Cut()
    except ValueError:
        raise OSError(f"{url} is not an address with http or https") from None
    return asked
