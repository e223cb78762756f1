"""Cases: what was found in them, what was decided and asked, and that they stand where that put them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from portal.clock import rfc3339
from portal.errors import LotgateError
from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest
from portal.policy.codec import decode
from portal.policy.facts import CheckFact
from portal.policy.result import Gap
from portal.reports.recorded.entries import body_of, differences, in_chunks, same_time
from portal.review.assessing import Found, problems
from portal.review.entries import asked_says
from portal.review.models import Assessment, Case, CaseState, ChangeRequest, Decision, DecisionKind, Finding
from portal.review.rules import APPROVALS

_ONCE = 50  # cases looked at together, with all findings in them


@dataclass
class _About:
    """What is known about one case, besides its row. Decisions are in the order of their entries."""

    opened: Entry | None = None
    decided: list[tuple[Decision, Entry]] = field(default_factory=list)
    asked: list[ChangeRequest] = field(default_factory=list)
    assessments: dict[str, Any] = field(default_factory=dict)  # of its product, oldest first: id, number, …
    findings: dict[str, Counter[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def closing(self) -> tuple[Decision, Entry] | None:
        """The decision that ends it."""
        ends = (one for one in self.decided if one[0].effective)
        return next((one for one in ends if one[0].kind is not DecisionKind.REQUEST_CHANGES), None)


def cases(session: Session) -> Iterator[Fault]:
    """Each case stands where its decisions put it, on the assessment it must, with what that one found."""
    for rows in in_chunks(session, Case, _ONCE):
        about = _about(session, rows)
        for row in rows:
            yield from _stands(row, about[row.id])
            yield from _opened(row, about[row.id])
        yield from _findings(session, rows, about)
    lost = select(Finding.id).outerjoin(Case, Case.id == Finding.case_id).where(Case.id.is_(None))
    for finding in session.scalars(lost.order_by(Finding.id)):
        yield Fault(f"findings {finding}", "is in a case that is not in the database")


def _about(session: Session, rows: Sequence[Case]) -> dict[str, _About]:
    found = {row.id: _About() for row in rows}
    ids = list(found)
    for entry in session.scalars(select(Entry).where(Entry.kind == "case.opened", Entry.subject_id.in_(ids))):
        found[entry.subject_id].opened = entry
    for decision, entry in session.execute(
        select(Decision, Entry)
        .join(Entry, (Entry.subject_id == Decision.id) & (Entry.kind == "decision.made"))
        .where(Decision.case_id.in_(ids))
        .order_by(Entry.seq)
    ):
        found[decision.case_id].decided.append((decision, entry))
    for request in session.scalars(select(ChangeRequest).where(ChangeRequest.case_id.in_(ids))):
        found[request.case_id].asked.append(request)
    of_product: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in session.execute(
        select(
            Assessment.id,
            Assessment.product_id,
            Assessment.number,
            Assessment.tier,
            Assessment.rating,
        )
        .where(Assessment.product_id.in_({row.product_id for row in rows}))
        .order_by(Assessment.number)
    ):
        of_product[one.product_id][one.id] = one
    for row in rows:
        found[row.id].assessments = of_product[row.product_id]
    for case_id, assessment_id, *told in session.execute(
        select(
            Finding.case_id,
            Finding.assessment_id,
            Finding.source,
            Finding.severity,
            Finding.text,
            Finding.submission_id,
            Finding.supplier_id,
        ).where(Finding.case_id.in_(ids))
    ):
        found[case_id].findings[assessment_id][tuple(told)] += 1
    return found


def _stands(row: Case, about: _About) -> Iterator[Fault]:
    where = f"cases {row.id}"
    closing = about.closing
    last = about.decided[-1][0] if about.decided else None
    if (row.state is CaseState.CLOSED) != (closing is not None):
        told = "no decision closes it" if closing is None else f"decision {closing[0].id} closes it"
        yield Fault(where, f"state: the database says {row.state}, and {told}")
    waits = last is not None and not last.effective and last.assessment_id == row.assessment_id
    if (row.state is CaseState.SECOND) != waits:
        told = "waits" if waits else "does not wait"
        yield Fault(where, f"state: the database says {row.state}, and it {told} for a second approval")
    if row.state is CaseState.WAITING and (
        last is None
        or last.kind is not DecisionKind.REQUEST_CHANGES
        or all(request.answered_at for request in about.asked)
    ):
        yield Fault(where, "state: the database says waiting, and nothing is asked of the supplier")
    if row.state in (CaseState.OPEN, CaseState.CLAIMED) and (
        (row.state is CaseState.CLAIMED) != (row.claimed_by is not None)
    ):
        yield Fault(where, f"state: the database says {row.state}, claimed by {row.claimed_by}")
    if closing is None and row.closed_at is not None:
        yield Fault(where, f"closed: the database says {rfc3339(row.closed_at)}, and no decision closes it")
    if closing is not None:
        decision, entry = closing
        yield from same_time(where, row.closed_at, entry, "closed")
        if row.claimed_by != decision.decided_by:
            told = f"claimed by: the database says {row.claimed_by}, {decision.decided_by} closed it"
            yield Fault(where, told)
    newest = next(reversed(about.assessments), None)
    due = closing[0].assessment_id if closing else newest
    if row.assessment_id != due:
        yield Fault(where, f"assessment: the database says {row.assessment_id}, it should be {due}")
    rests_on = about.assessments.get(row.assessment_id)
    for name in ("tier", "rating"):
        if rests_on is not None and getattr(row, name) != getattr(rests_on, name):
            found = f"{name}: the database says {getattr(row, name)}"
            yield Fault(where, f"{found}, its assessment {getattr(rests_on, name)}")


def _opened(row: Case, about: _About) -> Iterator[Fault]:
    """What its entry says of its beginning, and is still so."""
    body = body_of(about.opened) if about.opened is not None else {}
    if about.opened is None or not body:
        return
    where = f"cases {row.id}"
    asking = [one.id for one, _ in about.decided if one.kind is DecisionKind.REQUEST_CHANGES]
    days = {one.due_on for one in about.asked if asking and one.decision_id == asking[-1]}
    if asking and row.due_on not in days:
        yield Fault(where, f"due: the database says {row.due_on}, what was asked is due {_days(days)}")
    found: dict[str, object] = {} if asking else {"due": row.due_on.isoformat()}
    if row.assessment_id == body.get("assessment"):
        found["why"] = digest(row.why)
    yield from differences(where, about.opened, body, found)


def _days(days: set[Any]) -> str:
    return ", ".join(sorted(str(day) for day in days)) or "on no day"


def _findings(session: Session, rows: Sequence[Case], about: dict[str, _About]) -> Iterator[Fault]:
    """Made again from every assessment that the case had."""
    wanted: dict[str, list[Case]] = defaultdict(list)
    for row in rows:
        had = _had(row, about[row.id])
        for assessment_id in had:
            wanted[assessment_id].append(row)
        for assessment_id in about[row.id].findings.keys() - had:
            yield Fault(f"cases {row.id}", f"has findings of assessment {assessment_id}, which it never had")
    texts = (
        select(Assessment.id, Assessment.facts, Assessment.result)
        .where(Assessment.id.in_(wanted))
        .order_by(Assessment.id)
        .execution_options(yield_per=10)
    )
    for assessment_id, facts, result in session.execute(texts):
        try:
            listed = [tuple(one) for one in _problems(facts, result)]
        except (LotgateError, ValueError, LookupError, TypeError) as error:
            yield Fault(f"assessments {assessment_id}", f"its findings cannot be made again: {error}")
            continue
        for row in wanted[assessment_id]:
            expected = Counter((*one, row.supplier_id) for one in listed)
            kept = about[row.id].findings[assessment_id]
            where = f"cases {row.id}, findings of assessment {assessment_id}"
            for one in expected - kept:
                yield Fault(where, f"{one[0]} is not there as the assessment found it")
            for one in kept - expected:
                yield Fault(where, f"{one[0]} is not what the assessment found")


def _problems(facts: str, result: str) -> Iterator[Found]:
    """No more of an assessment's texts is read than findings are made from: that is the least of them."""
    checks = decode(tuple[CheckFact, ...], json.loads(facts)["checks"], "checks")
    return problems(checks, decode(tuple[Gap, ...], json.loads(result)["gaps"], "gaps"))


