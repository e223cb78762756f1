"""A signed-in test client without walking through the sign-in pages (they have their own tests)."""

import time

import flask
from flask import Flask
from flask.testing import FlaskClient
from flask_login.utils import _create_identifier
from flask_wtf.csrf import generate_csrf

from portal.accounts.models import User


def signed_in_client(app: Flask, user: User) -> FlaskClient:
    client = app.test_client()
    now = app.extensions["lotgate"].clock.now().timestamp()
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
        session["since"] = session["seen"] = now
    return client
