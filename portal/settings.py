"""Settings: typed, frozen, from `LOTGATE_…` environment variables over a TOML file over defaults.

`lotgate config` prints this list; the docstring of each field is its documentation.
"""

import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from portal.errors import SettingsError


def _setting(default: Any, unit: str, text: str) -> Any:
    return field(default=default, metadata={"unit": unit, "text": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Paths that are relative count from the working directory."""

    var_dir: Path = _setting(Path("var"), "path", "Folder for everything that is written")
    database_url: str = _setting("", "URL", "SQLAlchemy URL; empty: SQLite at VAR_DIR/lotgate.db")
    store_dir: Path | None = _setting(None, "path", "Evidence store; empty: VAR_DIR/evidence")
    ledger_dir: Path | None = _setting(
        None, "path", "Keys and memory of the ledger's signer; not part of a backup; empty: VAR_DIR/ledger"
    )
    pkcs11_module: Path | None = _setting(
        None, "path", "PKCS#11 module (.so) of the token that keeps the ledger's keys; empty: files"
    )
    pkcs11_token: str = _setting("", "label", "The token's label")
    pkcs11_pin_file: Path | None = _setting(None, "path", "File with the token's PIN, mode 0600")
    witnesses: Path | None = _setting(
        None, "path", "Witnesses that cosign the ledger: C2SP tlog-policy with their addresses; empty: none"
    )
    timestamp_url: str = _setting(
        "", "URL", "RFC 3161 authority that stamps the ledger's checkpoints; empty: none, time is claimed"
    )
    timestamp_minutes: int = _setting(60, "min", "A checkpoint is stamped when the last stamp is this old")
    secret_key: str = _setting("", "text", "Signs sessions; empty: made once and kept in VAR_DIR/secret_key")
    public_url: str = _setting("http://127.0.0.1:8000", "URL", "How users reach the portal; used in links")
    proxies: int = _setting(0, "hops", "Trusted proxies in front whose X-Forwarded-… headers are believed")
    host: str = _setting("127.0.0.1", "address", "Address to listen on")
    port: int = _setting(8000, "port", "Port to listen on")
    web_threads: int = _setting(16, "threads", "Requests served at once (an upload holds one thread)")
    worker_concurrency: int = _setting(2, "jobs", "Jobs that one worker runs at once")
    worker_poll_seconds: float = _setting(0.2, "s", "How often a worker looks for jobs")
    upload_max_bytes: int = _setting(64 << 30, "bytes", "Largest file that may be uploaded")
    upload_expiry_hours: int = _setting(
        72, "h", "An unfinished upload is dropped after this time without progress"
    )
    upload_piece_bytes: int = _setting(16 << 20, "bytes", "Size of the pieces that the upload page sends")
    supplier_quota_bytes: int = _setting(
        1 << 40, "bytes", "Evidence and open uploads of one supplier together"
    )
    manifest_max_bytes: int = _setting(64 << 20, "bytes", "Largest lot manifest that is read")
    manifest_max_units: int = _setting(100_000, "units", "Most units in one lot")
    rules_folder: Path | None = _setting(
        None, "path", "YARA rules (*.yar, *.yara) and known-bad.txt for images; empty: Lotgate's own only"
    )
    session_idle_minutes: int = _setting(60, "min", "A session ends after this time without a request")
    session_hours: int = _setting(12, "h", "A session ends after this time in any case")
    lockout_failures: int = _setting(8, "tries", "Wrong passwords or codes in a row that lock an account")
    lockout_minutes: int = _setting(15, "min", "How long a locked account stays locked")
    invitation_hours: int = _setting(168, "h", "How long an invitation link works")
    sign_in_rate: str = _setting("20 per minute", "rate", "Sign-in attempts from one address")
    api_rate: str = _setting("1200 per minute", "rate", "API requests with one token")
    claim_days: int = _setting(5, "days", "Time to decide a case, from its opening")
    reassess_days: int = _setting(365, "days", "An assessment falls due again after this time")
    scrub_days: int = _setting(30, "days", "Every stored file is read again once in this time; 0: never")
    scrub_bytes_per_second: int = _setting(32 << 20, "bytes/s", "How fast stored files are read again")
    mail_dir: Path | None = _setting(None, "path", "Outgoing mail is written here; empty: VAR_DIR/mail")
    log_level: str = _setting("INFO", "level", "DEBUG, INFO, WARNING or ERROR")

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{(self.var_dir / 'lotgate.db').absolute()}"

    @property
    def store(self) -> Path:
        return self.store_dir or self.var_dir / "evidence"

    @property
    def ledger(self) -> Path:
        return self.ledger_dir or self.var_dir / "ledger"

    @property
    def mail(self) -> Path:
        return self.mail_dir or self.var_dir / "mail"

    @property
    def passkey_domain(self) -> str | None:
        """The host of `public_url` where browsers allow passkeys there: a name over TLS, or localhost."""
        address = urlsplit(self.public_url)
        if address.hostname == "localhost":
            return address.hostname
        if address.scheme != "https" or not address.hostname or _is_ip(address.hostname):
            return None
        return address.hostname

    @property
    def secure_cookies(self) -> bool:
        return self.public_url.startswith("https://")


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _convert(name: str, raw: Any, kind: Any) -> Any:
    try:
        if kind in (Path, Path | None):
            return Path(raw)
        if kind is int and isinstance(raw, bool):
            raise ValueError
        return kind(raw)
    except (TypeError, ValueError):
        wanted = getattr(kind, "__name__", str(kind))
        raise SettingsError(f"setting {name}: expected {wanted}, found {raw!r}") from None


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. The TOML file is named by LOTGATE_CONFIG, else `lotgate.toml` where there is one.

    Raises SettingsError that names the unknown or wrong setting.
    """
    environ = os.environ if environ is None else environ
    kinds = get_type_hints(Settings)
    known = {item.name for item in fields(Settings)}
    values: dict[str, Any] = {}
    path = Path(environ.get("LOTGATE_CONFIG", "lotgate.toml"))
    if path.exists() or "LOTGATE_CONFIG" in environ:
        try:
            values |= tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"settings file {path}: {error}") from None
    for variable, raw in environ.items():
        if variable.startswith("LOTGATE_") and variable != "LOTGATE_CONFIG" and raw != "":
            values[variable.removeprefix("LOTGATE_").lower()] = raw
    for name in values:
        if name not in known:
            raise SettingsError(f"unknown setting {name}: `lotgate config` lists those there are")
    return Settings(**{name: _convert(name, raw, kinds[name]) for name, raw in values.items()})


def secret_key(settings: Settings) -> str:
    """The configured key, else the one of this installation: made once, 256 bits, file mode 0600."""
    if settings.secret_key:
        if len(settings.secret_key) < 32:
            raise SettingsError("setting secret_key: expected at least 32 characters")
        return settings.secret_key
    path = settings.var_dir / "secret_key"
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("ascii").strip()
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    return path.read_text("ascii").strip()
