"""Products and their components."""

from datetime import date, timedelta

from flask import flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from portal.errors import Conflict, InvalidInput
from portal.http.context import actor, clock, parts, session
from portal.review.rules import APPROVALS
from portal.review.told import told
from portal.review.vendors import ProductRow, product_rows
from portal.submissions.asked import asked
from portal.submissions.read import current_submissions, submission_page
from portal.suppliers import service
from portal.suppliers.models import Product
from portal.web.supplier.blueprint import blueprint, load_product, own_id, own_products
from portal.web.supplier.forms import ComponentForm, EditProductForm, ProductForm, show


@blueprint.get("/products")
def products() -> str:
    found = own_products()
    return render_template(
        "supplier/products.html",
        rows=product_rows(session(), found),
        asks={ask.product.id: ask for ask in asked(session(), own_id(), found)},
    )


@blueprint.route("/products/new", methods=["GET", "POST"])
def new_product() -> str | Response | tuple[str, int]:
    form = ProductForm()
    if form.validate_on_submit():
        try:
            made = service.create_product(
                session(),
                actor(),
                clock(),
                model=form.model.data,
                name=form.name.data,
                chemistry=form.chemistry.data,
                end_of_sale=form.end_of_sale.data,
                end_of_support=form.end_of_support.data,
                components=form.listed_components(),
            )
        except InvalidInput as error:
            show(form, error, {"name": "name"})
        except Conflict as error:
            form.form_errors = [error.message]
        else:
            session().commit()
            flash(f"{made.name} is there. What we ask about it stands below.", "success")
            return redirect(url_for("supplier.product", product_id=made.id))
    page = render_template("supplier/new_product.html", form=form)
    return (page, 422) if form.is_submitted() else page


@blueprint.get("/products/<product_id>")
def product(product_id: str) -> str:
    return page_of(load_product(product_id))


def page_of(
    found: Product, form: EditProductForm | None = None, component_form: ComponentForm | None = None
) -> str:
    """The page of a product; with a form that came back."""
    current = [
        row for row in current_submissions(session(), own_id()) if row.submission.product_id == found.id
    ]
    row = product_rows(session(), [found])[0]
    return render_template(
        "supplier/product.html",
        product=found,
        row=row,
        ask=asked(session(), own_id(), [found])[0],
        newest={row.subject_id: row.submission for row in current},
        submissions=submission_page(session(), own_id(), product_id=found.id, size=10),
        units=service.LIMITS,
        told=told(session(), found.id),
        again_on=_again_on(row),
        form=form or EditProductForm(formdata=None, obj=found),
        component_form=component_form or ComponentForm(formdata=None),
    )


def _again_on(row: ProductRow) -> date | None:
    """By when an approved product is assessed again, if nothing changes before."""
    if row.decision is None or row.decision.kind not in APPROVALS:
        return None
    return row.decision.decided_at.date() + timedelta(days=parts().settings.reassess_days)


@blueprint.post("/products/<product_id>")
def edit_product(product_id: str) -> Response | tuple[str, int]:
    found, form = load_product(product_id), EditProductForm()
    if not form.validate_on_submit():
        return page_of(found, form), 422
    try:
        service.update_product(
            session(),
            actor(),
            clock(),
            found.id,
            name=form.name.data,
            chemistry=form.chemistry.data,
            end_of_sale=form.end_of_sale.data,
            end_of_support=form.end_of_support.data,
        )
    except InvalidInput as error:
        show(form, error)
        return page_of(found, form), 422
    session().commit()
    flash("The product is changed.", "success")
    return redirect(url_for("supplier.product", product_id=found.id))


@blueprint.post("/products/<product_id>/components")
def add_component(product_id: str) -> Response | tuple[str, int]:
    found, form = load_product(product_id), ComponentForm()
    if not form.validate_on_submit():
        return page_of(found, component_form=form), 422
    try:
        service.add_component(session(), actor(), clock(), found.id, name=form.name.data)
    except InvalidInput as error:
        show(form, error)
        return page_of(found, component_form=form), 422
    except Conflict as error:
        form.name.errors = [error.message]
        return page_of(found, component_form=form), 422
    session().commit()
    flash(f"{form.name.data} is added.", "success")
    return redirect(url_for("supplier.product", product_id=found.id, _anchor="components"))
