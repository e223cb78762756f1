"""Backups of the embedded form: one folder that takes many, and holds each piece of evidence once.

A backup is a copy of the database as it was at one moment (`NAME.db`), the evidence that its rows name
(`evidence/`, shared by all backups of the folder), and, written last, a manifest (`NAME.json`): without it
there is no backup. Evidence is stored before its row, so what is copied after the database has all that the
copy names. The signer's memory is left out on purpose (docs/ledger.md), and so are its keys.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlalchemy import select
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url

from portal.adapters.blobs import LocalBlobStore
from portal.clock import Clock, rfc3339
from portal.errors import BackupDamaged, Conflict, NotFound, StorageFailed
from portal.evidence.models import Evidence
from portal.evidence.ports import BlobStore
from portal.evidence.spool import make_folder, sync_folder
from portal.evidence.state import alive
from portal.settings import Settings
from portal.verification import hash_file

Tell = Callable[[str], None]
FORMAT: Final = "lotgate-backup"
BLOCK: Final = 1 << 20
# Evidence that a rule deleted keeps its row; its bytes are not missed.
_NEEDED: Final = str(
    select(Evidence.sha256, Evidence.size)
    .where(alive())
    .distinct()
    .order_by(Evidence.sha256)
    .compile(dialect=sqlite.dialect())
)
TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Backup:
    """What the manifest says. Digests are SHA-256 in hex, sizes bytes."""

    name: str
    made_at: str
    lotgate: str
    database: str
    schema: str
    files: int
    bytes: int
    entries: int
    secret_key: str | None
    missing: list[str]  # evidence that was damaged or missing when the backup was made all the same

    @classmethod
    def load(cls, path: Path) -> "Backup":
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if found.pop("format") != FORMAT or found.pop("version") != 1:
                raise ValueError
            return cls(**found)
        except OSError as error:
            raise BackupDamaged(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, LookupError):
            raise BackupDamaged(
                f"{path} is not the manifest of a backup that this version can read"
            ) from None


def database_file(settings: Settings) -> Path:
    """Raises Conflict where the database is not a file of the embedded form."""
    url = make_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise Conflict(
            "Only the embedded form is backed up by this command; for PostgreSQL see docs/backup.md."
        )
    return Path(url.database)


def backups(folder: Path) -> list[Path]:
    """The manifests in a folder, oldest first."""
    return sorted(folder.glob("*T*Z.json"))


# --- Taking one -----------------------------------------------------------------------------------


def take(
    settings: Settings, folder: Path, clock: Clock, version: str, tell: Tell, *, despite_damage: bool = False
) -> tuple[Backup, list[str]]:
    """Add a backup to `folder`, while the portal serves. Also what is damaged or missing, in words.

    Raises NotFound, Conflict, StorageFailed, and BackupDamaged unless `despite_damage`; then there is no
    backup of this name.
    """
    source = database_file(settings)
    if not source.exists():
        raise NotFound(f"There is no database at {source}.")
    name = f"{clock.now():%Y%m%dT%H%M%SZ}"
    database, manifest = folder / f"{name}.db", folder / f"{name}.json"
    if manifest.exists():
        raise Conflict(f"{manifest} is there already.")
    try:
        make_folder(folder)
        folder.chmod(0o700)  # it holds what the database holds
        for _ in range(TRIES):
            tell("database")
            _copy_database(source, database)
            needed = _needed(database)
            tell(f"evidence: {len(needed):,} files")
            missing = _copy_evidence(settings, needed, LocalBlobStore(folder / "evidence"))
            if not missing.keys() - _needed(source).keys():
                break  # else a rule has deleted some since the database was copied
        if missing and not despite_damage:
            raise BackupDamaged(next(iter(missing.values())))
        made = Backup(
            name=name,
            made_at=rfc3339(clock.now()),
            lotgate=version,
            database=_digest(database),
            schema=_value(database, "SELECT version_num FROM alembic_version"),
            files=len(needed) - len(missing),
            bytes=sum(size for sha256, size in needed.items() if sha256 not in missing),
            entries=_value(database, "SELECT count(*) FROM ledger_entries"),
            secret_key=_secret_key(settings),
            missing=sorted(missing),
        )
        told = {"format": FORMAT, "version": 1, **asdict(made)}
        _write(manifest, json.dumps(told, indent=2).encode() + b"\n")
    except (OSError, sqlite3.Error) as error:
        raise StorageFailed(f"The backup was not made: {error}") from error
    finally:
        if not manifest.exists():
            database.unlink(missing_ok=True)
    return made, list(missing.values())


def _copy_evidence(settings: Settings, needed: dict[str, int], kept: LocalBlobStore) -> dict[str, str]:
    """What is new. Returns what could not be copied, and why."""
    given = LocalBlobStore(settings.store)
    missing: dict[str, str] = {}
    make_folder(kept.root)
    for sha256, size in needed.items():
        found = kept.stat(sha256)
        if found is not None and found.size == size:
            continue
        try:
            with _opened(given, sha256) as blob:
                _copy_blob(blob, kept, sha256)
        except BackupDamaged as error:
            missing[sha256] = error.message
    return missing


def _secret_key(settings: Settings) -> str | None:
    """The key that was made here; not one that is set, which whoever set it keeps."""
    path = settings.var_dir / "secret_key"
    return path.read_text("ascii") if path.exists() and not settings.secret_key else None


def _copy_database(source: Path, target: Path) -> None:
    """SQLite's online backup in one step: one moment, while others read and write."""
    partial = target.with_suffix(".part")
    partial.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as live,
        closing(sqlite3.connect(partial)) as copy,
    ):
        partial.chmod(0o600)
        live.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    _demand_sound(partial)
    _sync(partial)
    partial.replace(target)
    sync_folder(target.parent)


