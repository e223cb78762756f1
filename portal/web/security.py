"""Flask-Security, set up our way: argon2id, codes that work once, lock-out, mail by outbox.

Its views are used as they are; what is ours hangs on its forms, utilities and signals below.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

import webauthn  # noqa: F401  # flask_security goes on without it, silently: a portal must not start that way
from flask import Flask, flash, redirect, request, session, url_for
from flask_login import user_logged_out  # type: ignore[import-untyped]
from flask_security import (
    FSQLALiteUserDatastore,
    MailUtil,
    MfRecoveryCodesUtil,
    PasswordUtil,
    Security,
    Totp,
    check_and_update_authn_fresh,
    get_request_attr,
    password_changed,
    password_reset,
    tf_profile_changed,
    user_authenticated,
)
from flask_security.signals import tf_disabled, user_failed_authn
from passlib.exc import TokenError

from portal.accounts import guard
from portal.accounts.credentials import (
    MIN_PASSWORD,
    derive,
    hash_recovery_code,
    normal_email,
    password_problems,
)
from portal.accounts.models import Passkey, Role, User
from portal.accounts.sign_ins import end_sign_in, end_sign_ins
from portal.errors import InvalidInput
from portal.http.context import actor, clock, db, parts
from portal.http.context import session as database
from portal.http.gate import begin_session
from portal.notices.service import queue_mail
from portal.settings import Settings
from portal.web import passkeys
from portal.web.mailing import mail, public_url
from portal.web.security_forms import FORMS, commit_after

FRESH = timedelta(minutes=30)
FRESH_GRACE = timedelta(minutes=10)
RECOVERY_CODES = 10
TOTP_WINDOW = 30  # seconds before and after: one step of clock difference each way

View = TypeVar("View", bound=Callable[..., Any])


def init_app(app: Flask) -> None:
    """Register the `security` blueprint and everything that signing in needs."""
    settings: Settings = app.extensions["lotgate"].settings
    app.config.update(_cookies(settings) | _security(app.config["SECRET_KEY"]))
    app.config["LOTGATE_RECOVERY_CODE_KEY"] = derive(app.config["SECRET_KEY"], "recovery-codes")
    security = Security(
        app,
        FSQLALiteUserDatastore(db, User, Role, Passkey),
        mail_util_cls=OutboxMail,
        mf_recovery_codes_util_cls=HashedRecoveryCodes,
        password_util_cls=OurPasswords,
        totp_cls=SingleUseTotp,
        webauthn_util_cls=passkeys.PortalWebauthn,
        **FORMS,
        **passkeys.FORMS,
    )
    security.datetime_factory = lambda: clock().now()
    security.want_json(lambda _request: False)  # these pages are for people; machines have tokens of ours
    security.login_manager.request_loader(lambda _request: None)  # nor does it take tokens of its own
    # Flask-Principal would load the person before the gate looks at the request, and for every static file.
    app.before_request_funcs[None].remove(security.principal._on_before_request)  # noqa: SLF001
    security.mail_context_processor(lambda: {"public_url": public_url()})
    user_authenticated.connect(_signed_in, app)
    user_logged_out.connect(_signed_out, app)
    user_failed_authn.connect(_refused, app)
    password_changed.connect(_password_changed, app)
    password_reset.connect(_password_reset, app)
    tf_profile_changed.connect(_second_factor_changed, app)
    tf_disabled.connect(_second_factor_off, app)
    passkeys.init_app(app)


def fresh(view: View) -> View:
    """Ask for the password again where it was given long ago; for what hands out or takes away access."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if check_and_update_authn_fresh(FRESH, FRESH_GRACE, get_request_attr("fs_authn_via")):
            return view(*args, **kwargs)
        flash("Please confirm your password to go on.", "info")
        back = request.full_path.rstrip("?") if request.method == "GET" else url_for("account.profile")
        return redirect(url_for("security.verify", next=back))

    return checked  # type: ignore[return-value]


def _cookies(settings: Settings) -> dict[str, Any]:
    return {
        "SESSION_COOKIE_NAME": "__Host-lotgate" if settings.secure_cookies else "lotgate",
        "SESSION_COOKIE_SECURE": settings.secure_cookies,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_PROTECTION": "strong",  # a cookie works only from the address and browser it was given to
    }