def _had(row: Case, about: _About) -> set[str]:
    """From the assessment that it was opened with to that of the decision that closed it, or the newest.

    Cases from before say in no entry what they were opened with: of them, those that have findings.
    """
    closing = about.closing
    last = about.assessments.get(closing[0].assessment_id if closing else row.assessment_id)
    first = None
    if about.opened is not None:
        first = about.assessments.get(str(body_of(about.opened).get("assessment")))
    if first is None or last is None:
        return {row.assessment_id} | (about.findings.keys() & about.assessments.keys())
    return {one.id for one in about.assessments.values() if first.number <= one.number <= last.number}


def decisions(session: Session) -> Iterator[Fault]:
    """What each decision asks for, and the assessment with it in force."""
    for rows in in_chunks(session, Decision):
        ids = [row.id for row in rows]
        said = {
            entry.subject_id: entry
            for entry in session.scalars(
                select(Entry).where(Entry.kind == "decision.made", Entry.subject_id.in_(ids))
            )
        }
        asked: dict[str, list[ChangeRequest]] = defaultdict(list)
        for request in session.scalars(
            select(ChangeRequest)
            .where(ChangeRequest.decision_id.in_(ids))
            .order_by(ChangeRequest.position, ChangeRequest.id)
        ):
            asked[request.decision_id].append(request)
        for row in rows:
            yield from _asked(row, said.get(row.id), asked[row.id])
    yield from _settled(session)
    lost = select(ChangeRequest.id).outerjoin(Decision, Decision.id == ChangeRequest.decision_id)
    for request_id in session.scalars(lost.where(Decision.id.is_(None)).order_by(ChangeRequest.id)):
        yield Fault(f"change_requests {request_id}", "is of a decision that is not in the database")


