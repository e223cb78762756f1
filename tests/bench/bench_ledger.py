"""The ledger: how fast entries become durable, and how fast one of ten million is proven."""

import hashlib
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import delete, insert, update
from sqlalchemy.orm import Session

from portal.adapters.keys import signer_in
from portal.clock import FixedClock
from portal.db import open_engine, open_session
from portal.ledger import logs
from portal.ledger.models import Log, Tile
from portal.ledger.service import New, append, append_all
from portal.ledger.signing import LogSigner
from portal.ledger.tree import HASH, WIDTH, check_inclusion, grow
from portal.models import metadata
from portal.settings import Settings
from tests.bench.rows import Row, limited

ENTRIES: Final = 100_000
BATCH: Final = 1000
SINGLES: Final = 300
LARGE: Final = 10_000_000
OWNER: Final = "a" * 32
CLOCK: Final = FixedClock(datetime(2026, 11, 21, tzinfo=UTC))


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:  # not /tmp, which may be memory
        folder = Path(name)
        engine = open_engine(f"sqlite:///{folder / 'bench.db'}")
        metadata.create_all(engine)
        with open_session(engine) as session:
            signer = signer_in(Settings(ledger_dir=folder), 1, "bench.example/ledger/1")
            log = logs.create(session, CLOCK, signer)
            session.commit()
            rows = [_batches(session), _published(session, signer), _single(session), _proof(session, log)]
        engine.dispose()
    return rows


def _batches(session: Session) -> Row:
    began = time.perf_counter()
    for first in range(0, ENTRIES, BATCH):
        new = [
            New("evidence.accepted", f"{n:032x}", {"sha256": f"{n:064x}", "size": n}, OWNER)
            for n in range(first, first + BATCH)
        ]
        append_all(session, CLOCK, new)
        session.commit()
    return limited(
        "100,000 entries in batches of 1,000, at 5,000 a second (s)", time.perf_counter() - began, 20.0
    )


def _published(session: Session, signer: LogSigner) -> Row:
    began = time.perf_counter()
    while logs.publish(session, CLOCK, signer) is not None:
        session.commit()
    return limited("  published and signed, at 5,000 a second (s)", time.perf_counter() - began, 20.0)


def _single(session: Session) -> Row:
    times = []
    for n in range(SINGLES):
        began = time.perf_counter()
        append(session, CLOCK, "evidence.accepted", f"{n:032x}", {"sha256": f"{n:064x}"}, OWNER)
        session.commit()
        times.append((time.perf_counter() - began) * 1000)
    return limited("a single entry durable: at most (ms, median)", statistics.median(times), 10.0)


def _proof(session: Session, log: Log) -> Row:
    """Of a tree of ten million leaves, whose tiles are stored as ever; no entry is needed for that."""
    tiles: dict[tuple[int, int], bytes] = {}

    def read(level: int, number: int, width: int) -> bytes:
        return tiles[level, number][: width * HASH]

    step = WIDTH * 400
    for first in range(0, LARGE, step):
        leaves = [
            hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(first, min(LARGE, first + step))
        ]
        tiles.update(((level, number), data) for level, number, data in grow(first, leaves, read))
    session.execute(delete(Tile))
    session.execute(
        insert(Tile),
        [{"log": 1, "level": level, "number": n, "data": data} for (level, n), data in tiles.items()],
    )
    session.execute(update(Log).values(head=LARGE))
    session.commit()
    tiles.clear()
    session.expire_all()
    root = logs.tree(session, log).root()
    times = []
    for nth in range(200):
        index = nth * 49_999
        began = time.perf_counter()
        proof = logs.tree(session, log).inclusion(index)
        times.append((time.perf_counter() - began) * 1000)
        check_inclusion(hashlib.sha256(index.to_bytes(8, "big")).digest(), index, LARGE, proof, root)
    return limited(
        "the proof of one of 10,000,000 entries: at most (ms, median)", statistics.median(times), 5.0
    )