def _security(secret_key: str) -> dict[str, Any]:
    values = {
        "PASSWORD_HASH": "argon2",
        "PASSWORD_SCHEMES": ["argon2"],
        "PASSWORD_SALT": derive(secret_key, "passwords").hex(),  # HMAC key over passwords before argon2id
        "PASSWORD_LENGTH_MIN": MIN_PASSWORD,
        "TOTP_SECRETS": {1: derive(secret_key, "totp").hex()},
        "TOTP_ISSUER": "Lotgate",
        "TWO_FACTOR": True,
        "TWO_FACTOR_ENABLED_METHODS": ["authenticator"],
        "TWO_FACTOR_AUTHENTICATOR_VALIDITY": TOTP_WINDOW,
        "TWO_FACTOR_RESCUE_EMAIL": False,
        "MULTI_FACTOR_RECOVERY_CODES": True,
        "MULTI_FACTOR_RECOVERY_CODES_N": RECOVERY_CODES,
        "RECOVERABLE": True,
        "RESET_PASSWORD_WITHIN": timedelta(hours=2),
        "CHANGEABLE": True,
        "FRESHNESS": FRESH,
        "FRESHNESS_GRACE_PERIOD": FRESH_GRACE,
        "API_ENABLED_METHODS": ["session"],
        "RETURN_GENERIC_RESPONSES": True,  # the same answer whether an address is known or not
        "USER_IDENTITY_ATTRIBUTES": [{"email": {"mapper": _known_form, "case_insensitive": False}}],
        "EMAIL_VALIDATOR_ARGS": {"check_deliverability": False},
        "EMAIL_HTML": False,
        "STATIC_FOLDER": None,
        "CLI_USERS_NAME": None,
        "CLI_ROLES_NAME": None,
        "LOGIN_URL": "/account/sign-in",
        "LOGOUT_URL": "/account/sign-out",
        "VERIFY_URL": "/account/confirm",
        "CHANGE_URL": "/account/password",
        "RESET_URL": "/account/reset",
        "TWO_FACTOR_SETUP_URL": "/account/second-factor",
        "TWO_FACTOR_TOKEN_VALIDATION_URL": "/account/code",
        "TWO_FACTOR_RESCUE_URL": "/account/code-help",
        "TWO_FACTOR_SELECT_URL": "/account/code-choice",
        "MULTI_FACTOR_RECOVERY_URL": "/account/recovery-code",
        "MULTI_FACTOR_RECOVERY_CODES_URL": "/account/recovery-codes",
        "TWO_FACTOR_POST_SETUP_VIEW": "account.profile",
        "POST_CHANGE_VIEW": "account.profile",
        "POST_VERIFY_VIEW": "account.profile",
        "EMAIL_SUBJECT_PASSWORD_RESET": "Lotgate: choose a new password",
        "EMAIL_SUBJECT_PASSWORD_NOTICE": "Lotgate: your password was reset",
        "EMAIL_SUBJECT_PASSWORD_CHANGE_NOTICE": "Lotgate: your password was changed",
    }
    messages = {
        "GENERIC_AUTHN_FAILED": (
            "That address and password do not belong together, or the account is locked for a while.",
            "error",
        ),
        "PASSWORD_RESET_REQUEST": (
            "If %(email)s has an account here, a link is on its way by mail. It works for two hours.",
            "info",
        ),
        "PASSWORD_RESET_NO_LOGIN": ("Your password is changed. Please sign in with it.", "success"),
        "PASSWORD_RESET_EXPIRED": ("That link has expired. Ask for a new one.", "error"),
        "INVALID_RESET_PASSWORD_TOKEN": ("That link does not work any more. Ask for a new one.", "error"),
        "PASSWORD_CHANGE": ("Your password is changed. All other sessions of yours have ended.", "success"),
        "PASSWORD_IS_THE_SAME": ("This is the password you have now. Choose another.", "error"),
        "INVALID_PASSWORD": ("This password is not right.", "error"),
        "PASSWORD_NOT_PROVIDED": ("Enter your password.", "error"),
        "RETYPE_PASSWORD_MISMATCH": ("The two passwords are not the same.", "error"),
        "EMAIL_NOT_PROVIDED": ("Enter your e-mail address.", "error"),
        "INVALID_EMAIL_ADDRESS": ("This is not an e-mail address.", "error"),
        "TWO_FACTOR_INVALID_TOKEN": (
            "This code is not right, or was used before. Wait for the next one your app shows.",
            "error",
        ),
        "INVALID_RECOVERY_CODE": ("This recovery code is not right, or was used before.", "error"),
        "TWO_FACTOR_LOGIN_SUCCESSFUL": ("You are signed in.", "success"),
        "TWO_FACTOR_CHANGE_METHOD_SUCCESSFUL": ("Your authenticator app is set up.", "success"),
        "TWO_FACTOR_DISABLED": ("Your authenticator app is switched off.", "success"),
        "TWO_FACTOR_PERMISSION_DENIED": ("Please begin with your address and password.", "error"),
        "TWO_FACTOR_SETUP_EXPIRED": ("That took longer than %(within)s. Please begin again.", "error"),
        "REAUTHENTICATION_REQUIRED": ("Please confirm your password to go on.", "info"),
        "REAUTHENTICATION_SUCCESSFUL": ("Thank you. You can go on.", "success"),
        "UNAUTHENTICATED": ("Please sign in first.", "info"),
    }
    return {f"SECURITY_{name}": value for name, value in (values | passkeys.CONFIG).items()} | {
        f"SECURITY_MSG_{name}": value for name, value in (messages | passkeys.MESSAGES).items()
    }


def _known_form(identity: str) -> str | None:
    try:
        return normal_email(identity)
    except InvalidInput:
        return None


