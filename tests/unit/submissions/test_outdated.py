"""Whom to believe changes while something is verified: nothing is recorded by what was believed before.

With the real jobs, on both databases; the change is made by another connection.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, text

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.db import TenantSession, open_session
from portal.errors import Outdated
from portal.jobs.tasks import EXAMINATIONS, Bench, give_up, reassess
from portal.ledger.service import verify_chain
from portal.reassessment.models import ChangeNotice
from portal.reassessment.service import key_distrusted
from portal.submissions import service as submissions
from portal.submissions.findings import take_turns
from portal.submissions.firmware.service import release_of
from portal.submissions.models import CheckRecord, Submission, SubmissionState
from portal.suppliers.keys import distrust_key
from portal.suppliers.models import SigningKey
from portal.suppliers.service import add_component
from portal.verification import Outcome
from tests.factories.databases import ON_BOTH
from tests.factories.interrupting import Act, meanwhile
from tests.unit.submissions.conftest import Desk, NewDesk
from tests.unit.submissions.test_questionnaires import begin, fill

pytestmark = ON_BOTH

P, F = Outcome.PASS, Outcome.FAIL


@pytest.fixture
def reviewer(desk: Desk) -> Actor:
    actor = desk.make.actor(RoleName.REVIEWER)
    desk.session.commit()
    return actor


def quiet(_done: int, _total: int, _note: str) -> None:
    """Progress that nobody waits for."""


def distrusting(desk: Desk, reviewer: Actor, key: SigningKey, *, hours: int = 1) -> Act:
    """Since so many hours ago, as the page does it: with its notice and the job for it."""
    key_id, since = key.id, desk.clock.now() - timedelta(hours=hours)

    def act(session: TenantSession) -> None:
        row = distrust_key(session, reviewer, desk.clock, key_id, since=since, reason="stolen")
        key_distrusted(session, reviewer, desk.clock, desk.jobs, row)

    return act


def image(desk: Desk, key: str = "firmware", version: str = "1.0.0") -> Submission:
    return desk.draft_firmware(desk.keys.image(key, version), version)


def bench(desk: Desk) -> Bench:
    jobs = desk.jobs
    return Bench(jobs.engine, jobs.clock, jobs.store, jobs, jobs.settings)


def nothing_was_recorded(desk: Desk, submission_id: str) -> bool:
    desk.session.expire_all()
    rows = desk.session.scalars(select(CheckRecord).where(CheckRecord.submission_id == submission_id))
    nothing = desk.row(submission_id).run == 0 and not rows.all() and not list(verify_chain(desk.session))
    desk.session.commit()  # else SQLite lets nobody else write
    return nothing


def test_an_image_is_not_accepted_by_a_key_that_was_distrusted_while_it_was_verified(
    desk: Desk, reviewer: Actor
) -> None:
    """The job that the distrust started ends before: it does not see what is still being verified."""
    key, draft = desk.key("firmware"), image(desk)
    with meanwhile(desk.jobs, distrusting(desk, reviewer, key), then=desk.jobs.run_all) as store:
        desk.verify(draft)
    notice = desk.session.scalars(select(ChangeNotice).where(ChangeNotice.signing_key_id == key.id)).one()
    assert notice.handled_at is not None
    assert desk.checks(draft.id)["key"].outcome is F
    assert (draft.run, draft.state) == (1, SubmissionState.VERIFIED)
    assert release_of(desk.session, draft.id).accepted_at is None
    assert store.opened == 2
    assert list(verify_chain(desk.session)) == []


def test_a_change_that_was_examined_before_another_does_not_undo_what_that_one_found(
    desk: Desk, reviewer: Actor
) -> None:
    """Two re-assessments at once: the one that began first is recorded last."""
    key = desk.key("firmware")
    made = desk.verify(image(desk))
    desk.clock.advance(timedelta(hours=2))
    first = distrusting(desk, reviewer, key)  # since after the delivery, which still counts
    first(desk.session)
    desk.session.commit()
    second = distrusting(desk, reviewer, key, hours=5)
    with meanwhile(desk.jobs, second, then=desk.jobs.run_all):
        ran = desk.jobs.run_all()
    assert [job for job, _ in ran] == ["reassess"]
    desk.session.expire_all()
    assert desk.checks(made)["key"].outcome is F
    assert desk.row(made).state is SubmissionState.VERIFIED
    assert release_of(desk.session, made).withdrawn_at is not None
    notices = desk.session.scalars(select(ChangeNotice).where(ChangeNotice.signing_key_id == key.id)).all()
    assert [notice.handled_at is None for notice in notices] == [False, False]
    assert list(verify_chain(desk.session)) == []


def again_and_again(desk: Desk, reviewer: Actor, key: SigningKey) -> Act:
    """The same key is distrusted from earlier each time: then no job of its own is started."""
    hours, key_id = iter(range(1, 100)), key.id

    def act(session: TenantSession) -> None:
        since = desk.clock.now() - timedelta(hours=next(hours))
        distrust_key(session, reviewer, desk.clock, key_id, since=since, reason="stolen")

    return act


def test_an_image_whose_keys_never_stay_the_same_is_neither_accepted_nor_examined_for_ever(
    desk: Desk, reviewer: Actor
) -> None:
    draft = image(desk)
    act = again_and_again(desk, reviewer, desk.key("firmware"))
    with meanwhile(desk.jobs, act, times=EXAMINATIONS) as store, pytest.raises(Outdated):
        desk.verify(draft)
    assert store.opened == EXAMINATIONS
    assert nothing_was_recorded(desk, draft.id)
    give_up(bench(desk), "verify_submission", (draft.id,), "the job failed three times")
    desk.session.expire_all()
    assert draft.state is SubmissionState.FAILED


def test_a_change_is_not_handled_while_the_keys_do_not_stay_the_same(desk: Desk, reviewer: Actor) -> None:
    key = desk.key("firmware")
    made = desk.verify(image(desk))
    row = distrust_key(
        *(desk.session, reviewer, desk.clock, key.id), since=desk.clock.now(), reason="lost on the way"
    )
    notice = key_distrusted(desk.session, reviewer, desk.clock, desk.jobs, row)
    desk.session.commit()
    desk.jobs.waiting.clear()
    with (
        meanwhile(desk.jobs, again_and_again(desk, reviewer, key), times=EXAMINATIONS),
        pytest.raises(Outdated),
    ):
        reassess(bench(desk), notice.id)
    desk.session.expire_all()
    assert (notice.handled_at, desk.row(made).run) == (None, 1)
    desk.session.commit()
    reassess(bench(desk), notice.id)  # when the queue tries it again
    desk.session.expire_all()
    assert (notice.handled_at, desk.row(made).state) == (desk.clock.now(), SubmissionState.VERIFIED)


def test_findings_are_not_replaced_by_earlier_ones(desk: Desk, engine: Engine) -> None:
    desk.key("firmware")
    draft = image(desk)
    desk.submit(draft)
    earlier = submissions.examine(desk.session, desk.store, draft.id, quiet)
    add_component(desk.session, desk.actor, desk.clock, desk.product.id, name="Display")  # any entry
    desk.session.commit()
    desk.jobs.run_all()
    with open_session(engine) as session, pytest.raises(Outdated, match="later, and recorded before"):
        submissions.record(session, desk.clock, earlier)
    desk.session.expire_all()
    assert draft.run == 1


def test_no_findings_are_recorded_by_hand_after_the_trust_that_they_rest_on(
    desk: Desk, engine: Engine, reviewer: Actor
) -> None:
    draft, key = image(desk), desk.key("firmware")
    desk.submit(draft)
    found = submissions.examine(desk.session, desk.store, draft.id, quiet)
    distrusting(desk, reviewer, key)(desk.session)
    desk.session.commit()
    with open_session(engine) as session, pytest.raises(Outdated, match="whom to believe changed"):
        submissions.record(session, desk.clock, found)
    assert nothing_was_recorded(desk, draft.id)


# --- What stays as it was found -------------------------------------------------------------------


def test_what_another_supplier_may_sign_with_is_no_reason_to_examine_again(
    new_desk: NewDesk, reviewer: Actor
) -> None:
    ours, theirs = new_desk(), new_desk()
    ours.key("firmware")
    draft = image(ours)
    with meanwhile(ours.jobs, distrusting(theirs, reviewer, theirs.key("theirs"))) as store:
        ours.verify(draft)
    assert (draft.state, store.opened) == (SubmissionState.ACCEPTED, 1)


def answers(desk: Desk) -> str:
    draft = begin(desk)
    fill(desk, draft)
    return desk.submit(draft)


def unsigned_lot(desk: Desk) -> str:
    return desk.submit(desk.draft_lot(desk.manifest()))


@pytest.mark.parametrize("offered", [answers, unsigned_lot])
def test_what_rests_on_nobodys_word_is_recorded_as_it_was_found(
    desk: Desk, engine: Engine, reviewer: Actor, offered: Callable[[Desk], str]
) -> None:
    key = desk.key("maker")
    made = offered(desk)
    found = submissions.examine(desk.session, desk.store, made, quiet)
    distrusting(desk, reviewer, key)(desk.session)
    desk.session.commit()
    with open_session(engine) as session:
        submissions.record(session, desk.clock, found)
        session.commit()
    desk.session.expire_all()
    assert desk.row(made).run == 1


# --- Who waits for whom ---------------------------------------------------------------------------


def behind(engine: Engine, act: Act) -> threading.Thread:
    """`act`, by somebody who has to wait; on SQLite for the write lock, where it cannot be seen."""
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with open_session(engine) as session:
                act(session)
                session.commit()
        except BaseException as error:  # noqa: BLE001  # shown by the test itself
            problems.append(error)

    class Waiting(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            super().join(timeout)
            assert problems == []

    thread = Waiting(target=work)
    thread.start()
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            deadline = time.monotonic() + 60
            while not connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                assert time.monotonic() < deadline
                time.sleep(0.01)
    return thread


def test_distrusting_the_key_and_recording_what_it_signed_do_not_wait_for_each_other_for_ever(
    desk: Desk, engine: Engine, reviewer: Actor
) -> None:
    key, draft = desk.key("firmware"), image(desk)
    desk.submit(draft)
    found = submissions.examine(desk.session, desk.store, draft.id, quiet)
    desk.session.commit()
    with open_session(engine) as session:
        session.get(SigningKey, key.id)  # SQLite: the write lock
        take_turns(session)
        thread = behind(engine, distrusting(desk, reviewer, key))
        assert submissions.record(session, desk.clock, found) is P  # it was recorded before
        session.commit()
    thread.join()
    desk.jobs.run_all()
    desk.session.expire_all()
    assert (draft.run, draft.state) == (2, SubmissionState.VERIFIED)


def test_what_was_verified_after_all_is_not_said_to_have_failed(desk: Desk, engine: Engine) -> None:
    desk.key("firmware")
    draft = image(desk)
    desk.submit(draft)
    found = submissions.examine(desk.session, desk.store, draft.id, quiet)
    desk.session.commit()
    with open_session(engine) as session:
        submissions.record(session, desk.clock, found)
        thread = behind(engine, lambda other: submissions.mark_failed(other, desk.clock, draft.id, "late"))
        session.commit()
    thread.join()
    desk.session.expire_all()
    assert (draft.state, draft.failure) == (SubmissionState.ACCEPTED, "")
