import hashlib
import io
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.actors import Actor
from portal.clock import FixedClock
from portal.db import Scope, TenantSession, set_scope
from portal.errors import (
    ChecksumMismatch,
    Conflict,
    Gone,
    InvalidInput,
    Locked,
    NotFound,
    StorageFailed,
    TooLarge,
    TooMany,
)
from portal.evidence import uploads
from portal.evidence.models import Evidence, Upload, UploadState
from portal.evidence.service import BLOCK
from portal.evidence.spool import SpoolFile, open_spool
from portal.evidence.uploads import Checksum, CommitPoints, Source, Vault
from portal.ledger.models import Entry
from portal.verification import Digests, Hasher
from tests.factories import Make

Run = Callable[[CommitPoints], None]
Opened = Callable[..., Upload]
DATA = os.urandom(300_000)


class Bench:
    """One session, actor, clock and vault, for shorter calls."""

    def __init__(
        self, session: TenantSession, actor: Actor, clock: FixedClock, vault: Vault, run: Run, opened: Opened
    ) -> None:
        self.session, self.actor, self.clock, self.vault = session, actor, clock, vault
        self.run, self.opened = run, opened

    def append(
        self,
        upload: Upload,
        data: bytes | Source,
        offset: int,
        *,
        length: int | None = -1,
        checksum: Checksum | None = None,
    ) -> None:
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        if length == -1:
            length = len(data) if isinstance(data, bytes) else 0
        self.run(self.points(upload, source, offset, length, checksum))

    def points(
        self,
        upload: Upload,
        source: Source,
        offset: int,
        length: int | None,
        checksum: Checksum | None = None,
    ) -> CommitPoints:
        return uploads.append(
            self.session,
            self.actor,
            self.clock,
            self.vault,
            upload,
            source,
            offset=offset,
            length=length,
            checksum=checksum,
        )

    def load(self, upload: Upload) -> Upload:
        return uploads.load_upload(self.session, self.clock, upload.id)

    def spool_bytes(self, upload: Upload) -> bytes:
        return (self.vault.spool / upload.id).read_bytes()


@pytest.fixture
def bench(
    session: TenantSession, actor: Actor, clock: FixedClock, vault: Vault, run: Run, opened: Opened
) -> Bench:
    return Bench(session, actor, clock, vault, run, opened)


def test_pieces_become_evidence(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    for start in range(0, len(DATA), 70_000):
        bench.append(upload, DATA[start : start + 70_000], start)

    upload = bench.load(upload)
    assert upload.state is UploadState.COMPLETE
    evidence = uploads.evidence_of(bench.session, upload)
    assert evidence is not None
    assert (evidence.sha256, evidence.size) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    with bench.vault.store.open(evidence.sha256) as file:
        assert file.read() == DATA
    assert list(bench.vault.spool.iterdir()) == []
    assert [entry.kind for entry in bench.session.scalars(select(Entry))] == ["evidence.accepted"]


def test_a_giant_piece_is_recorded_stride_by_stride(bench: Bench) -> None:
    size = 2 * uploads.STRIDE + 5
    upload = bench.opened(size)
    seen = []
    with closing(bench.points(upload, io.BytesIO(bytes(size)), 0, size)) as points:
        for _ in points:
            bench.session.commit()
            seen.append((upload.offset, (bench.vault.spool / upload.id).exists()))
    assert [offset for offset, _ in seen] == [0, 0, uploads.STRIDE, 2 * uploads.STRIDE, size, size]
    assert bench.load(upload).state is UploadState.COMPLETE


def test_no_transaction_is_open_while_bytes_arrive(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    seen: list[bool] = []

    class Watching:
        def __init__(self) -> None:
            self.inner = io.BytesIO(DATA)

        def read(self, size: int) -> bytes:
            seen.append(bench.session.in_transaction())
            return self.inner.read(size)

    bench.append(upload, Watching(), 0, length=len(DATA))
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("offset", [0, 99, 101, 300_000])
def test_a_piece_at_another_offset_is_refused_and_nothing_changes(bench: Bench, offset: int) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:100], 0)
    with pytest.raises(Conflict, match="offset 100"):
        bench.append(upload, b"x" * 10, offset, length=10)
    assert bench.load(upload).offset == 100
    assert bench.spool_bytes(upload) == DATA[:100]


