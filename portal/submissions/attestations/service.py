"""Attestations: a file of DSSE envelopes about the units of one lot."""

from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.clock import Clock
from portal.errors import InvalidInput, Problem
from portal.evidence.ports import BlobStore
from portal.submissions.attestations.models import AttestationBatch, AttestationFailure, AttestationPasses
from portal.submissions.attestations.passes import Columns, columns_of
from portal.submissions.drafting import Progress, attach, attached, missing, start
from portal.submissions.findings import Limits
from portal.submissions.lots.models import Lot, Unit
from portal.submissions.lots.told import coverage
from portal.submissions.models import AttachmentRole, Submission, SubmissionKind
from portal.submissions.signers import explained_batch
from portal.suppliers.keys import believed
from portal.suppliers.rules import owned
from portal.verification import BatchReport, Check, Chunk, Outcome, Trust, verify_attestations

FAILURES_MAX = 10_000  # lines kept one by one; the rest is counted
_NAMED = 5


def start_attestations(
    session: Session, actor: Actor, clock: Clock, *, lot_id: str, attestations_id: str | None = None
) -> Submission:
    """A draft that offers attestations about the units of one lot."""
    lot = owned(session, actor, Lot, lot_id, "lot")
    submission = start(
        session,
        actor,
        clock,
        kind=SubmissionKind.ATTESTATIONS,
        product_id=lot.submission.product_id,
        title=f"Attestations for lot {lot.lot_number}",
    )
    session.add(
        AttestationBatch(
            supplier_id=submission.supplier_id,
            submission_id=submission.id,
            lot_id=lot.id,
            submission=submission,
            lot=lot,
        )
    )
    if attestations_id:
        attach(session, actor, clock, submission.id, attestations_id, AttachmentRole.ATTESTATIONS)
    session.flush()
    return submission


def problems(_session: Session, submission: Submission) -> tuple[Problem, ...]:
    return missing(submission, AttachmentRole.ATTESTATIONS, "the file of attestations")


def batch_of(session: Session, submission_id: str) -> AttestationBatch:
    return session.scalars(
        select(AttestationBatch).where(AttestationBatch.submission_id == submission_id)
    ).one()


def declared(session: Session, submission: Submission) -> dict[str, object]:
    return {"lot": batch_of(session, submission.id).lot.submission_id}


def kept(session: Session, submission: Submission) -> dict[str, object]:
    """The totals, and which units of the lot are covered now, by this batch and others."""
    batch = batch_of(session, submission.id)
    counts = {name: getattr(batch, name) for name in ("total", "passed", "failed", "unreadable", "unmatched")}
    return {"counts": counts, "covered": coverage(session, batch.lot_id)}


def withdraw(session: Session, _clock: Clock, submission: Submission) -> None:
    """Its attestations cover nothing any more."""
    _uncover(session, submission)


def _uncover(session: Session, submission: Submission) -> None:
    session.execute(
        update(Unit)
        .where(Unit.attested_by == submission.id)
        .values(attested_by=None, attested_line=None)
        .execution_options(synchronize_session=False)
    )


@dataclass(frozen=True, slots=True)
class AttestationFindings:
    """`covered`: pairs of unit id and line. `failures`: at most FAILURES_MAX; `unmatched` counts them all."""

    checks: tuple[Check, ...]
    report: BatchReport
    covered: tuple[tuple[int, int], ...]
    failures: tuple[tuple[int, Outcome, str, str], ...]
    unmatched: int
    passes: tuple[Columns, ...]
    trust_before: int

    def settle(self, _session: Session, _submission: Submission) -> tuple[Check, ...]:
        return self.checks

    def record(self, session: Session, _clock: Clock, submission: Submission) -> None:
        """Totals, failures by line, passes as columns, and the mark on each covered unit (taken back where it
        was lost)."""
        batch = batch_of(session, submission.id)
        batch.total, batch.passed = self.report.total, self.report.passed
        batch.failed, batch.unreadable = self.report.failed, self.report.unreadable
        batch.unmatched = self.unmatched
        _uncover(session, submission)
        for start_at in range(0, len(self.covered), 5000):
            session.execute(
                update(Unit),
                [
                    {"id": unit_id, "attested_by": submission.id, "attested_line": line}
                    for unit_id, line in self.covered[start_at : start_at + 5000]
                ],
            )
        about = {
            "supplier_id": submission.supplier_id,
            "submission_id": submission.id,
            "run": submission.run,
        }
        for passed in self.passes:
            session.execute(insert(AttestationPasses), about | asdict(passed))
        for start_at in range(0, len(self.failures), 2000):
            session.execute(
                insert(AttestationFailure),
                [
                    about | {"line": line, "outcome": outcome, "reason": reason, "subject": subject[:200]}
                    for line, outcome, reason, subject in self.failures[start_at : start_at + 2000]
                ],
            )
        session.flush()