def _asked(row: Decision, entry: Entry | None, asked: Sequence[ChangeRequest]) -> Iterator[Fault]:
    where = f"decisions {row.id}"
    if entry is not None and "asked" in (body := body_of(entry)):  # entries of the first form do not tell it
        yield from differences(where, entry, body, {"asked": asked_says(asked)})
    elif bool(asked) != (row.kind is DecisionKind.REQUEST_CHANGES):
        yield Fault(where, f"is {row.kind}, and asks for {len(asked)} changes")
    for request in asked:
        if (request.case_id, request.supplier_id) != (row.case_id, row.supplier_id):
            yield Fault(f"change_requests {request.id}", "is of another case or supplier than its decision")
        if request.answer and request.answered_at is None:
            yield Fault(f"change_requests {request.id}", "has an answer, and was not answered")


def _settled(session: Session) -> Iterator[Fault]:
    """A decision that closes its case is settled on the assessment it was made on; an approval on the next
    one, in which it is in force.
    """
    seen, settled = aliased(Assessment), aliased(Assessment)
    rows = (
        select(
            Decision.id,
            Decision.kind,
            Decision.effective,
            Decision.product_id,
            Decision.settled_id,
            Decision.assessment_id,
            Case.product_id.label("of_case"),
            seen.product_id.label("seen_product"),
            seen.number.label("seen_number"),
            settled.product_id.label("settled_product"),
            settled.number.label("settled_number"),
        )
        .outerjoin(Case, Case.id == Decision.case_id)
        .outerjoin(seen, seen.id == Decision.assessment_id)
        .outerjoin(settled, settled.id == Decision.settled_id)
        .order_by(Decision.id)
        .execution_options(yield_per=500)
    )
    for row in session.execute(rows):
        where = f"decisions {row.id}"
        closes = row.effective and row.kind is not DecisionKind.REQUEST_CHANGES
        if row.kind in APPROVALS:
            right = (row.settled_product, row.settled_number) == (row.product_id, (row.seen_number or 0) + 1)
        else:
            right = row.settled_id == row.assessment_id
        if not closes:
            right = row.settled_id is None
        if not right:
            yield Fault(where, f"settled on: the database says {row.settled_id}, which cannot be")
        if not row.product_id == row.of_case == row.seen_product:
            yield Fault(where, "its product is not that of its case and its assessment")


RULES = (
    ("case.opened, decision.made, and findings", cases),
    ("decision.made, and what was asked", decisions),
)
