"""The companies in the supplier's chain."""

from flask import flash, redirect, render_template, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from portal.errors import Conflict, InvalidInput
from portal.http.context import actor, clock, session
from portal.suppliers import service
from portal.suppliers.models import Entity, EntityRole, Supplier
from portal.web.supplier.blueprint import blueprint, own_id
from portal.web.supplier.forms import EntityForm, show


@blueprint.get("/company")
def entities() -> str:
    return page_of(EntityForm(formdata=None))


def page_of(form: EntityForm) -> str:
    rows = session().scalars(
        select(Entity).where(Entity.supplier_id == own_id()).order_by(Entity.role, Entity.name)
    )
    return render_template(
        "supplier/company.html",
        supplier=session().get_one(Supplier, own_id()),
        entities=rows.all(),
        form=form,
    )


@blueprint.post("/company/entities")
def add_entity() -> Response | tuple[str, int]:
    form = EntityForm()
    if not form.validate_on_submit():
        return page_of(form), 422
    try:
        service.add_entity(
            session(),
            actor(),
            clock(),
            role=EntityRole(form.role.data),
            name=form.name.data,
            country=form.country.data,
        )
    except InvalidInput as error:
        show(form, error)
        return page_of(form), 422
    except Conflict as error:
        form.name.errors = [error.message]
        return page_of(form), 422
    session().commit()
    flash(f"{form.name.data} is in your chain.", "success")
    return redirect(url_for("supplier.entities"))


@blueprint.post("/company/entities/<entity_id>/remove")
def remove_entity(entity_id: str) -> Response:
    service.remove_entity(session(), actor(), clock(), entity_id)
    session().commit()
    flash("The company is no longer in your chain.", "success")
    return redirect(url_for("supplier.entities"))
