"""The evidence behind an assessment, for the report: checks, firmware, lots, attestations, answers, files.

The checks are those stored with the assessment. Rows that can go on changing (acceptance, attestation of
units, distrust) are told as they were at `latest`, the newest moment that the report tells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from portal.db import chunks
from portal.evidence.models import Evidence
from portal.formats import day, words
from portal.ledger.models import Entry
from portal.policy.facts import CheckFact, Facts
from portal.policy.questionnaire import Questionnaire, visible
from portal.policy.result import Result
from portal.reports.view import (
    AnswerRow,
    AnswerSection,
    AttestationFailureRow,
    Backing,
    BatchView,
    CheckGroup,
    CustodyRow,
    EvidenceRow,
    FirmwareRow,
    LotView,
    Part,
    UnitRow,
)
from portal.review.models import Assessment
from portal.submissions.attestations.models import AttestationBatch, AttestationFailure
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.models import Attachment, AttachmentRole, CheckRecord, Submission
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.suppliers.models import SigningKey
from portal.verification import Outcome, worst

CHECKS_MAX = 400
FIRMWARE_MAX = 100
LOTS_MAX = 20
UNITS_MAX = 200  # of all lots together, shared among them
UNITS_MIN = 20  # of each lot
UNATTESTED_MAX = 50
CUSTODY_MAX = 50
BATCHES_MAX = 50
FAILURES_MAX = 50
EVIDENCE_MAX = 200
_ORDER = {outcome: rank for rank, outcome in enumerate(("fail", "unreadable", "not_run", "warn", "pass"))}


@dataclass(frozen=True, slots=True)
class Proof:
    """Reads what one assessment rests on. `latest`: nothing later is told."""

    session: Session
    assessment: Assessment
    facts: Facts
    result: Result
    latest: datetime

    @property
    def submission_ids(self) -> list[str]:
        return sorted({check.submission_id for check in self.facts.checks})

    def outcome(self, submission_id: str) -> Outcome:
        """All checks of one submission together, as assessed."""
        return worst(Outcome(c.outcome) for c in self.facts.checks if c.submission_id == submission_id)

    def submissions(self) -> dict[str, Submission]:
        return {
            row.id: row
            for ids in chunks(self.submission_ids)
            for row in self.session.scalars(select(Submission).where(Submission.id.in_(ids)))
        }

    # --- Checks -----------------------------------------------------------------------------------

    def checks(self) -> Part[CheckGroup]:
        """Grouped by submission, what did not pass first, at most CHECKS_MAX findings in all."""
        rows = self.submissions()
        groups: dict[str, list[CheckFact]] = {}
        for check in self.facts.checks:
            groups.setdefault(check.submission_id, []).append(check)
        made = [
            CheckGroup(
                subject=checks[0].subject,
                kind=checks[0].kind,
                submitted_at=rows[submission_id].submitted_at if submission_id in rows else None,
                outcome=self.outcome(submission_id),
                checks=tuple(sorted(checks, key=lambda check: (_rank(check.outcome), check.id))),
            )
            for submission_id, checks in groups.items()
        ]
        made.sort(key=lambda group: (_rank(group.outcome), group.kind, group.subject, group.checks[0].id))
        shown, room = [], CHECKS_MAX
        for group in made:
            if len(group.checks) > room:
                break
            shown.append(group)
            room -= len(group.checks)
        return Part(tuple(shown), len(made))

    # --- Firmware ---------------------------------------------------------------------------------

    def firmware(self) -> Part[FirmwareRow]:
        releases = [
            row
            for ids in chunks(self.submission_ids)
            for row in self.session.scalars(
                select(FirmwareRelease).where(FirmwareRelease.submission_id.in_(ids))
            )
        ]
        releases.sort(key=lambda row: (row.component.name, row.submission.created_at, row.id))
        keys = {
            row.id: row
            for ids in chunks(sorted({row.signing_key_id for row in releases if row.signing_key_id}))
            for row in self.session.scalars(select(SigningKey).where(SigningKey.id.in_(ids)))
        }
        return Part.first((self._release(row, keys) for row in releases), FIRMWARE_MAX)

    def _release(self, row: FirmwareRelease, keys: Mapping[str, SigningKey]) -> FirmwareRow:
        key = keys.get(row.signing_key_id or "")
        named = f"{key.label} ({key.algorithm})" if key else ""
        if key and key.distrusted_from and key.distrusted_at and key.distrusted_at <= self.latest:
            named += f", distrusted from {day(key.distrusted_from)}"
        return FirmwareRow(
            component=row.component.name,
            declared_version=row.declared_version,
            image_version=row.image_version or "",
            security_counter=row.security_counter,
            format=words(row.format),
            key=named,
            key_fingerprint=key.fingerprint if key else "",
            sha256=row.sha256 or "",
            outcome=self.outcome(row.submission_id),
            accepted_at=self._by_then(row.accepted_at),
            withdrawn_at=self._by_then(row.withdrawn_at),
        )

    def _by_then(self, moment: datetime | None) -> datetime | None:
        return moment if moment is not None and moment <= self.latest else None

    # --- Lots and attestations --------------------------------------------------------------------

    def lots(self) -> Part[LotView]:
        lots = [
            row
            for ids in chunks(self.submission_ids)
            for row in self.session.scalars(select(Lot).where(Lot.submission_id.in_(ids)))
        ]
        lots.sort(key=lambda row: (_rank(self.outcome(row.submission_id)), row.lot_number, row.id))
        shown = lots[:LOTS_MAX]
        each = max(UNITS_MIN, UNITS_MAX // len(shown)) if shown else 0
        return Part(tuple(self._lot(row, each) for row in shown), len(lots))

    def _lot(self, lot: Lot, units_max: int) -> LotView:
        attested = set(
            self.session.execute(
                select(Unit.attested_by)
                .where(Unit.lot_id == lot.id, Unit.attested_by.is_not(None))
                .distinct()
            ).scalars()
        ) & set(self.submission_ids)
        covered = Unit.attested_by.in_(attested)
        of_lot = Unit.lot_id == lot.id
        units = self.session.scalars(
            select(Unit).where(of_lot).order_by(Unit.position).limit(units_max)
        ).all()
        attested_count = self._count(select(func.count(Unit.id)).where(of_lot, covered))
        bare = self.session.scalars(
            select(Unit.serial)
            .where(of_lot, Unit.attested_by.is_(None) | ~covered)
            .order_by(Unit.position)
            .limit(UNATTESTED_MAX)
        ).all()
        custody = self.session.scalars(
            select(CustodyEvent).where(CustodyEvent.lot_id == lot.id).order_by(CustodyEvent.position)
        ).all()
        return LotView(
            number=lot.lot_number,
            maker=lot.maker,
            site=lot.site,
            manufactured_on=lot.manufactured_on,
            declared_count=lot.declared_count,
            unit_count=lot.unit_count,
            attested=attested_count,
            outcome=self.outcome(lot.submission_id),
            manifest_sha256=self._manifest(lot.submission_id),
            custody=Part.first(
                (
                    CustodyRow(
                        words(row.kind), row.at, row.from_holder, row.to_holder, row.location, row.seal
                    )
                    for row in custody
                ),
                CUSTODY_MAX,
            ),
            units=Part(tuple(_unit(row, attested) for row in units), lot.unit_count),
            unattested=Part(tuple(bare), lot.unit_count - attested_count),
        )

    def _count(self, statement: Select[int]) -> int:
        return self.session.scalar(statement) or 0

    def _manifest(self, submission_id: str) -> str:
        """The digest of the file that lists all units."""
        rows = self.session.scalars(select(Attachment).where(Attachment.submission_id == submission_id))
        files = {row.role: row.evidence.sha256 for row in rows}
        return files.get(AttachmentRole.UNITS) or files.get(AttachmentRole.MANIFEST) or ""

    def batches(self) -> Part[BatchView]:
        batches = [
            row
            for ids in chunks(self.submission_ids)
            for row in self.session.scalars(
                select(AttestationBatch).where(AttestationBatch.submission_id.in_(ids))
            )
        ]
        batches.sort(
            key=lambda row: (_rank(self.outcome(row.submission_id)), row.lot.lot_number, row.submission.title)
        )
        shown = batches[:BATCHES_MAX]
        return Part(tuple(self._batch(row) for row in shown), len(batches))

    def _batch(self, row: AttestationBatch) -> BatchView:
        run = self.session.scalar(
            select(func.max(CheckRecord.run)).where(
                CheckRecord.submission_id == row.submission_id, CheckRecord.at <= self.assessment.created_at
            )
        )
        of_run = (AttestationFailure.submission_id == row.submission_id, AttestationFailure.run == run)
        failures = self.session.scalars(
            select(AttestationFailure).where(*of_run).order_by(AttestationFailure.line).limit(FAILURES_MAX)
        ).all()
        return BatchView(
            subject=row.submission.title,
            lot_number=row.lot.lot_number,
            total=row.total,
            passed=row.passed,
            failed=row.failed,
            unreadable=row.unreadable,
            unmatched=row.unmatched,
            outcome=self.outcome(row.submission_id),
            failures=Part(
                tuple(
                    AttestationFailureRow(item.line, item.outcome, item.reason, item.subject)
                    for item in failures
                ),
                self._count(select(func.count(AttestationFailure.id)).where(*of_run)),
            ),
        )

    # --- Answers ----------------------------------------------------------------------------------

    def answers(self, questionnaire: Questionnaire) -> tuple[AnswerSection, ...]:
        """Every question that was visible for these answers; nothing when none was answered."""
        if not self.facts.answers:
            return ()
        values = {question_id: answer.value for question_id, answer in self.facts.answers.items()}
        judged = {control.id: control for control in self.result.controls}
        sections = []
        for section in questionnaire.sections:
            rows = []
            for question in visible(questionnaire, values):
                if question.section != section.id:
                    continue
                answer = self.facts.answers.get(question.id)
                rows.append(
                    AnswerRow(
                        question=question.text,
                        answer=question.label(answer.value) if answer else "",
                        files=tuple(file.name for file in answer.evidence) if answer else (),
                        backings=tuple(
                            Backing(name, judged[name].strength if judged[name].applies else None)
                            for name in question.controls
                            if name in judged
                        ),
                    )
                )
            if rows:
                sections.append(AnswerSection(section.title, tuple(rows)))
        return tuple(sections)

    # --- Files ------------------------------------------------------------------------------------

    def evidence(self, questionnaire: Questionnaire) -> Part[EvidenceRow]:
        """Every file that was looked at, with what it was used for; in the order in which it came."""
        files: dict[str, Evidence] = {}
        uses: dict[str, list[str]] = {}
        titles = {check.submission_id: check.subject for check in self.facts.checks}
        for ids in chunks(self.submission_ids):
            for row in self.session.scalars(
                select(Attachment)
                .where(Attachment.submission_id.in_(ids), Attachment.attached_at <= self.latest)
                .order_by(Attachment.attached_at, Attachment.id)
            ):
                files[row.evidence_id] = row.evidence
                uses.setdefault(row.evidence_id, []).append(
                    f"{titles[row.submission_id]} ({words(row.role)})"
                )
        valid, unknown = self._answer_files(questionnaire, files, uses)
        shown = sorted(files.values(), key=lambda row: (row.received_at, row.filename, row.id))
        entries = self._entries([row.id for row in shown[:EVIDENCE_MAX]])
        rows = [
            EvidenceRow(
                name=row.filename,
                used_for=tuple(dict.fromkeys(uses[row.id])),
                sha256=row.sha256,
                blake3=row.blake3,
                size=row.size,
                received_at=row.received_at,
                valid_until=valid.get(row.id),
                entry=entries.get(row.id),
                deleted=row.tombstone.told if row.tombstone else None,
            )
            for row in shown
        ]
        return Part.first([*rows, *unknown], EVIDENCE_MAX)

    def _answer_files(
        self, questionnaire: Questionnaire, files: dict[str, Evidence], uses: dict[str, list[str]]
    ) -> tuple[dict[str, date | None], list[EvidenceRow]]:
        """Adds the files beside the answers; returns their last valid days, and those without a row."""
        attached = {
            (row.question_id, f"sha256:{row.evidence.sha256}"): row
            for row in self.session.scalars(
                select(AnswerEvidence)
                .join(Submission, Submission.id == AnswerEvidence.submission_id)
                .where(
                    Submission.product_id == self.assessment.product_id,
                    AnswerEvidence.attached_at <= self.assessment.created_at,
                )
                .order_by(AnswerEvidence.attached_at, AnswerEvidence.id)
            )
        }
        valid, unknown = {}, []
        for question_id, answer in sorted(self.facts.answers.items()):
            question = questionnaire.question(question_id)
            use = f"answer: {question.text}" if question else f"answer {question_id}"
            for file in answer.evidence:
                row = attached.get((question_id, file.digest))
                if row is None:
                    digest = file.digest.removeprefix("sha256:")
                    unknown.append(
                        EvidenceRow(file.name, (use,), digest, "", None, None, file.valid_until, None)
                    )
                    continue
                files[row.evidence_id] = row.evidence
                valid[row.evidence_id] = file.valid_until
                uses.setdefault(row.evidence_id, []).append(use)
        return valid, unknown

    def _entries(self, evidence_ids: Sequence[str]) -> dict[str, int]:
        return {
            subject: seq
            for ids in chunks(evidence_ids)
            for subject, seq in self.session.execute(
                select(Entry.subject_id, Entry.seq).where(
                    Entry.subject_id.in_(ids), Entry.kind == "evidence.accepted"
                )
            )
        }


def _rank(outcome: str) -> int:
    return _ORDER.get(outcome, len(_ORDER))


def _unit(row: Unit, attested: set[str | None]) -> UnitRow:
    return UnitRow(
        serial=row.serial,
        firmware=", ".join(f"{name} {version}" for name, version in sorted(row.firmware.items())),
        capacity_ah=row.capacity_ah,
        resistance_mohm=row.resistance_mohm,
        ocv_v=row.ocv_v,
        attested=row.attested_by in attested,
    )
