"""The queue."""

from flask import render_template, request

from portal.clock import today
from portal.http.context import actor, clock, session
from portal.policy.model import Rating
from portal.review import queue as cases
from portal.review.models import CaseCause
from portal.suppliers.models import Supplier
from portal.web.review.blueprint import blueprint

VIEWS = {
    cases.View.WORK: "Mine and free",
    cases.View.MINE: "Mine",
    cases.View.FREE: "Free",
    cases.View.TAKEN: "Held by others",
    cases.View.SECOND: "Second approver",
    cases.View.WAITING: "Waiting for supplier",
    cases.View.CLOSED: "Closed",
    cases.View.ALL: "All",
}


@blueprint.get("/")
def queue() -> str:
    wanted = cases.filter_of(request.args.to_dict())
    day = today(clock())
    supplier = session().get(Supplier, wanted.supplier_id) if wanted.supplier_id else None
    return render_template(
        "review/queue.html",
        page=cases.page(session(), actor().user_id, day, wanted),
        counts=cases.counts(session(), actor().user_id, day),
        wanted=wanted,
        arguments=cases.arguments_of(wanted),
        supplier=supplier,
        views=VIEWS,
        ratings=list(Rating),
        causes=list(CaseCause),
        today=day,
    )
