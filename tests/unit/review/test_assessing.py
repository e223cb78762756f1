"""Assessments and the cases they open."""

from datetime import date, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import NotFound
from portal.ledger.models import Entry
from portal.policy.facts import ChangeFact, Facts
from portal.policy.model import Rating
from portal.review.assessing import open_case, result_of
from portal.review.models import Case, CaseCause, CaseState, Finding
from portal.review.service import assess, claim
from portal.submissions.lots.models import Lot
from portal.submissions.models import Submission, SubmissionKind, SubmissionState
from portal.suppliers.models import Entity, EntityRole, Product
from portal.verification import Outcome
from tests.factories import Make
from tests.factories.offered import Offered


@pytest.fixture
def product(make: Make) -> Product:
    return make.product(tier=2)


def checks_of(facts: Facts) -> dict[tuple[str, str], str]:
    return {(check.submission_id, check.id): check.outcome for check in facts.checks}


def test_an_unknown_product_is_not_assessed(session: TenantSession, clock: FixedClock) -> None:
    with pytest.raises(NotFound):
        assess(session, clock, "0" * 32, cause="test")


@pytest.mark.parametrize("tier", [1, 2, 3])
def test_a_supplier_who_has_everything_is_approvable_and_still_needs_a_person(
    session: TenantSession, clock: FixedClock, make: Make, offered: Offered, tier: int
) -> None:
    product = make.product(tier=tier)
    offered.everything(product)
    assessment = assess(session, clock, product.id, cause="test", case_cause=CaseCause.SUBMISSION)
    assert result_of(assessment).rating_reasons == ("every required control is met",)
    assert (assessment.rating, assessment.number, assessment.knock_outs) == (Rating.APPROVABLE, 1, 0)
    case = open_case(session, product.id)
    assert case is not None
    assert (case.state, case.cause, case.number) == (CaseState.OPEN, CaseCause.FIRST, 1)
    assert case.due_on == date(2026, 11, 26)
    assert "nobody has decided" in case.why