class _Collector:
    """Sorts verdicts, chunk by chunk, against the units of the lot."""

    def __init__(self, units: dict[bytes, int], trust: Trust) -> None:
        self.units = units  # digest → unit id
        self.keys = trust.keys
        self.covered: dict[int, int] = {}
        self.passes: list[Columns] = []
        self.failures: list[tuple[int, Outcome, str, str]] = []
        self.unmatched = 0
        self.first: dict[Outcome, list[int]] = {Outcome.FAIL: [], Outcome.UNREADABLE: []}
        self.first_unmatched: list[str] = []

    def take(self, chunk: Chunk) -> None:
        for verdict in chunk.failures:
            lines = self.first.setdefault(verdict.outcome, [])
            if len(lines) < _NAMED:
                lines.append(verdict.line)
            subject = ", ".join(name for name, _ in verdict.subjects[:3])
            self._fail(verdict.line, verdict.outcome, verdict.reason, subject)
        if passed := columns_of(chunk, self.keys):
            self.passes.append(passed)
        strangers: dict[int, list[str]] = {}
        for line, name, digest in chunk.subject_rows():
            unit_id = self.units.get(digest)
            if unit_id is None:
                strangers.setdefault(line, []).append(name)
            else:
                self.covered.setdefault(unit_id, line)
        for line, names in strangers.items():
            self.unmatched += 1
            if len(self.first_unmatched) < _NAMED:
                self.first_unmatched.append(f"{names[0]} (line {line})")
            reason = "The signature is valid, but the subject's digest is that of no unit in this lot."
            self._fail(line, Outcome.FAIL, reason, ", ".join(names[:3]))

    def _fail(self, line: int, outcome: Outcome, reason: str, subject: str) -> None:
        if len(self.failures) < FAILURES_MAX:
            self.failures.append((line, outcome, reason, subject))


def examine(
    session: Session, store: BlobStore, submission: Submission, progress: Progress, _limits: Limits
) -> AttestationFindings:
    """Verify every envelope by the supplier's attestation keys and match subjects to units by digest."""
    evidence = attached(submission, AttachmentRole.ATTESTATIONS)
    if evidence is None or submission.submitted_at is None:
        raise InvalidInput("the submission has no attestations")
    at = submission.submitted_at.timestamp()
    batch = batch_of(session, submission.id)
    rows = session.execute(select(Unit.digest, Unit.id).where(Unit.lot_id == batch.lot_id))
    believing = believed(session, submission.supplier_id)
    trust = believing.trust
    collector = _Collector({bytes.fromhex(row.digest): row.id for row in rows}, trust)
    with store.get_local_path(evidence.sha256) as path:
        report = verify_attestations(
            path,
            trust,
            at=at,
            columns=collector.take,
            progress=lambda done: progress(done, evidence.size, "verifying attestations"),
        )
        why = ""
        if report.failed and not report.passed:
            why = explained_batch(session, submission.supplier_id, lambda trust: _makers(path, trust, at))
    return AttestationFindings(
        checks=_checks(report, collector, why),
        report=report,
        covered=tuple(sorted(collector.covered.items())),
        failures=tuple(collector.failures),
        unmatched=collector.unmatched,
        passes=tuple(collector.passes),
        trust_before=believing.before,
    )


def _makers(path: Path, trust: Trust, at: float) -> set[str]:
    """Ids of the keys of `trust` that made any of the attestations."""
    made: set[int] = set()
    verify_attestations(path, trust, at=at, columns=lambda chunk: made.update(chunk.keys))
    return {trust.keys[place].id for place in made}


def _checks(report: BatchReport, found: _Collector, why: str) -> tuple[Check, ...]:
    if report.total == 0:
        text = f"The file holds no attestation. {report.reason}"
        return (Check("attestations.readable", Outcome.UNREADABLE, text),)
    readable = report.total - report.unreadable
    if report.unreadable:
        lines = _lines(found, Outcome.UNREADABLE)
        text = f"{report.unreadable:,} of {report.total:,} lines cannot be read: {lines}."
        checks = [Check("attestations.readable", Outcome.UNREADABLE, text)]
    else:
        checks = [Check("attestations.readable", Outcome.PASS, f"All {report.total:,} lines can be read.")]
    if report.failed:
        text = f"{report.failed:,} of {readable:,} attestations do not verify: {_lines(found, Outcome.FAIL)}."
        text += f" {why}" if why else ""
        checks.append(Check("attestations.signature", Outcome.FAIL, text))
    elif report.passed:
        text = f"All {report.passed:,} readable attestations carry a valid signature by an approved key."
        checks.append(Check("attestations.signature", Outcome.PASS, text))
    else:
        checks.append(Check("attestations.signature", Outcome.NOT_RUN, "There is nothing to verify."))
    if found.unmatched:
        text = (
            f"{found.unmatched:,} valid attestations are about no unit of this lot, or about other data "
            f"than its manifest: {', '.join(found.first_unmatched)}."
        )
        checks.append(Check("attestations.subject", Outcome.FAIL, text))
    elif report.passed:
        text = f"Every valid attestation is about a unit of this lot ({len(found.covered):,} units)."
        checks.append(Check("attestations.subject", Outcome.PASS, text))
    else:
        checks.append(Check("attestations.subject", Outcome.NOT_RUN, "No attestation is valid."))
    return tuple(checks)


def _lines(found: _Collector, outcome: Outcome) -> str:
    numbers = found.first.get(outcome, [])
    return "line " + ", ".join(str(number) for number in numbers) + (" …" if len(numbers) == _NAMED else "")
