"""From rows to the view: the right decision, the right time, and nothing that the reader may not see."""

from datetime import date, timedelta

import pytest
from sqlalchemy import Engine

from portal.accounts.models import RoleName
from portal.db import Scope, TenantSession, open_session
from portal.errors import NotFound
from portal.policy.model import builtin
from portal.reports.decided import WITHHELD
from portal.reports.proof import FAILURES_MAX, UNATTESTED_MAX, UNITS_MAX
from portal.reports.read import assessment_report, case_assessment_id
from portal.reports.view import Audience, Part
from portal.review.models import CaseState, DecisionKind
from portal.submissions.models import CheckRecord
from portal.verification import Outcome
from tests.unit.reports.conftest import Told
from tests.unit.reports.scene import Scene


def test_nothing_submitted_is_told_as_nothing(scene: Scene, session: TenantSession) -> None:
    view = assessment_report(session, scene.assess().id)
    assert view.verdict.kind is None
    assert view.verdict.words == "Not decided"
    assert (view.firmware.rows, view.lots.rows, view.batches.rows, view.evidence.rows) == ((), (), (), ())
    assert (view.answers, view.decisions, view.conditions, view.difference) == ((), (), (), None)
    assert view.case_number is None
    assert view.policy_title == builtin().title
    assert [row.title for row in view.ledger] == ["Assessment 1 made"]


def test_an_unknown_assessment_is_not_found(session: TenantSession) -> None:
    with pytest.raises(NotFound):
        assessment_report(session, "0" * 32)


def test_another_suppliers_assessment_looks_like_none(scene: Scene, engine: Engine) -> None:
    assessment = scene.assess()
    for owner, found in ((scene.supplier.id, True), (scene.make.supplier().id, False)):
        with open_session(engine, Scope(owner)) as session:
            if found:
                assert assessment_report(session, assessment.id, audience="supplier").number == 1
            else:
                with pytest.raises(NotFound):
                    assessment_report(session, assessment.id, audience="supplier")


def test_a_first_approval_waits_and_is_hidden_from_the_supplier(scene: Scene, session: TenantSession) -> None:
    scene.answer_all()
    assessment = scene.assess()
    case = scene.case(assessment, CaseState.SECOND)
    scene.decide(
        case, assessment, DecisionKind.APPROVE, by="Ida", reason="All of it is there.", effective=False
    )
    buyer = assessment_report(session, assessment.id)
    assert (buyer.verdict.kind, buyer.verdict.words) == (None, "Not decided")
    assert "second is outstanding" in buyer.verdict.detail
    assert buyer.approvals.endswith("Ida on 21 Nov 2026; the second is outstanding.")
    assert [row.reason for row in buyer.decisions] == ["All of it is there."]
    supplier = assessment_report(session, assessment.id, audience=Audience.SUPPLIER)
    assert supplier.decisions == ()
    assert "second" not in supplier.verdict.detail
    assert "Ida" not in supplier.approvals
    assert "Ida" not in repr(supplier)


def test_two_approvers_are_named_on_both_assessments_that_they_settle(
    scene: Scene, session: TenantSession
) -> None:
    scene.answer_all()
    first = scene.assess()
    case = scene.case(first, CaseState.CLOSED)
    one = scene.decide(case, first, DecisionKind.APPROVE, by="Ida", reason="Good.", effective=False)
    settled = scene.assess("Decision on case 41")
    scene.decide(case, first, DecisionKind.APPROVE, by="Jon", reason="Agreed.", settled=settled, seconds=one)
    assert case_assessment_id(session, case) == settled.id
    for assessment in (first, settled):
        view = assessment_report(session, assessment.id, audience=Audience.SUPPLIER)
        assert view.verdict.kind is DecisionKind.APPROVE
        assert view.verdict.later == ""
        assert [(row.by, row.seconds) for row in view.decisions] == [("Ida", False), ("Jon", True)]
        assert view.approvals.endswith("Ida on 21 Nov 2026, then Jon on 21 Nov 2026.")
        assert view.difference is None
        assert view.latest_at >= settled.created_at


