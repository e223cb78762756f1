"""Retention at 100,000 old files: how long the preview takes, and how long a deletion holds others up."""

import multiprocessing
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from flask import Flask
from sqlalchemy import Engine, insert

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession, new_id, open_engine, open_session, reading
from portal.evidence.models import Evidence
from portal.ledger.service import append
from portal.models import metadata
from portal.retention import service
from portal.retention.preview import Preview, preview
from portal.submissions.models import Attachment, AttachmentRole, Submission, SubmissionKind, SubmissionState
from portal.suppliers.models import Product
from portal.verification import Outcome
from tests.bench.rows import Row, limited
from tests.factories import Make

FILES: Final = 100_000
FEW: Final = 10_000
PRODUCTS: Final = 1_000
DELETIONS: Final = 4  # each of as many files as go at once
CLOCK: Final = FixedClock(datetime(2026, 11, 21, tzinfo=UTC))
LONG_AGO: Final = datetime(2006, 1, 1, tzinfo=UTC)


def run() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:  # not /tmp, which may be memory
        engine = open_engine(f"sqlite:///{Path(name) / 'bench.db'}")
        metadata.create_all(engine)
        with open_session(engine) as session:
            make = Make(session, CLOCK, Flask("bench"))
            administrator = make.actor(RoleName.ADMINISTRATOR)
            products = _products(session, make)
            _deliver(session, products, FEW)
            few = _memory(engine)
            _deliver(session, products, FILES - FEW)
        rows.append(
            limited(f"the preview of {FILES:,} old files, half of which may go (s)", _preview(engine), 1.0)
        )
        many = _memory(engine)
        rows.append(limited(f"  its memory, that of {FEW:,} at most once and a half (MiB)", many, few * 1.5))
        rows += _deletion(engine, administrator, LocalBlobStore(Path(name) / "store"))
        engine.dispose()
    return rows


def _products(session: TenantSession, make: Make) -> list[Product]:
    """The support of every other one ended nineteen years ago; the others' goes on."""
    supplier = make.supplier()
    ends = (date(2007, 6, 30), date(2040, 1, 1))
    found = [
        Product(
            supplier_id=supplier.id,
            model=f"M{number}",
            name=f"Pack {number}",
            tier=2,
            end_of_sale=date(2005, 1, 1),
            end_of_support=ends[number % 2],
            created_at=CLOCK.now(),
        )
        for number in range(PRODUCTS)
    ]
    session.add_all(found)
    session.commit()
    return found


def _deliver(session: TenantSession, products: list[Product], count: int) -> None:
    """So many files, two with each submission; their bytes come later."""
    for first in range(0, count, 10_000):
        submissions, evidence, attachments = [], [], []
        for number in range(first, min(first + 10_000, count)):
            product = products[number // 2 % len(products)]
            at = LONG_AGO + timedelta(minutes=number)
            if number % 2 == 0:
                submissions.append(
                    {
                        "id": new_id(),
                        "supplier_id": product.supplier_id,
                        "kind": SubmissionKind.FIRMWARE,
                        "state": SubmissionState.ACCEPTED,
                        "outcome": Outcome.PASS,
                        "product_id": product.id,
                        "title": f"Release {number}",
                        "created_at": at,
                        "submitted_at": at,
                        "verified_at": at,
                        "run": 1,
                    }
                )
            evidence.append(
                {
                    "id": new_id(),
                    "supplier_id": product.supplier_id,
                    "sha256": new_id() + new_id(),
                    "blake3": new_id() + new_id(),
                    "size": 1 << 20,
                    "filename": f"image-{number}.bin",
                    "received_at": at,
                }
            )
            attachments.append(
                {
                    "id": new_id(),
                    "supplier_id": product.supplier_id,
                    "submission_id": submissions[-1]["id"],
                    "evidence_id": evidence[-1]["id"],
                    "role": (AttachmentRole.IMAGE, AttachmentRole.SIGNATURE)[number % 2],
                    "attached_at": at,
                }
            )
        session.execute(insert(Submission), submissions)
        session.execute(insert(Evidence), evidence)
        session.execute(insert(Attachment), attachments)
        session.commit()


def _seen(engine: Engine) -> Preview:
    with reading(engine) as session:
        return preview(session, CLOCK)


def _preview(engine: Engine) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        _seen(engine)
        times.append(time.perf_counter() - began)
    return min(times)


def _memory(engine: Engine) -> float:
    """The most that a preview has in hand at a time, MiB."""
    tracemalloc.start()
    _seen(engine)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / (1 << 20)


def _deletion(engine: Engine, administrator: Actor, store: LocalBlobStore) -> list[Row]:
    """As an administrator and the worker's job do it, while another process makes an entry every 20 ms."""
    held: list[float] = []
    files = 0
    with _other_writer(engine) as waits:
        began = time.perf_counter()
        for _ in range(DELETIONS):
            seen = _seen(engine)
            for item in seen.goes:
                _store(store, item.file.sha256)
            with open_session(engine) as session:
                session.connection()
                locked = time.perf_counter()
                files += len(
                    service.delete(session, administrator, CLOCK, digest=seen.digest, seen=seen).goes
                )
                session.commit()
            held.append(time.perf_counter() - locked)
            removed = 1
            while removed:
                with open_session(engine) as session:
                    session.connection()
                    locked = time.perf_counter()
                    removed = service.remove_bytes(session, CLOCK, store)
                    session.commit()
                held.append(time.perf_counter() - locked)
                time.sleep(service.PAUSE_SECONDS)
        took = time.perf_counter() - began
    return [
        limited(f"  {files:,} of them deleted, with previews and bytes (s)", took, 60.0),
        limited("  the write lock at a stretch: at most (s)", max(held), 1.0),
        limited(f"  another writer, {len(waits):,} entries meanwhile: waited at most (s)", max(waits), 2.0),
    ]


def _store(store: LocalBlobStore, sha256: str) -> None:
    """A file in the place of the blob."""
    path = store._path(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@contextmanager
def _other_writer(engine: Engine) -> Iterator[list[float]]:
    """Yields seconds that each of its entries took; there when the block is over."""
    spawn = multiprocessing.get_context("spawn")
    ending, told = spawn.Event(), spawn.SimpleQueue()
    process = spawn.Process(target=_write, args=(str(engine.url), ending, told), daemon=True)
    process.start()
    waits: list[float] = []
    told.get()
    try:
        yield waits
    finally:
        ending.set()
        waits += told.get()
        process.join()


def _write(url: str, ending: Event, told: SimpleQueue[list[float]]) -> None:
    engine = open_engine(url)
    waits = []
    told.put([])
    while not ending.wait(0.02):
        began = time.perf_counter()
        with open_session(engine) as session:
            append(session, CLOCK, "evidence.accepted", "1" * 32, {})
            session.commit()
        waits.append(time.perf_counter() - began)
    engine.dispose()
    told.put(waits)
