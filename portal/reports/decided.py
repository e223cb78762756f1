"""What people decided on an assessment: verdict, decisions, conditions, remarks, and what changed since."""

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.formats import day, label
from portal.ledger.models import Entry
from portal.policy.facts import Facts
from portal.policy.result import Result, difference
from portal.reports.view import (
    Audience,
    ChangeItem,
    CommentRow,
    Condition,
    DecisionRow,
    DifferenceView,
    LedgerRow,
    Part,
    Verdict,
)
from portal.review.models import (
    Assessment,
    Case,
    CaseState,
    ChangeRequest,
    Comment,
    Decision,
    DecisionKind,
    Finding,
    GrantedException,
)

COMMENTS_MAX = 100
APPROVALS = (DecisionKind.APPROVE, DecisionKind.APPROVE_WITH_CONDITIONS)
WORDS = {
    DecisionKind.APPROVE: "Approved",
    DecisionKind.APPROVE_WITH_CONDITIONS: "Approved with conditions",
    DecisionKind.REQUEST_CHANGES: "Changes requested",
    DecisionKind.REJECT: "Rejected",
    DecisionKind.QUARANTINE: "In quarantine",
}
NOT_DECIDED = "Not decided"
WITHHELD = "(address withheld)"
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")


def told(text: str, audience: Audience) -> str:
    """A text of the buyer's people as `audience` may read it: for the supplier without e-mail addresses."""
    return text if audience is Audience.BUYER else _ADDRESS.sub(WITHHELD, text)


def case_of(session: Session, assessment: Assessment) -> Case | None:
    """The case in which people looked at the assessment; the newest where there were several."""
    decided = select(Decision.case_id).where(
        or_(Decision.assessment_id == assessment.id, Decision.settled_id == assessment.id)
    )
    found = select(Finding.case_id).where(Finding.assessment_id == assessment.id)
    return session.scalars(
        select(Case)
        .where(or_(Case.id.in_(decided), Case.assessment_id == assessment.id, Case.id.in_(found)))
        .order_by(Case.number.desc())
        .limit(1)
    ).first()


