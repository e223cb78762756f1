"""A person with a browser: fills in the real forms, CSRF token and all."""

import re
from html import unescape

from flask import Flask
from flask.testing import FlaskClient
from passlib.totp import TOTP
from werkzeug.test import TestResponse

from portal.clock import FixedClock

_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


class Visitor:
    def __init__(self, app: Flask, clock: FixedClock) -> None:
        self.client: FlaskClient = app.test_client()
        self.clock = clock

    def get(self, url: str, **options: object) -> TestResponse:
        return self.client.get(url, **options)  # type: ignore[arg-type]

    def post(self, url: str, data: dict[str, object] | None = None, page: str | None = None) -> TestResponse:
        """Send a form to `url` with the token of `page` (else of the page at `url` itself)."""
        shown = self.client.get(page or url, follow_redirects=True)
        found = _TOKEN.search(shown.text)
        assert found, shown.text
        return self.client.post(url, data={"csrf_token": unescape(found[1]), **(data or {})})

    def give_password(self, email: str, password: str) -> TestResponse:
        return self.post("/account/sign-in", {"email": email, "password": password})

    def give_code(self, secret: str) -> TestResponse:
        return self.post("/account/code", {"code": self.code(secret)})

    def code(self, secret: str) -> str:
        """What an authenticator app shows now."""
        return str(TOTP(key=secret, format="base32").generate(time=int(self.clock.now().timestamp())).token)

    def is_in(self) -> bool:
        answer = self.client.get("/account/")
        return answer.status_code == 200 or answer.location == "/account/recovery-codes"


def without_tokens(page: str) -> str:
    """A page without what differs from one time to the next."""
    return re.sub(r'(name="csrf[_-]token"[^>]*(?:value|content)=")[^"]*', r"\1", page)
