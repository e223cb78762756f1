"""A signed-in test client without walking through the sign-in pages (they have their own tests)."""

import time
from typing import Any

import flask
from flask import Flask
from flask.testing import FlaskClient
from flask_login.utils import _create_identifier
from flask_wtf.csrf import generate_csrf
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.accounts.sign_ins import begin_sign_in
from portal.db import open_session
from portal.http.context import db


class Browser(FlaskClient):
    """Takes every answer to its end, as real ones do, so that what is done after it is done."""

    def open(self, *args: Any, buffered: bool = True, **options: Any) -> TestResponse:
        return super().open(*args, buffered=buffered, **options)


def signed_in_client(app: Flask, user: User) -> FlaskClient:
    client = app.test_client()
    sign_in = _sign_in(app, user, client)
    with app.test_request_context(environ_overrides=dict(client.environ_base)):
        identifier = _create_identifier()  # of address and browser: a session works nowhere else
        token = generate_csrf()  # sent as a header with every request, as our scripts do
        raw = flask.session["csrf_token"]
    client.environ_base["HTTP_X_CSRFTOKEN"] = token
    with client.session_transaction() as session:
        session["_user_id"] = user.fs_uniquifier
        session["_fresh"] = True
        session["fs_cc"] = "set"
        session["fs_paa"] = time.time()
        session["_id"] = identifier
        session["csrf_token"] = raw
        session["sign_in"] = sign_in
    return client


def _sign_in(app: Flask, user: User, client: FlaskClient) -> str:
    with app.app_context(), open_session(db.engine) as session:
        row = begin_sign_in(
            session,
            app.extensions["lotgate"].clock,
            user,
            address="127.0.0.1",
            user_agent=str(client.environ_base["HTTP_USER_AGENT"]),
        )
        session.commit()
        return row.id
