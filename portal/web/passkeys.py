"""Passkeys (WebAuthn) as a second factor, beside the authenticator app; never instead of the password.

The views are Flask-Security's. They ask neither whose password was given before, nor whether a challenge is
this session's, nor do they take domain and origin from the settings: the forms and utilities here do.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from flask import Flask, request
from flask import session as cookie
from flask_security import (
    TwoFactorSelectForm,
    WebAuthnDeleteForm,
    WebAuthnRegisterForm,
    WebAuthnRegisterResponseForm,
    WebAuthnSigninForm,
    WebAuthnSigninResponseForm,
    WebauthnUtil,
    current_user,
    wan_deleted,
    wan_registered,
)
from webauthn.helpers.exceptions import WebAuthnException
from wtforms import HiddenField, SubmitField

from portal.accounts import guard
from portal.accounts.models import User
from portal.http.context import clock, parts, session
from portal.web.security_forms import LOCKED, is_locked

LONGEST_ID = 1023  # bytes of a credential's id (WebAuthn level 2, §7.1 step 17)
LAST_ONE = "This is your only second factor, and your role needs one. Set up another first."
NOT_BEGUN_HERE = "This was begun in another window, or used already. Please begin again."
NOT_READABLE = "What your device answered cannot be read."
# What untrusted bytes make the parsers raise.
UNREADABLE = (WebAuthnException, UnsupportedAlgorithm, ValueError, TypeError, LookupError, AttributeError)

CONFIG: dict[str, Any] = {
    "WEBAUTHN": True,
    "WAN_RP_NAME": "Lotgate",
    "WAN_ALLOW_AS_FIRST_FACTOR": False,
    "WAN_ALLOW_AS_MULTI_FACTOR": False,
    "WAN_ALLOW_AS_VERIFY": None,
    "WAN_NAME_ALLOWED_CHARS": ["L", "N", "P", "Zs"],
    "WAN_SIGNIN_WITHIN": timedelta(minutes=2),
    "WAN_REGISTER_WITHIN": timedelta(minutes=5),
    "WAN_REGISTER_URL": "/account/passkeys",
    "WAN_DELETE_URL": "/account/passkeys/remove",
    "WAN_SIGNIN_URL": "/account/passkey",
}
MESSAGES: dict[str, tuple[str, str]] = {
    "WEBAUTHN_EXPIRED": ("That took longer than %(within)s. Please begin again.", "error"),
    "WEBAUTHN_NAME_REQUIRED": ("Give it a name by which you know it.", "error"),
    "WEBAUTHN_NAME_INUSE": ("You have a passkey called %(name)s already.", "error"),
    "WEBAUTHN_NAME_NOT_FOUND": ("You have no passkey called %(name)s.", "error"),
    "WEBAUTHN_NAME_DISALLOWED_CHARACTERS": ("Use letters, digits and punctuation.", "error"),
    "WEBAUTHN_CREDENTIAL_DELETED": ("The passkey %(name)s no longer works.", "success"),
    "WEBAUTHN_REGISTER_SUCCESSFUL": ("The passkey %(name)s is added.", "success"),
    "WEBAUTHN_CREDENTIAL_ID_INUSE": ("This passkey is registered already.", "error"),
    "WEBAUTHN_UNKNOWN_CREDENTIAL_ID": ("This passkey is not one of yours.", "error"),
    "WEBAUTHN_MISMATCH_USER_HANDLE": ("This passkey is not one of yours.", "error"),
    "WEBAUTHN_CREDENTIAL_WRONG_USAGE": ("Please begin with your address and password.", "error"),
    "WEBAUTHN_NO_VERIFY": ("This passkey could not be verified.", "error"),
}


def init_app(app: Flask) -> None:
    wan_registered.connect(_added, app)
    wan_deleted.connect(_removed, app)


class PortalWebauthn(WebauthnUtil):
    """Domain and origin are those of `public_url`, whatever host the request names; a challenge is for one
    session and one try."""

    def generate_challenge(self, nbytes: int | None = None) -> str:
        challenge: str = super().generate_challenge(nbytes)
        cookie["passkey_challenge"] = challenge
        return challenge

    def origin(self) -> str:
        address = urlsplit(parts().settings.public_url)
        standard = {"https": 443, "http": 80}.get(address.scheme)
        port = "" if address.port in (None, standard) else f":{address.port}"
        return f"{address.scheme}://{address.hostname}{port}"

    def registration_options(self, user: Any, usage: str, existing_options: dict[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = super().registration_options(user, usage, existing_options)
        return options | {"rp_id": parts().settings.passkey_domain}

    def authentication_options(
        self, user: Any, usage: list[str], existing_options: dict[str, Any]
    ) -> dict[str, Any]:
        options: dict[str, Any] = super().authentication_options(user, usage, existing_options)
        return options | {"rp_id": parts().settings.passkey_domain}


# --- Forms -----------------------------------------------------------------------------------------


class AddForm(WebAuthnRegisterForm):
    usage = HiddenField(default="secondary")  # nothing to choose
    submit = SubmitField("Add a passkey")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name.label.text = "Name"
        self.name.description = "By which you know it: “my phone”, “grey security key”"

    def validate(self, **kwargs: Any) -> bool:
        return _is_at_home(self) and super().validate(**kwargs)


class AddedForm(WebAuthnRegisterResponseForm):
    def validate(self, **kwargs: Any) -> bool:
        if not _is_answer(self) or not _read(self, super().validate, kwargs):
            return False
        self.extensions = ""  # of no use here, and not to be trusted
        if len(self.registration_verification.credential_id) > LONGEST_ID:
            self.credential.errors = [NOT_READABLE]
            return False
        return True


class RemoveForm(WebAuthnDeleteForm):
    def validate(self, **kwargs: Any) -> bool:
        if not super().validate(**kwargs):
            return False
        if current_user.needs_second_factor and _is_last_factor(current_user):
            self.name.errors = [LAST_ONE]
            return False
        return True


class ChooseForm(TwoFactorSelectForm):
    """App or passkey; the view itself refuses what the person has not set up."""

    which = HiddenField()


class UseForm(WebAuthnSigninForm):
    submit = SubmitField("Use your passkey")

    def validate(self, **kwargs: Any) -> bool:
        return _is_at_home(self) and super().validate(**kwargs)


class UsedForm(WebAuthnSigninResponseForm):
    """Good only for the person whose password was given just before."""

    def validate(self, **kwargs: Any) -> bool:
        if not _is_answer(self) or not _read(self, super().validate, kwargs):
            return False
        user: Any = self.user
        if user.fs_uniquifier != cookie.get("tf_user_id") or not user.active:
            self.credential.errors = [MESSAGES["WEBAUTHN_MISMATCH_USER_HANDLE"][0]]
            return False
        if is_locked(user):
            self.credential.errors = [LOCKED]
            return False
        return True


FORMS: dict[str, Any] = {
    "two_factor_select_form": ChooseForm,
    "wan_register_form": AddForm,
    "wan_register_response_form": AddedForm,
    "wan_delete_form": RemoveForm,
    "wan_signin_form": UseForm,
    "wan_signin_response_form": UsedForm,
}


def _is_at_home(form: Any) -> bool:
    """Whether browsers would take part here at all: a domain of ours, and this request came to it."""
    domain = parts().settings.passkey_domain
    if domain is not None and request.host.split(":")[0] == domain:
        return True
    form.form_errors.append(f"Passkeys work only at {parts().settings.public_url} over HTTPS: sign in there.")
    return False


def _is_answer(form: Any) -> bool:
    """Whether `form` answers the challenge that this session was given last; it is good for one try."""
    if not _is_at_home(form):
        return False
    if cookie.pop("passkey_challenge", None) == form.challenge:
        return True
    form.form_errors.append(NOT_BEGUN_HERE)
    return False


def _read(form: Any, validate: Callable[..., bool], values: dict[str, Any]) -> bool:
    try:
        return validate(**values)
    except UNREADABLE:
        form.credential.errors = [NOT_READABLE]
        return False


# --- What happens when ------------------------------------------------------------------------------


def _is_last_factor(user: User) -> bool:
    return len(user.webauthn) == 1 and not user.has_authenticator_app


def _added(_app: Flask, user: User, name: str, **_: Any) -> None:
    _note(user, "passkey.added", name)
    if not user.recovery_codes_left:
        cookie["codes_due"] = True


def _removed(_app: Flask, user: User, name: str, **_: Any) -> None:
    """Sent before it is gone."""
    if _is_last_factor(user):
        user.mf_recovery_codes = None
    _note(user, "passkey.removed", name)


def _note(user: User, kind: str, name: str) -> None:
    guard.record(
        session(),
        clock(),
        kind,
        user_id=user.id,
        actor_id=user.id,
        address=request.remote_addr,
        detail=name,
    )