class Deciding:
    """The decisions of one case as far as the report of one assessment tells them, oldest first.

    `about` are those on this assessment; the others came before, on earlier assessments of the same case. An
    approval that waits for its second is no decision yet: the supplier does not see it.
    """

    def __init__(
        self, session: Session, assessment: Assessment, case: Case | None, audience: Audience
    ) -> None:
        self.session, self.assessment, self.case, self.audience = session, assessment, case, audience
        self.numbers: dict[str, int] = {}
        self.all: list[Decision] = []
        if case is not None:
            for decision, number in session.execute(
                select(Decision, Assessment.number)
                .join(Assessment, Assessment.id == Decision.assessment_id)
                .where(Decision.case_id == case.id, Assessment.number <= assessment.number)
                .order_by(Decision.decided_at, Decision.seconds_id.is_not(None), Decision.id)
            ):
                self.all.append(decision)
                self.numbers[decision.id] = number
        seconded = {row.seconds_id for row in self.all if row.effective and row.seconds_id}
        if audience is Audience.SUPPLIER:
            self.all = [row for row in self.all if row.effective or row.id in seconded]
        about = {row.id for row in self.all if assessment.id in (row.assessment_id, row.settled_id)}
        about |= {row.seconds_id for row in self.all if row.id in about and row.seconds_id}
        self.about = [row for row in self.all if row.id in about]

    @property
    def settled(self) -> Decision | None:
        """The decision that closed the case on this assessment."""
        return next((row for row in self.about if row.settled_id is not None), None)

    def latest(self) -> datetime:
        """When the newest thing that the report tells happened."""
        moments = [self.assessment.created_at, *(row.decided_at for row in self.about)]
        if (settled := self.settled) is not None:
            moments.append(self.session.get_one(Assessment, settled.settled_id).created_at)
            if self.case is not None and self.case.closed_at is not None:
                moments.append(self.case.closed_at)
        return max(moments)

    def rows(self) -> tuple[DecisionRow, ...]:
        people = {row.decided_by: self.session.get_one(User, row.decided_by) for row in self.all}
        items: dict[str, list[ChangeItem]] = {}
        for item in self.session.scalars(
            select(ChangeRequest)
            .where(ChangeRequest.decision_id.in_([row.id for row in self.all]))
            .order_by(ChangeRequest.position)
        ):
            items.setdefault(item.decision_id, []).append(
                ChangeItem(told(item.text, self.audience), item.answer, item.answered_at)
            )
        return tuple(
            DecisionRow(
                kind=row.kind,
                reason=told(row.reason, self.audience),
                by=told(people[row.decided_by].name, self.audience),
                role=label(people[row.decided_by].role),
                at=row.decided_at,
                assessment_number=self.numbers[row.id],
                about_this=row in self.about,
                effective=row.effective,
                seconds=row.seconds_id is not None,
                items=tuple(items.get(row.id, ())),
            )
            for row in self.all
        )

    def approvals(self, rows: Sequence[DecisionRow]) -> str:
        """How many approvers the tier needs, and who they were."""
        if self.assessment.tier != 1:
            return f"In tier {self.assessment.tier} one person decides."
        given = [row for row in rows if row.about_this and row.kind in APPROVALS]
        rule = "In tier 1 an approval takes effect with the second of two different approvers"
        if not given:
            return f"{rule}."
        named = ", then ".join(f"{row.by} on {day(row.at)}" for row in given)
        return f"{rule}: {named}." if given[-1].effective else f"{rule}: {named}; the second is outstanding."

    def conditions(self, facts: Facts, result: Result, latest: datetime) -> tuple[Condition, ...]:
        """Exceptions granted on this assessment, and those that already counted in it."""
        counted = {(item.control_id, item.expires) for item in facts.exceptions}
        about = {row.id for row in self.about}
        titles = {control.id: control.title for control in result.controls}
        return tuple(
            Condition(
                control_id=row.control_id,
                title=titles.get(row.control_id, ""),
                text=told(row.condition, self.audience),
                owner=told(row.owner, self.audience),
                expires_on=row.expires_on,
                granted_at=row.created_at,
            )
            for row in self.session.scalars(
                select(GrantedException)
                .where(
                    GrantedException.product_id == self.assessment.product_id,
                    GrantedException.created_at <= latest,
                )
                .order_by(GrantedException.control_id, GrantedException.created_at, GrantedException.id)
            )
            if row.decision_id in about or (row.control_id, row.expires_on) in counted
        )

    def verdict(self) -> Verdict:
        settled = self.settled
        later = self._later(settled)
        if settled is not None:
            return Verdict(settled.kind, WORDS[settled.kind], f"on {day(settled.decided_at)}", later)
        newest = self.about[-1] if self.about else None
        if newest is not None and newest.kind is DecisionKind.REQUEST_CHANGES:
            detail = f"The supplier was asked for changes on {day(newest.decided_at)}."
        elif newest is not None and not newest.effective:
            detail = "One of two approvals was given; the second is outstanding."
        elif self.case is not None and (
            self.case.state is not CaseState.CLOSED or self.case.assessment_id != self.assessment.id
        ):
            detail = f"People look at it in case {self.case.number}."
        elif (standing := _settled_before(self.session, self.assessment)) is not None:
            detail = (
                "Nothing in it needed a person. "
                f"The decision of {day(standing.decided_at)} stands: {WORDS[standing.kind].lower()}."
            )
        else:
            detail = "Nobody has decided on it yet."
        return Verdict(None, NOT_DECIDED, detail, later)

    def _later(self, settled: Decision | None) -> str:
        newest = self.session.scalars(
            select(Assessment)
            .where(Assessment.product_id == self.assessment.product_id)
            .order_by(Assessment.number.desc())
            .limit(1)
        ).one()
        own = {self.assessment.id, settled.settled_id if settled else None}
        if newest.id in own:
            return ""
        decision = _settled_on(self.session, newest)
        words = f" ({WORDS[decision.kind].lower()})" if decision else ""
        return f"Superseded by assessment {newest.number} of {day(newest.created_at)}{words}."

    def compared(self, result: Result) -> DifferenceView | None:
        """The difference to the assessment last decided on before this one."""
        decision = _settled_before(self.session, self.assessment, besides=[row.id for row in self.about])
        if decision is None:
            return None
        before = self.session.get_one(Assessment, decision.settled_id)
        return DifferenceView(
            before_number=before.number,
            before_at=before.created_at,
            decided=decision.kind,
            changes=difference(Result.from_json(before.result), result),
        )

    def comments(self) -> Part[CommentRow]:
        """Remarks in the case; to the supplier only those that are not internal."""
        if self.case is None:
            return Part()
        wanted = select(Comment).where(Comment.case_id == self.case.id)
        if self.audience is Audience.SUPPLIER:
            wanted = wanted.where(Comment.internal.is_(False))
        rows = self.session.scalars(wanted.order_by(Comment.at, Comment.id)).all()
        return Part.first(
            (
                CommentRow(
                    text=told(row.text, self.audience),
                    by=told(self.session.get_one(User, row.author_id).name, self.audience),
                    at=row.at,
                    internal=row.internal,
                )
                for row in rows
            ),
            COMMENTS_MAX,
        )

    def ledger(self) -> tuple[LedgerRow, ...]:
        """The entries that anyone can hold this report against."""
        titles = {self.assessment.id: f"Assessment {self.assessment.number} made"}
        for row in self.about:
            titles[row.id] = f"Decision: {WORDS[row.kind].lower()}"
        if (settled := self.settled) is not None and settled.settled_id not in titles:
            after = self.session.get_one(Assessment, settled.settled_id)
            titles[after.id] = f"Assessment {after.number}, with the decision in force"
        return tuple(
            LedgerRow(titles[entry.subject_id], entry.seq, entry.at, entry.hash, entry.previous)
            for entry in self.session.scalars(
                select(Entry)
                .where(
                    Entry.subject_id.in_(titles),
                    Entry.kind.in_(("assessment.made", "decision.made")),
                )
                .order_by(Entry.seq)
            )
        )


def _settled_before(
    session: Session, assessment: Assessment, *, besides: Sequence[str] = ()
) -> Decision | None:
    return session.scalars(
        select(Decision)
        .join(Assessment, Assessment.id == Decision.settled_id)
        .where(
            Decision.product_id == assessment.product_id,
            Assessment.number < assessment.number,
            Decision.id.not_in(besides),
        )
        .order_by(Assessment.number.desc(), Decision.decided_at.desc())
        .limit(1)
    ).first()


def _settled_on(session: Session, assessment: Assessment) -> Decision | None:
    return session.scalars(select(Decision).where(Decision.settled_id == assessment.id).limit(1)).first()
