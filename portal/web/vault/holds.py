"""Holds: the list, placing one, asking for its release, releasing it."""

from flask import flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.evidence.models import Evidence
from portal.http.context import actor, clock, session
from portal.retention import read, service
from portal.suppliers.models import Product, Supplier
from portal.web.people import explain
from portal.web.security import fresh
from portal.web.vault.blueprint import blueprint

WHY = "Say why: it stays in the record."


class HoldForm(FlaskForm):
    reference = StringField(
        "Reference",
        [InputRequired("Name the case or incident."), Length(max=100)],
        description="The case, incident or court file that it is for, for example INC-2026-014.",
    )
    why = TextAreaField("Why", [InputRequired(WHY), Length(max=500)])


class StepForm(FlaskForm):
    why = StringField("Why", [InputRequired(WHY), Length(max=500)])


@blueprint.get("/holds")
def holds() -> str:
    ended = request.args.get("view") == "ended"
    return render_template(
        "vault/holds.html",
        rows=read.holds(session(), ended=ended),
        ended=ended,
        me=actor().user_id,
    )


@blueprint.get("/holds/new/<supplier_id>")
def new_hold(supplier_id: str) -> str:
    return _new(supplier_id, HoldForm())


@blueprint.post("/holds/new/<supplier_id>")
def place_hold(supplier_id: str) -> Response | tuple[str, int]:
    form = HoldForm()
    if form.validate_on_submit():
        try:
            hold = service.place(
                session(),
                actor(),
                clock(),
                supplier_id=supplier_id,
                product_id=request.args.get("product") or None,
                evidence_id=request.args.get("evidence") or None,
                reference=form.reference.data or "",
                why=form.why.data or "",
            )
        except InvalidInput as error:
            explain(form, error)
        else:
            reference = hold.reference
            session().commit()
            flash(f"The hold for {reference} is in force.", "success")
            return redirect(url_for("vault.holds"))
    return _new(supplier_id, form), 422


@blueprint.post("/holds/<hold_id>/ask")
@fresh
def ask_release(hold_id: str) -> Response:
    return _step(hold_id, "ask")


@blueprint.post("/holds/<hold_id>/release")
@fresh
def release_hold(hold_id: str) -> Response:
    return _step(hold_id, "release")


def _step(hold_id: str, act: str) -> Response:
    form = StepForm()
    verb = service.release if act == "release" else service.ask_release
    try:
        verb(session(), actor(), clock(), hold_id, why=form.why.data or "")
    except (InvalidInput, NotAllowed, Conflict) as error:
        session().rollback()
        problems = getattr(error, "problems", ())
        flash(f"{error.message} {WHY if problems else ''}".strip(), "danger")
    else:
        session().commit()
        done = "is released" if act == "release" else "waits for another person to release it"
        flash(f"The hold {done}.", "success")
    return redirect(url_for("vault.holds"))


def _new(supplier_id: str, form: HoldForm) -> str:
    """The form, with what the hold is on. Raises NotFound."""
    supplier = session().get(Supplier, supplier_id)
    product_id, evidence_id = request.args.get("product"), request.args.get("evidence")
    product = session().get(Product, product_id) if product_id else None
    evidence = session().get(Evidence, evidence_id) if evidence_id else None
    if (
        supplier is None
        or (product_id and (product is None or product.supplier_id != supplier_id))
        or (evidence_id and (evidence is None or evidence.supplier_id != supplier_id))
    ):
        raise NotFound("There is no such thing to hold.")
    return render_template(
        "vault/new_hold.html", supplier=supplier, product=product, evidence=evidence, form=form
    )
