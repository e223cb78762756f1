"""A key distrusted after approval: what rests on it is verified and assessed again, and nothing else."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from imgtool.main import imgtool
from sqlalchemy import select

from portal.accounts.actors import Actor
from portal.adapters.blobs import LocalBlobStore
from portal.errors import InvalidInput
from portal.evidence.service import receive_bytes
from portal.reassessment.models import ChangeNotice, Reassessment
from portal.reassessment.service import key_distrusted
from portal.reassessment.touched import submissions_resting_on
from portal.review.assessing import newest_assessment, open_case
from portal.review.models import DecisionKind
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.firmware.service import start_firmware
from portal.submissions.models import CheckRecord, Submission, SubmissionState
from portal.submissions.service import submit
from portal.suppliers.models import Product, SigningKey, Supplier
from portal.suppliers.service import decide_key, distrust_key, register_key
from portal.verification import Outcome
from tests.factories import RecordingQueue
from tests.unit.review.conftest import Desk
from tests.unit.verification.conftest import Keys


@dataclass
class Works:
    """A supplier with two products, each with firmware signed by its own key, verified by the real jobs."""

    desk: Desk
    jobs: RecordingQueue
    store: LocalBlobStore
    spool: Path
    folder: Path
    pairs: Keys
    supplier: Supplier
    actor: Actor

    def key(self, name: str) -> SigningKey:
        desk = self.desk
        key = register_key(
            desk.session,
            self.actor,
            desk.clock,
            label=name,
            pem=self.pairs.public(name),
            purposes=("firmware",),
        )
        decide_key(
            desk.session,
            desk.reviewer(),
            desk.clock,
            key.id,
            approve=True,
            fingerprint_typed=key.fingerprint[-8:],
            note="By telephone",
        )
        desk.session.commit()
        return key

    def firmware(self, product: Product, key: str, version: str) -> Submission:
        """An image signed by imgtool, submitted and verified as if it had come through the page."""
        desk = self.desk
        evidence = receive_bytes(
            desk.session,
            self.actor,
            desk.clock,
            self.store,
            self.spool,
            self._image(key, version),
            filename=f"{product.model}-{version}.bin",
            limit=1 << 20,
        )
        submission = start_firmware(
            desk.session,
            self.actor,
            desk.clock,
            component_id=product.components[0].id,
            version=version,
            image_id=evidence.id,
        )
        submit(desk.session, self.actor, desk.clock, self.jobs, submission.id)
        desk.session.commit()
        self.jobs.run_all()
        desk.session.expire_all()
        return submission

    def product(self, key: str) -> Product:
        """A product with everything, its firmware signed with `key`, approved by a reviewer."""
        product = self.desk.make.product(self.supplier)
        self.desk.offered.questionnaire(product)
        self.desk.session.commit()
        self.firmware(product, key, "1.0.0")
        self.desk.decide(self.desk.assessed(product), DecisionKind.APPROVE)
        return product

    def distrust(self, key: SigningKey, since: datetime) -> ChangeNotice:
        desk, reviewer = self.desk, self.desk.reviewer()
        distrust_key(desk.session, reviewer, desk.clock, key.id, since=since, reason="The key leaked")
        notice = key_distrusted(desk.session, reviewer, desk.clock, self.jobs, key)
        desk.session.commit()
        assert [job for job, _ in self.jobs.run_all()] == ["reassess"]
        desk.session.expire_all()
        return notice

    def release(self, submission: Submission) -> FirmwareRelease:
        return self.desk.session.scalars(
            select(FirmwareRelease).where(FirmwareRelease.submission_id == submission.id)
        ).one()

    def _image(self, key: str, version: str) -> bytes:
        payload, signed = self.folder / "payload.bin", self.folder / "signed.bin"
        payload.write_bytes(version.encode() * 500)
        arguments = ["sign", "--key", self.pairs.private(key), "--version", version, "--align", "4"]
        arguments += ["--header-size", "0x200", "--pad-header", "--slot-size", "0x20000", payload, signed]
        result = CliRunner().invoke(imgtool, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return signed.read_bytes()


@pytest.fixture
def works(
    desk: Desk,
    jobs: RecordingQueue,
    store: LocalBlobStore,
    spool: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Works:
    supplier = desk.make.supplier("Fenwick Energy")
    actor = desk.make.supplier_actor(supplier)
    pairs = Keys(tmp_path_factory.mktemp("pairs"))
    return Works(desk, jobs, store, spool, tmp_path, pairs, supplier, actor)


@pytest.fixture
def leaked(works: Works) -> SigningKey:
    return works.key("ed25519")


def test_only_what_rests_on_the_key_is_assessed_again(works: Works, leaked: SigningKey) -> None:
    works.key("other")
    touched, sibling = works.product("ed25519"), works.product("other")
    session = works.desk.session
    before = newest_assessment(session, sibling.id)
    notice = works.distrust(leaked, works.desk.clock.now() - timedelta(days=1))

    done = session.scalars(select(Reassessment)).all()
    assert [(row.change_notice_id, row.product_id, row.material) for row in done] == [
        (notice.id, touched.id, True)
    ]
    case = open_case(session, touched.id)
    assert case is not None and done[0].case_id == case.id
    assert "the rating was approvable and is high risk" in case.why
    assert open_case(session, sibling.id) is None
    after = newest_assessment(session, sibling.id)
    assert before is not None and after is not None and after.id == before.id


def test_firmware_that_lost_its_key_is_withdrawn_by_a_new_run(works: Works, leaked: SigningKey) -> None:
    product = works.product("ed25519")
    session = works.desk.session
    submission = session.scalars(select(Submission).where(Submission.kind == "firmware")).one()
    assert submission.product_id == product.id
    assert [row.id for row in submissions_resting_on(session, leaked)] == [submission.id]
    works.distrust(leaked, works.desk.clock.now() - timedelta(days=1))
    release = works.release(submission)
    assert release.withdrawn_at == works.desk.clock.now()
    assert (submission.run, submission.state) == (2, SubmissionState.VERIFIED)
    outcomes = {
        (row.run, row.check_id): row.outcome
        for row in session.scalars(select(CheckRecord).where(CheckRecord.submission_id == submission.id))
    }
    assert outcomes[1, "firmware.key"] is Outcome.PASS
    assert outcomes[2, "firmware.key"] is not Outcome.PASS


def test_what_was_received_before_the_date_stays_trusted(works: Works, leaked: SigningKey) -> None:
    product = works.product("ed25519")
    works.desk.clock.advance(timedelta(days=10))
    works.distrust(leaked, works.desk.clock.now() - timedelta(days=5))
    session = works.desk.session
    (done,) = session.scalars(select(Reassessment)).all()
    assert (done.product_id, done.material, done.case_id) == (product.id, False, None)
    submission = session.scalars(select(Submission).where(Submission.kind == "firmware")).one()
    assert submission.state is SubmissionState.ACCEPTED
    assert works.release(submission).withdrawn_at is None


def test_firmware_by_another_key_after_the_leak_is_welcome(works: Works, leaked: SigningKey) -> None:
    product = works.product("ed25519")
    works.key("other")
    works.distrust(leaked, works.desk.clock.now() - timedelta(days=1))
    works.desk.clock.advance(timedelta(days=1))
    works.firmware(product, "other", "1.1.0")
    newest = newest_assessment(works.desk.session, product.id)
    assert newest is not None and newest.knock_outs == 0


def test_a_distrust_whose_job_failed_for_good_is_handled_on_the_next_day(
    works: Works, leaked: SigningKey
) -> None:
    works.product("ed25519")
    desk, reviewer = works.desk, works.desk.reviewer()
    distrust_key(
        *(desk.session, reviewer, desk.clock, leaked.id),
        since=desk.clock.now() - timedelta(days=1),
        reason="The key leaked",
    )
    notice = key_distrusted(desk.session, reviewer, desk.clock, works.jobs, leaked)
    desk.session.commit()
    works.jobs.waiting.clear()  # it failed as often as the queue tries it

    def daily() -> list[str]:
        works.jobs.enqueue(desk.session, "daily")
        desk.session.commit()
        ran = [job for job, _ in works.jobs.run_all()]
        desk.session.expire_all()
        return ran

    assert daily() == ["daily"]  # so soon it may be at work
    desk.session.commit()
    desk.clock.advance(timedelta(days=1))
    assert daily() == ["daily", "reassess"]
    assert notice.handled_at == desk.clock.now()
    submission = desk.session.scalars(select(Submission).where(Submission.kind == "firmware")).one()
    assert submission.state is SubmissionState.VERIFIED
    desk.session.commit()
    desk.clock.advance(timedelta(days=1))
    assert daily() == ["daily"]


def test_a_key_that_is_still_trusted_is_no_change(works: Works, leaked: SigningKey) -> None:
    with pytest.raises(InvalidInput):
        key_distrusted(works.desk.session, works.desk.reviewer(), works.desk.clock, works.jobs, leaked)
    assert works.desk.session.scalars(select(ChangeNotice)).all() == []


def test_attestation_keys_touch_every_batch_they_may_have_signed(works: Works) -> None:
    desk = works.desk
    product = desk.make.product(works.supplier)
    lot = desk.offered.lot(product)
    batch = desk.offered.attestations(lot)
    registrar = desk.make.user(supplier=works.supplier)
    for purposes, resting in (
        (["firmware"], []),
        (["attestation"], [batch.id]),
        (["manifest"], []),  # the lot has no signature
    ):
        key = desk.offered.key(works.supplier.id, registrar, purposes=purposes)
        assert [row.id for row in submissions_resting_on(desk.session, key)] == resting, purposes