def test_the_same_piece_twice_counts_once(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:100], 0)
    with pytest.raises(Conflict):
        bench.append(upload, DATA[:100], 0)
    bench.append(upload, DATA[100:], 100)
    assert bench.load(upload).state is UploadState.COMPLETE


def test_a_piece_beyond_the_length_is_refused_before_a_byte_is_read(bench: Bench) -> None:
    upload = bench.opened(10)
    source = io.BytesIO(b"x" * 11)
    with pytest.raises(TooLarge, match="only 10 are left"):
        bench.append(upload, source, 0, length=11)
    assert source.tell() == 0
    assert bench.load(upload).offset == 0


def test_a_piece_of_unknown_size_stops_at_the_length(bench: Bench) -> None:
    upload = bench.opened(10)
    with pytest.raises(TooLarge, match="nothing past it"):
        bench.append(upload, io.BytesIO(b"x" * 11), 0, length=None)
    assert bench.spool_bytes(upload) == b"x" * 10


def test_a_piece_of_unknown_size_ends_where_it_ends(bench: Bench) -> None:
    upload = bench.opened(10)
    bench.append(upload, io.BytesIO(b"x" * 4), 0, length=None)
    assert bench.load(upload).offset == 4


def test_a_sender_that_vanishes_keeps_what_arrived(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    with pytest.raises(InvalidInput) as refusal:
        bench.append(upload, io.BytesIO(DATA[:1234]), 0, length=len(DATA))
    assert "first 1234 were kept" in refusal.value.problems[0].fix
    assert bench.load(upload).offset == 1234
    bench.append(upload, DATA[1234:], 1234)
    assert bench.load(upload).state is UploadState.COMPLETE


def test_a_connection_that_breaks_keeps_what_arrived(bench: Bench) -> None:
    class Breaking:
        def __init__(self) -> None:
            self.blocks = [DATA[:BLOCK]]

        def read(self, _size: int) -> bytes:
            if not self.blocks:
                raise ConnectionResetError
            return self.blocks.pop()

    upload = bench.opened(4 * BLOCK)
    data = bytes(BLOCK)
    source = Breaking()
    source.blocks = [data]
    with pytest.raises(InvalidInput):
        bench.append(upload, source, 0, length=4 * BLOCK)
    assert bench.load(upload).offset == BLOCK


@pytest.mark.parametrize("algorithm", uploads.CHECKSUMS)
def test_a_piece_with_its_checksum_is_taken(bench: Bench, algorithm: str) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA, 0, checksum=Checksum(algorithm, hashlib.new(algorithm, DATA).digest()))
    assert bench.load(upload).state is UploadState.COMPLETE


def test_a_damaged_piece_is_discarded(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:100], 0)
    with pytest.raises(ChecksumMismatch):
        bench.append(upload, DATA[100:], 100, checksum=Checksum("sha1", bytes(20)))
    assert bench.load(upload).offset == 100
    assert bench.spool_bytes(upload) == DATA[:100]
    bench.append(upload, DATA[100:], 100)
    evidence = uploads.evidence_of(bench.session, bench.load(upload))
    assert evidence is not None
    assert evidence.sha256 == hashlib.sha256(DATA).hexdigest()


