"""A signed-in test client without walking through the sign-in pages (they have their own tests)."""

import time

from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User


def signed_in_client(app: Flask, user: User) -> FlaskClient:
    client = app.test_client()
    with client.session_transaction() as session:
        session["_user_id"] = user.fs_uniquifier
        session["_fresh"] = True
        session["fs_cc"] = "set"
        session["fs_paa"] = time.time()
        session["identity"] = user.fs_uniquifier
    return client
