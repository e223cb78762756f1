"""What one assessment rests on and what was decided on it: the rows that a bundle tells of."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from portal.db import chunks
from portal.evidence.models import Evidence, Tombstone
from portal.ledger.logs import entry_about
from portal.ledger.models import Entry
from portal.policy.facts import Facts
from portal.reports.decided import Deciding, case_of
from portal.reports.view import Audience
from portal.review.models import Assessment, GrantedException
from portal.submissions.lots.models import Lot, Sample
from portal.submissions.models import Attachment, CheckRecord, Submission, SubmissionKind
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.submissions.verdicts import run_checks
from portal.suppliers.models import (
    KeyState,
    RevocationList,
    SamplingSeed,
    SigningKey,
    Supplier,
    TimestampAuthority,
)
from portal.suppliers.revocation import KEPT, der
from portal.suppliers.timestamping import ever


class Basis:
    """What one assessment rests on and what was decided on it."""

    def __init__(self, session: Session, assessment: Assessment) -> None:
        self.session, self.assessment = session, assessment
        self.supplier = session.get_one(Supplier, assessment.supplier_id)
        deciding = Deciding(session, assessment, case_of(session, assessment), Audience.SUPPLIER)
        self.decisions = deciding.about
        ids = {assessment.id} | {row.assessment_id for row in self.decisions}
        ids |= {row.settled_id for row in self.decisions if row.settled_id}
        self.assessments = sorted(
            (session.get_one(Assessment, one) for one in ids), key=lambda row: row.number
        )
        self.runs = {row.id: self._runs(row) for row in self.assessments}
        submission_ids = sorted({one for runs in self.runs.values() for one in runs})
        self.submissions = self._in(Submission, Submission.id, submission_ids)
        self.evidence = self._evidence(submission_ids)
        self.exceptions = self._exceptions()
        self.samples = self._samples()
        self.seeds = self._seeds()
        self.moments = self._moments()
        self.keys = session.scalars(
            select(SigningKey)
            .where(SigningKey.supplier_id == assessment.supplier_id, SigningKey.state == KeyState.APPROVED)
            .order_by(SigningKey.registered_at, SigningKey.id)
        ).all()
        self.authorities = [row for row in ever(session) if self._counted(row)]

    def _in(self, table: Any, column: Any, ids: Sequence[str], *more: ColumnElement[bool]) -> list[Any]:
        return [
            row
            for part in chunks(ids)
            for row in self.session.scalars(select(table).where(column.in_(part), *more).order_by(column))
        ]

    def _runs(self, assessment: Assessment) -> dict[str, int | None]:
        """Of each submission that an assessment looked at, the run whose checks it saw; None for one that the
        machine failed to verify."""
        seen: dict[str, set[tuple[str, str, str]]] = {}
        for check in Facts.from_json(assessment.facts).checks:
            seen.setdefault(check.submission_id, set()).add((check.id, check.outcome, check.reason))
        found: dict[str, int | None] = {}
        for submission_id, checks in seen.items():
            numbers = self.session.scalars(
                select(CheckRecord.run)
                .where(CheckRecord.submission_id == submission_id, CheckRecord.at <= assessment.created_at)
                .distinct()
                .order_by(CheckRecord.run.desc())
            )
            found[submission_id] = next(
                (number for number in numbers if checks == self._said(submission_id, number)), None
            )
        return found

    def _said(self, submission_id: str, run: int) -> set[tuple[str, str, str]]:
        rows = run_checks(self.session, submission_id, run)
        return {(row.check_id, row.outcome.value, row.reason) for row in rows}

    def _evidence(self, submission_ids: Sequence[str]) -> list[Evidence]:
        latest = max(row.created_at for row in self.assessments)
        found: dict[str, Evidence] = {}
        for row in self._in(
            Attachment, Attachment.submission_id, submission_ids, Attachment.attached_at <= latest
        ):
            found[row.evidence_id] = row.evidence
        digests = {
            file.digest.removeprefix("sha256:")
            for assessment in self.assessments
            for answer in Facts.from_json(assessment.facts).answers.values()
            for file in answer.evidence
        }
        for row in self.session.scalars(
            select(AnswerEvidence)
            .join(Submission, Submission.id == AnswerEvidence.submission_id)
            .where(Submission.product_id == self.assessment.product_id, AnswerEvidence.attached_at <= latest)
        ):
            if row.evidence.sha256 in digests:
                found[row.evidence_id] = row.evidence
        return sorted(found.values(), key=lambda row: (row.received_at, row.id))

    def _exceptions(self) -> list[GrantedException]:
        about = {row.id for row in self.decisions}
        counted = {
            (item.control_id, item.expires)
            for assessment in self.assessments
            for item in Facts.from_json(assessment.facts).exceptions
        }
        latest = max(row.created_at for row in self.assessments)
        return [
            row
            for row in self.session.scalars(
                select(GrantedException)
                .where(
                    GrantedException.product_id == self.assessment.product_id,
                    GrantedException.created_at <= latest,
                )
                .order_by(GrantedException.created_at, GrantedException.id)
            )
            if row.decision_id in about or (row.control_id, row.expires_on) in counted
        ]

    def _samples(self) -> list[Sample]:
        """Those drawn before the last decision here. A later one is not told: whoever knows the units before
        they are tested could prepare them."""
        lots = [row.id for row in self.submissions if row.kind is SubmissionKind.LOT]
        if not self.decisions:
            return []
        decided = max(row.decided_at for row in self.decisions)
        found = self._in(
            *(Sample, Lot.submission_id, lots), Lot.id == Sample.lot_id, Sample.drawn_at < decided
        )
        return sorted(found, key=lambda row: (row.drawn_at, row.lot_id, row.size))

    def _seeds(self) -> Sequence[SamplingSeed]:
        """All of the product that were committed before: that the right one was told."""
        if not self.samples:
            return []
        return self.session.scalars(
            select(SamplingSeed)
            .where(
                SamplingSeed.product_id == self.assessment.product_id,
                SamplingSeed.committed_at <= self.samples[-1].drawn_at,
            )
            .order_by(SamplingSeed.id)
        ).all()

    def _moments(self) -> list[int]:
        """Of each run the number of the entry before which stands what counted, as its own entry says it; of
        the first form the first one that tells of it. Runs of a lot take checks over from earlier ones."""
        pairs = {(one, run) for runs in self.runs.values() for one, run in runs.items() if run is not None}
        lots = {row.id for row in self.submissions if row.kind is SubmissionKind.LOT}
        pairs |= {(one, before) for one, run in pairs if one in lots for before in range(1, run)}
        said = {
            (entry.subject_id, body["run"]): body["trust_before"]
            for entry in self._in(
                *(Entry, Entry.subject_id, sorted({one for one, _ in pairs})),
                Entry.kind == "verification.ended",
            )
            if "trust_before" in (body := json.loads(entry.body))
        }
        found = (said[pair] if pair in said else self._first_entry(*pair) for pair in sorted(pairs))
        return sorted(seq for seq in found if seq is not None)

    def _first_entry(self, submission_id: str, run: int) -> int | None:
        return self.session.scalar(
            select(func.min(Entry.seq))
            .join(CheckRecord, CheckRecord.id == Entry.subject_id)
            .where(
                Entry.kind == "check.recorded",
                CheckRecord.submission_id == submission_id,
                CheckRecord.run == run,
            )
        )

    def _counted(self, row: TimestampAuthority) -> bool:
        """Whether it counts now, or counted at one of the runs."""
        if row.removed_at is None:
            return True
        added, removed = (
            entry_about(self.session, f"timestamp_authority.{act}", row.id) for act in ("added", "removed")
        )
        if added is None or removed is None:
            return False
        return any(added.seq < seq <= removed.seq for seq in self.moments)

    def subjects(self) -> set[str]:
        """Ids of everything that entries of the ledger may be about."""
        checks = {
            row.id
            for runs in self.runs.values()
            for submission_id, run in runs.items()
            if run is not None
            for row in run_checks(self.session, submission_id, run)
        }
        rows = (
            *self.assessments,
            *self.decisions,
            *self.submissions,
            *self.evidence,
            *self.exceptions,
            *self.keys,
            *self.authorities,
            *self.samples,
            *self.seeds,
        )
        policies = {row.policy_digest.removeprefix("sha256:") for row in self.assessments}
        own = {self.assessment.product_id, self.assessment.supplier_id}
        return {row.id for row in rows} | checks | policies | own

    def blobs(self) -> list[Evidence]:
        """One row for each digest, of what was not deleted since."""
        ids = [row.id for row in self.evidence]
        gone = {row.id for row in self._in(Tombstone, Tombstone.id, ids)}
        return list({row.sha256: row for row in self.evidence if row.id not in gone}.values())

    def lists(self) -> list[tuple[str, bytes]]:
        """SHA-256 and bytes of each revocation list that counted at one of the runs."""
        counted = set()
        for key in self.keys:
            entries = self.session.execute(
                select(Entry.seq, Entry.body)
                .where(Entry.kind == KEPT, Entry.subject_id == key.id)
                .order_by(Entry.seq)
            ).all()
            for moment in self.moments:
                before = [body for seq, body in entries if seq < moment]
                if before:
                    counted.add((key.id, json.loads(before[-1])["sha256"]))
        found = {}
        for key_id, sha256 in counted:
            wanted = select(RevocationList).where(
                RevocationList.key_id == key_id, RevocationList.sha256 == sha256
            )
            if (row := self.session.scalars(wanted).first()) is not None:
                found[sha256] = der(row)
        return sorted(found.items())
