"""A hold freezes at once, whatever is going on, and two people end it."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from portal.accounts.actors import MACHINE, Actor
from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession, open_session
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.evidence.models import Evidence, Tombstone
from portal.ledger.models import Entry
from portal.retention import service
from portal.retention.models import Hold
from portal.retention.preview import preview
from portal.submissions.models import AttachmentRole, SubmissionKind, SubmissionState
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.suppliers.models import Supplier
from tests.factories import Make
from tests.factories.databases import ON_BOTH
from tests.factories.kept import Kept

pytestmark = ON_BOTH

WHY = {"reference": "INC-2026-014", "why": "Fire in hall 3: the insurer asks."}


def place(session: Session, actor: Actor, clock: FixedClock, evidence: Evidence, about: str) -> Hold:
    values = {"evidence": {"evidence_id": evidence.id}, "supplier": {}}.get(about)
    if values is None:
        values = {"product_id": session.scalar(text("SELECT product_id FROM submissions"))}
    hold = service.place(session, actor, clock, supplier_id=evidence.supplier_id, **values, **WHY)
    session.commit()
    return hold


@pytest.mark.parametrize("about", ["supplier", "product", "evidence"])
def test_what_is_under_hold_stays_until_two_people_released_it(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    make: Make,
    administrator: Actor,
    approver: Actor,
    about: str,
) -> None:
    evidence = kept.delivered(kept.ended())
    seen = preview(session, clock)
    hold = place(session, make.actor(RoleName.REVIEWER), clock, evidence, about)
    with pytest.raises(Conflict, match="changed since you saw it"):
        service.delete(session, administrator, clock, digest=seen.digest)
    held = preview(session, clock)
    assert held.goes == ()
    assert held.stays[0].reasons == ("on hold: INC-2026-014",)
    service.ask_release(session, administrator, clock, hold.id, why="The insurer has paid.")
    assert preview(session, clock).goes == ()
    service.release(session, approver, clock, hold.id, why="Seen the letter.")
    assert [item.file.id for item in preview(session, clock).goes] == [evidence.id]
    kinds = session.scalars(
        select(Entry.kind).where(Entry.kind.startswith("hold.")).order_by(Entry.seq)
    ).all()
    assert kinds == ["hold.placed", "hold.release_asked", "hold.released"]


def test_a_hold_on_one_file_or_product_is_not_one_on_others(
    session: TenantSession, clock: FixedClock, kept: Kept, approver: Actor
) -> None:
    product = kept.ended()
    held = kept.delivered(product)
    other = kept.delivered(product, b"another", filename="another.bin")
    place(session, approver, clock, held, "evidence")
    assert [item.file.id for item in preview(session, clock).goes] == [other.id]


def test_a_file_that_its_supplier_takes_away_from_a_draft_stays_under_the_product_s_hold(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    approver: Actor,
) -> None:
    product = kept.ended()
    evidence = kept.delivered(supplier=session.get_one(Supplier, product.supplier_id))
    questionnaire = kept.submission(
        product,
        kept.delivered(product, b"another", ago=timedelta()),
        SubmissionKind.QUESTIONNAIRE,
        AttachmentRole.IMAGE,
        SubmissionState.DRAFT,
    )
    beside = AnswerEvidence(
        supplier_id=product.supplier_id,
        submission_id=questionnaire.id,
        question_id="ACC-01",
        evidence_id=evidence.id,
        attached_at=clock.now(),
    )
    session.add(beside)
    session.commit()
    assert preview(session, clock).goes == ()  # a draft has it
    beside.removed_at = clock.now()
    session.commit()
    seen = preview(session, clock)
    assert [item.file.id for item in seen.goes] == [evidence.id]
    hold = service.place(
        session, approver, clock, supplier_id=product.supplier_id, product_id=product.id, **WHY
    )
    session.commit()
    assert hold.product_id == product.id
    with pytest.raises(Conflict, match="changed since you saw it"):
        service.delete(session, administrator, clock, digest=seen.digest, seen=seen)
    held = preview(session, clock)
    assert held.goes == ()
    assert [stays.reasons for stays in held.stays if stays.file.id == evidence.id] == [
        ("on hold: INC-2026-014",)
    ]


def test_who_asked_for_the_release_of_a_hold_may_not_release_it(
    session: TenantSession, clock: FixedClock, kept: Kept, approver: Actor
) -> None:
    hold = place(session, approver, clock, kept.delivered(kept.ended()), "supplier")
    service.ask_release(session, approver, clock, hold.id, why="Enough.")
    with pytest.raises(NotAllowed, match="another person"):
        service.release(session, approver, clock, hold.id, why="Enough.")


def test_a_release_that_nobody_asked_for_is_refused(
    session: TenantSession, clock: FixedClock, kept: Kept, approver: Actor
) -> None:
    hold = place(session, approver, clock, kept.delivered(kept.ended()), "supplier")
    with pytest.raises(Conflict, match="one person asks"):
        service.release(session, approver, clock, hold.id, why="Enough.")


def test_a_hold_is_released_once(
    session: TenantSession, clock: FixedClock, kept: Kept, approver: Actor, administrator: Actor
) -> None:
    hold = place(session, approver, clock, kept.delivered(kept.ended()), "supplier")
    service.ask_release(session, approver, clock, hold.id, why="Enough.")
    with pytest.raises(Conflict, match="already"):
        service.ask_release(session, administrator, clock, hold.id, why="Enough.")
    service.release(session, administrator, clock, hold.id, why="Enough.")
    with pytest.raises(Conflict, match="released already"):
        service.release(session, administrator, clock, hold.id, why="Enough.")


@pytest.mark.parametrize("role", [RoleName.REVIEWER, RoleName.AUDITOR, RoleName.SUPPLIER_ADMIN])
def test_a_release_by_the_wrong_role_is_refused(
    session: TenantSession, clock: FixedClock, kept: Kept, approver: Actor, make: Make, role: RoleName
) -> None:
    hold = place(session, approver, clock, kept.delivered(kept.ended()), "supplier")
    actor = make.supplier_actor() if role is RoleName.SUPPLIER_ADMIN else make.actor(role)
    with pytest.raises(NotAllowed):
        service.ask_release(session, actor, clock, hold.id, why="Enough.")


@pytest.mark.parametrize("role", [RoleName.AUDITOR, RoleName.SUPPLIER_ADMIN])
def test_a_hold_by_the_wrong_role_is_refused(
    session: TenantSession, clock: FixedClock, kept: Kept, make: Make, role: RoleName
) -> None:
    evidence = kept.delivered(kept.ended())
    actor = make.supplier_actor() if role is RoleName.SUPPLIER_ADMIN else make.actor(role)
    with pytest.raises(NotAllowed):
        place(session, actor, clock, evidence, "supplier")


def test_a_hold_without_a_person_is_refused(session: TenantSession, clock: FixedClock, kept: Kept) -> None:
    with pytest.raises(NotAllowed, match="needs a person"):
        place(session, MACHINE, clock, kept.delivered(kept.ended()), "supplier")


@pytest.mark.parametrize("given", [{"reference": "  "}, {"why": ""}, {"why": "x" * 501}])
def test_a_hold_without_reference_and_reason_is_refused(
    session: TenantSession, clock: FixedClock, kept: Kept, approver: Actor, given: dict[str, str]
) -> None:
    evidence = kept.delivered(kept.ended())
    with pytest.raises(InvalidInput) as refused:
        service.place(session, approver, clock, supplier_id=evidence.supplier_id, **{**WHY, **given})
    assert refused.value.problems[0].where == next(iter(given))


def test_a_hold_on_a_file_of_another_supplier_is_refused(
    session: TenantSession, clock: FixedClock, kept: Kept, approver: Actor, make: Make
) -> None:
    evidence = kept.delivered(kept.ended())
    with pytest.raises(NotFound, match="no such file"):
        service.place(
            session, approver, clock, supplier_id=make.supplier().id, evidence_id=evidence.id, **WHY
        )


@pytest.mark.parametrize("about", ["supplier", "product", "evidence"])
def test_a_hold_after_the_deletion_keeps_bytes_that_are_still_there(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    approver: Actor,
    store: LocalBlobStore,
    spool: Path,
    about: str,
) -> None:
    evidence = kept.delivered(kept.ended())
    service.delete(session, administrator, clock, digest=preview(session, clock).digest)
    session.commit()
    hold = place(session, approver, clock, evidence, about)
    assert service.remove_bytes(session, clock, store) == 0
    session.commit()
    clock.advance(type(clock.at - clock.at)(days=3))
    assert kept.faults() == []
    assert store.stat(evidence.sha256) is not None
    service.ask_release(session, approver, clock, hold.id, why="Enough.")
    service.release(session, administrator, clock, hold.id, why="Enough.")
    assert service.remove_bytes(session, clock, store) == 1
    assert store.stat(evidence.sha256) is None


def test_a_hold_and_a_deletion_at_the_same_moment_never_both_win(
    engine: Engine,
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    administrator: Actor,
    approver: Actor,
) -> None:
    """Whichever comes first in the ledger, nothing was deleted after its hold."""
    product = kept.ended()
    won: set[str] = set()
    for turn in range(12):
        evidence = kept.delivered(product, f"image {turn}".encode(), filename=f"{turn}.bin")
        seen = preview(session, clock)
        session.commit()
        together, told = threading.Barrier(2), []

        def deletes(digest: str = seen.digest, together: threading.Barrier = together) -> None:
            with open_session(engine) as own:
                together.wait(10)
                try:
                    service.delete(own, administrator, clock, digest=digest)
                    own.commit()
                except Conflict as error:
                    told.append(error.message)  # noqa: B023  # joined before the next turn

        def holds(evidence: Evidence = evidence, together: threading.Barrier = together) -> None:
            with open_session(engine) as own:
                together.wait(10)
                place(own, approver, clock, evidence, "evidence")

        threads = [threading.Thread(target=deletes), threading.Thread(target=holds)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        session.expire_all()
        deleted = session.get(Tombstone, evidence.id)
        held = session.scalar(
            select(Entry.seq).join(Hold, Hold.id == Entry.subject_id).where(Hold.evidence_id == evidence.id)
        )
        gone = session.scalar(
            select(Entry.seq).where(Entry.kind == "evidence.deleted", Entry.subject_id == evidence.id)
        )
        assert held is not None
        assert (deleted is None) == (gone is None) == bool(told)
        assert gone is None or gone < held
        won.add("hold" if gone is None else "deletion")
        session.commit()
    assert won
