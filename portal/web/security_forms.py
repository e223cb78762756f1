"""Flask-Security's forms with what it leaves out: the lock is asked everywhere a secret can be tried."""

from typing import Any

from flask import Response, after_this_request, request
from flask_security import (
    ChangePasswordForm,
    ForgotPasswordForm,
    LoginForm,
    MfRecoveryForm,
    TwoFactorRescueForm,
    TwoFactorSetupForm,
    TwoFactorVerifyCodeForm,
    VerifyForm,
    current_user,
)
from flask_security.utils import get_message
from wtforms import RadioField, SubmitField
from wtforms.fields.choices import SelectChoice

from portal.accounts import guard
from portal.http.context import clock, session

LOCKED = "Too many wrong tries: this account is locked for a while. Try again later."


def commit_after() -> None:
    """Keep what a refusal wrote: the views of flask_security commit only where they succeed."""

    @after_this_request
    def commit(response: Response) -> Response:
        session().commit()
        return response


def is_locked(user: Any) -> bool:
    """Of `user`, a User or None (flask_security types it as its own mixin)."""
    return user is not None and guard.is_locked(clock(), user)


class SignInForm(LoginForm):
    remember = None  # a session ends when its time is over
    submit = SubmitField("Sign in")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.password.description = ""  # the page has its own link
        self.email.label.text = "E-mail address"

    def validate(self, **kwargs: Any) -> bool:
        known = super().validate(**kwargs)
        if self.user is None and self.email.data:
            # The same work as for a known address, and a trace of who tried.
            guard.record(
                session(), clock(), "sign_in.unknown", address=request.remote_addr, detail="unknown address"
            )
            commit_after()
        if known and is_locked(self.user):
            self.password.errors = [
                LOCKED
            ]  # made generic by the view: a lock tells nobody that the password fits
            return False
        return known


class CodeForm(TwoFactorVerifyCodeForm):
    submit = SubmitField("Confirm code")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.code.label.text = "Code from your app"

    def validate(self, **kwargs: Any) -> bool:
        if is_locked(self.user):
            self.code.errors = [LOCKED]
            return False
        return super().validate(**kwargs)


class RecoveryForm(MfRecoveryForm):
    submit = SubmitField("Sign in with this code")

    def validate(self, **kwargs: Any) -> bool:
        if is_locked(self.user):
            self.code.errors = [LOCKED]
            return False
        right = super().validate(**kwargs)
        if not right and self.user is not None and self.code.data:
            self.user.track_failed_authn("recovery code", tfa=True)
        return right


class ConfirmForm(VerifyForm):
    submit = SubmitField("Confirm")

    def validate(self, **kwargs: Any) -> bool:
        if is_locked(self.user):
            self.password.errors = [LOCKED]
            return False
        return super().validate(**kwargs)


class NewPasswordForm(ChangePasswordForm):
    submit = SubmitField("Change password")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.password.label.text = "Password you have now"
        self.new_password_confirm.label.text = "New password again"

    def validate(self, **kwargs: Any) -> bool:
        if is_locked(current_user):
            self.password.errors = [LOCKED]
            return False
        right = super().validate(**kwargs)
        if get_message("INVALID_PASSWORD")[0] in self.password.errors:
            current_user.track_failed_authn("password")
        return right


class ForgottenForm(ForgotPasswordForm):
    """Works for a locked account as well: whoever reads its mail may have it back."""

    submit = SubmitField("Send me a link")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.email.label.text = "E-mail address"

    def validate(self, **kwargs: Any) -> bool:
        known = super(ForgotPasswordForm, self).validate(**kwargs)
        user: Any = self.user
        guard.record(
            session(),
            clock(),
            "password.reset_asked",
            user_id=user.id if user else None,
            address=request.remote_addr,
        )
        commit_after()
        return known and user is not None and user.active


class SetupForm(TwoFactorSetupForm):
    setup = RadioField("Second factor", choices={"authenticator": "Authenticator app", "disable": "None"})


class RescueForm(TwoFactorRescueForm):
    """Made by a view of flask_security that we do use, for a page that we do not offer."""

    help_setup = RadioField("Help", choices=[SelectChoice("help", "Help")])


FORMS: dict[str, Any] = {
    "two_factor_setup_form": SetupForm,
    "two_factor_rescue_form": RescueForm,
    "login_form": SignInForm,
    "two_factor_verify_code_form": CodeForm,
    "mf_recovery_form": RecoveryForm,
    "verify_form": ConfirmForm,
    "change_password_form": NewPasswordForm,
    "forgot_password_form": ForgottenForm,
}
