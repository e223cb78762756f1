"""From rows to the report: everything that one assessment says, as `audience` may read it."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.models import Organisation, OrganisationKind
from portal.errors import NotFound
from portal.policy.facts import Facts
from portal.policy.model import builtin
from portal.policy.result import Result
from portal.reports.anchored import checkpoint_of, receipts_of
from portal.reports.decided import Deciding, case_of
from portal.reports.proof import Proof
from portal.reports.summary import summarise
from portal.reports.view import Audience, ReportView
from portal.review.models import Assessment, Case, Decision
from portal.submissions.questionnaires.service import builtin as questionnaire_in_use
from portal.suppliers.models import Supplier


def case_assessment_id(session: Session, case: Case) -> str:
    """The assessment that a case's report is about: the one that its decision left in force, else the newest
    one put before people.
    """
    settled = session.scalars(
        select(Decision.settled_id)
        .where(Decision.case_id == case.id, Decision.settled_id.is_not(None))
        .order_by(Decision.decided_at.desc())
        .limit(1)
    ).first()
    return settled or case.assessment_id


def assessment_report(
    session: Session, assessment_id: str, *, audience: Audience | str = Audience.BUYER
) -> ReportView:
    """The report of one assessment. Raises NotFound (also for another tenant's, by the session's scope)."""
    audience = Audience(audience)
    assessment = session.get(Assessment, assessment_id)
    if assessment is None:
        raise NotFound("there is no such assessment")
    product = assessment.product
    supplier = session.get_one(Supplier, assessment.supplier_id)
    facts, result = Facts.from_json(assessment.facts), Result.from_json(assessment.result)
    case = case_of(session, assessment)
    deciding = Deciding(session, assessment, case, audience)
    latest = deciding.latest()
    proof = Proof(session, assessment, facts, result, latest)
    questionnaire = questionnaire_in_use()
    firmware, lots, batches = proof.firmware(), proof.lots(), proof.batches()
    evidence = proof.evidence(questionnaire)
    verdict, decisions = deciding.verdict(), deciding.rows()
    policy = builtin()
    policy_title = policy.title if policy.digest == assessment.policy_digest else assessment.policy_id
    entries = deciding.ledger()
    checkpoint = checkpoint_of(session, entries)
    buyer = session.scalar(select(Organisation).where(Organisation.kind == OrganisationKind.BUYER))
    return ReportView(
        audience=audience,
        buyer=buyer.name if buyer else "",
        supplier=supplier.name,
        supplier_country=supplier.country or "",
        model=product.model,
        product=product.name,
        chemistry=product.chemistry or "",
        components=tuple(component.name for component in product.components),
        assessment_id=assessment.id,
        number=assessment.number,
        case_number=case.number if case else None,
        # A cause may be a reviewer's own words about a change: the supplier's version does without it.
        cause=assessment.cause if audience is Audience.BUYER else "",
        made_at=assessment.created_at,
        latest_at=latest,
        policy_title=policy_title,
        result=result,
        result_digest=f"sha256:{assessment.result_digest}",
        facts_digest=f"sha256:{assessment.facts_digest}",
        verdict=verdict,
        summary=summarise(
            product=f"{product.name} ({product.model})",
            supplier=supplier.name,
            policy=policy_title,
            facts=facts,
            result=result,
            files=evidence.total,
            firmware=firmware.total,
            lots=lots,
            batches=batches,
            verdict=verdict,
        ),
        entities=facts.entities,
        dates=tuple(sorted(facts.dates.items())),
        contacts=tuple(sorted(facts.contacts.items())),
        decisions=decisions,
        conditions=deciding.conditions(facts, result, latest),
        approvals=deciding.approvals(decisions),
        difference=deciding.compared(result),
        checks=proof.checks(),
        check_count=len(facts.checks),
        firmware=firmware,
        lots=lots,
        batches=batches,
        answers=proof.answers(questionnaire),
        questionnaire=f"{questionnaire.title} {questionnaire.version}",
        evidence=evidence,
        comments=deciding.comments(),
        ledger=entries,
        checkpoint=checkpoint,
        receipts=receipts_of(session, entries) if checkpoint else {},
    )
