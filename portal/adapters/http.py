"""Requests over HTTP to addresses that somebody configured: no redirect, no file: address, no long wait."""

import time
from http.client import HTTPException
from typing import Final
from urllib.error import URLError
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from portal import __version__
from portal.ledger.ports import Reply

PIECE: Final = 64 * 1024


class HttpClient:
    """`timeout` (seconds) is for each step of a connection, and for the whole of an answer's body.

    Proxies are those of the environment (https_proxy …), certificates those that the system trusts.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._opener = OpenerDirector()  # without the handlers that follow redirects or read files
        for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
            self._opener.add_handler(handler)

    def get(self, url: str, limit: int) -> Reply:
        return self._ask(_request(url), limit)

    def post(self, url: str, body: bytes, limit: int, content_type: str = "text/plain") -> Reply:
        return self._ask(_request(url, body, content_type), limit)

    def _ask(self, request: Request, limit: int) -> Reply:
        request.add_header("User-Agent", f"lotgate/{__version__}")
        end = time.monotonic() + self.timeout
        try:
            response = self._opener.open(request, timeout=self.timeout)
            if response is None:
                raise OSError(f"{request.full_url} is not an address with http or https")
            with response:
                body = bytearray()
                while piece := response.read1(PIECE):
                    body += piece
                    if len(body) > limit:
                        raise OSError(f"the answer has more than {limit:,} bytes")
                    if time.monotonic() > end:
                        raise TimeoutError(f"the answer took more than {self.timeout:g} s")
                if (stated := response.headers.get("Content-Length")) and stated != str(len(body)):
                    raise OSError(f"the answer ends after {len(body):,} of {stated[:20]} bytes")
                return Reply(response.status, response.headers.get("Content-Type", ""), bytes(body))
        except URLError as error:
            raise OSError(str(error.reason)) from None
        except (HTTPException, ValueError) as error:
            raise OSError(f"{type(error).__name__}: {error}") from None


def _request(url: str, body: bytes | None = None, content_type: str = "") -> Request:
    headers = {"Content-Type": content_type} if content_type else {}
    try:
        return Request(url, body, headers)  # noqa: S310 # the opener knows http and https only
    except ValueError:
        raise OSError(f"{url} is not an address with http or https") from None