def test_facts_and_result_are_stored_so_that_the_same_bytes_come_again(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.everything(product)
    assessment = assess(session, clock, product.id, cause="test")
    facts = Facts.from_json(assessment.facts)
    assert facts.digest == f"sha256:{assessment.facts_digest}"
    result = result_of(assessment)
    assert result.digest == f"sha256:{assessment.result_digest}"
    assert result.facts_digest == facts.digest
    entry = session.scalars(select(Entry).where(Entry.subject_id == assessment.id)).one()
    assert entry.kind == "assessment.made"
    assert facts.digest in entry.body and result.digest in entry.body and result.policy_digest in entry.body


def test_answers_feed_the_facts_and_product_records_are_facts_too(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.questionnaire(product)
    product.end_of_support = date(2030, 1, 31)
    session.add(
        Entity(
            supplier_id=product.supplier_id,
            role=EntityRole.CARRIER,
            name="Fjord Freight",
            country="NO",
            created_at=clock.now(),
        )
    )
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    assert facts.contacts == {"security": "security@nordhaven.example"}
    assert facts.dates == {"end_of_sale": date(2031, 12, 31), "end_of_support": date(2030, 1, 31)}
    assert {(entity.role, entity.name) for entity in facts.entities} == {
        ("manufacturer", "Nordhaven Cells AS"),
        ("carrier", "Fjord Freight"),
    }
    assert facts.answers["qa_test_report"].evidence[0].digest.startswith("sha256:")


def test_a_draft_proves_nothing(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    draft = offered.questionnaire(product)
    draft.state, draft.submitted_at = SubmissionState.DRAFT, None
    withdrawn = offered.firmware(product)
    withdrawn.state = SubmissionState.WITHDRAWN
    running = offered.lot(product)
    running.state = SubmissionState.VERIFYING
    session.commit()
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    assert facts.answers == {} and facts.checks == () and facts.entities == ()


def test_only_the_newest_questionnaire_counts(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.questionnaire(product)
    offered.questionnaire(product, {"fw_rollback": "no"})
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    assert facts.answers["fw_rollback"].value == "no"
    assert facts.answers["fw_rollback"].evidence == ()


def test_of_firmware_the_newest_and_the_accepted_count(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    accepted = offered.firmware(product, "1.0.0")
    refused = offered.firmware(product, "1.1.0", {"firmware.signed": Outcome.FAIL})
    newest = offered.firmware(product, "1.2.0", {"firmware.algorithm": Outcome.WARN})
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    seen = {check.submission_id for check in facts.checks}
    assert seen == {accepted.id, newest.id}
    assert refused.id not in seen


def test_the_checks_of_the_newest_run_count(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    lot = offered.lot(product, {"lot.attested": Outcome.NOT_RUN})
    offered.run(lot, {"lot.attested": Outcome.PASS})
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    assert checks_of(facts)[lot.id, "lot.attested"] == "pass"
    assert len(facts.checks) == 10


def test_lots_that_no_longer_live_take_their_attestations_with_them(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    dead, live = offered.lot(product), offered.lot(product)
    offered.attestations(dead)
    about_live = offered.attestations(live)
    session.scalars(select(Lot).where(Lot.submission_id == dead.id)).one().live = False
    session.commit()
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    assert {check.submission_id for check in facts.checks} == {live.id, about_live.id}


def test_what_was_superseded_does_not_count(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    lot = offered.lot(product)
    bad = offered.attestations(lot, {"attestations.signature": Outcome.FAIL})
    good = offered.attestations(lot, supersedes_id=bad.id)
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    assert {check.submission_id for check in facts.checks} == {lot.id, good.id}


def test_a_lot_that_could_not_be_read_still_counts(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    lot = offered.lot(product, {"lot.manifest": Outcome.UNREADABLE})
    session.delete(session.scalars(select(Lot).where(Lot.submission_id == lot.id)).one())
    session.commit()
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    assert checks_of(facts)[lot.id, "lot.manifest"] == "unreadable"


def test_what_the_machine_failed_to_verify_is_not_proven(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.everything(product)
    failed = offered.failed(product, SubmissionKind.LOT)
    assessment = assess(session, clock, product.id, cause="test", case_cause=CaseCause.FAILURE)
    facts = Facts.from_json(assessment.facts)
    assert checks_of(facts)[failed.id, "lot.verification"] == "not_run"
    custody = result_of(assessment).control("PRV-04")
    assert custody is not None and not custody.met
    case = open_case(session, product.id)
    assert case is not None and case.cause is CaseCause.FAILURE
    assert "could not be verified: Lot that kills workers" in case.why


def test_the_same_facts_make_no_second_assessment(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.everything(product)
    first = assess(session, clock, product.id, cause="test")
    clock.advance(timedelta(days=3))
    assert assess(session, clock, product.id, cause="again").id == first.id


def test_a_date_that_passes_makes_one(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.everything(product)
    first = assess(session, clock, product.id, cause="test")
    clock.advance(timedelta(days=366 * 6))
    second = assess(session, clock, product.id, cause="later")
    assert second.number == 2 and second.id != first.id
    assert second.rating == Rating.REJECT  # the test report is too old by then


def test_an_open_case_follows_the_newest_assessment(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.everything(product)
    assess(session, clock, product.id, cause="test")
    case = open_case(session, product.id)
    assert case is not None and case.rating == Rating.APPROVABLE
    lot = offered.lot(product, {"lot.serials_new": Outcome.FAIL})
    second = assess(session, clock, product.id, cause="lot", case_cause=CaseCause.SUBMISSION)
    session.refresh(case)
    assert case.assessment_id == second.id
    assert case.rating == Rating.HIGH_RISK
    findings = session.scalars(select(Finding).where(Finding.assessment_id == second.id)).all()
    assert ("lot.serials_new", "fail", lot.id) in {(f.source, f.severity, f.submission_id) for f in findings}
    assert ("PRV-10", "required") in {(f.source, f.severity) for f in findings}
    assert session.scalars(select(Case)).all() == [case]


def test_changes_stay_open_from_assessment_to_assessment(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.questionnaire(product)
    change = ChangeFact("bom", date(2026, 11, 20))
    assess(session, clock, product.id, cause="told", changes=[change])
    offered.firmware(product)
    later = assess(session, clock, product.id, cause="firmware")
    assert Facts.from_json(later.facts).changes == (change,)


def test_two_open_cases_of_one_product_are_refused_by_the_database(
    session: TenantSession, clock: FixedClock, product: Product, offered: Offered
) -> None:
    offered.questionnaire(product)
    assess(session, clock, product.id, cause="test")
    case = open_case(session, product.id)
    assert case is not None
    session.add(
        Case(
            supplier_id=case.supplier_id,
            number=99,
            product_id=product.id,
            cause=CaseCause.CHANGE,
            title="A second one",
            why="no reason",
            tier=2,
            rating="approvable",
            assessment_id=case.assessment_id,
            opened_at=clock.now(),
            due_on=date(2026, 12, 1),
        )
    )
    with pytest.raises(IntegrityError, match=r"cases\.product_id"):
        session.flush()


def test_case_numbers_go_on(session: TenantSession, clock: FixedClock, make: Make, offered: Offered) -> None:
    for expected in (1, 2, 3):
        product = make.product()
        offered.questionnaire(product)
        assess(session, clock, product.id, cause="test")
        case = open_case(session, product.id)
        assert case is not None and case.number == expected


def test_a_case_that_waits_comes_back_with_new_evidence(
    session: TenantSession, clock: FixedClock, make: Make, product: Product, offered: Offered
) -> None:
    offered.questionnaire(product)
    assess(session, clock, product.id, cause="test")
    case = open_case(session, product.id)
    assert case is not None
    claim(session, make.actor(), clock, case.id)
    case.state = CaseState.WAITING
    offered.firmware(product)
    assess(session, clock, product.id, cause="firmware", case_cause=CaseCause.SUBMISSION)
    assert case.state is CaseState.CLAIMED


def test_submissions_are_counted_for_their_own_product_only(
    session: TenantSession, clock: FixedClock, make: Make, product: Product, offered: Offered
) -> None:
    other = make.product()
    offered.everything(other)
    facts = Facts.from_json(assess(session, clock, product.id, cause="test").facts)
    assert facts.checks == ()
    assert session.scalars(select(Submission.product_id).distinct()).all() == [other.id]
