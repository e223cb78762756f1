"""Offering evidence: firmware, a lot, attestations. Each is started and submitted in one act."""

from collections.abc import Callable, Iterable

from flask import flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response

from portal.errors import InvalidInput, NotFound, TooLarge
from portal.http.context import actor, clock, parts, session
from portal.submissions import service
from portal.submissions.attestations.service import start_attestations
from portal.submissions.firmware.service import start_firmware
from portal.submissions.lots.manifest import schema_text
from portal.submissions.lots.models import Lot
from portal.submissions.lots.service import start_lot
from portal.submissions.models import Submission, SubmissionKind, SubmissionState
from portal.web.supplier.blueprint import blueprint, own_id, own_products
from portal.web.supplier.fields import EvidenceField, keep_all
from portal.web.supplier.forms import (
    AttestationsForm,
    FirmwareForm,
    LotForm,
    component_choices,
    lot_choices,
    product_choices,
    replaced_choices,
    show,
)

CHOICES_MAX = 500


@blueprint.route("/submissions/new/firmware", methods=["GET", "POST"])
def new_firmware() -> str | Response | tuple[str, int]:
    form, products = FirmwareForm(component=request.args.get("component", "")), own_products()
    form.component.choices = component_choices(products)

    def start() -> Submission:
        return start_firmware(
            session(),
            actor(),
            clock(),
            component_id=form.component.data,
            version=form.version.data,
            image_id=form.image.data,
            signature_id=form.signature.data,
            certificates_id=form.certificates.data,
            timestamp_id=form.timestamp.data,
            declared_sha256=form.declared_sha256.data or None,
            release_notes=form.release_notes.data or "",
        )

    files = (form.image, form.signature, form.certificates, form.timestamp)
    renamed = {"release notes": "release_notes"}
    sent = _offer(form, files, start, renamed)
    if sent is not None:
        return sent
    page = render_template(
        "supplier/new_firmware.html", form=form, possible=any(row.components for row in products)
    )
    return (page, 422) if form.is_submitted() else page


@blueprint.route("/submissions/new/lot", methods=["GET", "POST"])
def new_lot() -> str | Response | tuple[str, int]:
    form = LotForm(product=request.args.get("product", ""), supersedes=request.args.get("replaces", ""))
    products = own_products()
    form.product.choices = product_choices(products, "Choose …")
    form.supersedes.choices = replaced_choices(_replaceable())

    def start() -> Submission:
        return start_lot(
            session(),
            actor(),
            clock(),
            product_id=form.product.data,
            lot_number=form.lot_number.data,
            manifest_id=form.manifest.data,
            units_id=form.units.data,
            signature_id=form.signature.data,
            supersedes_id=form.supersedes.data or None,
        )

    renamed = {"lot": "lot_number"}
    sent = _offer(form, (form.manifest, form.units, form.signature), start, renamed)
    if sent is not None:
        return sent
    page = render_template("supplier/new_lot.html", form=form, possible=bool(products))
    return (page, 422) if form.is_submitted() else page


@blueprint.get("/lot-manifest.schema.json")
def manifest_schema() -> Response:
    return Response(schema_text(), mimetype="application/schema+json")


@blueprint.route("/submissions/new/attestations", methods=["GET", "POST"])
def new_attestations() -> str | Response | tuple[str, int]:
    form, lots = AttestationsForm(lot=request.args.get("lot", "")), _live_lots()
    form.lot.choices = lot_choices(lots)

    def start() -> Submission:
        return start_attestations(
            session(),
            actor(),
            clock(),
            lot_id=form.lot.data,
            attestations_id=form.attestations.data,
        )

    sent = _offer(form, (form.attestations,), start, {})
    if sent is not None:
        return sent
    page = render_template("supplier/new_attestations.html", form=form, possible=bool(lots))
    return (page, 422) if form.is_submitted() else page


def _offer(
    form: FlaskForm,
    files: Iterable[EvidenceField],
    start: Callable[[], Submission],
    renamed: dict[str, str],
) -> Response | None:
    """Submit what the form holds; None when it has to come back. Files that arrived are kept either way, so
    that nobody has to send them twice.
    """
    if not form.is_submitted():
        return None
    valid, kept = form.validate(), keep_all(files)
    made: Submission | None = None
    if valid and kept:
        try:
            with session().begin_nested():
                made = service.submit(session(), actor(), clock(), parts().jobs, start().id)
        except InvalidInput as error:
            show(form, error, renamed)
            made = None
        except (NotFound, TooLarge) as error:
            form.form_errors = [error.message]
            made = None
    session().commit()
    if made is None:
        return None
    flash(f"{made.title} is received. Its checks begin at once.", "success")
    return redirect(url_for("supplier.submission", submission_id=made.id))


def _replaceable() -> list[Submission]:
    """Lot submissions that a new one may replace, the newest first."""
    return list(
        session().scalars(
            select(Submission)
            .where(
                Submission.supplier_id == own_id(),
                Submission.kind == SubmissionKind.LOT,
                Submission.state.not_in((SubmissionState.DRAFT, SubmissionState.WITHDRAWN)),
            )
            .order_by(Submission.submitted_at.desc())
            .limit(CHOICES_MAX)
        )
    )


def _live_lots() -> list[Lot]:
    return list(
        session().scalars(
            select(Lot)
            .join(Submission, Submission.id == Lot.submission_id)
            .where(Lot.supplier_id == own_id(), Lot.live)
            .order_by(Submission.submitted_at.desc())
            .limit(CHOICES_MAX)
        )
    )
