"""One assessment as one file: what it rests on, what was decided, and the receipts that prove it.

The same state of database, vault and ledger makes the same bytes. Nothing internal to the buyer is in it, so
that a supplier, an auditor and a court can be given the same file.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.errors import Conflict, NotFound, StorageFailed
from portal.evidence.models import Evidence, Tombstone
from portal.evidence.ports import BlobStore
from portal.ledger import logs
from portal.ledger.models import Entry, Log, Stamp
from portal.ledger.proofs import Proof
from portal.policy.facts import Facts
from portal.policy.model import builtin, builtin_text
from portal.reports.bundles import form
from portal.reports.decided import Deciding, case_of, told
from portal.reports.pdf import render
from portal.reports.proof import chunks
from portal.reports.read import assessment_report
from portal.reports.view import Audience
from portal.review.models import Assessment, ChangeRequest, Decision, GrantedException, PolicyVersion
from portal.submissions.attestations.models import AttestationBatch
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.models import Attachment, CheckRecord, Submission
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.submissions.verdicts import checks_document, run_checks, verdicts_document
from portal.suppliers.keys import key_name
from portal.suppliers.models import KeyState, SigningKey, Supplier
from portal.suppliers.revocation import list_of
from portal.suppliers.timestamping import authorities
from portal.zips import CHUNK, ZipWriter

_WAITS: Final = (
    "Entries of the ledger about this wait for their checkpoint, which is signed within seconds: try again."
)


def write_bundle(
    session: Session,
    store: BlobStore,
    assessment_id: str,
    file: BinaryIO,
    *,
    policy: str,
    digests_only: bool = False,
) -> None:
    """Write the bundle of an assessment into `file`, which is empty and can seek. `policy`: tlog-policy of
    the portal's logs.

    Memory grows with the number of files, not with their size. Raises NotFound, Conflict while there is no
    log or entries wait, StorageFailed where evidence has other bytes than were delivered.
    """
    found = session.get(Assessment, assessment_id)
    if found is None:
        raise NotFound("there is no such assessment")
    telling = _Telling(session, found)
    receipts = _Receipts(session, telling.subjects())
    writer = _Writer(file)
    writer.add(form.README, form.TEXT.encode(), "how to check this")
    for path, what, data in telling.documents():
        writer.add(path, data, what)
    if not digests_only:
        for row in telling.blobs():
            writer.copy(store, row)
    view = assessment_report(session, assessment_id, audience=Audience.SUPPLIER)
    writer.add(form.REPORT, render(view), "the report for people; nothing proves it")
    writer.add(form.POLICY, policy.encode(), "keys of the logs (tlog-policy)")
    for path, what, data in receipts.documents():
        writer.add(path, data, what)
    writer.close(
        {
            "format": form.FORMAT,
            "assessment": found.id,
            "number": found.number,
            "supplier": {"id": found.supplier_id, "name": telling.supplier.name},
            "product": {
                "id": found.product_id,
                "model": found.product.model,
                "name": found.product.name,
            },
            "evidence": "digests" if digests_only else "included",
        }
    )


class _Writer:
    """Files into the ZIP, and each into the manifest."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = ZipWriter(file)
        self._files: list[dict[str, object]] = []

    def add(self, path: str, data: bytes, what: str) -> None:
        self._zip.add(path, data)
        self._note(path, len(data), hashlib.sha256(data).hexdigest(), what)

    def copy(self, store: BlobStore, row: Evidence) -> None:
        path, sha256 = form.blob(row.sha256), hashlib.sha256()
        with store.open(row.sha256) as source, self._zip.open(path, row.size) as entry:
            left = row.size
            while left and (data := source.read(min(CHUNK, left))):
                sha256.update(data)
                entry.write(data)
                left -= len(data)
            if left or sha256.hexdigest() != row.sha256:
                raise StorageFailed(
                    f"The store holds other bytes than evidence {row.id} had: run `lotgate fsck`."
                )
        self._note(path, row.size, row.sha256, "evidence")

    def _note(self, path: str, size: int, sha256: str, what: str) -> None:
        self._files.append({"path": path, "size": size, "sha256": sha256, "what": what})

    def close(self, about: dict[str, object]) -> None:
        self._zip.add(form.MANIFEST, form.document(about | {"files": self._files}))
        self._zip.close()


