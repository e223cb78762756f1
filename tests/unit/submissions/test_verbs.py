"""The state machine, and whose rows are whose. Two workers at the same moment: test_races.py."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.ledger.models import Entry
from portal.submissions import service as submissions
from portal.submissions.attestations.service import start_attestations
from portal.submissions.firmware.service import start_firmware
from portal.submissions.lots.service import lot_of, start_lot
from portal.submissions.models import AttachmentRole, CheckRecord, SubmissionState
from portal.submissions.questionnaires.service import start_questionnaire
from portal.verification import Outcome
from tests.unit.submissions.conftest import Desk, NewDesk


def quiet(_done: int, _total: int, _note: str) -> None:
    """Progress that nobody waits for."""


def test_a_draft_without_its_file_is_not_submitted(desk: Desk) -> None:
    for draft in (
        start_firmware(
            *(desk.session, desk.actor, desk.clock), component_id=desk.component.id, version="1.0.0"
        ),
        start_lot(*(desk.session, desk.actor, desk.clock), product_id=desk.product.id, lot_number="L-1"),
    ):
        with pytest.raises(InvalidInput) as caught:
            desk.submit(draft)
        assert [problem.found for problem in caught.value.problems] == ["no file"]
        assert draft.state is SubmissionState.DRAFT


def test_what_was_submitted_does_not_change(desk: Desk) -> None:
    draft = desk.draft_lot(desk.manifest())
    desk.submit(draft)
    document = desk.put(b"a document", "a.pdf")
    with pytest.raises(Conflict, match="cannot be changed"):
        desk.attach(draft, document, AttachmentRole.DOCUMENT)
    with pytest.raises(Conflict, match="cannot be changed"):
        desk.submit(draft)
    assert desk.jobs.waiting == [("verify_submission", (draft.id,))]


def test_one_file_a_role_any_number_of_documents_and_no_strange_roles(desk: Desk) -> None:
    draft = desk.draft_lot(desk.manifest())
    for name in ("a", "b"):
        desk.attach(draft, desk.put(name.encode(), f"{name}.pdf"), AttachmentRole.DOCUMENT)
    with pytest.raises(Conflict, match="manifest already"):
        desk.attach(draft, desk.put(b"{}", "m.json"), AttachmentRole.MANIFEST)
    with pytest.raises(InvalidInput) as caught:
        desk.attach(draft, desk.put(b"image", "i.bin"), AttachmentRole.IMAGE)
    assert caught.value.problems[0].where == "role"
    assert len(draft.attachments) == 3


@pytest.mark.parametrize("digest", ["abc", "g" * 64, "é" * 64])
def test_a_declared_digest_must_be_one(desk: Desk, digest: str) -> None:
    with pytest.raises(InvalidInput):
        desk.draft_firmware(b"image", "1.0.0", declared_sha256=digest)


@pytest.mark.parametrize("version", ["", "   ", "x" * 65, "1.0\u202e"])
def test_a_version_is_a_short_line_of_text(desk: Desk, version: str) -> None:
    with pytest.raises(InvalidInput):
        desk.draft_firmware(b"image", version)


def test_what_can_be_withdrawn(desk: Desk) -> None:
    made = desk.lot(desk.manifest())
    entries = select(Entry.kind).where(Entry.subject_id == made)
    submissions.withdraw(desk.session, desk.actor, desk.clock, desk.jobs, made)
    assert desk.row(made).state is SubmissionState.WITHDRAWN
    found = desk.session.scalars(entries.order_by(Entry.seq)).all()
    assert found == ["submission.made", "verification.ended", "submission.withdrawn"]
    with pytest.raises(Conflict, match="withdrawn and cannot"):
        submissions.withdraw(desk.session, desk.actor, desk.clock, desk.jobs, made)


def test_what_is_withdrawn_while_it_is_examined_is_not_recorded(desk: Desk) -> None:
    draft = desk.draft_lot(desk.manifest())
    desk.submit(draft)
    submissions.begin_verification(desk.session, desk.clock, draft.id)
    findings = submissions.examine(desk.session, desk.store, draft.id, quiet)
    submissions.withdraw(desk.session, desk.actor, desk.clock, desk.jobs, draft.id)
    assert submissions.record(desk.session, desk.clock, findings) is Outcome.NOT_RUN
    assert draft.state is SubmissionState.WITHDRAWN
    assert lot_of(desk.session, draft.id) is None
    assert not submissions.begin_verification(desk.session, desk.clock, draft.id)


def test_an_interrupted_run_is_begun_again_and_a_failure_is_never_a_pass(desk: Desk) -> None:
    draft = desk.draft_lot(desk.manifest())
    desk.submit(draft)
    assert submissions.begin_verification(desk.session, desk.clock, draft.id)
    assert submissions.begin_verification(desk.session, desk.clock, draft.id)  # the first worker died
    assert submissions.mark_failed(desk.session, desk.clock, draft.id, "three workers died on it")
    assert (draft.state, draft.outcome) == (SubmissionState.FAILED, None)
    assert not submissions.mark_failed(desk.session, desk.clock, draft.id, "again")
    assert not submissions.mark_failed(desk.session, desk.clock, "nobody", "again")


def test_damage_in_the_store_is_unreadable_and_never_a_pass(desk: Desk) -> None:
    desk.key("firmware")
    draft = desk.draft_firmware(desk.keys.image("firmware", "1.0.0"), "1.0.0")
    desk.submit(draft)
    other = desk.keys.image("firmware", "1.0.0", fill=3)
    with desk.store.get_local_path(draft.attachments[0].evidence.sha256) as path:
        path.chmod(0o600)
        path.write_bytes(other)
    desk.jobs.run_all()
    desk.session.expire_all()
    assert desk.row(draft.id).outcome is Outcome.UNREADABLE
    assert "other bytes than were delivered" in desk.checks(draft.id)["verification"].reason


def test_every_check_is_in_the_ledger_and_old_runs_stay(desk: Desk) -> None:
    made = desk.lot(desk.manifest())
    submissions.verify(desk.session, desk.clock, desk.store, made, quiet)
    rows = desk.session.scalars(select(CheckRecord).where(CheckRecord.submission_id == made)).all()
    assert sorted({row.run for row in rows}) == [1, 2]
    entries = desk.session.scalars(select(Entry).where(Entry.kind == "check.recorded")).all()
    assert {entry.subject_id for entry in entries} == {row.id for row in rows}
    body = json.loads(next(entry.body for entry in entries if entry.subject_id == rows[0].id))
    assert (body["check"], body["outcome"]) == (rows[0].check_id, rows[0].outcome.value)


# --- whose is it ----------------------------------------------------------------------------------


def test_ids_of_another_supplier_look_like_none_even_in_a_session_that_sees_all(new_desk: NewDesk) -> None:
    ours, theirs = new_desk(), new_desk()
    lot = lot_of(theirs.session, theirs.lot(theirs.manifest()))
    assert lot is not None
    draft, foreign_draft = ours.draft_lot(ours.manifest()), theirs.draft_lot(theirs.manifest("SN-9"))
    evidence = theirs.put(b"theirs", "theirs.bin")
    us = (ours.session, ours.actor, ours.clock)
    tries: list[Callable[[], object]] = [
        lambda: submissions.attach(*us, draft.id, evidence, AttachmentRole.SIGNATURE),
        lambda: submissions.attach(*us, foreign_draft.id, evidence, AttachmentRole.SIGNATURE),
        lambda: submissions.submit(*us, ours.jobs, foreign_draft.id),
        lambda: submissions.withdraw(*us, ours.jobs, foreign_draft.id),
        lambda: start_firmware(*us, component_id=theirs.component.id, version="1.0.0"),
        lambda: start_lot(*us, product_id=theirs.product.id, lot_number="L-1"),
        lambda: start_lot(*us, product_id=ours.product.id, lot_number="L-1", supersedes_id=lot.submission_id),
        lambda: start_attestations(*us, lot_id=lot.id),
        lambda: start_questionnaire(*us, product_id=theirs.product.id),
    ]
    for attempt in tries:
        with pytest.raises(NotFound):
            attempt()


def test_people_of_the_buyer_submit_nothing(desk: Desk) -> None:
    reviewer = desk.make.actor(RoleName.REVIEWER)
    with pytest.raises(NotAllowed):
        start_lot(desk.session, reviewer, desk.clock, product_id=desk.product.id, lot_number="L-1")


def test_only_what_was_submitted_about_the_same_product_is_replaced(desk: Desk) -> None:
    draft = desk.draft_lot(desk.manifest())
    with pytest.raises(Conflict, match="nothing to replace"):
        desk.draft_lot(desk.manifest(), supersedes_id=draft.id)
    other = desk.make.product(desk.supplier)
    desk.submit(draft)
    with pytest.raises(InvalidInput, match="about the same product"):
        start_lot(
            *(desk.session, desk.actor, desk.clock),
            product_id=other.id,
            lot_number="L-1",
            supersedes_id=draft.id,
        )
