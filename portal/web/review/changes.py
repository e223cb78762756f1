"""Changes that were told or seen, and what they did."""

from flask import flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import SelectChoice

from portal.errors import InvalidInput, NotFound
from portal.http.context import actor, clock, parts, session
from portal.reassessment import service
from portal.reassessment.models import ChangeKind, ChangeNotice
from portal.reassessment.read import change_page, change_row, effects_of, newest_effects
from portal.suppliers.models import Product, Supplier
from portal.web.review.blueprint import blueprint
from portal.web.review.forms import ChangeForm


@blueprint.get("/changes")
def changes() -> str:
    kind = request.args.get("kind", "")
    return render_template(
        "review/changes.html",
        found=change_page(
            session(),
            kind=ChangeKind(kind) if kind in list(ChangeKind) else None,
            supplier_id=request.args.get("supplier") or None,
            text=request.args.get("q", "").strip()[:100],
            page=request.args.get("page", 1, int),
        ),
        kinds=list(ChangeKind),
    )


@blueprint.get("/reassessments")
def reassessments() -> str:
    material = request.args.get("show") != "all"
    return render_template(
        "review/reassessments.html", effects=newest_effects(session(), material=material), material=material
    )


@blueprint.get("/changes/<notice_id>")
def change(notice_id: str) -> str:
    row = change_row(session(), notice_id)
    if row is None:
        raise NotFound("There is no such change notice.")
    return render_template("review/change.html", row=row, effects=effects_of(session(), notice_id))


@blueprint.route("/suppliers/<supplier_id>/changes/new", methods=["GET", "POST"])
def new_change(supplier_id: str) -> str | Response | tuple[str, int]:
    supplier = session().get(Supplier, supplier_id)
    if supplier is None:
        raise NotFound("There is no such supplier.")
    products = session().scalars(
        select(Product).where(Product.supplier_id == supplier.id).order_by(Product.name)
    )
    form = ChangeForm(subject=request.args.get("product", ""))
    form.subject.choices = [
        SelectChoice("", "All products of this supplier"),
        *(SelectChoice(row.id, f"{row.name} ({row.model})") for row in products),
    ]
    if form.validate_on_submit():
        try:
            notice = _file(form, supplier)
        except InvalidInput as error:
            form.form_errors = [str(problem) for problem in error.problems]
        else:
            session().commit()
            flash("The change is filed. What it touches is being assessed again.", "success")
            return redirect(url_for("review.change", notice_id=notice.id))
    page = render_template("review/new_change.html", form=form, supplier=supplier)
    return (page, 422) if form.is_submitted() else page


def _file(form: ChangeForm, supplier: Supplier) -> ChangeNotice:
    return service.file_notice(
        session(),
        actor(),
        clock(),
        parts().jobs,
        kind=ChangeKind(form.kind.data),
        title=form.title.data,
        description=form.description.data or "",
        product_id=form.subject.data or None,
        supplier_id=supplier.id,
        effective_on=form.effective_on.data,
    )
