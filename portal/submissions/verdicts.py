"""What one verification run found, as documents whose digests the ledger keeps and a bundle takes along."""

import base64
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.ledger import service as ledger
from portal.submissions.attestations.models import AttestationFailure, AttestationPasses
from portal.submissions.models import CheckRecord


def checks_document(checks: Sequence[CheckRecord]) -> list[dict[str, str]]:
    """The checks of a run, in their order."""
    return [{"check": row.check_id, "outcome": row.outcome.value, "reason": row.reason} for row in checks]


def run_checks(session: Session, submission_id: str, run: int) -> Sequence[CheckRecord]:
    """The checks of one run, in their order."""
    return session.scalars(
        select(CheckRecord)
        .where(CheckRecord.submission_id == submission_id, CheckRecord.run == run)
        .order_by(CheckRecord.position)
    ).all()


def verdicts_document(session: Session, submission_id: str, run: int) -> dict[str, Any] | None:
    """The verdict on each attestation of a run; None where there was none. Columns (base64) as in
    AttestationPasses; failures as far as they were kept one by one."""
    passes = session.scalars(
        select(AttestationPasses)
        .where(AttestationPasses.submission_id == submission_id, AttestationPasses.run == run)
        .order_by(AttestationPasses.first_line)
    ).all()
    failures = session.scalars(
        select(AttestationFailure)
        .where(AttestationFailure.submission_id == submission_id, AttestationFailure.run == run)
        .order_by(AttestationFailure.line)
    ).all()
    if not passes and not failures:
        return None
    return {
        "failures": [
            {"line": row.line, "outcome": row.outcome.value, "reason": row.reason, "subject": row.subject}
            for row in failures
        ],
        "passes": [
            {
                "first_line": row.first_line,
                "key_names": row.key_names,
                "keys": base64.b64encode(row.keys).decode(),
                "lines": base64.b64encode(row.lines).decode(),
                "signers": base64.b64encode(row.signers).decode(),
            }
            for row in passes
        ],
    }


def verdicts_digest(session: Session, submission_id: str, run: int) -> str | None:
    document = verdicts_document(session, submission_id, run)
    return None if document is None else ledger.digest_of(document)
