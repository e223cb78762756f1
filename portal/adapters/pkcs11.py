"""Private keys on a PKCS#11 token (an HSM, or SoftHSM2): made there, used there, never out.

A token keeps Ed25519 keys (PKCS#11 3.0, CKM_EDDSA); the others stay in a key folder (docs/decisions/0019).
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as answers

from portal.errors import LedgerError
from portal.ledger.ports import Keys, Purpose

T = TypeVar("T")
ON_TOKEN: Final = frozenset({Purpose.LOG_ED25519})
_NEEDED: Final = (Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.EDDSA)
_ED25519: Final = bytes.fromhex("06032b6570")  # CKA_EC_PARAMS: the curve's OID, 1.3.101.112 (RFC 8410)
_LOST: Final = (
    answers.DeviceError,
    answers.DeviceRemoved,
    answers.SessionClosed,
    answers.SessionHandleInvalid,
    answers.TokenNotPresent,
    answers.UserNotLoggedIn,
)
_initialised: dict[Path, int] = {}  # module -> the process that did it: a fork has to do it again


class Token:
    """One token, logged in when it is first needed, and once again after a fork or a lost session.

    One session for all threads: some tokens take no more.
    """

    def __init__(self, module: Path, label: str, pin_file: Path) -> None:
        self.module, self.label, self.pin_file = module, label, pin_file
        self._lock = threading.Lock()
        self._session: Any = None
        self._process = 0
        self._wrong_pin: str | None = None

    def __str__(self) -> str:
        return f"the PKCS#11 token {self.label!r}"

    def use(self, work: Callable[[Any], T]) -> T:
        """What `work` makes of a session. Raises LedgerError with what the token answered."""
        with self._lock:
            try:
                try:
                    return work(self._opened())
                except _LOST:
                    self._drop()
                    return work(self._opened())
            except answers.PKCS11Error as error:
                self._drop()
                detail = f" ({error})" if str(error) else ""
                raise LedgerError(f"{self} answered {type(error).__name__}{detail}") from None

    def _opened(self) -> Any:
        if self._session is None or self._process != os.getpid():
            library = self._library()
            self._session, self._process = self._log_in(self._find(library)), os.getpid()
        return self._session

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None and self._process == os.getpid():
            with suppress(answers.PKCS11Error):
                session.close()

    def _library(self) -> Any:
        if not self.module.is_file():
            raise LedgerError(f"there is no PKCS#11 module {self.module}: see the setting pkcs11_module")
        try:
            library = pkcs11.lib(str(self.module))
            if _initialised.setdefault(self.module, os.getpid()) != os.getpid():
                library.reinitialize()
                _initialised[self.module] = os.getpid()
        except answers.PKCS11Error as error:
            raise LedgerError(f"{self.module} cannot be used as a PKCS#11 module: {error}") from None
        return library

    def _find(self, library: Any) -> Any:
        there = list(library.get_tokens())
        found = [token for token in there if token.label == self.label]
        if len(found) > 1:
            raise LedgerError(f"{len(found)} tokens have the label {self.label!r}: one is expected")
        if not found:
            labels = ", ".join(sorted(repr(token.label) for token in there if token.label)) or "none"
            raise LedgerError(f"{self} is not there; {self.module.name} shows these: {labels}")
        missing = [one.name for one in _NEEDED if one not in found[0].slot.get_mechanisms()]
        if missing:
            raise LedgerError(f"{self} cannot keep keys of the log: it lacks {', '.join(missing)}")
        return found[0]

    def _log_in(self, token: Any) -> Any:
        pin = self._pin()
        if pin == self._wrong_pin:  # a few wrong tries lock a token for good
            raise LedgerError(f"{self} refused the PIN in {self.pin_file}: it is not tried again")
        try:
            return token.open(rw=True, user_pin=pin)
        except answers.UserAlreadyLoggedIn:
            return token.open(rw=True)
        except (answers.PinIncorrect, answers.PinInvalid, answers.PinLenRange):
            self._wrong_pin = pin
            raise LedgerError(f"{self} refused the PIN in {self.pin_file}") from None
        except answers.PinLocked:
            raise LedgerError(
                f"the PIN of {self} is locked: its security officer can set a new one"
            ) from None

    def _pin(self) -> str:
        try:
            if self.pin_file.stat().st_mode & 0o077:
                raise LedgerError(f"{self.pin_file} may be read by others: run chmod 600")
            pin = self.pin_file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"the PIN {self.pin_file} cannot be read: {error}") from None
        if not pin:
            raise LedgerError(f"{self.pin_file} is empty: expected the PIN of {self}")
        return pin


@lru_cache
def token_of(module: Path, label: str, pin_file: Path) -> Token:
    """The one of this process: a login is for all of it."""
    return Token(module, label, pin_file)


class TokenKeys:
    """The keys of one log on a token, labelled `<origin> <purpose>`; in `rest` what the token does not keep.

    A key that `rest` has already stays there: a log never changes its keys, the next one gets new ones.
    """

    def __init__(self, token: Token, origin: str, rest: Keys) -> None:
        self.token, self.origin, self.rest = token, origin, rest
        self._checked: dict[Purpose, bytes] = {}

    def label(self, purpose: Purpose) -> str:
        return f"{self.origin} {purpose.value}"

    def place(self, purpose: Purpose) -> str:
        return str(self.token) if self._on_token(purpose) else self.rest.place(purpose)

    def exists(self, purpose: Purpose) -> bool:
        return self._on_token(purpose) or self.rest.exists(purpose)

    def create(self, purpose: Purpose) -> None:
        if purpose not in ON_TOKEN:
            self.rest.create(purpose)
            return
        if self.exists(purpose):
            raise LedgerError(
                f"{self.label(purpose)} is there already: a key is made once and never replaced"
            )
        self.token.use(lambda session: _generate(session, self.label(purpose)))
        probe = b"lotgate: does this key sign?"
        try:
            Ed25519PublicKey.from_public_bytes(self.public(purpose)).verify(self.sign(purpose, probe), probe)
        except (InvalidSignature, ValueError):
            raise LedgerError(f"{self.token} made a key and does not sign with it") from None

    def public(self, purpose: Purpose) -> bytes:
        if not self._on_token(purpose):
            return self.rest.public(purpose)
        if purpose not in self._checked:
            self._checked[purpose] = self.token.use(lambda session: self._check(session, purpose))
        return self._checked[purpose]

    def sign(self, purpose: Purpose, message: bytes) -> bytes:
        if not self._on_token(purpose):
            return self.rest.sign(purpose, message)
        self.public(purpose)

        def work(session: Any) -> bytes:
            key = self._one(session, purpose, ObjectClass.PRIVATE_KEY)
            return bytes(key.sign(message, mechanism=Mechanism.EDDSA))

        return self.token.use(work)

    def _on_token(self, purpose: Purpose) -> bool:
        if purpose not in ON_TOKEN:
            return False
        found = self.token.use(
            lambda session: _objects(session, self.label(purpose), ObjectClass.PRIVATE_KEY)
        )
        if found and self.rest.exists(purpose):
            raise LedgerError(
                f"{self.label(purpose)} is on {self.token} and also is {self.rest.place(purpose)}"
            )
        return bool(found)

    def _one(self, session: Any, purpose: Purpose, kind: ObjectClass) -> Any:
        found = _objects(session, self.label(purpose), kind)
        if len(found) != 1:
            what = kind.name.lower().replace("_", " ")
            raise LedgerError(
                f"{self.token} has {len(found)} objects of the kind {what} labelled {self.label(purpose)!r}: "
                "expected one"
            )
        return found[0]

    def _check(self, session: Any, purpose: Purpose) -> bytes:
        """The raw public key, of a key that cannot come out."""
        private = self._one(session, purpose, ObjectClass.PRIVATE_KEY)
        public = self._one(session, purpose, ObjectClass.PUBLIC_KEY)
        if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
            raise LedgerError(
                f"the key {self.label(purpose)!r} can be taken out of {self.token} (CKA_EXTRACTABLE, or not "
                "CKA_SENSITIVE): it signs nothing"
            )
        if private.key_type is not KeyType.EC_EDWARDS:
            raise LedgerError(f"the key {self.label(purpose)!r} on {self.token} is not one of Ed25519")
        return _raw(public[Attribute.EC_POINT])


def _generate(session: Any, label: str) -> None:
    domain = session.create_domain_parameters(KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _ED25519}, local=True)
    domain.generate_keypair(
        mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
        label=label,
        store=True,
        public_template={Attribute.VERIFY: True},
        private_template={
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.SIGN: True,
        },
    )


def _objects(session: Any, label: str, kind: ObjectClass) -> list[Any]:
    return list(session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label}))


def _raw(point: bytes) -> bytes:
    """CKA_EC_POINT: 32 bytes, or these as a DER OCTET STRING (PKCS#11 3.0) or BIT STRING (3.1 errata)."""
    for head in (b"", b"\x04\x20", b"\x03\x21\x00"):
        if len(point) == len(head) + 32 and point.startswith(head):
            return bytes(point[len(head) :])
    raise LedgerError(f"expected a public key of Ed25519 (32 bytes), found {len(point)} bytes")