class _Telling:
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
        self.keys = session.scalars(
            select(SigningKey)
            .where(SigningKey.supplier_id == assessment.supplier_id, SigningKey.state == KeyState.APPROVED)
            .order_by(SigningKey.registered_at, SigningKey.id)
        ).all()
        self.authorities = authorities(session)

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
        for key in self.keys:
            yield f"keys/{key.id}.json", "approved key", form.document(self._key(key))
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

    def _key(self, row: SigningKey) -> dict[str, object]:
        kept = list_of(self.session, row)
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
            "revocation_list": kept.pem if kept else None,
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


def _evidence(row: Evidence) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.filename,
        "sha256": row.sha256,
        "blake3": row.blake3,
        "size": row.size,
        "received_at": rfc3339(row.received_at),
    }


class _Receipts:
    """The entries about something, with the proof of each under one checkpoint of each log."""

    def __init__(self, session: Session, subjects: set[str]) -> None:
        self._session = session
        self._found: dict[int, list[Entry]] = {}
        self._logs: dict[int, Log] = {}
        seqs = sorted(
            seq
            for ids in chunks(sorted(subjects))
            for seq in session.scalars(select(Entry.seq).where(Entry.subject_id.in_(ids)))
        )
        if logs.open_log(session) is None and not session.scalars(select(Log)).first():
            raise Conflict("There are no receipts yet: no transparency log is open. `lotgate ledger create`.")
        for ids in chunks(seqs):
            for entry in session.scalars(select(Entry).where(Entry.seq.in_(ids)).order_by(Entry.seq)):
                log = logs.log_of(session, entry)
                if log is None:
                    raise Conflict(_WAITS)
                self._logs[log.number] = log
                self._found.setdefault(log.number, []).append(entry)

    def documents(self) -> Iterator[tuple[str, str, bytes]]:
        for number, entries in sorted(self._found.items()):
            log = self._logs[number]
            last = entries[-1].seq - log.first_seq
            checkpoint = logs.best_checkpoint(self._session, log, last)
            note = logs.signed_note(self._session, checkpoint)
            yield form.checkpoint(number), f"checkpoint of {log.origin}", note.encode()
            tree = logs.tree(self._session, log, checkpoint.size)
            yield from self._stamp(log, checkpoint.size, last)
            for entry in entries:
                index = entry.seq - log.first_seq
                proof = Proof.of(index, tree.inclusion(index), note, logs.opening(entry).dump())
                yield form.receipt(number, index), f"receipt: {entry.kind}", str(proof).encode()

    def _stamp(self, log: Log, size: int, last: int) -> Iterator[tuple[str, str, bytes]]:
        """The first time stamp over everything here, else the newest; and that the log grew from the one
        checkpoint to the other."""
        believed = {row.fingerprint for row in authorities(self._session)}
        found = self._session.scalars(select(Stamp).where(Stamp.log == log.number).order_by(Stamp.size)).all()
        found = [row for row in found if row.fingerprint in believed]
        if not found:
            return
        stamp = next((row for row in found if row.size > last), found[-1])
        sizes = sorted((stamp.size, size))
        path = logs.tree(self._session, log, sizes[1]).consistency(sizes[0]) if sizes[0] < sizes[1] else []
        yield form.stamped(log.number, stamp.size, "tsr"), f"time stamp by {stamp.authority}", stamp.response
        note = logs.checkpoint(self._session, log, stamp.size).note.encode()
        yield form.stamped(log.number, stamp.size, "checkpoint"), "what the time stamp is over", note
        hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in path).encode()
        yield form.stamped(log.number, stamp.size, "consistency"), "both checkpoints are of one log", hashes
