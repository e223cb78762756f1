"""Two workers at the same moment: all examine before any records, on both databases.

What an examination reads is a snapshot; every comparison with what others offered must be made where one
verification at a time is written down.
"""

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from portal.accounts.models import RoleName
from portal.db import open_session, reading
from portal.ledger.service import length, verify_chain
from portal.submissions import service as submissions
from portal.submissions.attestations.service import start_attestations
from portal.submissions.firmware.history import newest_accepted
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.firmware.service import release_of
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.lots.service import lot_of
from portal.submissions.models import CheckRecord, Submission, SubmissionState
from portal.suppliers import timestamping
from portal.suppliers.keys import believed, decide_key, distrust_key
from portal.suppliers.models import SigningKey
from portal.verification import Outcome, TimestampAuthority, verify_file
from tests.factories.databases import ON_BOTH
from tests.unit.submissions.conftest import Desk, NewDesk, a_unit
from tests.unit.submissions.test_one_time_keys import CHECK, approved
from tests.unit.verification.hss import Signer

pytestmark = ON_BOTH

P, F = Outcome.PASS, Outcome.FAIL


def quiet(_done: int, _total: int, _note: str) -> None:
    """Progress that nobody waits for."""


def at_the_same_moment(engine: Engine, desk: Desk, *drafts: Submission) -> None:
    """Each draft verified by a thread of its own (twice if named twice); none records before all examined."""
    for draft in dict.fromkeys(drafts):
        if draft.state is SubmissionState.DRAFT:
            desk.submit(draft)
        submissions.begin_verification(desk.session, desk.clock, draft.id)
    desk.session.commit()
    all_examined = threading.Barrier(len(drafts), timeout=60)
    problems: list[BaseException] = []

    def work(submission_id: str) -> None:
        try:
            with reading(engine) as session:
                findings = submissions.examine(session, desk.store, submission_id, quiet)
            all_examined.wait()
            with open_session(engine) as session:
                submissions.record(session, desk.clock, findings)
                session.commit()
        except BaseException as error:  # noqa: BLE001  # shown by the test itself
            problems.append(error)

    threads = [threading.Thread(target=work, args=(draft.id,)) for draft in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    desk.session.expire_all()
    assert list(verify_chain(desk.session)) == []


def outcomes(desk: Desk, check: str, *drafts: Submission) -> list[Outcome]:
    return [desk.checks(draft.id)[check].outcome for draft in drafts]


def image(desk: Desk, version: str, fill: int = 7) -> Submission:
    return desk.draft_firmware(desk.keys.image("firmware", version, fill=fill), version)


# --- lots -----------------------------------------------------------------------------------------


def test_of_two_lots_with_the_same_serial_one_is_the_first(new_desk: NewDesk, engine: Engine) -> None:
    ours, theirs = new_desk(components=()), new_desk(components=())
    drafts = ours.draft_lot(ours.manifest("SN-1", "SN-2")), theirs.draft_lot(theirs.manifest("sn-1", "SN-3"))
    theirs.submit(drafts[1])
    at_the_same_moment(engine, ours, *drafts)
    assert sorted(outcomes(ours, "serials_new", *drafts)) == [F, P]


def test_of_two_corrections_of_one_lot_the_second_repeats_its_serials(
    new_desk: NewDesk, engine: Engine
) -> None:
    desk = new_desk(components=())
    wrong = desk.lot(desk.manifest())
    drafts = [desk.draft_lot(desk.manifest(), supersedes_id=wrong) for _ in range(2)]
    at_the_same_moment(engine, desk, *drafts)
    assert sorted(outcomes(desk, "serials_new", *drafts)) == [F, P]
    replaced = lot_of(desk.session, wrong)
    assert replaced is not None
    assert not replaced.live


def test_two_files_of_attestations_complete_a_lot_between_them(new_desk: NewDesk, engine: Engine) -> None:
    desk = new_desk(components=())
    desk.key("attest", ("attestation",))
    lot = lot_of(desk.session, desk.lot(desk.manifest("SN-1", "SN-2")))
    assert lot is not None
    drafts = [
        start_attestations(
            *(desk.session, desk.actor, desk.clock),
            lot_id=lot.id,
            attestations_id=desk.put(desk.envelopes("attest", [a_unit(serial)]), f"{serial}.jsonl"),
        )
        for serial in ("SN-1", "SN-2")
    ]
    at_the_same_moment(engine, desk, *drafts)
    assert [desk.row(draft.id).state for draft in drafts] == [SubmissionState.ACCEPTED] * 2
    assert desk.checks(lot.submission_id)["attested"].outcome is P


# --- firmware -------------------------------------------------------------------------------------


def test_of_two_images_of_one_version_one_is_the_first(desk: Desk, engine: Engine) -> None:
    desk.key("firmware")
    drafts = image(desk, "1.0.0", fill=3), image(desk, "1.0.0", fill=5)
    at_the_same_moment(engine, desk, *drafts)
    assert sorted(outcomes(desk, "lineage", *drafts)) == [F, P]
    first = next(draft for draft in drafts if outcomes(desk, "lineage", draft) == [P])
    accepted = [release_of(desk.session, draft.id).accepted_at for draft in drafts]
    assert accepted.count(None) == 1
    newest = newest_accepted(desk.session, desk.component.id)
    assert newest is not None
    assert newest.submission_id == first.id


def test_one_image_offered_twice_is_one_release(desk: Desk, engine: Engine) -> None:
    desk.key("firmware")
    drafts = image(desk, "2.0.0"), image(desk, "2.0.0")
    at_the_same_moment(engine, desk, *drafts)
    assert [draft.outcome for draft in drafts] == [P, P]
    newest = newest_accepted(desk.session, desk.component.id)
    assert newest is not None
    assert newest.image_version == "2.0.0+0"
    assert desk.checks(desk.verify(image(desk, "1.9.0")))["rollback"].outcome is F


def test_a_downgrade_is_seen_beside_its_newer_one(desk: Desk, engine: Engine) -> None:
    desk.key("firmware")
    older, newer = image(desk, "1.0.0"), image(desk, "2.0.0")
    at_the_same_moment(engine, desk, older, newer)
    old, new = (desk.checks(draft.id)["rollback"] for draft in (older, newer))
    assert new.outcome is P
    assert (old.outcome is F) == (new.reason.startswith("No release"))  # whichever was recorded first
    newest = newest_accepted(desk.session, desk.component.id)
    assert newest is not None
    assert newest.submission_id == newer.id


def test_a_one_time_key_that_signs_two_images_is_seen_whichever_comes_first(
    desk: Desk, engine: Engine
) -> None:
    signer = Signer.make(1, "lms_sha256_m24_h5", "lmots_sha256_n24_w4")
    approved(desk, signer)
    one = desk.draft_firmware(b"image 1", "1.0", signer.sign(b"image 1"))
    signer.rewind()
    two = desk.draft_firmware(b"image 2", "2.0", signer.sign(b"image 2"))
    at_the_same_moment(engine, desk, one, two)
    assert {desk.checks(draft.id)[CHECK].outcome for draft in (one, two)} == {P, F}


# --- one submission, taken for lost and given to a second worker ---------------------------------------


def test_a_lot_verified_by_two_workers_is_kept_once_and_not_held_against_itself(
    new_desk: NewDesk, engine: Engine
) -> None:
    desk = new_desk(components=())
    draft = desk.draft_lot(desk.manifest())
    at_the_same_moment(engine, desk, draft, draft)
    assert [desk.session.scalar(select(func.count()).select_from(table)) for table in (Lot, Unit)] == [1, 2]
    assert desk.session.scalar(select(func.count()).select_from(CustodyEvent)) == 2
    assert desk.checks(draft.id)["serials_new"].outcome is P
    assert draft.run == 2


def test_an_image_verified_by_two_workers_is_accepted_by_both(desk: Desk, engine: Engine) -> None:
    desk.key("firmware")
    draft = image(desk, "1.0.0")
    at_the_same_moment(engine, desk, draft, draft)
    rows = desk.session.scalars(select(CheckRecord).where(CheckRecord.submission_id == draft.id)).all()
    found = {(row.run, row.check_id): row.outcome for row in rows}
    for check in ("rollback", "lineage"):
        assert [found[run, f"firmware.{check}"] for run in (1, 2)] == [P, P]
    assert desk.session.scalars(select(FirmwareRelease)).one().accepted_at == desk.clock.now()
    assert draft.state is SubmissionState.ACCEPTED


# --- whom to believe ------------------------------------------------------------------------------


def test_who_is_believed_is_what_the_entries_before_one_number_tell(
    new_desk: NewDesk, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where that changes between its queries: on PostgreSQL each sees what is committed by then."""
    desk = new_desk()
    first, second = desk.key("first"), desk.key("second", approve=None)
    reviewer, now = desk.make.actor(RoleName.REVIEWER), desk.clock.now()
    desk.session.commit()
    real, snapshot = timestamping.entries, engine.dialect.name == "sqlite"
    path = tmp_path / "image.bin"
    path.write_bytes(desk.keys.image(None, "1.0.0"))

    def change() -> None:
        with open_session(engine) as other:
            distrust_key(other, reviewer, desk.clock, first.id, since=now, reason="stolen")
            last = second.fingerprint[-8:]
            decide_key(
                *(other, reviewer, desk.clock, second.id), approve=True, fingerprint_typed=last, note="met"
            )
            other.commit()

    def entries(session: Session) -> list[TimestampAuthority]:
        """The last query: those of keys and lists were made."""
        monkeypatch.undo()
        thread = threading.Thread(target=change)
        thread.start()
        thread.join()
        return real(session)

    monkeypatch.setattr(timestamping, "entries", entries)
    with reading(engine) as session:
        seen = session.get_one(SigningKey, first.id)  # as it was, in the memory of the session
        before = length(session)
        found = believed(session, desk.supplier.id)
        assert seen.distrusted_from == (None if snapshot else now)
    assert length(desk.session) == before + 2
    assert found.before == (before if snapshot else before + 2)
    by = {"first": (P, F), "second": (Outcome.NOT_RUN, P)}
    for name, expected in by.items():
        report = verify_file(
            path, found.trust, at=now.timestamp(), signature=desk.keys.sign(name, path.read_bytes())
        )
        checks = {check.id: check.outcome for check in report.checks}
        assert checks["firmware.key"] is expected[0 if snapshot else 1], name