def test_a_case_without_decision_reports_what_is_in_front_of_people(
    scene: Scene, session: TenantSession
) -> None:
    case = scene.case(scene.assess(), number=7)
    assert case_assessment_id(session, case) == case.assessment_id
    view = assessment_report(session, case.assessment_id)
    assert view.case_number == 7
    assert view.verdict.detail == "People look at it in case 7."


def test_a_newer_assessment_is_told(scene: Scene, session: TenantSession) -> None:
    first = scene.assess()
    scene.answer_all()
    scene.assess()
    assert "Superseded by assessment 2" in assessment_report(session, first.id).verdict.later


def test_an_assessment_that_changed_nothing_names_the_decision_that_stands(
    scene: Scene, session: TenantSession
) -> None:
    first = scene.assess()
    case = scene.case(first, CaseState.CLOSED)
    scene.decide(case, first, DecisionKind.QUARANTINE, by="Jon", reason="Wait.", settled=first)
    scene.answer_all()
    view = assessment_report(session, scene.assess().id)
    assert view.verdict.kind is None
    assert view.verdict.detail.endswith("The decision of 21 Nov 2026 stands: in quarantine.")
    assert view.difference is not None
    assert view.difference.before_number == 1
    assert view.difference.decided is DecisionKind.QUARANTINE
    assert view.difference.changes.controls


def test_asking_for_changes_decides_nothing(scene: Scene, session: TenantSession) -> None:
    assessment = scene.assess()
    case = scene.case(assessment, CaseState.WAITING)
    scene.decide(
        case,
        assessment,
        DecisionKind.REQUEST_CHANGES,
        by="Ida",
        reason="Two things.",
        items=("Send the answers.",),
        role=RoleName.REVIEWER,
    )
    view = assessment_report(session, assessment.id, audience=Audience.SUPPLIER)
    assert view.verdict.kind is None
    assert "asked for changes" in view.verdict.detail
    (row,) = view.decisions
    assert (row.role, [item.text for item in row.items]) == ("Reviewer", ["Send the answers."])


def test_the_supplier_reads_nothing_internal(told: Told) -> None:
    buyer, supplier = told.buyer.view, told.supplier.view
    assert [row.internal for row in buyer.comments.rows].count(True) == 1
    assert [row.text for row in supplier.comments.rows] == ["We have asked for a new batch of statements."]
    assert (buyer.cause, supplier.cause) == ("lot: NH-2026-117", "")
    everything = repr(supplier)
    for email in (row.email for row in told.scene.make.session.query(type(told.scene.author))):
        assert email not in everything


def test_addresses_in_reviewers_texts_are_withheld_from_the_supplier(
    scene: Scene, session: TenantSession
) -> None:
    assessment = scene.assess()
    case = scene.case(assessment, CaseState.CLOSED)
    decision = scene.decide(
        case,
        assessment,
        DecisionKind.REJECT,
        by="ida@meridian.example",
        reason="Ask (ida@meridian.example), please.",
        settled=assessment,
    )
    scene.grant(decision, "SUP-01", "Write to ida@meridian.example", "ida@meridian.example", date(2027, 1, 1))
    scene.comment(case, "Or call: ida@meridian.example.", internal=False, by="ida@meridian.example")
    supplier = assessment_report(session, assessment.id, audience=Audience.SUPPLIER)
    assert "ida@" not in repr(supplier)
    assert supplier.decisions[0].reason == f"Ask ({WITHHELD}), please."
    assert "ida@" in assessment_report(session, assessment.id).decisions[0].reason


def test_lots_and_statements_are_counted_in_full_and_listed_in_part(told: Told) -> None:
    (lot,), (batch,) = told.buyer.view.lots.rows, told.buyer.view.batches.rows
    assert (lot.unit_count, lot.attested, lot.unattested.total) == (2000, 1938, 62)
    assert (len(lot.units.rows), lot.units.cut) == (UNITS_MAX, True)
    assert len(lot.unattested.rows) == UNATTESTED_MAX
    assert lot.unattested.rows[0] == "NH26117-00001"
    assert [unit.attested for unit in lot.units.rows[60:64]] == [False, False, True, True]
    assert (batch.failed, batch.failures.total, len(batch.failures.rows)) == (61, 61, FAILURES_MAX)
    assert (lot.outcome, batch.outcome) == (Outcome.FAIL, Outcome.FAIL)
    assert len(lot.custody.rows) == 4
    assert len(lot.manifest_sha256) == 64


