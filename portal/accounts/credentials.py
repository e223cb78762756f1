"""Passwords, codes and tokens: made, hashed, judged. Nothing here is ever stored in the clear.

Hashing and TOTP are flask_security's, with keys derived from the installation's own (`derive`); both need an
application context, which every door has.
"""

import hashlib
import hmac
import re
import secrets
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from email_validator import EmailNotValidError, validate_email
from flask_security import hash_password
from flask_security.proxies import _security  # flask_security offers no public way to the running extension
from zxcvbn import zxcvbn

from portal.errors import InvalidInput, Problem

MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 128
_JUDGED = 72  # zxcvbn takes no more; what follows only makes a password better
_ENOUGH = 3  # zxcvbn's score of 0 to 4: "safely unguessable" to offline attacks on a slow hash
TOKEN_PREFIX: Final = "lgt_"  # noqa: S105  # how all of them begin

__all__ = [
    "MAX_PASSWORD",
    "MIN_PASSWORD",
    "derive",
    "hash_password",
    "hash_recovery_code",
    "hash_token",
    "new_password",
    "new_token",
    "new_totp_secret",
    "normal_email",
    "password_problems",
]


def derive(secret_key: str, label: str) -> bytes:
    """32 bytes for one purpose out of the installation's key (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"lotgate/{label}".encode()).derive(
        secret_key.encode()
    )


def normal_email(text: str) -> str:
    """An address as we store and look it up: normalised and in lower case. Raises InvalidInput."""
    try:
        return validate_email(text.strip(), check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        problem = Problem("email", "an e-mail address such as name@example.com", repr(text[:100]))
        raise InvalidInput("this is not an e-mail address", (problem,)) from None


def password_problems(password: str, *, email: str = "", name: str = "") -> list[str]:
    """What is wrong with a new password, in words for the person who chose it; empty if nothing."""
    if len(password) < MIN_PASSWORD:
        return [f"Use at least {MIN_PASSWORD} characters; this has {len(password)}."]
    if len(password) > MAX_PASSWORD:
        return [f"Use at most {MAX_PASSWORD} characters; this has {len(password)}."]
    theirs = [part for part in re.split(r"[\s@._+-]+", f"{email} {name}".lower()) if len(part) > 2]
    found = zxcvbn(password[:_JUDGED], user_inputs=[*theirs, "lotgate"])
    if found["score"] >= _ENOUGH:
        return []
    warning = str(found["feedback"]["warning"]).rstrip(".")
    reason = f" ({warning})" if warning else ""
    return [f"This would be guessed too soon{reason}. A few unrelated words make a good password."]


def new_password() -> str:
    """A password for a new account: 120 random bits."""
    return secrets.token_urlsafe(15)


def new_token(prefix: str = "") -> str:
    """A bearer secret: 256 random bits, so that a plain digest of it may be stored."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What is stored of a token: SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def hash_recovery_code(key: bytes, code: str) -> str:
    """What is stored of a recovery code: HMAC-SHA256 in hex (48 bits would not survive a plain digest).

    Case, spaces and dashes do not count, so that a code written down works however it is typed.
    """
    plain = re.sub(r"[^0-9a-z]", "", code.lower())
    return hmac.new(key, plain.encode(), "sha256").hexdigest()


def new_totp_secret() -> tuple[str, str]:
    """A fresh TOTP secret: encrypted for the database, and in base32 for an authenticator app."""
    factory = _security.totp_factory
    encrypted: str = factory.generate_totp_secret()
    return encrypted, factory.get_totp_b32_key(encrypted)
