"""The front door: each person to their home, a visitor to a page that says what this is; the health check."""

from flask import Blueprint, Response, g, jsonify, redirect, render_template
from sqlalchemy import text
from werkzeug.wrappers import Response as BaseResponse

from portal.http.context import session
from portal.web.navigation import home_url

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def index() -> str | BaseResponse:
    url = home_url(g.actor)
    return redirect(url) if url else render_template("home.html")


def health() -> Response:
    """For load balancers: 200 when the database answers; its failure is a 503 by the error pages."""
    session().execute(text("SELECT 1"))
    return jsonify(status="ok")