def test_every_file_is_listed_with_its_digests_and_its_entry(told: Told) -> None:
    rows = {row.name: row for row in told.buyer.view.evidence.rows}
    image = rows["bms-2.1.0.bin"]
    assert image.used_for == ("firmware BMS controller 2.1.0 (image)",)
    assert len(image.sha256) == len(image.blake3) == 64
    assert all(row.entry is not None for row in rows.values())
    assert len({row.entry for row in rows.values()}) == len(rows)
    assert rows["fw_signing.pdf"].used_for[0].startswith("answer: Is all firmware")


def test_what_came_later_is_not_told(scene: Scene, session: TenantSession) -> None:
    key = scene.key()
    release = scene.firmware("2.1.0", signed_with=key)
    lot = scene.lot(3)
    assessment = scene.assess()
    before = assessment_report(session, assessment.id)
    scene.clock.advance(timedelta(days=9))
    now = scene.clock.now()
    release.accepted_at, key.distrusted_from, key.distrusted_at = now, now, now
    key.distrusted_by, key.distrust_reason = scene.author.id, "stolen"
    session.add(
        CheckRecord(
            **scene.own,
            submission_id=lot.submission_id,
            run=2,
            position=0,
            check_id="lot.count",
            outcome=Outcome.FAIL,
            reason="counted again",
            at=now,
        )
    )
    session.commit()
    assert assessment_report(session, assessment.id) == before
    assert before.firmware.rows[0].accepted_at is None
    # On the same day, a decision on this assessment lets the acceptance that it caused be told.
    case = scene.case(assessment, CaseState.CLOSED)
    scene.decide(case, assessment, DecisionKind.QUARANTINE, by="Jon", reason="Why not.", settled=assessment)
    after = assessment_report(session, assessment.id).firmware.rows[0]
    assert after.accepted_at == now
    assert after.key == "Release key 2026 (ECDSA P-256), distrusted from 30 Nov 2026"


def test_checks_that_did_not_pass_stand_first(told: Told) -> None:
    groups = told.buyer.view.checks.rows
    outcomes = [group.outcome for group in groups]
    assert outcomes == [Outcome.FAIL] * 3 + [Outcome.PASS] * 2
    assert sum(len(group.checks) for group in groups) == told.buyer.view.check_count
    assert groups[1].checks[0].outcome == "fail"


def test_answers_stand_beside_the_strength_of_their_controls(told: Told) -> None:
    rows = {row.question: row for section in told.buyer.view.answers for row in section.rows}
    signed = rows["Is all firmware of the product signed?"]
    assert (signed.answer, signed.files) == ("Yes", ("fw_signing.pdf",))
    assert "FW-01" in [item.control_id for item in signed.backings]


def test_the_summary_says_what_the_assessment_says(told: Told) -> None:
    topics = {topic.title: topic for topic in told.buyer.view.summary}
    result = told.buyer.view.result
    proven = [control.id for control in result.controls if control.strength == "verified" and control.applies]
    assert topics["What is proven"].text.startswith(f"{len(proven)} of ")
    assert [item.split()[0] for item in topics["What is proven"].items][:6] == proven[:6]
    assert "2 firmware images, 1 lot with 2,000 units" in topics["What was assessed"].text
    stops = " ".join(topics["What stops an approval"].items)
    assert "FW-01" in stops
    assert "knock-out" in stops
    assert topics["What people decided"].text == "In quarantine on 22 Dec 2026."


def test_a_part_says_when_it_is_cut() -> None:
    assert not Part.first([1, 2], 2).cut
    assert Part.first([1, 2, 3], 2) == Part((1, 2), 3)
    assert Part.first([1, 2, 3], 2).cut