def test_a_checked_piece_that_is_cut_short_keeps_nothing(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    checksum = Checksum("sha256", hashlib.sha256(DATA).digest())
    with pytest.raises(InvalidInput) as refusal:
        bench.append(upload, io.BytesIO(DATA[:500]), 0, length=len(DATA), checksum=checksum)
    assert "Nothing of it was kept" in refusal.value.problems[0].fix
    assert bench.load(upload).offset == 0


def test_the_declared_digest_is_compared(bench: Bench) -> None:
    good = bench.opened(len(DATA), declared_sha256=hashlib.sha256(DATA).hexdigest().upper())
    bench.append(good, DATA, 0)
    assert bench.load(good).state is UploadState.COMPLETE


def test_another_file_than_declared_is_refused_and_its_bytes_removed(bench: Bench) -> None:
    upload = bench.opened(len(DATA), declared_sha256="ab" * 32)
    with pytest.raises(InvalidInput) as refusal:
        bench.append(upload, DATA, 0)
    assert refusal.value.problems[0].found == hashlib.sha256(DATA).hexdigest()
    with pytest.raises(Gone, match="refused"):
        bench.load(upload)
    assert list(bench.vault.spool.iterdir()) == []
    assert list(bench.vault.store.list()) == []
    assert bench.session.scalars(select(Evidence)).all() == []


def test_bytes_beyond_the_recorded_offset_are_cut_after_a_crash(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:1000], 0)
    with (bench.vault.spool / upload.id).open("ab") as file:
        file.write(b"written, not acknowledged")
    bench.append(upload, DATA[1000:], 1000)
    evidence = uploads.evidence_of(bench.session, bench.load(upload))
    assert evidence is not None
    assert evidence.sha256 == hashlib.sha256(DATA).hexdigest()


def test_a_lost_acknowledged_byte_refuses_the_upload_for_good(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:1000], 0)
    os.truncate(bench.vault.spool / upload.id, 999)
    with pytest.raises(StorageFailed, match="999 of the 1000"):
        bench.append(upload, DATA[1000:], 1000)
    with pytest.raises(Gone):
        bench.load(upload)


@pytest.mark.parametrize("change", ["same size", "longer", "another file"])
def test_a_file_that_changed_between_its_hash_and_the_store_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """By a disk or a person: what is read back must be what was hashed on arrival."""
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:1000], 0)
    path = bench.vault.spool / upload.id
    hashed = Hasher.digests

    def digests(hasher: Hasher) -> Digests:
        if hasher.size == len(DATA):
            if change == "another file":
                path.unlink()
            with path.open("r+b" if path.exists() else "xb") as file:
                file.write(b"x" * (len(DATA) + (change == "longer")))
        return hashed(hasher)

    monkeypatch.setattr(Hasher, "digests", digests)
    with pytest.raises(StorageFailed, match="not those that arrived"):
        bench.append(upload, DATA[1000:], 1000)
    with pytest.raises(Gone, match="not those that arrived"):
        bench.load(upload)
    assert list(bench.vault.spool.iterdir()) == []
    assert list(bench.vault.store.list()) == []
    assert bench.session.scalars(select(Evidence)).all() == []


def test_a_cut_hash_state_is_not_believed(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:1000], 0)
    row = bench.load(upload)
    assert row.hash_state is not None
    row.hash_state = row.hash_state[:-1]
    bench.session.commit()
    bench.append(upload, DATA[1000:], 1000)
    evidence = uploads.evidence_of(bench.session, bench.load(upload))
    assert evidence is not None
    assert evidence.sha256 == hashlib.sha256(DATA).hexdigest()


def test_the_hash_state_of_another_upload_is_not_believed(bench: Bench) -> None:
    """Sealed by the same portal and over as many bytes, but other ones."""
    one, two = bench.opened(len(DATA)), bench.opened(len(DATA))
    bench.append(one, DATA[:1000], 0)
    bench.append(two, b"y" * 1000, 0)
    bench.load(one).hash_state = bench.load(two).hash_state
    bench.session.commit()
    bench.append(one, DATA[1000:], 1000)
    evidence = uploads.evidence_of(bench.session, bench.load(one))
    assert evidence is not None
    assert evidence.sha256 == hashlib.sha256(DATA).hexdigest()


def test_acknowledged_bytes_that_somebody_changed_refuse_the_upload_for_good(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:1000], 0)
    path = bench.vault.spool / upload.id
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"?")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had happened
    with pytest.raises(StorageFailed, match="not the 1000 that arrived"):
        bench.append(upload, DATA[1000:], 1000)
    with pytest.raises(Gone, match="not the 1000 that arrived"):
        bench.load(upload)


