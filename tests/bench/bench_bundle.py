"""A bundle with 10,000 attestations: how long it takes to verify all of it."""

import io
import sys
import tempfile
import time
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flask import Flask

from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.clock import FixedClock, SystemClock
from portal.db import open_engine, open_session
from portal.ledger import logs
from portal.ledger.policies import TrustPolicy
from portal.models import metadata
from portal.reports.bundles.verify import verify_bundle
from portal.reports.bundles.write import write_bundle
from portal.review.assessing import assess
from portal.settings import Settings
from tests.bench.rows import Row, limited
from tests.factories import Make, RecordingQueue
from tests.unit.submissions.conftest import Desk, Keys, a_unit

UNITS: Final = 10_000
URL: Final = "https://bench.example"


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, redirect_stdout(sys.stderr):
        folder = Path(name)
        data, policy, wrote = _bundle(folder)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            verify_bundle(io.BytesIO(data), policy, SystemClock(), _quiet, _quiet)
            times.append(time.perf_counter() - began)
    return [
        limited("a bundle with 10,000 attestations verified whole: at most (s)", min(times), 2.0),
        limited("  the same written, with its report: at most (s)", wrote, 60.0),
    ]


def _quiet(_text: str) -> None:
    """Nobody listens."""


def _bundle(folder: Path) -> tuple[bytes, TrustPolicy, float]:
    settings = Settings(
        var_dir=folder / "var",
        secret_key="a key for the bench that is long enough to be accepted",
        database_url=f"sqlite:///{folder / 'bench.db'}",
    )
    engine = open_engine(settings.database)
    metadata.create_all(engine)
    spool = settings.store / "spool"
    spool.mkdir(parents=True)
    (folder / "keys").mkdir()
    clock, store = FixedClock(datetime(2026, 11, 21, tzinfo=UTC)), LocalBlobStore(settings.store)
    with open_session(engine) as session:
        make = Make(session, clock, Flask("bench"))
        desk = Desk(
            *(session, make, clock, store, spool, RecordingQueue(engine, clock, store, settings)),
            Keys(folder / "keys"),
        )
        signer = signer_in(settings, 1, "bench.example/ledger/1")
        logs.create(session, clock, signer)
        session.commit()
        desk.key("maker")
        serials = [f"SN-{number:05}" for number in range(UNITS)]
        lot = desk.lot(desk.manifest(*serials))
        desk.attest(lot, desk.envelopes("maker", map(a_unit, serials)))
        found = assess(session, clock, desk.product.id, cause="bench")
        session.commit()
        while logs.publish(session, clock, signer) is not None:
            session.commit()
        text, file = logs.policy_text(session, URL, None), io.BytesIO()
        began = time.perf_counter()
        write_bundle(session, store, found.id, file, policy=text)
        wrote = time.perf_counter() - began
    engine.dispose()
    return file.getvalue(), TrustPolicy.parse(text), wrote
