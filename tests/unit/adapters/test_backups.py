"""Backups: whole or not there; brought back whole or not at all."""

import hashlib
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.adapters import backups
from portal.adapters.backups import Backup, prune, restore, take
from portal.adapters.blobs import LocalBlobStore
from portal.cli.database import upgrade_database
from portal.clock import FixedClock
from portal.db import EVERYTHING, open_engine, open_session, set_scope
from portal.errors import BackupDamaged, Conflict, NotFound, StorageFailed
from portal.evidence.models import Evidence, Tombstone, Upload, UploadState
from portal.evidence.service import receive_bytes
from portal.settings import Settings, secret_key
from tests.factories import Make

FILES = (b"an image" * 1000, b"a report" * 2000)


class Site:
    """A portal's folder with some evidence in it, and a safe beside it."""

    def __init__(self, folder: Path, clock: FixedClock) -> None:
        self.settings = Settings(var_dir=folder / "var")
        self.safe = folder / "safe"
        self.clock = clock
        self.told: list[str] = []
        upgrade_database(self.settings)
        self.key = secret_key(self.settings)
        self.names: list[str] = []
        self.engine = open_engine(self.settings.database)
        self.session = open_session(self.engine)
        make = Make(self.session, clock, Flask("tests"))
        self.supplier = make.supplier()
        self.actor = make.actor(RoleName.SUPPLIER_ADMIN, self.supplier)
        for content in FILES:
            self.deliver(content)

    def deliver(self, content: bytes) -> str:
        store = LocalBlobStore(self.settings.store)
        row = receive_bytes(
            self.session,
            self.actor,
            self.clock,
            store,
            self.settings.store / "spool",
            content,
            filename="a.bin",
            limit=1 << 20,
        )
        self.names.append(row.sha256)
        self.session.commit()
        return self.names[-1]

    def take(self) -> Backup:
        self.clock.advance(timedelta(seconds=1))
        return take(self.settings, self.safe, self.clock, "1", self.told.append)[0]

    def lose(self, *, evidence: bool = True) -> None:
        self.session.close()
        self.engine.dispose()
        for path in self.settings.var_dir.glob("lotgate.db*"):
            path.unlink()
        if evidence:
            for sha256 in self.names:
                LocalBlobStore(self.settings.store).delete(sha256)

    def restore(self, backup: Backup, *, despite_damage: bool = False) -> list[str]:
        return restore(self.settings, self.safe, backup, self.told.append, despite_damage=despite_damage)

    @property
    def stored(self) -> set[str]:
        return {blob.sha256 for blob in LocalBlobStore(self.settings.store).list()}

    def damage(self, root: Path, sha256: str) -> None:
        path = root / "sha256" / sha256[:2] / sha256[2:4] / sha256
        content = bytearray(path.read_bytes())
        content[17] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)


@pytest.fixture
def site(tmp_path: Path, clock: FixedClock) -> Site:
    return Site(tmp_path, clock)


