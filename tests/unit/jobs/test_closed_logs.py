"""The last checkpoint of a closed log that a witness missed: offered until it is cosigned."""

import io
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from sqlalchemy import Engine, select

from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.adapters.witness_folder import WitnessFolder
from portal.cli.witness import application
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.jobs.cosigning import Cosigning
from portal.jobs.tasks import Bench, publish_ledger
from portal.ledger import logs, witnesses
from portal.ledger.models import Cosignature, Entry
from portal.ledger.policies import TrustPolicy
from portal.ledger.service import append
from portal.settings import Settings
from tests.factories import RecordingQueue
from tests.factories.serving import serving
from tests.journeys.commands import command_line, environment
from tests.journeys.running import free_port


@dataclass
class Successive:
    """A portal whose logs follow one another, and a witness that is asked by the worker's own verbs."""

    bench: Bench
    session: TenantSession
    clock: FixedClock
    witness: WitnessFolder
    made: int = field(default=0)

    def open(self, *, known: bool = True) -> None:
        """Close the log, if there is one, and open the next in the same second."""
        if (last := logs.open_log(self.session)) is not None:
            logs.close(self.session, self.clock, last)
        number = logs.next_number(self.session)
        signer = signer_in(self.bench.settings, number, f"portal.example/ledger/{number}")
        logs.create(self.session, self.clock, signer)
        self.session.commit()
        if known:
            self.witness.add(list(signer.verifier_keys()))

    def record(self) -> None:
        append(self.session, self.clock, "evidence.accepted", f"{self.made:032x}", {})
        self.session.commit()
        self.made += 1
        publish_ledger(self.bench)

    def witnessed_by(self, url: str) -> None:
        """The worker's setting `witnesses`: both keys of the witness at this address."""
        path = self.bench.settings.var_dir / f"witnesses-{time.monotonic_ns()}"
        ed25519, ml_dsa = self.witness.signer.verifier_keys()
        path.write_text(f"witness w {ed25519} {url}\nwitness w-pq {ml_dsa} {url}\nquorum w\n")
        self.bench = replace(self.bench, settings=replace(self.bench.settings, witnesses=path))

    def look(self) -> None:
        cosigning = Cosigning(self.bench)
        cosigning.look()
        for thread in cosigning._asking.values():
            thread.join(60)

    def cosigned(self) -> set[tuple[int, int]]:
        """Log and size of every checkpoint that both keys cosigned."""
        rows = self.session.execute(select(Cosignature.log, Cosignature.size)).all()
        self.session.rollback()
        return {(row.log, row.size) for row in rows if rows.count(row) == 2}

    def troubles(self) -> list[str]:
        found = witnesses.silent(self.session, witnesses.configured(self.bench.settings.witnesses))
        self.session.rollback()
        return [f"{one.origin}: {trouble}" for one in found for trouble in one.troubles]

    def meets_the_quorum(self, seq: int) -> bool:
        """Whether the receipt of an entry, as anybody checks it, has the cosignature of the policy."""
        entry = self.session.scalars(select(Entry).where(Entry.seq == seq)).one()
        proof = logs.receipt(self.session, entry)
        trust = witnesses.configured(self.bench.settings.witnesses)
        policy = TrustPolicy.parse(logs.policy_text(self.session, "https://portal.example", trust))
        assert proof is not None
        opened = proof.check(logs.opening(entry).leaf(), policy.logs, list(policy.witnesses.values()))
        self.session.rollback()
        return policy.met([one.key for one in opened.by_witnesses])


@pytest.fixture
def successive(
    settings: Settings,
    engine: Engine,
    session: TenantSession,
    store: LocalBlobStore,
    jobs: RecordingQueue,
    tmp_path: Path,
) -> Successive:
    clock = FixedClock(datetime.now(UTC))  # that of a witness in a process of its own
    bench = Bench(engine=engine, clock=clock, store=store, jobs=jobs, settings=settings)
    witness = WitnessFolder.create(tmp_path / "witness", "witness.example")
    return Successive(bench, session, clock, witness)


@contextmanager
def lotgate_witness(folder: Path, port: int) -> Iterator[None]:
    """`lotgate witness serve` until the end of the block; then it is gone."""
    with subprocess.Popen(
        command_line("witness", "serve", str(folder), "--port", str(port)),
        env=environment(folder.parent / "none"), stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30)
                except urllib.error.HTTPError:
                    break
                except OSError:
                    assert process.poll() is None
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()


def test_a_witness_that_was_down_while_a_log_was_closed_cosigns_its_last_checkpoint(
    successive: Successive,
) -> None:
    port = free_port()
    successive.open()
    successive.witnessed_by(f"http://127.0.0.1:{port}")
    with lotgate_witness(successive.witness.folder, port):
        successive.record()
        successive.look()
    assert successive.cosigned() == {(1, 1)}
    successive.record()
    successive.open()
    successive.record()
    successive.look()
    assert [trouble.partition(": it could not be reached")[0] for trouble in successive.troubles()] == [
        "portal.example/ledger/2",
        "portal.example/ledger/1",
    ]
    assert not successive.meets_the_quorum(1)
    successive.clock.advance(timedelta(minutes=1))
    with lotgate_witness(successive.witness.folder, port):
        successive.look()
    assert successive.cosigned() == {(1, 1), (1, 2), (2, 1)}
    assert [successive.meets_the_quorum(seq) for seq in range(3)] == [True, True, True]
    assert successive.troubles() == []


def test_a_log_that_a_witness_does_not_know_is_asked_ever_more_rarely_and_holds_up_no_other(
    successive: Successive,
) -> None:
    asked: list[int] = []
    served = application(str(successive.witness.folder), successive.clock)

    def counting(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        asked.append(int(body.decode().partition("/ledger/")[2][0]))
        return served(environ | {"wsgi.input": io.BytesIO(body)}, start)

    successive.open(known=False)
    successive.record()
    successive.open()
    with serving(counting) as url:
        successive.witnessed_by(url)
        for _ in range(20):
            successive.record()
            successive.look()
            successive.clock.advance(timedelta(seconds=2))
    assert asked.count(2) == 20  # each checkpoint of the newest log, the moment that it was there
    assert asked.count(1) == 4  # at once, and after 5, 10 and 20 seconds
    assert {size for log, size in successive.cosigned() if log == 2} == set(range(1, 21))
    (trouble,) = successive.troubles()
    assert trouble.startswith("portal.example/ledger/1: it does not know the log portal.example/ledger/1")


def test_closed_logs_come_one_at_a_time_behind_the_newest_even_where_that_grows_all_the_time(
    successive: Successive,
) -> None:
    for _ in range(4):
        successive.open()
        successive.record()
    with serving(application(str(successive.witness.folder), successive.clock)) as url:
        successive.witnessed_by(url)
        looks = []
        for _ in range(3):
            successive.record()
            before = successive.cosigned()
            successive.look()
            looks.append([log for log, _ in sorted(successive.cosigned() - before)])
        successive.clock.advance(timedelta(days=1))
        policy = witnesses.configured(successive.bench.settings.witnesses)
        assert policy is not None
        assert witnesses.due(successive.session, successive.clock, witnesses.addressed(policy)) == []
    assert looks == [[3, 4], [2, 4], [1, 4]]


def test_nobody_is_asked_while_there_is_no_checkpoint(successive: Successive) -> None:
    with serving(application(str(successive.witness.folder), successive.clock)) as url:
        successive.witnessed_by(url)
        successive.look()
        successive.open()
        successive.look()
    assert (successive.cosigned(), successive.troubles()) == (set(), [])
