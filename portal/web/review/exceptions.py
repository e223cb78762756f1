"""Accepted gaps, the next to expire first."""

from flask import flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from portal.clock import today
from portal.http.context import actor, clock, parts, session
from portal.review import service, vendors
from portal.web.review.blueprint import blueprint


@blueprint.get("/exceptions")
def exceptions() -> str:
    day = today(clock())
    return render_template("review/exceptions.html", rows=vendors.exceptions(session(), day), today=day)


@blueprint.post("/exceptions/<exception_id>/close")
def close_exception(exception_id: str) -> Response:
    row = service.close_exception(
        session(), actor(), clock(), exception_id, claim_days=parts().settings.claim_days
    )
    session().commit()
    flash(f"The exception for {row.control_id} is closed, and the product was assessed again.", "success")
    return redirect(url_for("review.exceptions"))
