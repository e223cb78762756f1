"""One assessment with signed evidence, conditions and a real log; its bundle, made once for all tests."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.clock import FixedClock, today
from portal.db import TenantSession, open_engine, open_session
from portal.ledger import logs
from portal.ledger.policies import TrustPolicy
from portal.models import metadata
from portal.reports.bundles.write import write_bundle
from portal.review.assessing import assess, open_case
from portal.review.models import Assessment, CaseCause, DecisionKind
from portal.review.rules import Condition, foreseen, must_be_named
from portal.review.service import claim, decide
from portal.settings import Settings
from portal.submissions.lots import sampling
from portal.submissions.lots.service import lot_of
from portal.suppliers import sampling as seeds
from portal.suppliers.keys import distrust_key
from tests.factories import Make, RecordingQueue
from tests.unit.submissions.conftest import Desk, Keys, a_unit
from tests.unit.submissions.test_questionnaires import begin, fill

URL = "https://portal.example"
SERIALS = tuple(f"SN-{number}" for number in range(1, 41))


@dataclass
class World:
    session: TenantSession
    clock: FixedClock
    settings: Settings
    store: LocalBlobStore
    desk: Desk
    decided: str  # id of the assessment that the decision left in force

    def bundle(self, *, digests_only: bool = False) -> bytes:
        file = io.BytesIO()
        write_bundle(
            self.session,
            self.store,
            self.decided,
            file,
            policy=self.policy_text,
            digests_only=digests_only,
        )
        return file.getvalue()

    def publish(self) -> None:
        log = logs.open_log(self.session)
        assert log is not None
        signer = signer_in(self.settings, log.number, log.origin)
        while logs.publish(self.session, self.clock, signer) is not None:
            self.session.commit()

    @property
    def policy_text(self) -> str:
        return logs.policy_text(self.session, URL, None)

    @property
    def policy(self) -> TrustPolicy:
        return TrustPolicy.parse(self.policy_text)


def lines(desk: Desk) -> bytes:
    """Forty statements: one by a key of nobody, one about no unit of the lot, one that is no envelope."""
    good = desk.envelopes("maker", map(a_unit, SERIALS[:-2]))
    foreign = desk.envelopes("stranger", [a_unit(SERIALS[-2])])
    elsewhere = desk.envelopes("maker", [a_unit("SN-of-another-lot")])
    return good + foreign + elsewhere + b"{}\n"


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made_in(tmp_path_factory.mktemp("bundle")) as world:
        yield world


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    """One of its own, for what would change the others'."""
    (tmp_path / "fresh").mkdir()
    with made_in(tmp_path / "fresh") as world:
        yield world


@contextmanager
def made_in(folder: Path) -> Iterator[World]:
    settings = Settings(
        var_dir=folder / "var",
        secret_key="a key for tests that is long enough to be accepted",
        database_url=f"sqlite:///{folder / 'test.db'}",
        public_url=URL,
    )
    engine = open_engine(settings.database)
    metadata.create_all(engine)
    settings.store.mkdir(parents=True)
    (settings.store / "spool").mkdir()
    store = LocalBlobStore(settings.store)
    clock = FixedClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    session = open_session(engine)
    make = Make(session, clock, Flask("bundles"), entered=True)
    jobs = RecordingQueue(engine, clock, store, settings)
    (folder / "keys").mkdir()
    desk = Desk(session, make, clock, store, settings.store / "spool", jobs, Keys(folder / "keys"))
    logs.create(session, clock, signer_in(settings, 1, f"{URL.removeprefix('https://')}/ledger/1"))
    session.commit()
    decided = _play(desk, make)
    found = World(session, clock, settings, store, desk, decided.id)
    found.publish()
    yield found
    session.close()
    engine.dispose()


def _play(desk: Desk, make: Make) -> Assessment:
    session, clock = desk.session, desk.clock
    desk.key("maker")
    clock.advance(timedelta(minutes=1))
    answers = begin(desk)
    fill(desk, answers)
    desk.verify(answers)
    image = desk.keys.image(None, "2.1.0")
    desk.firmware(image, "2.1.0", desk.keys.sign("maker", image))
    seeds.commit(session, clock, desk.product)
    manifest = desk.manifest(*SERIALS)
    lot = desk.lot(manifest)
    desk.attest(lot, lines(desk))
    clock.advance(timedelta(minutes=1))
    # What counts is what counted then: a key that is distrusted later changes no verdict of before.
    late = desk.key("late")
    reviewer = make.actor(RoleName.REVIEWER)
    distrust_key(
        session, reviewer, clock, late.id, since=clock.now(), reason="stolen from the works in Narvik"
    )
    assess(session, clock, desk.product.id, cause="test", case_cause=CaseCause.SUBMISSION)
    case = open_case(session, desk.product.id)
    delivered = lot_of(session, lot)
    assert case is not None and delivered is not None
    sampling.draw(session, reviewer, clock, delivered, 5)
    session.commit()
    first, second = make.actor(RoleName.APPROVER), make.actor(RoleName.APPROVER)
    gaps = must_be_named(foreseen(case.assessment, (), today(clock)))
    conditions = [
        Condition(gap.control_id, "Only in hall 3.", "Facilities", date(2027, 6, 30)) for gap in gaps[:50]
    ]
    for actor in (first, second) if case.tier == 1 else (first,):
        clock.advance(timedelta(minutes=5))
        claim(session, actor, clock, case.id)
        decide(
            *(session, actor, clock, case.id),
            assessment_id=case.assessment_id,
            kind=DecisionKind.APPROVE_WITH_CONDITIONS,
            reason="Good enough with conditions.",
            conditions=conditions if actor is first else (),
        )
        session.commit()
    return session.scalars(select(Assessment).order_by(Assessment.number.desc())).first()  # type: ignore[return-value]


@pytest.fixture(scope="package")
def whole(world: World) -> bytes:
    return world.bundle()


@pytest.fixture(scope="package")
def digests(world: World, whole: bytes) -> bytes:
    """Of the same state as `whole`."""
    return world.bundle(digests_only=True)


@pytest.fixture
def policy_file(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    path.write_text(world.policy_text)
    return path