def test_a_blob_that_was_changed_in_the_store_refuses_a_second_delivery_and_keeps_it(bench: Bench) -> None:
    bench.append(bench.opened(len(DATA)), DATA, 0)
    with bench.vault.store.get_local_path(hashlib.sha256(DATA).hexdigest()) as blob:
        blob.chmod(0o600)
        blob.write_bytes(b"?" + DATA[1:])
    again = bench.opened(len(DATA))
    with pytest.raises(StorageFailed, match="not those that arrived"):
        bench.append(again, DATA, 0)
    with bench.vault.store.get_local_path(hashlib.sha256(DATA).hexdigest()) as blob:
        blob.write_bytes(DATA)  # repaired
    assert uploads.unfinished(bench.load(again))


def test_bytes_that_were_touched_and_are_the_same_are_read_again_and_count(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:1000], 0)
    os.utime(bench.vault.spool / upload.id)
    bench.append(upload, DATA[1000:], 1000)
    assert uploads.evidence_of(bench.session, bench.load(upload)) is not None


def test_a_disk_that_keeps_other_bytes_than_it_was_given_refuses_the_piece(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = bench.opened(len(DATA))
    write = SpoolFile.write

    def badly(file: SpoolFile, data: bytes, offset: int) -> None:
        write(file, data[:-1] + bytes([data[-1] ^ 1]), offset)

    monkeypatch.setattr(SpoolFile, "write", badly)
    with pytest.raises(StorageFailed, match="not those that arrived"):
        bench.append(upload, DATA[:1000], 0)
    monkeypatch.undo()
    assert bench.load(upload).offset == 0
    bench.append(upload, DATA, 0)
    assert uploads.evidence_of(bench.session, bench.load(upload)) is not None


def test_a_forged_hash_state_is_not_believed(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:1000], 0)
    row = bench.load(upload)
    state = row.hash_state
    assert state is not None
    row.hash_state = bytes([state[0] ^ 1]) + state[1:]
    bench.session.commit()
    bench.append(upload, DATA[1000:], 1000)
    evidence = uploads.evidence_of(bench.session, bench.load(upload))
    assert evidence is not None
    assert evidence.sha256 == hashlib.sha256(DATA).hexdigest()


def test_another_secret_key_does_not_lose_the_upload(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:1000], 0)
    bench.vault = replace(bench.vault, key=b"n" * 32)
    bench.append(upload, DATA[1000:], 1000)
    assert bench.load(upload).state is UploadState.COMPLETE


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_crash_at_any_commit_is_taken_up_again(bench: Bench, after: int) -> None:
    """The generator is dropped, uncommitted, at its n-th point, as a killed process would leave it."""
    upload = bench.opened(len(DATA))
    with closing(bench.points(upload, io.BytesIO(DATA), 0, len(DATA))) as points:
        for count, _ in enumerate(points):
            if count == after:
                break
            bench.session.commit()
    bench.session.rollback()

    row = bench.load(upload)
    if uploads.unfinished(row):
        bench.run(uploads.complete(bench.session, bench.actor, bench.clock, bench.vault, upload))
    else:
        bench.append(upload, DATA[row.offset :], row.offset)
    row = bench.load(upload)
    assert row.state is UploadState.COMPLETE
    evidence = bench.session.scalars(select(Evidence)).one()
    assert evidence.sha256 == hashlib.sha256(DATA).hexdigest()
    with bench.vault.store.open(evidence.sha256) as file:
        assert file.read() == DATA


def test_completing_twice_makes_one_evidence(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA, 0)
    bench.run(uploads.complete(bench.session, bench.actor, bench.clock, bench.vault, upload))
    assert len(bench.session.scalars(select(Evidence)).all()) == 1


