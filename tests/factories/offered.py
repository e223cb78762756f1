"""What suppliers offered, as rows: questionnaires, firmware, lots and attestations, verified with given
outcomes."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.clock import FixedClock
from portal.evidence.models import Evidence
from portal.ledger import service as ledger
from portal.policy.questionnaire import Questionnaire, visible
from portal.submissions.attestations.models import AttestationBatch
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import Lot, Unit
from portal.submissions.models import (
    Attachment,
    AttachmentRole,
    CheckRecord,
    Submission,
    SubmissionKind,
    SubmissionState,
)
from portal.submissions.questionnaires.models import Answer, AnswerEvidence, QuestionnaireResponse
from portal.submissions.questionnaires.service import builtin
from portal.suppliers.models import Component, KeyState, Product, SigningKey
from portal.verification import Outcome, worst

T = TypeVar("T")
_count = itertools.count(1)

FIRMWARE_CHECKS = tuple(
    f"firmware.{name}"
    for name in (
        "digest", "format", "signed", "signature", "key", "algorithm", "version", "rollback", "lineage"
    )
)  # fmt: skip
LOT_CHECKS = tuple(
    f"lot.{name}"
    for name in (
        "manifest", "signature", "count", "serials_unique", "serials_new", "limits", "firmware", "dates",
        "custody", "attested",
    )
)  # fmt: skip
ATTESTATION_CHECKS = ("attestations.readable", "attestations.signature", "attestations.subject")

# What a supplier answers who has everything; dates lie around the tests' day, 21 November 2026.
GOOD_ANSWERS = {
    "sup_maker_name": "Nordhaven Cells AS",
    "sup_maker_country": "NO",
    "sup_maker_address": "Havnegata 7, 8514 Narvik",
    "sup_factory_cert_expiry": "2028-06-30",
    "fw_algorithm": "ed25519",
    "fw_secure_boot": "hardware_root",
    "upd_channels": "USB by our engineers only; images are signed offline.",
    "acc_remote_access": "none",
    "qa_test_report_date": "2026-03-02",
    "res_end_of_sale": "2031-12-31",
    "res_end_of_support": "2036-12-31",
    "inc_contact": "security@nordhaven.example",
    "inc_contact_hours": "always",
}


class Offered:
    """Rows as they are once a job has verified them."""

    def __init__(self, session: Session, clock: FixedClock) -> None:
        self.session, self.clock = session, clock

    def questionnaire(
        self, product: Product, answers: Mapping[str, str] | None = None, **values: Any
    ) -> Submission:
        """A complete questionnaire with a file beside every answer that wants one; `answers` replace good
        ones (an empty one is left out)."""
        questionnaire = builtin()
        submission = self._submission(
            product, SubmissionKind.QUESTIONNAIRE, values, {"questionnaire.complete": Outcome.PASS}
        )
        self._add(
            QuestionnaireResponse(
                supplier_id=product.supplier_id,
                submission_id=submission.id,
                questionnaire_id=questionnaire.id,
                questionnaire_digest=questionnaire.digest,
            )
        )
        for question_id, value in good_answers(questionnaire, answers or {}).items():
            self._add(
                Answer(
                    supplier_id=product.supplier_id,
                    submission_id=submission.id,
                    question_id=question_id,
                    revision=1,
                    value=value,
                    answered_by=None,
                    answered_at=self.clock.now(),
                    method="web",
                )
            )
            question = questionnaire.question(question_id)
            if question is not None and question.needs_file(value):
                self._add(
                    AnswerEvidence(
                        supplier_id=product.supplier_id,
                        submission_id=submission.id,
                        question_id=question_id,
                        evidence_id=self.evidence(product.supplier_id, f"{question_id}.pdf").id,
                        valid_until=None,
                        attached_at=self.clock.now(),
                    )
                )
        self.session.commit()
        return submission

    def firmware(
        self,
        product: Product,
        version: str = "1.0.0",
        outcomes: Mapping[str, Outcome] | None = None,
        *,
        component: Component | None = None,
        key: SigningKey | None = None,
        accepted: bool | None = None,
        **values: Any,
    ) -> Submission:
        """A release whose checks pass but for `outcomes` ({"firmware.signed": Outcome.FAIL}); accepted by the
        machine when all pass, as the job does it."""
        component = component or product.components[0]
        checks = dict.fromkeys(FIRMWARE_CHECKS, Outcome.PASS) | dict(outcomes or {})
        values = {"title": f"{component.name} {version}"} | values
        submission = self._submission(product, SubmissionKind.FIRMWARE, values, checks)
        if accepted is None:
            accepted = submission.outcome is Outcome.PASS
        evidence = self.evidence(product.supplier_id, f"{component.name}-{version}.bin")
        self._attach(submission, evidence, AttachmentRole.IMAGE)
        self._add(
            FirmwareRelease(
                supplier_id=product.supplier_id,
                submission_id=submission.id,
                component_id=component.id,
                declared_version=version,
                declared_sha256=None,
                sha256=evidence.sha256,
                format="mcuboot",
                image_version=version,
                security_counter=1,
                signing_key_id=key.id if key else None,
                report=json.dumps({"version": 1, "format": "mcuboot", "claims": {"version": version}}),
                accepted_at=self.clock.now() if accepted else None,
                withdrawn_at=None,
            )
        )
        self.session.commit()
        return submission

    def lot(
        self,
        product: Product,
        outcomes: Mapping[str, Outcome] | None = None,
        *,
        serials: Sequence[str] = (),
        **values: Any,
    ) -> Submission:
        """`serials`: its units, and then also the ledger entry of its submission, for samples."""
        checks = dict.fromkeys(LOT_CHECKS, Outcome.PASS) | dict(outcomes or {})
        number = f"LOT-{next(_count)}"
        submission = self._submission(
            product, SubmissionKind.LOT, {"title": f"Lot {number}"} | values, checks
        )
        self._attach(
            submission, self.evidence(product.supplier_id, f"{number}.json"), AttachmentRole.MANIFEST
        )
        lot = self._add(
            Lot(
                supplier_id=product.supplier_id,
                submission_id=submission.id,
                lot_number=number,
                maker="Nordhaven Cells AS",
                site="Narvik",
                manufactured_on=date(2026, 11, 2),
                declared_count=len(serials),
                unit_count=len(serials),
            )
        )
        for position, serial in enumerate(serials):
            self._add(
                Unit(
                    supplier_id=product.supplier_id,
                    lot_id=lot.id,
                    position=position,
                    serial=serial,
                    serial_key=serial,
                    digest="0" * 64,
                    firmware={},
                )
            )
        if serials:
            ledger.append(
                self.session,
                self.clock,
                "submission.made",
                submission.id,
                {},
                supplier_id=product.supplier_id,
            )
        self.session.commit()
        return submission

    def attestations(
        self, lot: Submission, outcomes: Mapping[str, Outcome] | None = None, **values: Any
    ) -> Submission:
        checks = dict.fromkeys(ATTESTATION_CHECKS, Outcome.PASS) | dict(outcomes or {})
        row = self.session.scalars(select(Lot).where(Lot.submission_id == lot.id)).one()
        values = {"title": f"Attestations of {row.lot_number}"} | values
        submission = self._submission(lot.product, SubmissionKind.ATTESTATIONS, values, checks)
        self._add(AttestationBatch(supplier_id=lot.supplier_id, submission_id=submission.id, lot_id=row.id))
        self.session.commit()
        return submission

    def everything(self, product: Product) -> None:
        """All that a good supplier of firmware and lots delivers: approvable in every tier."""
        self.questionnaire(product)
        self.firmware(product)
        self.attestations(self.lot(product))

    def failed(self, product: Product, kind: SubmissionKind = SubmissionKind.LOT) -> Submission:
        """A submission that the machine could not verify after three tries."""
        row = self._submission(product, kind, {"title": "Lot that kills workers"}, {})
        row.state, row.outcome, row.failure = SubmissionState.FAILED, None, "three workers died on it"
        self.session.commit()
        return row

    def key(self, supplier_id: str, registrar: User, **values: Any) -> SigningKey:
        number = next(_count)
        values = {
            "purposes": ["firmware"],
            "label": f"Key {number}",
            "state": KeyState.PENDING,
        } | values
        row = self._add(
            SigningKey(
                supplier_id=supplier_id,
                pem=f"key {number}",
                kind="public_key",
                algorithm="Ed25519",
                fingerprint="sha256:" + hashlib.sha256(str(number).encode()).hexdigest(),
                registered_by=registrar.id,
                registered_at=self.clock.now(),
                **values,
            )
        )
        self.session.commit()
        return row

    def evidence(self, supplier_id: str, filename: str) -> Evidence:
        """A row of the vault (no bytes are stored for it)."""
        sha256 = hashlib.sha256(f"{filename} {next(_count)}".encode()).hexdigest()
        return self._add(
            Evidence(
                supplier_id=supplier_id,
                sha256=sha256,
                blake3=sha256[::-1],
                size=1234,
                filename=filename,
                received_at=self.clock.now(),
            )
        )

    def run(self, submission: Submission, outcomes: Mapping[str, Outcome]) -> None:
        """One more verification run of a submission: its last outcomes, with `outcomes` in their place."""
        last = self.session.scalars(
            select(CheckRecord)
            .where(CheckRecord.submission_id == submission.id, CheckRecord.run == submission.run)
            .order_by(CheckRecord.position)
        )
        self._checks(submission, {check.check_id: check.outcome for check in last} | dict(outcomes))
        self.session.commit()

    def _submission(
        self, product: Product, kind: SubmissionKind, values: dict[str, Any], checks: Mapping[str, Outcome]
    ) -> Submission:
        number = self.session.scalar(select(func.count()).select_from(Submission))
        values = {"title": f"{kind.value} {number}"} | values
        row = self._add(
            Submission(
                supplier_id=product.supplier_id,
                kind=kind,
                state=SubmissionState.SUBMITTED,
                product_id=product.id,
                product=product,
                created_at=self.clock.now(),
                submitted_at=self.clock.now(),
                verified_at=self.clock.now(),
                run=0,
                **values,
            )
        )
        # Submissions of one moment are told apart by their time; the tests' clock may stand still.
        self.clock.at = self.clock.at.replace(microsecond=(self.clock.at.microsecond + 1) % 1_000_000)
        self._checks(row, checks)
        row.state = SubmissionState.ACCEPTED if row.outcome is Outcome.PASS else SubmissionState.VERIFIED
        return row

    def _checks(self, row: Submission, checks: Mapping[str, Outcome]) -> None:
        row.run += 1
        row.outcome = worst(checks.values())
        for position, (check_id, outcome) in enumerate(checks.items()):
            self._add(
                CheckRecord(
                    supplier_id=row.supplier_id,
                    submission_id=row.id,
                    run=row.run,
                    position=position,
                    check_id=check_id,
                    outcome=outcome,
                    reason=f"{check_id} {outcome.value} in a test",
                    at=self.clock.now(),
                )
            )

    def _attach(self, submission: Submission, evidence: Evidence, role: AttachmentRole) -> None:
        self._add(
            Attachment(
                supplier_id=submission.supplier_id,
                submission_id=submission.id,
                evidence_id=evidence.id,
                role=role,
                attached_at=self.clock.now(),
            )
        )

    def _add(self, row: T) -> T:
        self.session.add(row)
        self.session.flush()
        return row


def good_answers(questionnaire: Questionnaire, changed: Mapping[str, str]) -> dict[str, str]:
    """The answers of a supplier who has everything, with `changed` ones, to the questions visible then."""
    yes = {question.id: "yes" for question in questionnaire.questions if question.type.value == "yes_no"}
    answers = {**yes, **GOOD_ANSWERS, **changed}
    shown = {question.id for question in visible(questionnaire, answers)}
    return {question_id: value for question_id, value in answers.items() if question_id in shown and value}
