"""What the rules would let go now, and what they keep though it is old. Reads only.

The same code judges when a deletion is carried out, in its transaction (deleting.py).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Select, case, func, literal, select
from sqlalchemy.orm import Session

from portal.clock import Clock, today
from portal.evidence.models import Evidence
from portal.evidence.state import alive
from portal.policy.codec import canonical
from portal.retention import rules
from portal.retention.candidates import free
from portal.retention.holds import Frozen, frozen
from portal.retention.rules import Anchor, Kind, Rules
from portal.review.models import Case, CaseState, Decision
from portal.submissions.models import Attachment, Submission, SubmissionState
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.suppliers.models import Product, Supplier

MOST: Final = 1_000  # files that go at once: one transaction, less than half a second of the write lock
KEPT_SHOWN: Final = 200
OLD: Final = timedelta(days=365)  # what is younger is inside every period (rules.YEARS_MIN)
_BATCH: Final = 500
_DRAFT = "a draft that was not submitted yet uses it"
_PENDING = "its verification is under way"


@dataclass(frozen=True, slots=True)
class File:
    """A piece of evidence, as the list shows it; size in bytes."""

    id: str
    filename: str
    sha256: str
    size: int
    supplier_id: str
    supplier: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Goes:
    """`rule` as it is cited; kept until the end of `kept_until`."""

    file: File
    rule: str
    kept_until: date


@dataclass(frozen=True, slots=True)
class Stays:
    file: File
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """`digest` names rules and files: a deletion is of this set or of none. `more`: files after it."""

    rules: Rules
    goes: tuple[Goes, ...]
    more: int
    stays: tuple[Stays, ...]
    stays_total: int
    digest: str

    @property
    def size(self) -> int:
        return sum(item.file.size for item in self.goes)


@dataclass(frozen=True, slots=True)
class _Use:
    """Evidence offered with a submission. `taken_away` from a draft's answer: only a hold counts then."""

    kind: Kind
    state: SubmissionState
    product_id: str
    taken_away: bool


@dataclass(frozen=True, slots=True)
class _Life:
    """What is known of a product: its dates, the newest decision, its open case."""

    dates: dict[Anchor, date | None]
    case: int | None


def preview(session: Session, clock: Clock) -> Preview:
    """Judge everything that is old. Memory grows with what would go (at most MOST), not with the vault.

    The database finds what may go (candidates.py); what is shown is judged here.
    """
    in_force, day = rules.current(session), today(clock)
    judge = _Judge(session, in_force, frozen(session), day)
    before, may_go = clock.now() - OLD, free(in_force, day)
    total, free_total = session.execute(
        select(func.count(), func.count(case((may_go, 1)))).where(Evidence.received_at <= before, alive())
    ).one()
    goes = [one for one in judge.each(_old(before).where(may_go).limit(MOST)) if isinstance(one, Goes)]
    kept = judge.each(_old(before).where(~may_go).limit(KEPT_SHOWN)) if total > free_total else ()
    stays = tuple(one for one in kept if isinstance(one, Stays))
    named = [[item.file.id, item.file.sha256, item.rule, item.kept_until.isoformat()] for item in goes]
    digest = hashlib.sha256(canonical({"rules": in_force.digest, "evidence": named})).hexdigest()
    more = free_total - min(free_total, MOST)
    return Preview(in_force, tuple(goes), more, stays, total - free_total, digest)


def still(session: Session, clock: Clock, seen: Preview) -> bool:
    """Whether every file that was seen to go would go now as well, under the same rules: holds, cases, uses
    and periods are looked at anew, for these files only."""
    in_force = rules.current(session)
    if (in_force.version, in_force.digest) != (seen.rules.version, seen.rules.digest):
        return False
    judge = _Judge(session, in_force, frozen(session), today(clock))
    for start in range(0, len(seen.goes), _BATCH):
        batch = seen.goes[start : start + _BATCH]
        ids = [item.file.id for item in batch]
        there = session.scalar(select(func.count()).where(Evidence.id.in_(ids), alive()))
        if there != len(ids) or list(judge.all([item.file for item in batch])) != list(batch):
            return False
    return True


def _old(before: datetime) -> Select[str, str, str, int, str, str, datetime]:
    """Evidence without tombstone received before, oldest first: the columns of File."""
    return (
        select(
            Evidence.id,
            Evidence.filename,
            Evidence.sha256,
            Evidence.size,
            Evidence.supplier_id,
            Supplier.name,
            Evidence.received_at,
        )
        .join(Supplier, Supplier.id == Evidence.supplier_id)
        .where(Evidence.received_at <= before, alive())
        .order_by(Evidence.received_at, Evidence.id)
    )


