"""kill -9 of a real worker: no work is lost or done twice, and a job that kills three workers is shown."""

import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.adapters.blobs import LocalBlobStore
from portal.cli.database import upgrade_database
from portal.clock import FixedClock
from portal.db import open_engine, open_session, reading
from portal.evidence import service as evidence
from portal.jobs.queue import DurableQueue
from portal.ledger.models import Entry
from portal.review.models import Assessment, Case, CaseCause
from portal.settings import Settings
from portal.submissions import service as submissions
from portal.submissions.firmware.service import start_firmware
from portal.submissions.models import AttachmentRole, CheckRecord, Submission, SubmissionState
from portal.suppliers.keys import decide_key, register_key
from portal.suppliers.models import Component, KeyPurpose
from portal.verification import hash_file
from tests.factories import Make
from tests.journeys.commands import command_line, environment, lotgate

JOBS = 14
KILLS = 4
HEAVY = 1 << 30  # takes a second or more to verify; a hole in the file system, so it needs no room
WAIT_SECONDS = 60
DONE = (SubmissionState.VERIFIED, SubmissionState.ACCEPTED)
T = TypeVar("T")
pytestmark = pytest.mark.slow


class Works:
    """A portal's folder with submissions that wait, and one worker process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(var_dir=folder / "var", secret_key="s" * 40)
        upgrade_database(self.settings)
        self.engine = open_engine(self.settings.database)
        self.session = open_session(self.engine)
        self.clock = FixedClock(datetime.now(UTC))
        self.make = Make(self.session, self.clock, Flask("tests"), entered=True)
        self.store = LocalBlobStore(self.settings.store)
        self.jobs = DurableQueue(self.engine)
        self.log = folder / "worker.log"
        self.worker: subprocess.Popen[bytes] | None = None

    def offer(self, actor: Actor, component: Component, path: Path, signature: Path | None = None) -> str:
        """Submit the file as firmware of the component, as the pages do; the id of the submission."""
        row = start_firmware(self.session, actor, self.clock, component_id=component.id, version="1.0.0")
        for given, role in ((path, AttachmentRole.IMAGE), (signature, AttachmentRole.SIGNATURE)):
            if given is not None:
                taken = evidence.accept(
                    self.session,
                    actor,
                    self.clock,
                    self.store,
                    path=given,
                    digests=hash_file(given),
                    filename=given.name,
                )
                submissions.attach(self.session, actor, self.clock, row.id, taken.id, role)
        submissions.submit(self.session, actor, self.clock, self.jobs, row.id)
        self.session.commit()
        return row.id

    def approved_key(self, actor: Actor) -> Ed25519PrivateKey:
        """A key that counts for the actor's supplier."""
        key = Ed25519PrivateKey.generate()
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        row = register_key(
            self.session, actor, self.clock, label="Release", purposes=[KeyPurpose.FIRMWARE], pem=pem
        )
        decide_key(
            self.session,
            self.make.actor(),
            self.clock,
            row.id,
            approve=True,
            fingerprint_typed=row.fingerprint[-8:],
            note="read out over the telephone",
        )
        return key

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.worker = subprocess.Popen(
                command_line("worker", "--no-upgrade"),
                env=environment(self.settings.var_dir, secret_key="s" * 40),
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        if self.worker is not None and self.worker.poll() is None:
            self.worker.send_signal(signal.SIGKILL)
            self.worker.wait()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with reading(self.engine) as session:
            yield session

    def until(self, what: str, ask: Callable[[Session], T]) -> T:
        """What `ask` answers, once it answers anything true; fails when that takes too long."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            with self.reading() as session:
                if found := ask(session):
                    return found
            assert self.worker is None or self.worker.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{what} took too long:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.session.close()
        self.engine.dispose()


def done(session: Session) -> int:
    counted = select(func.count()).select_from(Submission).where(Submission.state.in_(DONE))
    return session.scalar(counted) or 0


def runs_begun(session: Session, submission_id: str) -> tuple[str, int]:
    """State of the job, and how often workers have begun it."""
    row = session.execute(
        text("select status, recovery_attempts from workflow_status where workflow_uuid = :id"),
        {"id": f"verify_submission:{submission_id}"},
    ).one()
    return str(row.status), int(row.recovery_attempts or 0)


def test_each_submission_is_verified_once_however_often_the_worker_dies(tmp_path: Path) -> None:
    seed = int(os.environ.get("LOTGATE_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)  # named in the failure, so that it can be repeated
    with Works(tmp_path) as works:
        # Given many submissions about one product, that wait for their verification
        supplier = works.make.supplier()
        actor = works.make.supplier_actor(supplier)
        product = works.make.product(supplier, components=tuple(f"Part {n}" for n in range(JOBS)))
        digests = {}
        for number, component in enumerate(product.components):
            path = tmp_path / f"part-{number}.bin"
            path.write_bytes(chance.randbytes(1 << 20))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            digests[works.offer(actor, component, path)] = digest

        # When the worker is killed at random moments, each time after it has done some of them
        for _ in range(KILLS):
            with works.reading() as session:
                before = done(session)
            goal = min(JOBS, before + 3)  # so that none is in hand at three deaths
            works.start()
            works.until("some work", lambda session, goal=goal: done(session) >= goal)
            time.sleep(chance.uniform(0, 0.3))
            works.kill()
        works.start()
        works.until(f"all work (seed {seed})", lambda session: done(session) == JOBS)

        # Then every one was verified in one run, whole, and all that belongs to it is there once
        with works.reading() as session:
            assert set(session.scalars(select(Submission.run))) == {1}, f"seed {seed}"
            checks: dict[str, list[str]] = {}
            for check in session.scalars(select(CheckRecord).order_by(CheckRecord.position)):
                checks.setdefault(check.submission_id, []).append(check.check_id)
            assert set(checks) == set(digests)
            assert len({tuple(names) for names in checks.values()}) == 1, f"seed {seed}: half a run"
            told = select(func.count()).select_from(Entry).where(Entry.kind == "check.recorded")
            assert session.scalar(told) == sum(map(len, checks.values())), f"seed {seed}"
            numbers = list(session.scalars(select(Assessment.number).order_by(Assessment.number)))
            assert numbers == list(range(1, len(numbers) + 1)), f"seed {seed}"
            assert session.scalar(select(func.count()).select_from(Case)) == 1
        works.kill()
        found = lotgate(works.settings.var_dir, "fsck")
        assert found.returncode == 0, f"seed {seed}: {found.stdout}"


def test_a_job_that_kills_three_workers_is_a_visible_failure(tmp_path: Path) -> None:
    with Works(tmp_path) as works:
        # Given a submission whose verification takes a while
        supplier = works.make.supplier()
        actor = works.make.supplier_actor(supplier)
        path = tmp_path / "heavy.bin"
        with path.open("wb") as file:
            file.truncate(HEAVY)
        # Ed25519 signs the bytes and not a digest: all of them have to be read
        signature = tmp_path / "heavy.sig"
        signature.write_bytes(works.approved_key(actor).sign(b"something else"))
        submission_id = works.offer(actor, works.make.product(supplier).components[0], path, signature)

        # When three workers die with it in their hands
        for death in (1, 2, 3):
            works.start()
            works.until(
                f"run {death}",
                lambda session, death=death: runs_begun(session, submission_id) == ("PENDING", death),
            )
            works.kill()
            with works.reading() as session:
                assert session.get_one(Submission, submission_id).state in submissions.PENDING

        # Then the next one does not try again: it says so where people look
        works.start()
        works.until(
            "the failure",
            lambda session: session.get_one(Submission, submission_id).state is SubmissionState.FAILED,
        )
        with works.reading() as session:
            row = session.get_one(Submission, submission_id)
            assert (row.outcome, row.failure) == (None, "the job ended the worker 3 times")
            assert session.scalar(select(func.count()).select_from(CheckRecord)) == 0
            assert session.scalars(select(Case)).one().cause is CaseCause.FAILURE
            told = session.scalars(select(Entry.subject_id).where(Entry.kind == "submission.failed"))
            assert list(told) == [submission_id]
        works.kill()
        found = lotgate(works.settings.var_dir, "fsck", "--quick")
        assert found.returncode == 0, found.stdout