def test_a_failed_fsync_is_never_acknowledged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = bench.opened(len(DATA))
    real = os.fsync

    def fail(descriptor: int) -> None:
        if os.path.realpath(f"/proc/self/fd/{descriptor}").endswith(upload.id):
            raise OSError(5, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(StorageFailed, match="not acknowledged"):
            bench.append(upload, DATA, 0)
    assert bench.load(upload).offset == 0
    bench.append(upload, DATA, 0)
    assert bench.load(upload).state is UploadState.COMPLETE


def test_a_full_disk_takes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = bench.opened(len(DATA))
    monkeypatch.setattr("portal.evidence.spool.RESERVE_BYTES", 1 << 60)
    with pytest.raises(StorageFailed, match="nearly full"):
        bench.append(upload, DATA, 0)
    with pytest.raises(StorageFailed, match="nearly full"):
        bench.opened(10)
    assert bench.load(upload).offset == 0


def test_two_writers_at_once_are_told_apart_by_the_lock(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    with open_spool(bench.vault.spool, upload.id), pytest.raises(Locked):
        bench.append(upload, DATA, 0)
    bench.append(upload, DATA, 0)


def test_a_retry_waits_for_the_dying_request(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    holding = threading.Event()

    def hold() -> None:
        with open_spool(bench.vault.spool, upload.id):
            holding.set()
            time.sleep(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(5)
    bench.append(upload, DATA, 0)
    thread.join()
    assert bench.load(upload).state is UploadState.COMPLETE


def test_an_abandoned_piece_lets_go_of_its_lock(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    with closing(bench.points(upload, io.BytesIO(DATA), 0, len(DATA))) as points:
        next(points)
        bench.session.commit()
        next(points)
    bench.session.rollback()
    with open_spool(bench.vault.spool, upload.id, wait=0):
        pass


def test_ending_an_upload_drops_its_bytes(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA[:10], 0)
    bench.run(uploads.terminate(bench.session, bench.actor, bench.clock, bench.vault, upload))
    assert list(bench.vault.spool.iterdir()) == []
    with pytest.raises(Gone):
        bench.append(upload, DATA[10:], 10)


def test_evidence_cannot_be_deleted_by_ending_its_upload(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.append(upload, DATA, 0)
    with pytest.raises(Conflict, match="evidence"):
        bench.run(uploads.terminate(bench.session, bench.actor, bench.clock, bench.vault, upload))
    assert len(list(bench.vault.store.list())) == 1


def test_an_upload_expires_without_progress(bench: Bench) -> None:
    upload = bench.opened(len(DATA))
    bench.clock.advance(timedelta(hours=71))
    bench.append(upload, DATA[:10], 0)
    bench.clock.advance(timedelta(hours=71))
    assert bench.load(upload).offset == 10
    bench.clock.advance(timedelta(hours=1))
    with pytest.raises(Gone, match="expired"):
        bench.append(upload, DATA[10:], 10)


def test_an_empty_upload_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        bench.opened(0)


def test_an_upload_over_the_limit_is_refused(bench: Bench) -> None:
    with pytest.raises(TooLarge):
        bench.opened(bench.vault.max_bytes + 1)


def test_open_uploads_reserve_their_room(bench: Bench) -> None:
    bench.vault = replace(bench.vault, quota_bytes=1000)
    one = uploads.create_upload(
        bench.session, bench.actor, bench.clock, bench.vault, length=600, filename="a"
    )
    bench.session.commit()
    with pytest.raises(TooLarge, match="quota"):
        uploads.create_upload(bench.session, bench.actor, bench.clock, bench.vault, length=401, filename="b")
    bench.session.rollback()
    bench.run(uploads.terminate(bench.session, bench.actor, bench.clock, bench.vault, one))
    uploads.create_upload(bench.session, bench.actor, bench.clock, bench.vault, length=1000, filename="c")


def test_nobody_opens_uploads_without_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 2)
    bench.opened(1)
    bench.opened(1)
    with pytest.raises(TooMany):
        bench.opened(1)


def test_another_suppliers_upload_looks_like_none(bench: Bench, make: Make) -> None:
    upload = bench.opened(len(DATA))
    bench.session.expunge_all()
    set_scope(bench.session, Scope(make.supplier().id))
    with pytest.raises(NotFound, match=r"^There is no such upload\.$"):
        bench.load(upload)