def _demand_sound(database: Path) -> None:
    for (finding,) in _rows(database, "PRAGMA integrity_check"):
        if finding != "ok":
            raise BackupDamaged(f"{database}: {finding}. Run `lotgate fsck`.")


def _opened(store: LocalBlobStore, sha256: str) -> BinaryIO:
    try:
        return store.open(sha256)
    except NotFound:
        raise BackupDamaged(f"{store.root} does not have {sha256}, which the database names.") from None


def _copy_blob(blob: BinaryIO, store: LocalBlobStore, sha256: str) -> None:
    """Into the store, if the bytes are what their name says. Raises BackupDamaged."""
    partial = store.root / f"part-{os.getpid()}"
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as out:
            while block := blob.read(BLOCK):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != sha256:
            raise BackupDamaged(
                f"The bytes stored as {sha256} have the digest {digest.hexdigest()}: they are damaged."
            )
        if store.stat(sha256) is not None:
            store.delete(sha256)  # damaged: the caller looked
        store.put(partial, sha256)
    finally:
        partial.unlink(missing_ok=True)


def _sound(store: BlobStore, sha256: str) -> bool:
    if store.stat(sha256) is None:
        return False
    with store.get_local_path(sha256) as path:
        return hash_file(path).sha256 == sha256


def prune(folder: Path, keep: int) -> int:
    """Leave the newest `keep` backups, and the evidence that these name. Returns how many went.

    Raises StorageFailed; what is left is whole in any case.
    """
    old = backups(folder)[:-keep]
    try:
        for manifest in old:
            manifest.unlink()
            manifest.with_suffix(".db").unlink(missing_ok=True)
        needed: set[str] = set()
        for manifest in backups(folder):
            needed.update(_needed(manifest.with_suffix(".db")))
        kept = LocalBlobStore(folder / "evidence")
        for blob in kept.list():
            if blob.sha256 not in needed:
                kept.delete(blob.sha256)
    except (OSError, sqlite3.Error) as error:
        raise StorageFailed(f"Old backups were not all removed: {error}") from error
    return len(old)


# --- Bringing one back ----------------------------------------------------------------------------


