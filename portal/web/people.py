"""What the team page and the administrator's pages share: forms, invitations, acts on a person."""

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, request
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import EmailField, SelectField, StringField
from wtforms.validators import InputRequired, Length

from portal.accounts import service
from portal.accounts.actors import Actor
from portal.accounts.models import BUYER_ROLES, SUPPLIER_ROLES, Invitation, Organisation, RoleName, User
from portal.clock import Clock
from portal.errors import Conflict, InvalidInput, NotAllowed
from portal.formats import label, moment
from portal.http.context import actor, clock, parts, session
from portal.web.mailing import mail

ROLE_HELP = {
    RoleName.SUPPLIER_ADMIN: "as a contributor, and people, keys, API tokens",
    RoleName.SUPPLIER_CONTRIBUTOR: "products, submissions and uploads",
    RoleName.REVIEWER: "reviews cases and keys, decides",
    RoleName.APPROVER: "as a reviewer, and approves for the most critical use",
    RoleName.AUDITOR: "reads everything, changes nothing",
    RoleName.ADMINISTRATOR: "people and supplier accounts",
}
ACTS: dict[str, Callable[[Any, Actor, Clock, str], User]] = {
    "disable": service.disable,
    "enable": service.enable,
    "reset_second_factor": service.reset_second_factor,
}
DONE = {
    "disable": "{} can no longer sign in. Their sessions and API tokens have ended.",
    "enable": "{} can sign in again.",
    "reset_second_factor": "{} sets up a new second factor at the next sign-in.",
}


def role_choices(roles: frozenset[RoleName]) -> dict[str, str]:
    """In the order in which they are declared, with what each may do."""
    return {role.value: f"{label(role)}: {ROLE_HELP[role]}" for role in RoleName if role in roles}


class InviteForm(FlaskForm):
    email = EmailField(
        "E-mail address", [InputRequired(), Length(max=255)], render_kw={"autocomplete": "off"}
    )
    role = SelectField("Role", [InputRequired()])


class SupplierInviteForm(InviteForm):
    role = SelectField("Role", [InputRequired()], choices=role_choices(SUPPLIER_ROLES))


class BuyerInviteForm(InviteForm):
    role = SelectField("Role", [InputRequired()], choices=role_choices(BUYER_ROLES))


class NewSupplierForm(FlaskForm):
    name = StringField("Company", [InputRequired(), Length(max=200)])
    country = StringField(
        "Country",
        [InputRequired(), Length(min=2, max=2)],
        description="Two letters, as in ISO 3166: DE, NO, TW",
    )
    email = EmailField(
        "First administrator's e-mail address",
        [InputRequired(), Length(max=255)],
        description="They get an invitation and invite their colleagues themselves.",
    )


def explain(form: FlaskForm, error: Exception) -> None:
    """Put a refusal of a verb where the person looks: at its field, else at the top of the form."""
    problems = error.problems if isinstance(error, InvalidInput) else ()
    for problem in problems:
        if problem.where in form:
            field = form[problem.where]
            field.errors = [
                *field.errors,
                problem.fix or f"Expected {problem.expected}, found {problem.found}.",
            ]
    if not any(problem.where in form for problem in problems):
        form.form_errors.append(str(error))


def invite(form: InviteForm, organisation_id: str) -> bool:
    """Invite whom the form names, mail included; False where it was refused, explained in the form."""
    if not form.validate_on_submit():
        return False
    try:
        invitation, token = service.invite(
            session(),
            actor(),
            clock(),
            organisation_id=organisation_id,
            email=form.email.data or "",
            role=RoleName(form.role.data),
            hours=parts().settings.invitation_hours,
        )
    except (Conflict, InvalidInput) as error:
        session().rollback()
        explain(form, error)
        return False
    send_invitation(invitation, token)
    session().commit()
    flash(f"An invitation is on its way to {invitation.email}.", "success")
    return True


def send_invitation(invitation: Invitation, token: str) -> None:
    """Queue the mail with the link."""
    organisation = session().get_one(Organisation, invitation.organisation_id)
    mail(
        "invitation",
        invitation.email,
        f"Your invitation to Lotgate for {organisation.name}",
        inviter=actor().name,
        role=label(invitation.role).lower(),
        organisation=organisation.name,
        token=token,
        until=moment(invitation.expires_at),
    )


def resend(invitation_id: str, back: str) -> Response:
    invitation, token = service.resend_invitation(
        session(), actor(), clock(), invitation_id, hours=parts().settings.invitation_hours
    )
    send_invitation(invitation, token)
    session().commit()
    flash(f"A new link is on its way to {invitation.email}. The old one no longer works.", "success")
    return redirect(back)


def revoke(invitation_id: str, back: str) -> Response:
    invitation = service.revoke_invitation(session(), actor(), clock(), invitation_id)
    session().commit()
    flash(f"The invitation of {invitation.email} no longer works.", "success")
    return redirect(back)


def change_member(user_id: str, back: str) -> Response:
    """One act on one person, named by the form's `act`: a role, or one of ACTS."""
    act = request.form.get("act", "")
    try:
        if act == "role":
            role = request.form.get("role", "")
            if role not in set(RoleName):
                raise InvalidInput("choose a role")
            user = service.change_role(session(), actor(), clock(), user_id, RoleName(role))
            message = "{} is now " + label(user.role).lower() + " and has to sign in again."
        elif act in ACTS:
            user = ACTS[act](session(), actor(), clock(), user_id)
            message = DONE[act]
        else:
            raise InvalidInput("there is no such act")
    except (Conflict, NotAllowed, InvalidInput) as error:
        session().rollback()
        flash(f"Nothing was changed: {error.message}.", "error")
        return redirect(back)
    session().commit()
    flash(message.format(user.name), "success")
    return redirect(back)


def asked_page() -> int:
    """The page number in the address; anything else than a number from 1 on is the first page."""
    return max(1, min(request.args.get("page", 1, type=int), 1_000_000))
