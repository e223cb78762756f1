"""Suppliers and products, as reviewers see and set them."""

from flask import flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from portal.clock import today
from portal.errors import InvalidInput, NotFound
from portal.http.context import actor, clock, parts, session
from portal.reassessment.read import change_page, changes_of
from portal.review import service as review
from portal.review import vendors
from portal.review.assessing import newest_assessment
from portal.review.models import Assessment, CaseCause
from portal.submissions.models import Submission, SubmissionState
from portal.suppliers import service
from portal.suppliers.models import Product, Standing, Supplier
from portal.web.review.blueprint import blueprint
from portal.web.review.forms import ProductForm, product_form


@blueprint.get("/suppliers")
def suppliers() -> str:
    standing = request.args.get("standing", "")
    return render_template(
        "review/suppliers.html",
        found=vendors.supplier_page(
            session(),
            text=request.args.get("q", "").strip()[:100],
            standing=Standing(standing) if standing in list(Standing) else None,
            page=request.args.get("page", 1, int),
        ),
        standings=list(Standing),
    )


@blueprint.get("/suppliers/<supplier_id>")
def supplier(supplier_id: str) -> str:
    found = session().get(Supplier, supplier_id)
    if found is None:
        raise NotFound("There is no such supplier.")
    return render_template(
        "review/supplier.html",
        view=vendors.supplier_view(session(), found),
        changes=change_page(session(), supplier_id=found.id, size=10),
    )


@blueprint.get("/products/<product_id>")
def product(product_id: str) -> str:
    return show(load(product_id))


def load(product_id: str) -> Product:
    found = session().get(Product, product_id)
    if found is None:
        raise NotFound("There is no such product.")
    return found


def show(found: Product, form: ProductForm | None = None) -> str:
    return render_template(
        "review/product.html",
        product=found,
        supplier=session().get_one(Supplier, found.supplier_id),
        row=vendors.product_rows(session(), [found])[0],
        assessments=session()
        .execute(
            select(
                Assessment.id,
                Assessment.number,
                Assessment.rating,
                Assessment.score,
                Assessment.cause,
                Assessment.created_at,
            )
            .where(Assessment.product_id == found.id)
            .order_by(Assessment.number.desc())
            .limit(20)
        )
        .all(),
        submissions=session()
        .scalars(
            select(Submission)
            .where(Submission.product_id == found.id, Submission.state != SubmissionState.DRAFT)
            .order_by(Submission.submitted_at.desc())
            .limit(50)
        )
        .all(),
        exceptions=vendors.exceptions(session(), today(clock()), found.id),
        changes=changes_of(session(), found.id),
        form=form or product_form(found),
        today=today(clock()),
    )


@blueprint.post("/products/<product_id>")
def edit_product(product_id: str) -> str | Response | tuple[str, int]:
    found, form = load(product_id), ProductForm()
    if not form.validate_on_submit():
        return show(found, form), 422
    try:
        service.update_product(
            session(),
            actor(),
            clock(),
            found.id,
            tier=int(form.tier.data),
            limits=form.limits(),
            end_of_sale=form.end_of_sale.data,
            end_of_support=form.end_of_support.data,
        )
    except InvalidInput as error:
        form.form_errors = [str(problem) for problem in error.problems]
        return show(found, form), 422
    if newest_assessment(session(), found.id) is not None:
        review.assess(
            session(),
            clock(),
            found.id,
            cause=f"Changed by {actor().name}",
            case_cause=CaseCause.CHANGE,
            claim_days=parts().settings.claim_days,
        )
    session().commit()
    flash("The product is changed.", "success")
    return redirect(url_for("review.product", product_id=found.id))
