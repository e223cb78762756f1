"""Pages about one's own account, one's team and its API tokens; signing in is in security.py."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask import session as cookie
from flask_security import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import IntegerField, PasswordField, SelectMultipleField, StringField
from wtforms.validators import EqualTo, InputRequired, Length, NumberRange
from wtforms.widgets import CheckboxInput, ListWidget

from portal.accounts import guard, read, service, sign_ins
from portal.accounts.credentials import MAX_PASSWORD
from portal.accounts.models import SUPPLIER_ROLES, Organisation, User
from portal.accounts.permissions import Permission
from portal.errors import Conflict, InvalidInput
from portal.http.context import actor, clock, parts, session
from portal.web import people
from portal.web.security import fresh

blueprint = Blueprint("account", __name__, url_prefix="/account")
SCOPE_WORDS = {
    Permission.SUPPLIER_PRODUCT_EDIT: "Add and edit products",
    Permission.SUPPLIER_SUBMISSION_READ: "Read submissions and their checks",
    Permission.SUPPLIER_SUBMISSION_WRITE: "Create and submit submissions",
    Permission.SUPPLIER_UPLOAD_WRITE: "Upload files",
    Permission.SUPPLIER_REPORT_READ: "Read reports",
    Permission.SUPPLIER_WATCH_READ: "Read the key that finds your entries in the ledger",
    Permission.SUPPLIER_CHANGE_FILE: "File change notices",
}


class AcceptForm(FlaskForm):
    name = StringField("Your name", [InputRequired(), Length(max=200)], render_kw={"autocomplete": "name"})
    password = PasswordField(
        "Password",
        [InputRequired(), Length(max=MAX_PASSWORD)],
        description="At least 12 characters. A few unrelated words are good.",
        render_kw={"autocomplete": "new-password"},
    )
    again = PasswordField(
        "Password again",
        [InputRequired(), EqualTo("password", "The two passwords are not the same.")],
        render_kw={"autocomplete": "new-password"},
    )


class MultiCheckboxField(SelectMultipleField):
    widget = ListWidget(prefix_label=False)
    option_widget = CheckboxInput()


class TokenForm(FlaskForm):
    name = StringField(
        "Name", [InputRequired(), Length(max=100)], description="Which machine uses it: “build server”"
    )
    scopes = MultiCheckboxField("It may", [InputRequired("Choose at least one.")])
    days = IntegerField("Days until it expires", [InputRequired(), NumberRange(1, 365)], default=90)


@blueprint.get("/")
def profile() -> str:
    settings = parts().settings
    return render_template(
        "account/profile.html",
        member=read.find_member(session(), clock(), current_user.id),
        events=read.events(session(), current_user.id, 10),
        sign_ins=read.sign_ins(
            session(),
            clock(),
            current_user.id,
            idle_minutes=settings.session_idle_minutes,
            hours=settings.session_hours,
        ),
        here=cookie["sign_in"],
        settings=settings,
    )


@blueprint.post("/sign-ins/<sign_in_id>/end")
def end_sign_in(sign_in_id: str) -> Response:
    row = sign_ins.end_sign_in(session(), actor(), clock(), sign_in_id)
    session().commit()
    flash(f"{sign_ins.device_words(row.user_agent)} is signed out.", "success")
    return redirect(url_for("account.profile"))


@blueprint.post("/sign-ins/end-others")
def end_other_sign_ins() -> Response:
    """Everywhere but here, whatever the page showed."""
    user: User = current_user._get_current_object()  # noqa: SLF001  # the row itself, not the proxy
    ended = sign_ins.end_sign_ins(session(), clock(), user, besides=cookie["sign_in"])
    guard.record(
        session(),
        clock(),
        "sign_in.others_ended",
        user_id=user.id,
        actor_id=user.id,
        address=request.remote_addr,
        detail=f"{ended} ended",
    )
    session().commit()
    flash("You are signed out everywhere but here.", "success")
    return redirect(url_for("account.profile"))


# --- Invitation ------------------------------------------------------------------------------------


@blueprint.route("/invitation/<token>", methods=["GET", "POST"])
def accept(token: str) -> str | Response | tuple[str, int]:
    invitation = service.open_invitation(session(), clock(), token)
    form = AcceptForm()
    status = 200
    if form.is_submitted():
        if form.validate() and _accepted(form, token):
            flash("Your account is ready. Sign in with the password you have just chosen.", "success")
            return redirect(url_for("security.login"))
        status = 422
    organisation = session().get_one(Organisation, invitation.organisation_id)
    page = render_template(
        "account/accept.html", form=form, invitation=invitation, organisation=organisation, token=token
    )
    return page, status


def _accepted(form: AcceptForm, token: str) -> bool:
    try:
        service.accept_invitation(
            session(), clock(), token, name=form.name.data or "", password=form.password.data or ""
        )
    except (InvalidInput, Conflict) as error:
        session().rollback()
        people.explain(form, error)
        return False
    session().commit()
    return True


# --- Team ------------------------------------------------------------------------------------------


@blueprint.get("/team")
def team() -> str:
    return _team(people.SupplierInviteForm())


@blueprint.post("/team/invitations")
@fresh
def invite() -> Response | tuple[str, int]:
    form = people.SupplierInviteForm()
    if people.invite(form, _own_organisation()):
        return redirect(url_for("account.team"))
    return _team(form), 422


@blueprint.post("/team/invitations/<invitation_id>/resend")
@fresh
def resend_invitation(invitation_id: str) -> Response:
    return people.resend(invitation_id, url_for("account.team"))


@blueprint.post("/team/invitations/<invitation_id>/revoke")
def revoke_invitation(invitation_id: str) -> Response:
    return people.revoke(invitation_id, url_for("account.team"))


@blueprint.post("/team/<user_id>")
@fresh
def update_member(user_id: str) -> Response:
    return people.change_member(user_id, url_for("account.team"))


def _team(form: people.SupplierInviteForm) -> str:
    own = _own_organisation()
    return render_template(
        "account/team.html",
        form=form,
        members=read.team(session(), clock(), own),
        invitations=read.invitations(session(), clock(), own),
        roles=people.role_choices(SUPPLIER_ROLES),
    )


def _own_organisation() -> str:
    own: str = current_user.organisation_id
    return own


# --- API tokens ------------------------------------------------------------------------------------


@blueprint.get("/tokens")
def tokens() -> str:
    return _tokens(_token_form())


@blueprint.post("/tokens")
@fresh
def create_token() -> str | tuple[str, int]:
    form = _token_form()
    if form.validate_on_submit():
        try:
            row, token = service.create_token(
                session(),
                actor(),
                clock(),
                name=form.name.data or "",
                scopes=[Permission(scope) for scope in form.scopes.data or []],
                days=form.days.data or 0,
            )
        except InvalidInput as error:
            session().rollback()
            people.explain(form, error)
            return _tokens(form), 422
        session().commit()
        # Shown in the answer itself: a redirect would have to keep it somewhere.
        return _tokens(_token_form(blank=True), made=(row.name, token))
    return _tokens(form), 422


@blueprint.post("/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> Response:
    row = service.revoke_token(session(), actor(), clock(), token_id)
    session().commit()
    flash(f"The token “{row.name}” no longer works.", "success")
    return redirect(url_for("account.tokens"))


def _token_form(*, blank: bool = False) -> TokenForm:
    form = TokenForm(formdata=None) if blank else TokenForm()
    form.scopes.choices = {
        scope.value: SCOPE_WORDS[scope] for scope in service.token_scopes(current_user.role)
    }
    return form


def _tokens(form: TokenForm, made: tuple[str, str] | None = None) -> str:
    return render_template(
        "account/tokens.html",
        form=form,
        made=made,
        tokens=read.tokens(session(), clock(), _own_organisation()),
        scope_words={scope.value: words for scope, words in SCOPE_WORDS.items()},
    )
