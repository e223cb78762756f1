"""Signing keys: register one, read its fingerprint to the buyer by another channel, see what became of it."""

from flask import flash, redirect, render_template, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from portal.errors import Conflict, InvalidInput, NotFound
from portal.http.context import actor, clock, session
from portal.suppliers import service
from portal.suppliers.models import SigningKey
from portal.web.supplier.blueprint import blueprint, own_id
from portal.web.supplier.forms import KeyForm, show


@blueprint.get("/keys")
def keys() -> str:
    rows = session().scalars(
        select(SigningKey)
        .where(SigningKey.supplier_id == own_id())
        .order_by(SigningKey.registered_at.desc(), SigningKey.id)
    )
    return render_template("supplier/keys.html", keys=rows.all())


@blueprint.route("/keys/new", methods=["GET", "POST"])
def new_key() -> str | Response | tuple[str, int]:
    form = KeyForm()
    if form.validate_on_submit():
        try:
            key = service.register_key(
                session(),
                actor(),
                clock(),
                pem=form.pem.data,
                label=form.label.data,
                purposes=form.purposes.data,
            )
        except InvalidInput as error:
            show(form, error)
            if "PRIVATE KEY" in (form.pem.data or ""):
                form.pem.data = ""  # it is not sent back over the wire, nor left on the screen
        except Conflict as error:
            form.pem.errors = [error.message]
        else:
            session().commit()
            flash("The key is registered. Now its fingerprint has to be confirmed.", "success")
            return redirect(url_for("supplier.key", key_id=key.id))
    page = render_template("supplier/new_key.html", form=form)
    return (page, 422) if form.is_submitted() else page


@blueprint.get("/keys/<key_id>")
def key(key_id: str) -> str:
    found = session().get(SigningKey, key_id)
    if found is None:
        raise NotFound("There is no such key.")
    return render_template("supplier/key.html", key=found)
