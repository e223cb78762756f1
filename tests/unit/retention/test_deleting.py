"""What goes, what stays whoever asks, and what is left of what went."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from portal.accounts.actors import MACHINE, Actor
from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import Conflict, Gone, NotAllowed
from portal.evidence.models import Tombstone
from portal.evidence.service import demand_quota
from portal.ledger.models import Entry
from portal.retention import service
from portal.retention.preview import Preview, preview
from portal.retention.rules import DEFAULTS, Anchor, Kind, Rule
from portal.review.assessing import open_case
from portal.review.facts import gather
from portal.review.models import CaseCause
from portal.review.service import assess
from portal.submissions import service as submissions
from portal.submissions.drafting import attach, start
from portal.submissions.models import AttachmentRole, Submission, SubmissionKind, SubmissionState
from portal.suppliers.models import Supplier
from portal.verification import Outcome
from tests.factories import Make
from tests.factories.kept import Kept
from tests.factories.offered import Offered


def names(found: Preview) -> list[str]:
    return [item.file.filename for item in found.goes]


def reasons(found: Preview) -> dict[str, tuple[str, ...]]:
    return {item.file.filename: item.reasons for item in found.stays}


def delete_all(session: TenantSession, administrator: Actor, clock: FixedClock) -> Preview:
    done = service.delete(session, administrator, clock, digest=preview(session, clock).digest)
    session.commit()
    return done


def remove_all(session: TenantSession, clock: FixedClock, store: LocalBlobStore) -> int:
    removed = 0
    while step := service.remove_bytes(session, clock, store):
        removed += step
        session.commit()
    session.commit()
    return removed


def test_what_is_past_its_period_goes_and_its_record_stays(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    evidence = kept.delivered(kept.ended())
    done = delete_all(session, administrator, clock)
    assert names(done) == ["image.bin"]
    assert store.stat(evidence.sha256) is not None  # the record comes first
    assert remove_all(session, clock, store) == 1
    assert store.stat(evidence.sha256) is None
    tombstone = session.get_one(Tombstone, evidence.id)
    assert tombstone.told == (
        f"image.bin was deleted on 21 November 2026 by {administrator.name} under the rule “firmware: 10 "
        "years from the product’s end of support (rules, version 0)”. Its digest and its receipt are kept."
    )
    entry = session.scalars(select(Entry).where(Entry.kind == "evidence.deleted")).one()
    said = json.loads(entry.body)
    assert (entry.subject_id, entry.supplier_id) == (evidence.id, evidence.supplier_id)
    assert (said["sha256"], said["size"], said["by"]) == (
        evidence.sha256,
        evidence.size,
        administrator.user_id,
    )
    assert (said["rules_version"], said["kept_until"]) == (0, "2017-06-30")
    assert kept.faults() == []
    assert preview(session, clock).goes == ()


@pytest.mark.parametrize(
    "state", [SubmissionState.DRAFT, SubmissionState.SUBMITTED, SubmissionState.VERIFYING]
)
def test_a_file_that_is_still_worked_with_stays(
    session: TenantSession, clock: FixedClock, kept: Kept, state: SubmissionState
) -> None:
    kept.delivered(kept.ended(), state=state)
    found = preview(session, clock)
    assert found.goes == ()
    assert "draft" in reasons(found)["image.bin"][0] or "verification" in reasons(found)["image.bin"][0]


def test_a_file_inside_its_period_stays(session: TenantSession, clock: FixedClock, kept: Kept) -> None:
    kept.delivered(kept.ended(), ago=timedelta(days=9 * 365))  # out of support already when it came
    found = preview(session, clock)
    assert found.goes == ()
    assert reasons(found)["image.bin"][0].startswith("inside its period until 2")


def test_the_last_day_of_the_period_is_inside_it(
    session: TenantSession, clock: FixedClock, kept: Kept
) -> None:
    product = kept.ended(end_of_support=clock.now().date().replace(year=2016))
    kept.delivered(product)
    assert preview(session, clock).goes == ()
    clock.advance(timedelta(days=1))
    assert names(preview(session, clock)) == ["image.bin"]


def test_a_product_whose_end_is_not_known_keeps_everything(
    session: TenantSession, clock: FixedClock, kept: Kept
) -> None:
    kept.delivered(kept.ended(end_of_support=None))
    found = preview(session, clock)
    assert found.goes == ()
    assert reasons(found)["image.bin"] == ("firmware: the product’s end of support is not known",)


def test_a_file_of_an_open_case_stays(session: TenantSession, clock: FixedClock, kept: Kept) -> None:
    product = kept.ended()
    kept.delivered(product, kind=SubmissionKind.LOT, role=AttachmentRole.MANIFEST)
    assess(session, clock, product.id, cause="test", case_cause=CaseCause.SUBMISSION)
    case = open_case(session, product.id)
    assert case is not None
    found = preview(session, clock)
    assert found.goes == ()
    assert reasons(found)["image.bin"] == (f"case {case.number} is open",)


def test_a_file_used_twice_stays_as_long_as_its_longest_use(
    session: TenantSession, clock: FixedClock, kept: Kept
) -> None:
    product = kept.ended()
    evidence = kept.delivered(product)
    other = kept.make.product(session.get(type(kept.make.supplier()), product.supplier_id))
    kept.submission(other, evidence, SubmissionKind.LOT, AttachmentRole.MANIFEST, SubmissionState.VERIFIED)
    session.commit()
    found = preview(session, clock)
    assert found.goes == ()
    assert reasons(found)["image.bin"] == ("lot: the product’s end of support is not known",)


def test_a_file_offered_with_nothing_goes_after_a_year(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor
) -> None:
    kept.delivered(ago=timedelta(days=366))
    kept.delivered(data=b"younger", filename="younger.bin", ago=timedelta(days=364))
    assert names(preview(session, clock)) == ["image.bin"]


def test_a_deletion_of_another_set_than_was_seen_is_refused(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor
) -> None:
    kept.delivered(kept.ended())
    seen = preview(session, clock)
    kept.delivered(kept.ended(), b"another", filename="another.bin")
    with pytest.raises(Conflict, match="changed since you saw it"):
        service.delete(session, administrator, clock, digest=seen.digest)
    assert session.scalars(select(Tombstone)).all() == []


@pytest.mark.parametrize("meanwhile", ["a hold", "other rules", "another deletion", "a new use"])
def test_a_deletion_of_what_was_judged_just_before_is_judged_anew(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    make: Make,
    administrator: Actor,
    meanwhile: str,
) -> None:
    """The preview was made in a transaction of its own, which held nobody up."""
    product = kept.ended()
    evidence = kept.delivered(product)
    seen = preview(session, clock)
    if meanwhile == "a hold":
        actor = make.actor(RoleName.APPROVER)
        service.place(
            session, actor, clock, supplier_id=product.supplier_id, reference="INC-1", why="Fire in hall 3."
        )
    elif meanwhile == "other rules":
        looser = {**DEFAULTS, Kind.LOT: Rule(Anchor.RECEIVED, 30)}
        service.set_rules(session, administrator, clock, by_kind=looser, why="Longer.", version=0)
    elif meanwhile == "another deletion":
        delete_all(session, administrator, clock)
    else:
        other = make.product(session.get(Supplier, product.supplier_id))
        kept.submission(
            other, evidence, SubmissionKind.LOT, AttachmentRole.MANIFEST, SubmissionState.VERIFIED
        )
    with pytest.raises(Conflict, match="changed since you saw it"):
        service.delete(session, administrator, clock, digest=seen.digest, seen=seen)


def test_a_deletion_under_other_rules_than_were_seen_is_refused(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor
) -> None:
    kept.delivered(kept.ended())
    seen = preview(session, clock)
    looser = {**DEFAULTS, Kind.LOT: Rule(Anchor.RECEIVED, 30)}
    service.set_rules(session, administrator, clock, by_kind=looser, why="Lots are kept longer.", version=0)
    with pytest.raises(Conflict, match="changed since you saw it"):
        service.delete(session, administrator, clock, digest=seen.digest)


def test_an_empty_deletion_is_refused(
    session: TenantSession, clock: FixedClock, administrator: Actor
) -> None:
    with pytest.raises(Conflict, match="nothing that may go"):
        service.delete(session, administrator, clock, digest=preview(session, clock).digest)


@pytest.mark.parametrize("role", [role for role in RoleName if role is not RoleName.ADMINISTRATOR])
def test_nobody_but_an_administrator_deletes(
    session: TenantSession, clock: FixedClock, kept: Kept, make: Make, role: RoleName
) -> None:
    kept.delivered(kept.ended())
    actor = make.supplier_actor() if role.value.startswith("supplier") else make.actor(role)
    with pytest.raises(NotAllowed):
        service.delete(session, actor, clock, digest=preview(session, clock).digest)


def test_no_machine_deletes(session: TenantSession, clock: FixedClock, kept: Kept) -> None:
    kept.delivered(kept.ended())
    with pytest.raises(NotAllowed, match="needs a person"):
        service.delete(session, MACHINE, clock, digest=preview(session, clock).digest)


def test_bytes_that_another_supplier_needs_stay_for_them(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    mine = kept.delivered(kept.ended())
    theirs = kept.delivered(kept.make.product(), ago=timedelta(days=30))
    assert mine.sha256 == theirs.sha256
    delete_all(session, administrator, clock)
    assert remove_all(session, clock, store) == 0
    assert store.stat(theirs.sha256) is not None
    assert session.get(Tombstone, theirs.id) is None
    clock.advance(timedelta(days=2))
    assert kept.faults() == []


def test_the_same_bytes_may_be_delivered_again(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    product = kept.ended()
    kept.delivered(product)
    delete_all(session, administrator, clock)
    remove_all(session, clock, store)
    again = kept.delivered(product, ago=timedelta())
    assert store.stat(again.sha256) is not None
    assert remove_all(session, clock, store) == 0
    assert kept.faults() == []


def test_deleted_files_do_not_count_against_the_quota(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor
) -> None:
    product = kept.ended()
    evidence = kept.delivered(product)
    delete_all(session, administrator, clock)
    demand_quota(session, kept.suppliers[product.supplier_id], evidence.size, evidence.size)


def test_a_verification_of_what_was_deleted_is_never_a_pass(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor, store: LocalBlobStore
) -> None:
    product = kept.ended()
    evidence = kept.delivered(product)
    kept.delivered(kept.make.product(), ago=timedelta(days=30))  # the bytes are there all the same
    delete_all(session, administrator, clock)
    remove_all(session, clock, store)
    submission = session.scalars(select(Submission).where(Submission.product_id == product.id)).one()
    outcome = submissions.verify(session, clock, store, submission.id, lambda *_: None)
    assert outcome is Outcome.UNREADABLE
    (check,) = submissions.newest_checks(session, submission)
    assert check.reason == session.get_one(Tombstone, evidence.id).told
    assert submission.state is SubmissionState.VERIFIED  # accepted no more


def test_what_was_found_before_the_deletion_is_not_recorded_as_a_pass_after_it(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor, offered: Offered
) -> None:
    product = kept.ended()
    kept.delivered(product)
    submission = session.scalars(select(Submission)).one()

    class Passing:
        trust_before = None

        def settle(self, *_: object) -> tuple[submissions.Check, ...]:
            return (submissions.Check("firmware.signature", Outcome.PASS, "valid"),)

        def record(self, *_: object) -> None: ...

    found = submissions.Findings(submission.id, Passing())
    delete_all(session, administrator, clock)
    assert submissions.record(session, clock, found) is Outcome.UNREADABLE


def test_an_assessment_after_the_deletion_counts_no_check_over_it_as_a_pass(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor, offered: Offered
) -> None:
    product = kept.ended()
    evidence = kept.delivered(product)
    submission = session.scalars(select(Submission)).one()
    offered.run(submission, {"firmware.signature": Outcome.PASS, "firmware.version": Outcome.WARN})
    before = gather(session, clock, product, [submission])
    delete_all(session, administrator, clock)
    after = gather(session, clock, product, [submission])
    assert [check.outcome for check in before.checks] == ["pass", "warn"]
    assert [check.outcome for check in after.checks] == ["unreadable", "warn"]
    assert session.get_one(Tombstone, evidence.id).told in after.checks[0].reason


def test_a_deleted_file_beside_an_answer_backs_it_no_more(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor, offered: Offered
) -> None:
    product = kept.ended()
    clock.advance(-timedelta(days=20 * 365))
    questionnaire = offered.questionnaire(product)
    clock.advance(timedelta(days=20 * 365))
    before = gather(session, clock, product, [questionnaire])
    assert any(answer.evidence for answer in before.answers.values())
    delete_all(session, administrator, clock)
    after = gather(session, clock, product, [questionnaire])
    assert not any(answer.evidence for answer in after.answers.values())


def test_a_deleted_file_cannot_be_offered_again(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor
) -> None:
    product = kept.ended()
    evidence = kept.delivered(product)
    delete_all(session, administrator, clock)
    actor = kept.suppliers[product.supplier_id]
    draft = start(session, actor, clock, kind=SubmissionKind.FIRMWARE, product_id=product.id, title="again")
    with pytest.raises(Gone, match="Deliver the file again"):
        attach(session, actor, clock, draft.id, evidence.id, AttachmentRole.IMAGE)


def test_a_removal_that_was_cut_off_is_finished_by_the_next(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    """Killed after the bytes went and before that was recorded."""
    evidence = kept.delivered(kept.ended())
    delete_all(session, administrator, clock)
    store.delete(evidence.sha256)
    assert remove_all(session, clock, store) == 1
    assert session.get_one(Tombstone, evidence.id).removed_at == clock.now()
    assert kept.faults() == []


def test_rows_without_bytes_are_no_reason_to_delete_again(
    session: TenantSession, clock: FixedClock, kept: Kept, administrator: Actor, store: LocalBlobStore
) -> None:
    kept.delivered(kept.ended())
    delete_all(session, administrator, clock)
    remove_all(session, clock, store)
    assert preview(session, clock).goes == ()
    with pytest.raises(Conflict):
        delete_all(session, administrator, clock)


# --- What fsck names --------------------------------------------------------------------------------


def test_fsck_names_bytes_that_are_there_though_deleted(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    evidence = kept.delivered(kept.ended())
    copy = spool / "copy"
    copy.write_bytes(b"an image")
    delete_all(session, administrator, clock)
    assert kept.faults() == []  # the worker comes within the day
    remove_all(session, clock, store)
    store.put(copy, evidence.sha256)
    (fault,) = kept.faults()
    assert "though it was removed on 2026-11-21" in fault


def test_fsck_names_bytes_that_are_gone_without_a_tombstone(
    session: TenantSession, clock: FixedClock, kept: Kept, store: LocalBlobStore, spool: Path
) -> None:
    evidence = kept.delivered(kept.ended())
    store.delete(evidence.sha256)
    (fault,) = kept.faults()
    assert evidence.id in fault
    assert "no tombstone says that it was deleted" in fault


def test_fsck_names_a_tombstone_without_a_ledger_entry(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    evidence = kept.delivered(kept.ended())
    session.add(
        Tombstone(
            id=evidence.id,
            supplier_id=evidence.supplier_id,
            rule="firmware: none",
            rules_version=0,
            rules_digest="0" * 64,
            kept_until=clock.now().date(),
            deleted_by=administrator.user_id,
            deleted_at=clock.now(),
            removed_at=clock.now(),
        )
    )
    store.delete(evidence.sha256)
    (fault,) = kept.faults()
    assert f"tombstones {evidence.id}" in fault
    assert "has no entry evidence.deleted in the ledger" in fault


def test_fsck_names_a_tombstone_that_was_taken_away(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    kept.delivered(kept.ended())
    delete_all(session, administrator, clock)
    session.execute(text("DELETE FROM tombstones"))
    assert any("tells of tombstones" in fault for fault in kept.faults())


def test_fsck_names_evidence_moved_to_another_tenant(
    session: TenantSession, clock: FixedClock, kept: Kept, make: Make, store: LocalBlobStore, spool: Path
) -> None:
    evidence = kept.delivered(kept.ended())
    session.execute(text("UPDATE evidence SET supplier_id = :to"), {"to": make.supplier().id})
    found = kept.faults()
    assert [fault for fault in found if evidence.id in fault and "belongs to supplier" in fault] == found


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE evidence SET received_at = '1999-01-01 00:00:00.000000'", "evidence"),
        ("UPDATE tombstones SET deleted_at = '1999-01-01 00:00:00.000000'", "tombstones"),
    ],
)
def test_fsck_names_a_backdated_row(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
    statement: str,
    table: str,
) -> None:
    evidence = kept.delivered(kept.ended())
    delete_all(session, administrator, clock)
    remove_all(session, clock, store)
    session.execute(text(statement))
    (fault,) = kept.faults()
    assert f"{table} {evidence.id}" in fault
    assert "is dated 1999-01-01T00:00:00Z" in fault


def test_fsck_names_a_tombstone_under_another_rule(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    kept.delivered(kept.ended())
    delete_all(session, administrator, clock)
    remove_all(session, clock, store)
    session.execute(text("UPDATE tombstones SET rule = 'because'"))
    (fault,) = kept.faults()
    assert "rule: the database says because" in fault
