"""What a decision does, in the transaction in which it is made."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.clock import Clock
from portal.db import chunks
from portal.evidence.models import Evidence
from portal.ledger import service as ledger
from portal.notices.service import queue_mail
from portal.policy.facts import Facts
from portal.policy.model import Rating
from portal.review.assessing import settle
from portal.review.entries import asked_says, decision_says, exception_says
from portal.review.models import (
    Assessment,
    Case,
    CaseState,
    ChangeRequest,
    Decision,
    DecisionKind,
    GrantedException,
)
from portal.review.rules import APPROVALS, Condition
from portal.submissions import service as submissions
from portal.submissions.firmware import service as firmware
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import Lot
from portal.submissions.models import Attachment, Submission, SubmissionState
from portal.suppliers.models import Standing, Supplier

_LISTED_MAX = 400  # evidence digests written out in one ledger entry; all of them are under one digest
_WORST_FIRST = (Standing.REJECTED, Standing.QUARANTINED, Standing.CONDITIONAL, Standing.APPROVED)
_WORDS = {
    DecisionKind.APPROVE: "approved",
    DecisionKind.APPROVE_WITH_CONDITIONS: "approved with conditions",
    DecisionKind.QUARANTINE: "put in quarantine",
    DecisionKind.REJECT: "rejected",
}


def record(
    session: Session,
    clock: Clock,
    decision: Decision,
    assessment: Assessment,
    granted: Sequence[Condition],
    asked: Sequence[ChangeRequest],
) -> None:
    """The ledger entry of a decision: what was decided, on which assessment, policy and evidence."""
    evidence = evidence_digests(session, assessment)
    ledger.append(
        session,
        clock,
        "decision.made",
        decision.id,
        decision_says(decision)
        | {
            "asked": asked_says(asked),
            "facts": f"sha256:{assessment.facts_digest}",
            "result": f"sha256:{assessment.result_digest}",
            "policy": assessment.policy_digest,
            "conditions": [
                {"control": condition.control_id, "expires": condition.expires_on.isoformat()}
                for condition in granted
            ],
            "evidence": evidence[:_LISTED_MAX],
            "evidence_count": len(evidence),
            "evidence_digest": ledger.digest_of(evidence),
        },
        supplier_id=decision.supplier_id,
    )


def enter_grant(session: Session, clock: Clock, row: GrantedException) -> None:
    """The ledger entry of an accepted gap; it counts once the approval that grants it is in effect."""
    ledger.append(
        session, clock, "exception.granted", row.id, exception_says(row), supplier_id=row.supplier_id
    )


def end_exception(session: Session, clock: Clock, row: GrantedException, *, by: str | None) -> None:
    """An accepted gap counts no more from now on. `by`: the person who decided so."""
    row.closed_at = clock.now()
    session.flush()
    body = {"control": row.control_id, "decision": row.decision_id, "by": by}
    ledger.append(session, clock, "exception.ended", row.id, body, supplier_id=row.supplier_id)


def assessed_submissions(assessment: Assessment) -> tuple[str, ...]:
    """Ids of the submissions that the assessment looked at, sorted."""
    return tuple(sorted({check.submission_id for check in Facts.from_json(assessment.facts).checks}))


def evidence_digests(session: Session, assessment: Assessment) -> list[str]:
    """Digests ("sha256:…") of every file that the assessment rests on, sorted."""
    found = {
        file.digest
        for answer in Facts.from_json(assessment.facts).answers.values()
        for file in answer.evidence
    }
    for ids in chunks(assessed_submissions(assessment)):
        for sha256 in session.scalars(
            select(Evidence.sha256)
            .join(Attachment, Attachment.evidence_id == Evidence.id)
            .where(Attachment.submission_id.in_(ids))
        ):
            found.add(f"sha256:{sha256}")
    return sorted(found)


def ask(session: Session, clock: Clock, case: Case, asked: Sequence[ChangeRequest], answer_by: date) -> None:
    """Tell the supplier what they must put right by when, and let the case wait until then."""
    case.state, case.due_on = CaseState.WAITING, answer_by
    listed = "\n".join(f"{number}. {row.text}" for number, row in enumerate(asked, 1))
    tell_supplier(
        session,
        clock,
        case,
        "changes_requested",
        f"Changes requested: {case.product.name}",
        f"Before we can decide on {case.product.name} ({case.product.model}), please put right by "
        f"{answer_by.day} {answer_by:%B %Y}:\n\n"
        f"{listed}\n\n"
        "Sign in to Lotgate to answer each point or to submit new evidence.\n",
    )


def close(session: Session, clock: Clock, case: Case, decision: Decision, assessment: Assessment) -> None:
    """Put a decision that ends its case into effect."""
    rows = [
        row
        for ids in chunks(assessed_submissions(assessment))
        for row in session.scalars(select(Submission).where(Submission.id.in_(ids)))
    ]
    decision.settled_id = assessment.id  # from here on the decision counts as the product's newest
    session.flush()
    if decision.kind in APPROVALS:
        _accept(session, clock, decision, rows)
        decision.settled_id = settle(session, clock, decision, cause=f"Decision on case {case.number}").id
    elif decision.kind is DecisionKind.REJECT:
        _refuse(session, clock, decision, rows)
    case.state, case.closed_at = CaseState.CLOSED, clock.now()
    session.flush()
    supplier = session.get_one(Supplier, case.supplier_id)
    supplier.standing = dict(standings(session, supplier.id)).get(supplier.id, Standing.NEW)
    words = _WORDS[decision.kind]
    tell_supplier(
        session,
        clock,
        case,
        "decided",
        f"Decided: {case.product.name} is {words}",
        f"{case.product.name} ({case.product.model}) was {words}. Sign in to Lotgate to read the report.\n",
    )


def _accept(session: Session, clock: Clock, decision: Decision, rows: Sequence[Submission]) -> None:
    """What was verified is accepted (what failed to be verified is not), and older exceptions for the same
    controls give way to the new ones."""
    for row in rows:
        submissions.accept(session, clock, row, decision.id)
    for release in _releases(session, rows):
        if release.submission.state is SubmissionState.ACCEPTED:
            firmware.accept(session, clock, release)
    grants = decision.seconds_id or decision.id
    new = select(GrantedException.control_id).where(GrantedException.decision_id == grants)
    for older in session.scalars(
        select(GrantedException).where(
            GrantedException.product_id == decision.product_id,
            GrantedException.decision_id != grants,
            GrantedException.closed_at.is_(None),
            GrantedException.control_id.in_(new),
        )
    ):
        end_exception(session, clock, older, by=decision.decided_by)


def _refuse(session: Session, clock: Clock, decision: Decision, rows: Sequence[Submission]) -> None:
    for row in rows:
        submissions.refuse(session, clock, row, decision.id)
    for release in _releases(session, rows):
        firmware.take_back(session, clock, release)
    for ids in chunks([row.id for row in rows]):
        for lot in session.scalars(select(Lot).where(Lot.submission_id.in_(ids))):
            lot.live = False


def _releases(session: Session, rows: Sequence[Submission]) -> list[FirmwareRelease]:
    return [
        release
        for ids in chunks([row.id for row in rows])
        for release in session.scalars(select(FirmwareRelease).where(FirmwareRelease.submission_id.in_(ids)))
    ]


def standings(session: Session, supplier_id: str | None = None) -> Iterator[tuple[str, Standing]]:
    """Of one supplier, or of each, by id: the worst of what was last decided on each of its products, for one
    bad product is enough. Suppliers about whom nothing was decided are left out: they are new.
    """
    decided = (
        select(Case.supplier_id, Decision.product_id, Decision.kind, Assessment.rating)
        .join(Case, Case.id == Decision.case_id)
        .join(Assessment, Assessment.id == Decision.settled_id)
        .order_by(Case.supplier_id, Decision.decided_at, Case.number)
        .execution_options(yield_per=500)
    )
    if supplier_id is not None:
        decided = decided.where(Case.supplier_id == supplier_id)
    for owner, rows in groupby(session.execute(decided), key=lambda row: row.supplier_id):
        newest = {row.product_id: _stands(row.kind, row.rating) for row in rows}
        yield owner, next(standing for standing in _WORST_FIRST if standing in newest.values())


def _stands(kind: DecisionKind, rating: str) -> Standing:
    if kind is DecisionKind.REJECT:
        return Standing.REJECTED
    if kind is DecisionKind.QUARANTINE:
        return Standing.QUARANTINED
    return Standing.APPROVED if rating == Rating.APPROVABLE else Standing.CONDITIONAL


def tell_supplier(session: Session, clock: Clock, case: Case, kind: str, subject: str, body: str) -> None:
    for email in session.scalars(
        select(User.email).where(User.organisation_id == case.supplier_id, User.active).order_by(User.email)
    ):
        queue_mail(session, clock, kind=kind, recipient=email, subject=subject, body=body)
