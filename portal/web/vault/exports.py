"""Exports of evidence with a chain-of-custody form."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from flask import Response, flash, redirect, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response as Redirect
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from portal.accounts.models import User
from portal.errors import Conflict, InvalidInput, NotFound
from portal.evidence.models import Evidence
from portal.http.context import actor, clock, parts, session
from portal.ledger import logs
from portal.reports import custody
from portal.retention import exporting
from portal.retention.models import Export
from portal.review.models import Case
from portal.review.read import find_case
from portal.suppliers.models import Supplier
from portal.web.people import explain
from portal.web.vault.blueprint import blueprint

PIECE: Final = 1 << 20
SHOWN: Final = 200


class ExportForm(FlaskForm):
    reference = StringField(
        "Reference",
        [InputRequired("Name the incident."), Length(max=100)],
        description="The incident, claim or court file that it is for, for example INC-2026-014.",
    )
    recipient = StringField(
        "Released to",
        [InputRequired("Say who gets it."), Length(max=200)],
        description="Name and organisation of who takes the files.",
    )
    purpose = TextAreaField("Purpose", [InputRequired("Say what for."), Length(max=500)])


@blueprint.get("/exports")
def exports() -> str:
    rows = session().execute(
        select(Export, Supplier.name, User.name)
        .join(Supplier, Supplier.id == Export.supplier_id)
        .join(User, User.id == Export.exported_by)
        .order_by(Export.number.desc())
        .limit(SHOWN)
    )
    return render_template("vault/exports.html", rows=rows.all())


@blueprint.get("/exports/new/case/<int:number>")
@blueprint.get("/exports/new/file/<evidence_id>")
def new_export(number: int | None = None, evidence_id: str = "") -> str:
    return _new(ExportForm(), *_wanted(number, evidence_id))


@blueprint.post("/exports/new/case/<int:number>")
@blueprint.post("/exports/new/file/<evidence_id>")
def make_export(number: int | None = None, evidence_id: str = "") -> Redirect | tuple[str, int]:
    form = ExportForm()
    case, files = _wanted(number, evidence_id)
    if form.validate_on_submit():
        try:
            row = exporting.export(
                session(),
                actor(),
                clock(),
                evidence_ids=[file.id for file in files],
                case=case,
                reference=form.reference.data or "",
                purpose=form.purpose.data or "",
                recipient=form.recipient.data or "",
            )
        except InvalidInput as error:
            session().rollback()
            explain(form, error)
        else:
            made = row.number
            session().commit()
            flash(f"Export {made} is recorded. Fetch the archive and hand the form over with it.", "success")
            return redirect(url_for("vault.export", number=made))
    return _new(form, case, files), 422


@blueprint.get("/exports/<int:number>")
def export(number: int) -> str:
    row = _load(number)
    return render_template(
        "vault/export.html",
        row=row,
        manifest=custody.manifest_of(row),
        supplier=session().get_one(Supplier, row.supplier_id),
        by=session().get_one(User, row.exported_by).name,
    )


@blueprint.get("/exports/<int:number>/archive.zip")
def export_archive(number: int) -> Response:
    row = _load(number)
    session().rollback()  # copying takes its time: nothing of the database is held meanwhile
    made = custody.archive(row, parts().store, parts().spool)
    size = made.seek(0, 2)
    made.seek(0)
    response = _download(made, "application/zip", f"chain-of-custody-{number}.zip")
    response.headers["Content-Length"] = str(size)
    return response


@blueprint.get("/exports/<int:number>/form.pdf")
def export_form(number: int) -> Response:
    row = _load(number)
    session().rollback()
    name = f"chain-of-custody-{number}.pdf"
    return Response(
        custody.form(row),
        mimetype="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


@blueprint.get("/exports/<int:number>/receipt")
def export_receipt(number: int) -> Response:
    entry = logs.entry_about(session(), "evidence.exported", _load(number).id)
    proof = logs.receipt(session(), entry) if entry is not None else None
    if proof is None:
        raise Conflict("The receipt is not ready yet: it needs the next checkpoint of an open log.")
    return Response(
        str(proof),
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="export-{number}.tlog-proof"'},
    )


def _download(made: BinaryIO, kind: str, name: str) -> Response:
    def pieces() -> Iterator[bytes]:
        with made:
            while piece := made.read(PIECE):
                yield piece

    response = Response(
        pieces(),
        mimetype=kind,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
    response.call_on_close(made.close)  # HEAD and readers that leave never begin the pieces
    return response


def _load(number: int) -> Export:
    row = session().scalars(select(Export).where(Export.number == number)).one_or_none()
    if row is None:
        raise NotFound(f"There is no export {number}.")
    return row


def _wanted(number: int | None, evidence_id: str) -> tuple[Case | None, list[Evidence]]:
    """The case, or the one file, that the address names, and the files that go with it. Raises NotFound."""
    case = find_case(session(), number) if number is not None else None
    ids = exporting.of_case(session(), case) if case else [evidence_id]
    found = [row for evidence_id in ids if (row := session().get(Evidence, evidence_id)) is not None]
    if not found and case is None:
        raise NotFound("There is no such file or case to export.")
    return case, found


def _new(form: ExportForm, case: Case | None, files: list[Evidence]) -> str:
    supplier_id = case.supplier_id if case else files[0].supplier_id
    return render_template(
        "vault/new_export.html",
        form=form,
        case=case,
        files=files,
        most=exporting.MOST,
        supplier=session().get_one(Supplier, supplier_id),
    )
