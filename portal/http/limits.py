"""How often one address, or one token, may try. Counted in memory: each process keeps its own count."""

from flask import Flask, current_app, request
from flask_limiter import Limiter
from limits import parse

from portal.errors import TooMany
from portal.http.context import parts


def init_app(app: Flask) -> None:
    app.extensions["lotgate_limiter"] = Limiter(
        _address, app=app, storage_uri="memory://", strategy="moving-window"
    )


def hit(rate: str, purpose: str, key: str | None = None) -> None:
    """Count one try for `purpose` by `key` (else by the asker's address). Raises TooMany over `rate`."""
    limiter = current_app.extensions["lotgate_limiter"].limiter
    item = parse(rate)
    if not limiter.hit(item, purpose, key or _address()):
        raise TooMany(
            f"too many tries: at most {item.amount} in {item.get_expiry()} seconds. Wait and try again"
        )


def guess_limit() -> None:
    """For everything that could be guessed: passwords, codes, reset and invitation links together."""
    hit(parts().settings.sign_in_rate, "guess")


def _address() -> str:
    return request.remote_addr or "unknown"