def test_what_was_backed_up_comes_back(site: Site) -> None:
    made = site.take()
    assert (made.files, made.bytes) == (len(FILES), sum(map(len, FILES)))
    assert made.secret_key == site.key
    assert (site.safe.stat().st_mode & 0o777, (site.safe / f"{made.name}.db").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    site.lose()
    (site.settings.var_dir / "secret_key").unlink()
    assert site.restore(made) == []
    assert site.stored == set(site.names)
    assert secret_key(site.settings) == site.key
    with open_session(open_engine(site.settings.database)) as session:
        assert set(session.scalars(select(Evidence.sha256))) == set(site.names)


def test_the_second_backup_copies_only_what_is_new(site: Site) -> None:
    site.take()
    kept = LocalBlobStore(site.safe / "evidence")
    before = {blob.sha256: blob.stored_at for blob in kept.list()}
    new = site.deliver(b"later" * 500)
    made = site.take()
    after = {blob.sha256: blob.stored_at for blob in kept.list()}
    assert set(after) == {*before, new}
    assert {name: after[name] for name in before} == before
    assert made.files == len(FILES) + 1


def test_unfinished_uploads_are_ended_because_their_bytes_are_not_there(site: Site) -> None:
    now = site.clock.now()
    open_one = Upload(
        supplier_id=site.supplier.id,
        length=100,
        offset=10,
        filename="b.bin",
        hash_state=b"state",
        created_at=now,
        expires_at=now + timedelta(days=1),
    )
    site.session.add(open_one)
    site.session.commit()
    made = site.take()
    site.lose()
    site.restore(made)
    with open_session(open_engine(site.settings.database)) as session:
        set_scope(session, EVERYTHING)
        (upload,) = session.scalars(select(Upload))
        assert (upload.state, upload.hash_state) == (UploadState.TERMINATED, None)


@pytest.mark.parametrize("harm", ["flipped", "missing"])
def test_damaged_evidence_makes_no_backup(site: Site, harm: str) -> None:
    store = LocalBlobStore(site.settings.store)
    site.damage(store.root, site.names[0]) if harm == "flipped" else store.delete(site.names[0])
    with pytest.raises(BackupDamaged, match=site.names[0]):
        site.take()
    assert list(site.safe.glob("*.db")) == list(site.safe.glob("*.json")) == []


def test_what_is_whole_can_be_saved_beside_what_is_not(site: Site) -> None:
    site.damage(site.settings.store, site.names[0])
    site.clock.advance(timedelta(seconds=1))
    made, damaged = take(site.settings, site.safe, site.clock, "1", site.told.append, despite_damage=True)
    assert (made.missing, made.files, len(damaged)) == ([site.names[0]], 1, 1)
    site.lose()
    (told,) = site.restore(made)
    assert site.names[0] in told
    assert site.stored == {site.names[1]}


def test_evidence_that_a_rule_deletes_meanwhile_is_not_missed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the database was copied, before its evidence was: the copy is made again."""
    copy = backups._copy_database
    copies: list[Path] = []

    def then_delete(source: Path, target: Path) -> None:
        copy(source, target)
        copies.append(target)
        if len(copies) == 1:
            row = site.session.scalars(select(Evidence).where(Evidence.sha256 == site.names[0])).one()
            now = site.clock.now()
            site.session.add(
                Tombstone(
                    id=row.id,
                    supplier_id=row.supplier_id,
                    rule="documents, 10 years",
                    rules_version=1,
                    rules_digest="0" * 64,
                    kept_until=now.date(),
                    deleted_by=site.actor.user_id,
                    deleted_at=now,
                )
            )
            site.session.commit()
            LocalBlobStore(site.settings.store).delete(site.names[0])

    monkeypatch.setattr(backups, "_copy_database", then_delete)
    made = site.take()
    assert (len(copies), made.files, made.missing) == (2, 1, [])


def test_a_full_disk_makes_no_backup(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backups, "_copy_blob", full)
    with pytest.raises(StorageFailed, match="No space left"):
        site.take()
    assert list(site.safe.glob("*T*Z*")) == []


def test_nothing_is_overwritten(site: Site) -> None:
    made = site.take()
    with pytest.raises(Conflict, match="is there already"):
        site.restore(made)


def test_evidence_that_came_after_the_backup_is_put_aside_and_not_swept_away(site: Site) -> None:
    """Its supplier has a receipt for it, and it may be under a hold that the backup does not know either."""
    made = site.take()
    late = site.deliver(b"delivered after the backup" * 100)
    site.lose(evidence=False)
    assert site.restore(made) == []
    assert site.stored == set(site.names) - {late}
    aside = site.settings.store / f"not-in-{made.name}" / late
    assert hashlib.sha256(aside.read_bytes()).hexdigest() == late
    assert any("put aside" in told for told in site.told)


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_the_log_of_a_lost_database_is_not_played_into_the_restored_one(site: Site, end: str) -> None:
    """A portal that was killed leaves one; moving only lotgate.db away would damage what is brought back."""
    made = site.take()
    site.lose()
    left = site.settings.var_dir / f"lotgate.db{end}"
    left.write_bytes(b"what the killed portal had not yet moved into its database")
    with pytest.raises(Conflict, match=f"lotgate.db{end} is there already. Move it away first"):
        site.restore(made)
    left.unlink()
    assert site.restore(made) == []


def test_an_altered_database_is_refused(site: Site) -> None:
    made = site.take()
    site.lose()
    path = site.safe / f"{made.name}.db"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BackupDamaged, match="it was altered"):
        site.restore(made)
    assert not (site.settings.var_dir / "lotgate.db").exists()


def test_damaged_evidence_in_the_backup_is_refused_or_named(site: Site) -> None:
    made = site.take()
    site.lose()
    site.damage(site.safe / "evidence", site.names[0])
    with pytest.raises(BackupDamaged, match=site.names[0]):
        site.restore(made)
    assert not (site.settings.var_dir / "lotgate.db").exists()
    (damaged,) = site.restore(made, despite_damage=True)
    assert site.names[0] in damaged
    assert site.stored == {site.names[1]}


def test_evidence_that_outlived_its_database_stays_where_the_backup_is_damaged(site: Site) -> None:
    made = site.take()
    site.lose(evidence=False)
    site.damage(site.safe / "evidence", site.names[0])
    assert site.restore(made) == []
    assert site.stored == set(site.names)


def test_evidence_that_is_damaged_in_place_is_replaced(site: Site) -> None:
    made = site.take()
    site.lose(evidence=False)
    site.damage(site.settings.store, site.names[0])
    assert site.restore(made) == []
    with LocalBlobStore(site.settings.store).open(site.names[0]) as blob:
        assert blob.read() == FILES[0]


def test_a_restore_that_was_interrupted_is_done_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made = site.take()
    site.lose()
    copies: list[str] = []
    copy = backups._copy_blob

    def once(blob: object, store: LocalBlobStore, sha256: str) -> None:
        if copies:
            raise KeyboardInterrupt
        copies.append(sha256)
        copy(blob, store, sha256)  # type: ignore[arg-type]

    monkeypatch.setattr(backups, "_copy_blob", once)
    with pytest.raises(KeyboardInterrupt):
        site.restore(made)
    assert not (site.settings.var_dir / "lotgate.db").exists()
    monkeypatch.undo()
    assert site.restore(made) == []
    assert site.stored == set(site.names)


def test_old_backups_go_with_the_evidence_that_only_they_name(site: Site) -> None:
    first, second = site.take(), site.take()
    # Evidence of the first alone: as if a rule had removed its row since.
    lone = site.deliver(b"lone" * 99)
    third = site.take()
    manifest = site.safe / f"{third.name}.json"
    manifest.rename(site.safe / f"{'0' * 8}T{'0' * 6}Z.json")
    (site.safe / f"{third.name}.db").rename(site.safe / f"{'0' * 8}T{'0' * 6}Z.db")
    assert prune(site.safe, 2) == 1
    left = {path.stem for path in backups.backups(site.safe)}
    assert left == {first.name, second.name}
    kept = {blob.sha256 for blob in LocalBlobStore(site.safe / "evidence").list()}
    assert (lone in kept, set(site.names) - kept) == (False, {lone})


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "lotgate-backup", "version": 2}', "\x00"])
def test_another_file_is_no_manifest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "20261121T000000Z.json"
    path.write_text(text)
    with pytest.raises(BackupDamaged, match="not the manifest"):
        Backup.load(path)


def test_a_manifest_says_what_was_taken(site: Site) -> None:
    made = site.take()
    path = site.safe / f"{made.name}.json"
    assert json.loads(path.read_text())["format"] == "lotgate-backup"
    assert Backup.load(path) == made
    assert os.stat(path).st_mode & 0o777 == 0o600  # noqa: PTH116


def test_only_the_embedded_form_is_backed_up(site: Site) -> None:
    settings = replace(site.settings, database_url="postgresql+psycopg://localhost/lotgate")
    with pytest.raises(Conflict, match=r"docs/backup\.md"):
        take(settings, site.safe, site.clock, "1", print)


def test_there_must_be_a_database(tmp_path: Path, clock: FixedClock) -> None:
    with pytest.raises(NotFound, match="no database"):
        take(Settings(var_dir=tmp_path), tmp_path / "safe", clock, "1", print)
