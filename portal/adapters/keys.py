"""Private keys and the signer's memory as files, the embedded default: mode 0600 in a folder of 0700."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from portal.adapters.pkcs11 import TokenKeys, token_of
from portal.errors import LedgerError, SettingsError, StorageFailed
from portal.evidence.spool import sync_folder
from portal.ledger.notes import Checkpoint
from portal.ledger.ports import Keys, Purpose
from portal.ledger.signing import LogSigner
from portal.settings import Settings

PrivateKey = Ed25519PrivateKey | MLDSA44PrivateKey
_KINDS: dict[Purpose, type[Ed25519PrivateKey] | type[MLDSA44PrivateKey]] = {
    Purpose.LOG_ED25519: Ed25519PrivateKey,
    Purpose.LOG_ML_DSA_44: MLDSA44PrivateKey,
    Purpose.WITNESS_ED25519: Ed25519PrivateKey,
    Purpose.WITNESS_ML_DSA_44: MLDSA44PrivateKey,
}


class KeyFolder:
    """Keys as PKCS#8 in PEM, `<purpose>.pem`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Purpose, PrivateKey] = {}

    def exists(self, purpose: Purpose) -> bool:
        return self._path(purpose).exists()

    def place(self, purpose: Purpose) -> str:
        return f"the file {self._path(purpose)}"

    def create(self, purpose: Purpose) -> None:
        private_folder(self.folder)
        path = self._path(purpose)
        if self.exists(purpose):
            raise LedgerError(f"{path} is there already: a key is made once and never replaced")
        pem = (
            _KINDS[purpose]
            .generate()
            .private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        write_private(path, pem)

    def public(self, purpose: Purpose) -> bytes:
        return self._key(purpose).public_key().public_bytes_raw()

    def sign(self, purpose: Purpose, message: bytes) -> bytes:
        return self._key(purpose).sign(message)

    def _path(self, purpose: Purpose) -> Path:
        return self.folder / f"{purpose.value}.pem"

    def _key(self, purpose: Purpose) -> PrivateKey:
        if purpose not in self._read:
            path = self._path(purpose)
            try:
                if path.stat().st_mode & 0o077:
                    raise LedgerError(f"{path} may be read by others: run chmod 600")
                key = serialization.load_pem_private_key(path.read_bytes(), None)
            except OSError as error:
                raise LedgerError(f"the key {path} cannot be read: {error.strerror}") from None
            except (ValueError, TypeError, UnsupportedAlgorithm):
                raise LedgerError(
                    f"{path} is not a private key in PEM (PKCS#8, without a password)"
                ) from None
            if not isinstance(key, _KINDS[purpose]):
                raise LedgerError(f"{path} is a key of another kind than {purpose.value}")
            self._read[purpose] = key
        return self._read[purpose]


class MemoryFile:
    """What was signed last, in one small file that no backup brings back: it is what notices a stale one.

    It names the file that is locked beside it by its inode, which no copy has: where the folder was copied,
    or came back from a backup of files, nothing is believed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def hold(self) -> Iterator[None]:
        private_folder(self.path.parent)
        lock = self._lock()
        try:
            yield
        finally:
            os.close(lock)

    def _lock(self) -> int:
        try:
            lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                os.close(lock)
                raise
        except OSError as error:
            raise StorageFailed(f"{self.path} cannot be locked: {error.strerror}") from error
        return lock

    @property
    def _lock_file(self) -> Path:
        return self.path.with_suffix(".lock")

    def _inode(self) -> int:
        return self._lock_file.stat().st_ino if self._lock_file.exists() else 0

    def last(self, origin: str) -> Checkpoint | None:
        try:
            found = json.loads(self.path.read_text("utf-8"))
            copied = found.get("lock", self._inode()) != self._inode()
            checkpoint = Checkpoint.parse(f"{found['origin']}\n{found['size']}\n{found['root']}\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerError(f"{self.path} cannot be read: {error.strerror}") from None
        except (ValueError, LookupError, TypeError, AttributeError, LedgerError):
            raise LedgerError(f"{self.path} is damaged: nothing is signed without it") from None
        if copied:
            raise LedgerError(
                f"{self.path} was copied, or came back from a backup: with the original, more may have been "
                "signed. Nothing is signed: end this log with `lotgate ledger close` and open the next with "
                "`lotgate ledger create`"
            )
        if checkpoint.origin != origin:
            raise LedgerError(f"{self.path} is the memory of {checkpoint.origin}, not of {origin}")
        return checkpoint

    def keep(self, checkpoint: Checkpoint) -> None:
        origin, size, root = checkpoint.body.splitlines()
        try:
            told = {"origin": origin, "size": int(size), "root": root, "lock": self._inode()}
        except OSError as error:
            raise StorageFailed(f"{self._lock_file} cannot be looked at: {error.strerror}") from error
        write_private(self.path, json.dumps(told).encode() + b"\n")


def signer_in(settings: Settings, number: int, origin: str) -> LogSigner:
    """The signer of log `number`: memory in the ledger folder, keys there or on a token, as the settings say.

    Nothing is made or read yet. Raises SettingsError where only a part of the token is told.
    """
    own = settings.ledger / str(number)
    keys: Keys = KeyFolder(own / "keys")
    if settings.pkcs11_module is not None:
        if not settings.pkcs11_token or settings.pkcs11_pin_file is None:
            raise SettingsError("setting pkcs11_module: expected pkcs11_token and pkcs11_pin_file beside it")
        token = token_of(settings.pkcs11_module, settings.pkcs11_token, settings.pkcs11_pin_file)
        keys = TokenKeys(token, origin, keys)
    return LogSigner(origin, keys, MemoryFile(own / "signed.json"))


def private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(f"{folder} cannot be made: {error.strerror}") from error


def write_private(path: Path, content: bytes) -> None:
    """Replace a file as a whole, durably, readable by its owner only."""
    partial = path.with_suffix(".part")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageFailed(f"{path} could not be written: {error.strerror}") from error
