"""The worker asks witnesses beside its other work; pages and the policy say what came of it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine, func, select
from werkzeug.wrappers import Request as Asked
from werkzeug.wrappers import Response

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.adapters.witness_folder import WitnessFolder
from portal.app import create_app
from portal.cli.witness import application
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.jobs.cosigning import Cosigning
from portal.jobs.tasks import Bench, publish_ledger
from portal.ledger import logs
from portal.ledger.models import Cosignature
from portal.ledger.notes import Note
from portal.ledger.policies import TrustPolicy
from portal.ledger.service import append
from portal.notices.models import Message
from portal.settings import Settings
from tests.factories import Make, RecordingQueue
from tests.factories.histories import History
from tests.factories.serving import serving

ORIGIN = "127.0.0.1:8000/ledger/1"


@dataclass
class Watched:
    """A portal with an open log that one witness of ours cosigns, and one that is never there."""

    bench: Bench
    app: Flask
    witness: WitnessFolder
    session: TenantSession

    def record(self) -> None:
        append(self.session, self.bench.clock, "evidence.accepted", "1" * 32, {})
        self.session.commit()
        publish_ledger(self.bench)

    def cosign(self) -> None:
        cosigning = Cosigning(self.bench)
        cosigning.look()
        for thread in cosigning._asking.values():
            thread.join(60)


@pytest.fixture
def watched(
    settings: Settings,
    engine: Engine,
    session: TenantSession,
    clock: FixedClock,
    store: LocalBlobStore,
    jobs: RecordingQueue,
    tmp_path: Path,
) -> Iterator[Watched]:
    signer = signer_in(settings, 1, ORIGIN)
    logs.create(session, clock, signer)
    session.commit()
    witness = WitnessFolder.create(tmp_path / "witness", "witness.example")
    witness.add(list(signer.verifier_keys()))
    first, second = witness.signer.verifier_keys()
    with serving(application(str(witness.folder), clock)) as url:
        path = tmp_path / "witnesses"
        path.write_text(
            f"witness w {first} {url}\nwitness w-pq {second} {url}\n"
            f"witness gone {WitnessFolder.create(tmp_path / 'x', 'gone.example').signer.verifier_keys()[0]}"
            " http://127.0.0.1:9\nquorum w\n"
        )
        own = replace(settings, witnesses=path)
        bench = Bench(engine=engine, clock=clock, store=store, jobs=jobs, settings=own)
        app = create_app(own, clock=clock, jobs=jobs)
        app.testing = True
        yield Watched(bench, app, witness, session)


def test_the_newest_checkpoint_is_cosigned_and_pages_say_so(watched: Watched) -> None:
    client = watched.app.test_client()
    watched.record()
    assert "No witness has cosigned this log." in client.get("/ledger/").text
    watched.cosign()
    page = client.get("/ledger/").text
    assert "witness.example" in page
    assert "The witness gone.example does not cosign at present" in page
    policy = TrustPolicy.parse(client.get("/ledger/policy").text)
    assert (len(policy.logs), list(policy.witnesses), policy.quorum) == (2, ["w", "w-pq", "gone"], "w")
    note = Note.parse(client.get("/ledger/1/checkpoint").text)
    assert policy.met([one.key for one in note.signed_by(policy.witnesses.values())])


def test_a_witness_is_asked_only_where_a_key_of_the_log_is(watched: Watched, tmp_path: Path) -> None:
    watched.record()
    elsewhere = replace(watched.bench.settings, ledger_dir=tmp_path / "another host")
    watched.bench = replace(watched.bench, settings=elsewhere)
    watched.cosign()
    assert watched.session.scalars(select(Cosignature)).all() == []


def test_a_witness_that_never_answers_delays_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds its connection open to the end; checkpoints are signed and cosigned meanwhile."""
    released, asked = threading.Event(), []

    @Asked.application
    def silent(request: Asked) -> Response:
        asked.append(request.path)
        released.wait(120)
        return Response("", 200)

    path = watched.bench.settings.witnesses
    assert path is not None
    with serving(silent) as url:
        other = path.with_name("others")
        other.write_text(path.read_text().replace("http://127.0.0.1:9", url))
        watched.bench = replace(watched.bench, settings=replace(watched.bench.settings, witnesses=other))
        monkeypatch.setattr("portal.jobs.cosigning.PATIENCE_SECONDS", 120)
        cosigning = Cosigning(watched.bench)
        for size in (1, 2, 3):
            watched.record()
            cosigning.look()
            for address, thread in cosigning._asking.items():
                if address != url:
                    thread.join(60)
            assert watched.session.scalar(select(func.max(Cosignature.size))) == size
            watched.session.rollback()
        released.set()
        cosigning.stop()
    assert asked == ["/add-checkpoint"]  # one question at a time


def test_administrators_get_one_mail_when_a_witness_saw_another_history(watched: Watched, make: Make) -> None:
    admin = make.user(RoleName.ADMINISTRATOR)
    make.user(RoleName.REVIEWER)
    watched.session.commit()
    watched.record()
    note = History(ORIGIN).add(1).note()
    path = watched.witness._path(ORIGIN)
    path.write_text(
        str(Note(note.checkpoint, watched.witness.signer.cosign(note.checkpoint, watched.bench.clock)))
    )
    for _ in range(3):
        watched.cosign()
        assert isinstance(watched.bench.clock, FixedClock)
        watched.bench.clock.at += timedelta(hours=1)
    mails = watched.session.scalars(select(Message).where(Message.kind == "witness_alarm")).all()
    assert [mail.recipient for mail in mails] == [admin.email]
    assert "is no beginning of this log" in mails[0].body
    assert "saw another history" in watched.app.test_client().get("/ledger/").text
