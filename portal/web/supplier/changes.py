"""Changes: tell one, see what it did."""

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from portal.errors import InvalidInput, NotFound
from portal.http.context import actor, clock, parts, session
from portal.reassessment import service
from portal.reassessment.models import ChangeKind, ChangeSource
from portal.reassessment.read import change_page, change_row, effects_of
from portal.web.supplier.blueprint import blueprint, own_id, own_products
from portal.web.supplier.forms import ChangeForm, product_choices, show


@blueprint.get("/changes")
def changes() -> str:
    kind = request.args.get("kind", "")
    return render_template(
        "supplier/changes.html",
        found=change_page(
            session(),
            kind=ChangeKind(kind) if kind in list(ChangeKind) else None,
            supplier_id=own_id(),
            text=request.args.get("q", "").strip()[:100],
            page=request.args.get("page", 1, int),
            without=ChangeSource.BUYER,  # what the buyer noted down is written for the buyer
        ),
        kinds=list(ChangeKind),
    )


@blueprint.route("/changes/new", methods=["GET", "POST"])
def new_change() -> str | Response | tuple[str, int]:
    form = ChangeForm(product=request.args.get("product", ""))
    form.product.choices = product_choices(own_products(), "All our products")
    if form.validate_on_submit():
        try:
            notice = service.file_notice(
                session(),
                actor(),
                clock(),
                parts().jobs,
                kind=ChangeKind(form.kind.data),
                title=form.title.data,
                description=form.description.data or "",
                product_id=form.product.data or None,
                effective_on=form.effective_on.data,
            )
        except InvalidInput as error:
            show(form, error)
        else:
            session().commit()
            flash("The change is filed. What it touches is being assessed again.", "success")
            return redirect(url_for("supplier.change", notice_id=notice.id))
    page = render_template("supplier/new_change.html", form=form)
    return (page, 422) if form.is_submitted() else page


@blueprint.get("/changes/<notice_id>")
def change(notice_id: str) -> str:
    row = change_row(session(), notice_id)
    if row is None or row.notice.source is ChangeSource.BUYER:
        raise NotFound("There is no such change notice.")
    return render_template("supplier/change.html", row=row, effects=effects_of(session(), notice_id))