def restore(
    settings: Settings, folder: Path, backup: Backup, tell: Tell, *, despite_damage: bool
) -> list[str]:
    """Put a backup where the settings say. The database comes last: until it is there, nothing is. Evidence
    that is there and that the backup does not know is kept, beside the store.

    Returns what is damaged or missing, in words; raises BackupDamaged at the first such thing unless
    `despite_damage`. Raises Conflict where there is a database already.
    """
    target, database = database_file(settings), folder / f"{backup.name}.db"
    # A log that a killed portal left (-wal) would be played into the database that takes its place.
    for path in (target, *(target.with_name(target.name + end) for end in ("-wal", "-shm", "-journal"))):
        if path.exists():
            raise Conflict(f"{path} is there already. Move it away first: nothing is overwritten.")
    _demand_copy(database, backup)
    damaged: list[str] = []
    kept, into = LocalBlobStore(folder / "evidence"), LocalBlobStore(settings.store)
    try:
        make_folder(target.parent)
        make_folder(into.root)
        needed = _needed(database)
        tell(f"evidence: {len(needed):,} files")
        for sha256 in needed:
            try:
                if not _sound(into, sha256):  # it may have outlived its database
                    with _opened(kept, sha256) as blob:
                        _copy_blob(blob, into, sha256)
            except BackupDamaged as error:
                if not despite_damage and sha256 not in backup.missing:
                    raise
                damaged.append(error.message)
        if aside := _put_aside(into, database, settings.store / f"not-in-{backup.name}"):
            tell(f"{aside:,} files that this backup does not know: put aside in not-in-{backup.name}")
        tell("database")
        partial = target.with_name(f"{target.name}.part")
        partial.write_bytes(b"")
        partial.chmod(0o600)
        with closing(sqlite3.connect(database)) as copy, closing(sqlite3.connect(partial)) as live:
            copy.backup(live)
            # Their bytes were not in the backup: whoever uploads begins again.
            live.execute("UPDATE uploads SET state = 'terminated', hash_state = NULL WHERE state = 'open'")
            live.commit()
        if backup.secret_key is not None and not settings.secret_key:
            key = settings.var_dir / "secret_key"
            if key.exists() and key.read_text("ascii") != backup.secret_key:
                key.replace(key.with_suffix(".before"))
            _write(key, backup.secret_key.encode("ascii"))
        _sync(partial)
        partial.replace(target)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageFailed(f"The backup was not brought back: {error}") from error
    return damaged


def _put_aside(store: LocalBlobStore, database: Path, aside: Path) -> int:
    """Evidence that came after the backup, before it is taken for orphans and swept away. How many files."""
    known = {sha256 for (sha256,) in _rows(database, "SELECT sha256 FROM evidence")}
    unknown = [blob.sha256 for blob in store.list() if blob.sha256 not in known]
    for sha256 in unknown:
        make_folder(aside)
        with store.get_local_path(sha256) as path:
            path.replace(aside / sha256)
            sync_folder(path.parent)
    if unknown:
        sync_folder(aside)
    return len(unknown)


def _demand_copy(database: Path, backup: Backup) -> None:
    try:
        found = _digest(database)
    except OSError as error:
        raise BackupDamaged(f"{database} cannot be read: {error.strerror}") from None
    if found != backup.database:
        raise BackupDamaged(
            f"{database} has the digest {found}, its manifest says {backup.database}: it was altered."
        )
    _demand_sound(database)


# --- Files ----------------------------------------------------------------------------------------


def _needed(database: Path) -> dict[str, int]:
    """The evidence that rows name: digest and size."""
    return dict(_rows(database, _NEEDED))


def _rows(database: Path, query: str) -> Iterator[Any]:
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield from connection.execute(query)


def _value(database: Path, query: str) -> Any:
    return next(_rows(database, query))[0]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.touch(0o600)
    partial.write_bytes(content)
    _sync(partial)
    partial.replace(path)
    sync_folder(path.parent)
