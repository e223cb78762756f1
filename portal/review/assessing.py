"""Assess one product again, and put it before people where a person is needed."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.clock import Clock, today
from portal.errors import NotFound
from portal.ledger import service as ledger
from portal.policy.evaluate import evaluate
from portal.policy.facts import ChangeFact, CheckFact, Facts
from portal.policy.model import builtin, builtin_text
from portal.policy.result import Difference, Gap, Result, difference
from portal.review.entries import assessment_says, opening_says
from portal.review.facts import gather, last_settled, live_submissions, subject
from portal.review.models import (
    Assessment,
    Case,
    CaseCause,
    CaseState,
    Decision,
    DecisionKind,
    Finding,
    PolicyVersion,
)
from portal.submissions.models import Submission, SubmissionState
from portal.suppliers.models import Product, Supplier
from portal.verification import Outcome

CLAIM_DAYS = 5
_CHANGES = {"bom": "bill of materials", "due": "re-assessment is due"}
_SILENT = (Outcome.PASS, Outcome.NOT_APPLICABLE)


def assess(
    session: Session,
    clock: Clock,
    product_id: str,
    *,
    cause: str,
    case_cause: CaseCause | None = None,
    changes: Sequence[ChangeFact] = (),
    claim_days: int = CLAIM_DAYS,
) -> Assessment:
    """Apply the policy to what is known about a product now; open or bring up to date its one open case.

    `changes` need a person; they stay part of every assessment until somebody has decided. Nothing new means
    no new row: the assessment that stands is returned. Ledger: `assessment.made`. Raises NotFound.
    """
    ledger.take_turn(session)
    product = session.get(Product, product_id, with_for_update={"of": Product}, populate_existing=True)
    if product is None:
        raise NotFound("there is no such product")
    newest = newest_assessment(session, product_id)
    settled = last_settled(session, product_id)
    pending = (*_carried(newest, settled), *changes)
    live = live_submissions(session, product_id)
    facts = gather(session, clock, product, live, changes=pending)
    result = evaluate(builtin(), facts, product.tier, today(clock))
    if newest is None or not _same(newest, facts, result):
        newest = keep(session, clock, product, facts, result, cause=cause)
    why = _why_a_person(session, newest, result, settled, live, pending, case_cause)
    _put_before_people(session, clock, newest, result, why, case_cause, settled, claim_days)
    return newest


def settle(session: Session, clock: Clock, decision: Decision, *, cause: str) -> Assessment:
    """The assessment right after `decision` took effect: its exceptions count, and no change is open."""
    product = session.get_one(Product, decision.product_id)
    facts = gather(session, clock, product, live_submissions(session, product.id))
    result = evaluate(builtin(), facts, product.tier, today(clock))
    return keep(session, clock, product, facts, result, cause=cause)


def newest_assessment(session: Session, product_id: str) -> Assessment | None:
    return session.scalars(
        select(Assessment)
        .where(Assessment.product_id == product_id)
        .order_by(Assessment.number.desc())
        .limit(1)
    ).first()


def open_case(session: Session, product_id: str) -> Case | None:
    """The one case of a product that is not closed."""
    return session.scalars(
        select(Case).where(Case.product_id == product_id, Case.state != CaseState.CLOSED)
    ).first()


def keep(
    session: Session, clock: Clock, product: Product, facts: Facts, result: Result, *, cause: str
) -> Assessment:
    """Write one assessment and its ledger entry; where its policy is applied for the first time, that too."""
    _adopt(session, clock)
    number = session.scalar(select(func.max(Assessment.number)).where(Assessment.product_id == product.id))
    assessment = Assessment(
        supplier_id=product.supplier_id,
        product_id=product.id,
        number=(number or 0) + 1,
        tier=product.tier,
        rating=result.rating.value,
        score=result.score,
        knock_outs=sum(knock_out.accepted_until is None for knock_out in result.knock_outs),
        cause=cause[:200],
        policy_id=result.policy_id,
        policy_version=result.policy_version,
        policy_digest=result.policy_digest,
        facts=facts.to_json().decode(),
        facts_digest=facts.digest.removeprefix("sha256:"),
        result=result.to_json().decode(),
        result_digest=result.digest.removeprefix("sha256:"),
        created_at=clock.now(),
        product=product,
    )
    session.add(assessment)
    session.flush()
    ledger.append(
        session,
        clock,
        "assessment.made",
        assessment.id,
        assessment_says(assessment),
        supplier_id=product.supplier_id,
    )
    return assessment


def _adopt(session: Session, clock: Clock) -> None:
    """Keep the text of the policy in use, once: who checks an assessment later applies it again."""
    policy = builtin()
    digest = policy.digest.removeprefix("sha256:")
    if session.get(PolicyVersion, digest) is not None:
        return
    ledger.take_turn(session)
    if session.get(PolicyVersion, digest, populate_existing=True) is not None:
        return
    session.add(
        PolicyVersion(
            digest=digest,
            policy_id=policy.id,
            version=policy.version,
            text=builtin_text(),
            first_used_at=clock.now(),
        )
    )
    session.flush()
    body = {"policy": policy.id, "version": policy.version, "digest": policy.digest}
    ledger.append(session, clock, "policy.adopted", digest, body)


def result_of(assessment: Assessment) -> Result:
    """The stored result, as an object."""
    return Result.from_json(assessment.result)


def compare(before: Assessment, after: Assessment) -> Difference:
    """Was, is, why."""
    return difference(result_of(before), result_of(after))


def facts_now(
    session: Session, clock: Clock, product: Product, newest: Assessment | None, settled: Decision | None
) -> Facts:
    """What is known now; changes that nobody has decided on come along from the assessment that stands."""
    live = live_submissions(session, product.id)
    return gather(session, clock, product, live, changes=_carried(newest, settled))


def _carried(newest: Assessment | None, settled: Decision | None) -> tuple[ChangeFact, ...]:
    """Changes of the assessment that stands, unless people have decided on it since."""
    if newest is None or (settled is not None and settled.settled_id == newest.id):
        return ()
    return Facts.from_json(newest.facts).changes


def _same(newest: Assessment, facts: Facts, result: Result) -> bool:
    """Whether an assessment would say again what `newest` says. (Another day alone is no news.)"""
    return (
        facts.digest.removeprefix("sha256:") == newest.facts_digest
        and result.policy_digest == newest.policy_digest
        and result.tier == newest.tier
        and difference(result_of(newest), result).empty
    )


def _why_a_person(
    session: Session,
    assessment: Assessment,
    result: Result,
    settled: Decision | None,
    live: Sequence[Submission],
    pending: Sequence[ChangeFact],
    case_cause: CaseCause | None,
) -> str:
    """Why a person must look, or an empty text."""
    reasons = [
        f"could not be verified: {subject(row)}" for row in live if row.state is SubmissionState.FAILED
    ]
    if settled is None:
        reasons.append("nobody has decided on this product yet")
    else:
        decided = session.get_one(Assessment, settled.settled_id)
        if decided.id != assessment.id:
            reasons += _told(difference(result_of(decided), result))
        if (
            settled.kind in (DecisionKind.REJECT, DecisionKind.QUARANTINE)
            and case_cause is CaseCause.SUBMISSION
        ):
            reasons.append(f"new evidence after the decision: {settled.kind.value}")
    reasons += sorted(
        {f"a change to decide on: {_CHANGES.get(change.kind, change.kind)}" for change in pending}
    )
    reasons += [
        f"{subject(row)}: {row.outcome.value.replace('_', ' ')}"
        for row in live
        if row.state is SubmissionState.VERIFIED
        and row.outcome is not None
        and row.outcome is not Outcome.PASS
    ]
    return "; ".join(reasons)


def _told(changed: Difference) -> list[str]:
    if not changed.needs_person:
        return []
    told = []
    if changed.rating_was is not changed.rating_now:
        words = [rating.value.replace("_", " ") for rating in (changed.rating_was, changed.rating_now)]
        told.append(f"the rating was {words[0]} and is {words[1]}")
    if changed.knock_outs_added:
        told.append("new knock-outs: " + ", ".join(changed.knock_outs_added))
    if changed.knock_outs_removed:
        told.append("knock-outs gone: " + ", ".join(changed.knock_outs_removed))
    return told


def _put_before_people(
    session: Session,
    clock: Clock,
    assessment: Assessment,
    result: Result,
    why: str,
    case_cause: CaseCause | None,
    settled: Decision | None,
    claim_days: int,
) -> None:
    case = open_case(session, assessment.product_id)
    if case is None:
        if why:
            first = settled is None and case_cause is not CaseCause.FAILURE
            cause = CaseCause.FIRST if first else case_cause or CaseCause.CHANGE
            _open(session, clock, assessment, result, why, cause, claim_days)
        return
    if case.state is CaseState.WAITING and case_cause is CaseCause.SUBMISSION:
        hand_back(case)
    if case.assessment_id == assessment.id:
        return
    if case.state is CaseState.SECOND:  # the first approval was of another assessment: it is void
        hand_back(case)
    case.assessment, case.assessment_id = assessment, assessment.id
    case.rating, case.tier = assessment.rating, assessment.tier
    case.why = _cut(why or "no more than before", 500)
    _find(session, case, assessment, result)


def hand_back(case: Case) -> None:
    """From waiting or second back to whoever holds the case, or to the queue."""
    case.state = CaseState.CLAIMED if case.claimed_by is not None else CaseState.OPEN


def _open(
    session: Session,
    clock: Clock,
    assessment: Assessment,
    result: Result,
    why: str,
    cause: CaseCause,
    claim_days: int,
) -> None:
    product = assessment.product
    supplier = session.get_one(Supplier, product.supplier_id)
    number = session.scalar(select(func.max(Case.number)))
    case = Case(
        supplier_id=product.supplier_id,
        number=(number or 0) + 1,
        product_id=product.id,
        product=product,
        state=CaseState.OPEN,
        cause=cause,
        title=_cut(f"{supplier.name}: {product.name} ({product.model})", 200),
        why=_cut(why, 500),
        tier=assessment.tier,
        rating=assessment.rating,
        assessment_id=assessment.id,
        assessment=assessment,
        opened_at=clock.now(),
        due_on=today(clock) + timedelta(days=claim_days),
    )
    session.add(case)
    session.flush()
    ledger.append(session, clock, "case.opened", case.id, opening_says(case), supplier_id=case.supplier_id)
    _find(session, case, assessment, result)


def _find(session: Session, case: Case, assessment: Assessment, result: Result) -> None:
    owner = {"supplier_id": case.supplier_id, "case_id": case.id, "assessment_id": assessment.id}
    facts = Facts.from_json(assessment.facts)
    session.add_all(Finding(**owner, **one._asdict()) for one in problems(facts.checks, result.gaps))
    session.flush()


class Found(NamedTuple):
    """A problem, as its finding tells it."""

    source: str
    severity: str
    text: str
    submission_id: str | None


def problems(checks: Sequence[CheckFact], gaps: Sequence[Gap]) -> Iterator[Found]:
    """What is wrong, by one assessment: checks that did not pass, then controls that are not met."""
    for check in checks:
        if check.outcome not in _SILENT:
            yield Found(check.id, check.outcome, f"{check.subject}: {check.reason}", check.submission_id)
    for gap in gaps:
        yield Found(gap.control_id, gap.severity.value, f"{gap.title}: {gap.why}", None)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
