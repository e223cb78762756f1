"""Pages of the administrator: people of both sides, supplier accounts, and time-stamp authorities."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired

from portal.accounts import read, service
from portal.accounts.models import BUYER_ROLES, SUPPLIER_ROLES, OrganisationKind, RoleName
from portal.errors import Conflict, InvalidInput, NotFound
from portal.http.context import actor, clock, parts, session
from portal.suppliers import timestamping
from portal.suppliers.models import Supplier
from portal.suppliers.service import create_supplier as create_supplier_record
from portal.web import people
from portal.web.security import fresh

blueprint = Blueprint("admin", __name__, url_prefix="/admin")


# --- People ----------------------------------------------------------------------------------------


@blueprint.get("/users")
def users() -> str:
    return _users(people.BuyerInviteForm())


@blueprint.post("/users/invitations")
@fresh
def invite() -> Response | tuple[str, int]:
    form = people.BuyerInviteForm()
    buyer = service.find_buyer(session())
    if buyer is None:
        raise NotFound("there is no buying organisation yet: make one with `lotgate users add`")
    if people.invite(form, buyer.id):
        return redirect(url_for("admin.users"))
    return _users(form), 422


@blueprint.post("/invitations/<invitation_id>/resend")
@fresh
def resend_invitation(invitation_id: str) -> Response:
    return people.resend(invitation_id, _back())


@blueprint.post("/invitations/<invitation_id>/revoke")
def revoke_invitation(invitation_id: str) -> Response:
    return people.revoke(invitation_id, _back())


@blueprint.get("/users/<user_id>")
def user(user_id: str) -> str:
    member = read.find_member(session(), clock(), user_id)
    if member is None:
        raise NotFound("there is no such person")
    roles = BUYER_ROLES if member.kind is OrganisationKind.BUYER else SUPPLIER_ROLES
    return render_template(
        "admin/user.html",
        member=member,
        events=read.events(session(), user_id),
        roles=people.role_choices(roles),
    )


@blueprint.post("/users/<user_id>")
@fresh
def update_user(user_id: str) -> Response:
    return people.change_member(user_id, url_for("admin.user", user_id=user_id))


def _users(form: people.BuyerInviteForm) -> str:
    text = request.args.get("q", "").strip()[:100]
    role = request.args.get("role", "")
    return render_template(
        "admin/users.html",
        form=form,
        text=text,
        role=role,
        roles=list(RoleName),
        page=read.people(
            session(),
            clock(),
            text=text,
            role=RoleName(role) if role in set(RoleName) else None,
            number=people.asked_page(),
        ),
        invitations=read.invitations(session(), clock()),
    )


# --- Time-stamp authorities -------------------------------------------------------------------------


class AuthorityForm(FlaskForm):
    label = StringField(
        "Name", [InputRequired("Give it a name.")], description="As verdicts call it, for example DFN 2026."
    )
    pem = TextAreaField(
        "Certificate (PEM)",
        [InputRequired("Paste the certificate.")],
        description="The authority's own, or the root that its stamps lead to.",
    )


@blueprint.get("/time-stamps")
def time_stamps() -> str:
    return _time_stamps(AuthorityForm())


@blueprint.post("/time-stamps")
@fresh
def add_authority() -> Response | tuple[str, int]:
    form = AuthorityForm()
    if form.validate_on_submit():
        try:
            row = timestamping.add_authority(
                session(), actor(), clock(), label=form.label.data or "", pem=form.pem.data or ""
            )
        except (InvalidInput, Conflict) as error:
            people.explain(form, error)
        else:
            session().commit()
            flash(f"Time stamps by {row.label} count from the next verification on.", "success")
            return redirect(url_for("admin.time_stamps"))
    return _time_stamps(form), 422


@blueprint.post("/time-stamps/<authority_id>/remove")
@fresh
def remove_authority(authority_id: str) -> Response:
    row = timestamping.remove_authority(session(), actor(), clock(), authority_id)
    label = row.label
    session().commit()
    flash(f"Time stamps by {label} count no more.", "success")
    return redirect(url_for("admin.time_stamps"))


def _time_stamps(form: AuthorityForm) -> str:
    rows = timestamping.authorities(session())
    return render_template("admin/time_stamps.html", rows=rows, form=form, now=clock().now())


# --- Supplier accounts -----------------------------------------------------------------------------


@blueprint.get("/suppliers")
def suppliers() -> str:
    return _suppliers(people.NewSupplierForm())


@blueprint.post("/suppliers")
@fresh
def create_supplier() -> Response | tuple[str, int]:
    form = people.NewSupplierForm()
    if form.validate_on_submit():
        try:
            supplier = create_supplier_record(
                session(),
                actor(),
                clock(),
                name=form.name.data or "",
                country=(form.country.data or "").upper(),
            )
            invitation, token = service.invite(
                session(),
                actor(),
                clock(),
                organisation_id=supplier.id,
                email=form.email.data or "",
                role=RoleName.SUPPLIER_ADMIN,
                hours=parts().settings.invitation_hours,
            )
        except (InvalidInput, Conflict) as error:
            session().rollback()
            people.explain(form, error)
            return _suppliers(form), 422
        people.send_invitation(invitation, token)
        session().commit()
        flash(
            f"{supplier.name} has an account. An invitation is on its way to {invitation.email}.", "success"
        )
        return redirect(url_for("admin.supplier", supplier_id=supplier.id))
    return _suppliers(form), 422


@blueprint.get("/suppliers/<supplier_id>")
def supplier(supplier_id: str) -> str:
    return _supplier(supplier_id, people.SupplierInviteForm())


@blueprint.post("/suppliers/<supplier_id>/invitations")
@fresh
def invite_to_supplier(supplier_id: str) -> Response | tuple[str, int]:
    form = people.SupplierInviteForm()
    if people.invite(form, supplier_id):
        return redirect(url_for("admin.supplier", supplier_id=supplier_id))
    return _supplier(supplier_id, form), 422


def _supplier(supplier_id: str, form: people.SupplierInviteForm) -> str:
    row = session().get(Supplier, supplier_id)
    if row is None:
        raise NotFound("there is no such supplier")
    return render_template(
        "admin/supplier.html",
        supplier=row,
        form=form,
        members=read.team(session(), clock(), supplier_id),
        invitations=read.invitations(session(), clock(), supplier_id),
    )


def _suppliers(form: people.NewSupplierForm) -> str:
    text = request.args.get("q", "").strip()[:100]
    page = read.supplier_accounts(session(), clock(), text=text, number=people.asked_page())
    return render_template("admin/suppliers.html", form=form, text=text, page=page)


def _back() -> str:
    """The page whose button was pressed: a supplier's, else that of all people."""
    supplier_id = request.form.get("supplier", "")
    return url_for("admin.supplier", supplier_id=supplier_id) if supplier_id else url_for("admin.users")