class _Judge:
    """Judges evidence by the rules, the holds and the cases of one moment."""

    def __init__(self, session: Session, in_force: Rules, held: Frozen, day: date) -> None:
        self.session, self.rules, self.held, self.day = session, in_force, held, day
        self.lives: dict[str, _Life] = {}

    def each(self, query: Select[str, str, str, int, str, str, datetime]) -> Iterator[Goes | Stays]:
        files = [File(*row) for row in self.session.execute(query)]
        for start in range(0, len(files), _BATCH):
            yield from self.all(files[start : start + _BATCH])

    def all(self, files: Sequence[File]) -> Iterator[Goes | Stays]:
        uses = self._uses([file.id for file in files])
        self._learn({use.product_id for found in uses.values() for use in found})
        for file in files:
            yield self._one(file, uses.get(file.id, []))

    def _one(self, file: File, uses: Sequence[_Use]) -> Goes | Stays:
        reasons: list[str] = []
        if reference := self.held.suppliers.get(file.supplier_id) or self.held.evidence.get(file.id):
            reasons.append(f"on hold: {reference}")
        reasons += [
            f"on hold: {self.held.products[before.product_id]}"
            for before in uses
            if before.taken_away and before.product_id in self.held.products
        ]
        last: tuple[date, str] | None = None
        each: Sequence[_Use | None] = [use for use in uses if not use.taken_away] or [None]
        for use in each:
            if use is not None:
                reasons += self._wanted(use)
            kind = use.kind if use else Kind.UNUSED
            rule = self.rules.by_kind[kind]
            anchored = self.lives[use.product_id].dates.get(rule.anchor) if use else None
            until = rule.last_day(anchored, file.received_at.date())
            if until is None:
                reasons.append(
                    f"{kind.value}: kept for ever"
                    if rule.anchor is Anchor.NEVER
                    else f"{kind.value}: {rules.WORDS[rule.anchor]} is not known"
                )
            elif until >= self.day:
                reasons.append(f"inside its period until {until.day} {until:%B %Y} ({kind.value}: {rule})")
            if until is not None:
                last = max(last or (until, ""), (until, self.rules.named(kind)))
        if reasons or last is None:
            return Stays(file, tuple(dict.fromkeys(reasons)))
        return Goes(file, last[1], last[0])

    def _wanted(self, use: _Use) -> Iterator[str]:
        """Why a use keeps the file whatever its age."""
        if reference := self.held.products.get(use.product_id):
            yield f"on hold: {reference}"
        if (number := self.lives[use.product_id].case) is not None:
            yield f"case {number} is open"
        if use.state is SubmissionState.DRAFT:
            yield _DRAFT
        if use.state in (SubmissionState.SUBMITTED, SubmissionState.VERIFYING):
            yield _PENDING

    def _uses(self, ids: Sequence[str]) -> dict[str, list[_Use]]:
        found: dict[str, list[_Use]] = {}
        for query in (
            select(
                Attachment.evidence_id,
                Submission.kind,
                Submission.state,
                Submission.product_id,
                literal(None),
            )
            .join(Submission, Submission.id == Attachment.submission_id)
            .where(Attachment.evidence_id.in_(ids)),
            select(
                AnswerEvidence.evidence_id,
                Submission.kind,
                Submission.state,
                Submission.product_id,
                AnswerEvidence.removed_at,
            )
            .join(Submission, Submission.id == AnswerEvidence.submission_id)
            .where(AnswerEvidence.evidence_id.in_(ids)),
        ):
            for evidence_id, kind, state, product_id, removed_at in self.session.execute(query):
                use = _Use(Kind(kind.value), state, product_id, removed_at is not None)
                found.setdefault(evidence_id, []).append(use)
        return found

    def _learn(self, product_ids: set[str]) -> None:
        new = sorted(product_ids - self.lives.keys())
        for start in range(0, len(new), _BATCH):
            ids = new[start : start + _BATCH]
            decided = dict(
                self.session.execute(
                    select(Decision.product_id, func.max(Decision.decided_at))
                    .where(Decision.product_id.in_(ids), Decision.settled_id.is_not(None))
                    .group_by(Decision.product_id)
                ).all()
            )
            cases = dict(
                self.session.execute(
                    select(Case.product_id, Case.number).where(
                        Case.product_id.in_(ids), Case.state != CaseState.CLOSED
                    )
                ).all()
            )
            for row in self.session.execute(
                select(Product.id, Product.end_of_sale, Product.end_of_support).where(Product.id.in_(ids))
            ):
                at = decided.get(row.id)
                self.lives[row.id] = _Life(
                    {
                        Anchor.DECIDED: at.date() if at else None,
                        Anchor.END_OF_SALE: row.end_of_sale,
                        Anchor.END_OF_SUPPORT: row.end_of_support,
                    },
                    cases.get(row.id),
                )
