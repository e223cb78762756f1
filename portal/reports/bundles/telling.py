"""What one assessment rests on and what was decided on it, as the documents of a bundle."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.db import chunks
from portal.errors import Conflict
from portal.evidence.models import Evidence, Tombstone
from portal.ledger.logs import entry_about
from portal.ledger.models import Entry
from portal.policy.facts import Facts
from portal.policy.model import builtin, builtin_text
from portal.reports.bundles import form
from portal.reports.decided import Deciding, case_of, told
from portal.reports.view import Audience
from portal.review.models import Assessment, ChangeRequest, Decision, GrantedException, PolicyVersion
from portal.submissions.attestations.models import AttestationBatch
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import Lot, Sample
from portal.submissions.lots.plan import PLAN, plan_size
from portal.submissions.lots.sampling import says as drawn_says
from portal.submissions.models import Attachment, CheckRecord, Submission, SubmissionKind
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.submissions.verdicts import checks_document, run_checks, verdicts_document
from portal.suppliers.keys import key_name
from portal.suppliers.models import (
    KeyState,
    RevocationList,
    SamplingSeed,
    SigningKey,
    Supplier,
    TimestampAuthority,
)
from portal.suppliers.revocation import KEPT, der
from portal.suppliers.seeds import commitment
from portal.suppliers.timestamping import ever


class Telling:
    """What one assessment rests on and what was decided on it, as documents."""

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

    # --- Documents --------------------------------------------------------------------------------

    def documents(self) -> Iterator[tuple[str, str, bytes]]:
        """Path, what it is, and bytes."""
        for assessment in self.assessments:
            folder = f"assessment/{assessment.number}"
            yield f"{folder}/about.json", "assessment", form.document(self._about(assessment))
            yield f"{folder}/facts.json", "facts that were assessed", assessment.facts.encode()
            yield f"{folder}/result.json", "result of the assessment", assessment.result.encode()
        for digest in sorted({row.policy_digest for row in self.assessments}):
            name = digest.removeprefix("sha256:")
            yield f"policies/{name}.json", "policy", self._policy(digest).encode()
        for decision in self.decisions:
            yield f"decisions/{decision.id}.json", "decision", form.document(self._decision(decision))
        for exception in self.exceptions:
            yield f"exceptions/{exception.id}.json", "accepted gap", form.document(_exception(exception))
        for submission in self.submissions:
            yield from self._submission(submission)
        yield (
            form.EVIDENCE,
            "evidence, by its digests",
            form.document([_evidence(row) for row in self.evidence]),
        )
        for sample in self.samples:
            yield f"samples/{sample.id}.json", "sample of a lot", form.document(_sample(sample))
        for key in self.keys:
            yield f"keys/{key.id}.json", "approved key", form.document(self._key(key))
        for sha256, data in self._lists():
            yield form.revocation_list(sha256), "revocation list", data
        for row in self.authorities:
            body = {"id": row.id, "label": row.label, "pem": row.pem, "fingerprint": row.fingerprint}
            yield f"authorities/{row.id}.json", "time-stamp authority", form.document(body)

    def _about(self, row: Assessment) -> dict[str, object]:
        return {
            "id": row.id,
            "number": row.number,
            "tier": row.tier,
            "rating": row.rating,
            "product": row.product_id,
            "supplier": row.supplier_id,
            "made_at": rfc3339(row.created_at),
            "policy": row.policy_digest,
            "facts": f"sha256:{row.facts_digest}",
            "result": f"sha256:{row.result_digest}",
            "runs": self.runs[row.id],
        }

    def _policy(self, digest: str) -> str:
        kept = self.session.get(PolicyVersion, digest.removeprefix("sha256:"))
        if kept is not None:
            return kept.text
        if builtin().digest == digest:
            return builtin_text()
        raise Conflict(f"the text of the policy that was applied ({digest}) was not kept")

    def _decision(self, row: Decision) -> dict[str, object]:
        reason = row.reason if told(row.reason, Audience.SUPPLIER) == row.reason else None
        items = self.session.scalars(
            select(ChangeRequest.text)
            .where(ChangeRequest.decision_id == row.id)
            .order_by(ChangeRequest.position)
        ).all()
        return {
            "id": row.id,
            "decision": row.kind.value,
            "effective": row.effective,
            "seconds": row.seconds_id,
            "case": row.case_id,
            "product": row.product_id,
            "assessment": row.assessment_id,
            "settled": row.settled_id,
            "by": row.decided_by,
            "at": rfc3339(row.decided_at),
            "reason": reason,  # null where it names an address: its digest is in the ledger
            "items": [told(text, Audience.SUPPLIER) for text in items],
        }

    def _submission(self, row: Submission) -> Iterator[tuple[str, str, bytes]]:
        numbers = sorted({run for runs in self.runs.values() if (run := runs.get(row.id)) is not None})
        files = [one for one in row.attachments if one.evidence in self.evidence]
        body: dict[str, object] = {
            "id": row.id,
            "kind": row.kind.value,
            "title": row.title,
            "product": row.product_id,
            "submitted_at": rfc3339(row.submitted_at) if row.submitted_at else None,
            "files": [{"role": one.role.value, "evidence": one.evidence_id} for one in files],
            "runs": {str(run): checks_document(run_checks(self.session, row.id, run)) for run in numbers},
        }
        release = self.session.scalars(
            select(FirmwareRelease).where(FirmwareRelease.submission_id == row.id)
        ).first()
        if release is not None:
            body["declared_sha256"] = release.declared_sha256
            body["declared_version"] = release.declared_version
        batch = self.session.scalars(
            select(AttestationBatch).where(AttestationBatch.submission_id == row.id)
        ).first()
        if batch is not None:
            body["lot"] = batch.lot.submission_id
        yield f"submissions/{row.id}.json", f"submission: {row.kind.value}", form.document(body)
        for run in numbers:
            if (verdicts := verdicts_document(self.session, row.id, run)) is not None:
                path = f"submissions/{row.id}.verdicts-{run}.json"
                yield path, "verdict on each attestation", form.document(verdicts)

    def _lists(self) -> list[tuple[str, bytes]]:
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

    def _key(self, row: SigningKey) -> dict[str, object]:
        return {
            "id": row.id,
            "name": key_name(row),
            "label": row.label,
            "pem": row.pem,
            "fingerprint": row.fingerprint,
            "algorithm": row.algorithm,
            "purposes": row.purposes,
            "options": row.options,
            "registered_at": rfc3339(row.registered_at),
            "approved_at": rfc3339(row.decided_at) if row.decided_at else None,
            "approved_by": row.decided_by,
            "distrusted_from": rfc3339(row.distrusted_from) if row.distrusted_from else None,
        }


def _exception(row: GrantedException) -> dict[str, object]:
    return {
        "id": row.id,
        "product": row.product_id,
        "decision": row.decision_id,
        "control": row.control_id,
        "condition": row.condition,
        "owner": row.owner,
        "expires": row.expires_on.isoformat(),
        "granted_at": rfc3339(row.created_at),
        "ended_at": rfc3339(row.closed_at) if row.closed_at else None,
    }


def _sample(row: Sample) -> dict[str, object]:
    units, said = row.lot.unit_count, drawn_says(row)
    return {
        "id": row.id,
        "plan": {"name": PLAN, "units": units, "size": plan_size(units)},
        "commitment": commitment(row.seed.seed),
        "at": rfc3339(row.drawn_at),
        **said,
        "serials": row.serials.splitlines(),
    }


def _evidence(row: Evidence) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.filename,
        "sha256": row.sha256,
        "blake3": row.blake3,
        "size": row.size,
        "received_at": rfc3339(row.received_at),
    }