# --- What Flask-Security leaves to the application -------------------------------------------------


class SingleUseTotp(Totp):
    """Codes are judged by the portal's clock and work once (RFC 6238 §5.2)."""

    def verify_totp(self, token: str, totp_secret: str, user: Any, window: int = 0) -> bool:
        changing = totp_secret != user.tf_totp_secret  # a new secret has no used codes
        try:
            match = self._totp.verify(
                str(token).strip(),
                totp_secret,
                time=int(clock().now().timestamp()),
                window=window,
                last_counter=None if changing else user.tf_last_counter,
            )
        except TokenError:
            return False
        if changing:
            user.tf_last_counter = None
            database().flush()
        return guard.take_totp_counter(database(), user, match.counter)


class HashedRecoveryCodes(MfRecoveryCodesUtil):
    """Recovery codes are shown when they are made; only their keyed digests are kept."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self._key: bytes = app.config["LOTGATE_RECOVERY_CODE_KEY"]

    def _encrypt_codes(self, codes: list[str]) -> list[str]:
        return [hash_recovery_code(self._key, code) for code in codes]

    def get_recovery_codes(self, _user: Any) -> list[str]:
        return []  # not to be had twice

    def check_recovery_code(self, user: Any, code: str) -> bool:
        # Locked until the end of the request, so that two requests cannot use one code.
        database().refresh(user, ["mf_recovery_codes"], with_for_update=True)
        return hash_recovery_code(self._key, code) in (user.mf_recovery_codes or [])

    def delete_recovery_code(self, user: Any, code: str) -> bool:
        user.mf_recovery_codes = [
            kept for kept in user.mf_recovery_codes or [] if kept != hash_recovery_code(self._key, code)
        ]
        guard.record(
            database(),
            clock(),
            "recovery_code.used",
            user_id=user.id,
            address=request.remote_addr,
            detail=f"{user.recovery_codes_left} left",
        )
        return True


class OurPasswords(PasswordUtil):
    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        del is_register  # there is no registration
        user = kwargs.get("user")
        password = self.normalize(password)
        found = password_problems(password, email=getattr(user, "email", ""), name=getattr(user, "name", ""))
        return found or None, password


class OutboxMail(MailUtil):
    """Mail goes into the outbox, in the transaction of the request that causes it."""

    def send_mail(
        self,
        template: str,
        subject: str,
        recipient: Any,
        sender: Any,  # noqa: ARG002  # there is one for the whole portal
        body: str | None,
        html: str | None,  # noqa: ARG002  # plain text only
        **_values: Any,
    ) -> None:
        queue_mail(
            database(),
            clock(),
            kind=template.rsplit("/", 1)[-1],
            recipient=str(recipient),
            subject=str(subject),
            body=body or "",
        )
        commit_after()

    def normalize(self, email: str) -> str:
        return normal_email(email)

    validate = normalize


# --- What happens when ------------------------------------------------------------------------------


def _signed_in(_app: Flask, user: User, authn_via: list[str] | None = None, **_: Any) -> None:
    begin_session(user)
    if authn_via == ["change"]:  # a password change renews the session
        return
    guard.note_sign_in(database(), clock(), user, address=request.remote_addr)
    if user.has_second_factor and not user.recovery_codes_left:
        session["codes_due"] = True


def _refused(_app: Flask, user: User, auth_type: str, **_: Any) -> None:
    settings = parts().settings
    locked = guard.note_failure(
        database(),
        clock(),
        user,
        what=auth_type,
        address=request.remote_addr,
        limit=settings.lockout_failures,
        minutes=settings.lockout_minutes,
    )
    if locked:
        mail(
            "account_locked",
            user.email,
            "Lotgate: your account is locked for a while",
            user=user,
            minutes=settings.lockout_minutes,
            address=request.remote_addr,
        )
    commit_after()


def _signed_out(_app: Flask, **_: Any) -> None:
    sign_in = session.pop("sign_in", None)  # not there where the gate has found the session over
    if sign_in is not None:
        end_sign_in(database(), actor(), clock(), sign_in)
        commit_after()


def _password_changed(_app: Flask, user: User, **_: Any) -> None:
    end_sign_ins(database(), clock(), user, besides=session["sign_in"])
    _note(user, "password.changed")


def _password_reset(_app: Flask, user: User, **_: Any) -> None:
    user.failed_sign_ins, user.locked_until = 0, None  # who can read the mail may try again
    end_sign_ins(database(), clock(), user)
    _note(user, "password.reset")


def _second_factor_changed(_app: Flask, user: Any, **_: Any) -> None:
    _note(user, "second_factor.changed")
    if not user.recovery_codes_left:
        session["codes_due"] = True


def _second_factor_off(_app: Flask, user: Any, **_: Any) -> None:
    if not user.has_second_factor:
        user.mf_recovery_codes = None
    _note(user, "second_factor.off")


def _note(user: User, kind: str) -> None:
    guard.record(database(), clock(), kind, user_id=user.id, actor_id=user.id, address=request.remote_addr)
