"""The ledger, for auditors: what is in it, and whether the chain holds."""

from dataclasses import dataclass
from itertools import islice

from flask import render_template, request
from sqlalchemy import select

from portal.http.context import session
from portal.ledger.models import Entry
from portal.ledger.service import Fault, altered, verify_chain
from portal.suppliers.models import Supplier
from portal.web.review.blueprint import blueprint

PAGE = 50
FAULTS_MAX = 50


@dataclass(frozen=True, slots=True)
class Line:
    entry: Entry
    supplier: str | None
    holds: bool  # it was not altered


@blueprint.get("/ledger")
def ledger() -> str:
    kind = request.args.get("kind", "")
    below = request.args.get("below", "")
    query = select(Entry, Supplier.name).outerjoin(Supplier, Supplier.id == Entry.supplier_id)
    if kind:
        query = query.where(Entry.kind == kind)
    if subject := request.args.get("subject", "").strip():
        query = query.where(Entry.subject_id == subject)
    if below.isascii() and below.isdigit() and len(below) < 19:
        query = query.where(Entry.seq < int(below))
    found = session().execute(query.order_by(Entry.seq.desc()).limit(PAGE + 1)).all()
    rows = [Line(entry, name, not altered(entry)) for entry, name in found[:PAGE]]
    whole = request.args.get("check") == "whole"
    faults: list[Fault] | None = list(islice(verify_chain(session()), FAULTS_MAX)) if whole else None
    return render_template(
        "review/ledger.html",
        rows=rows,
        more=len(found) > PAGE,
        head=session().scalars(select(Entry).order_by(Entry.seq.desc()).limit(1)).first(),
        kinds=session().scalars(select(Entry.kind).distinct().order_by(Entry.kind)).all(),
        kind=kind,
        subject=subject,
        faults=faults,
    )
