"""The documents of a bundle: each row of its basis as canonical JSON."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.errors import Conflict
from portal.evidence.models import Evidence
from portal.policy.model import builtin, builtin_text
from portal.reports.bundles import form
from portal.reports.bundles.basis import Basis
from portal.reports.decided import told
from portal.reports.view import Audience
from portal.review.models import Assessment, ChangeRequest, Decision, GrantedException, PolicyVersion
from portal.submissions.attestations.models import AttestationBatch
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots.models import Sample
from portal.submissions.lots.plan import PLAN, plan_size
from portal.submissions.lots.sampling import says as drawn_says
from portal.submissions.models import Submission
from portal.submissions.verdicts import checks_document, run_checks, verdicts_document
from portal.suppliers.keys import key_name
from portal.suppliers.models import (
    SigningKey,
)
from portal.suppliers.seeds import commitment


def documents(basis: Basis) -> Iterator[tuple[str, str, bytes]]:
    """Path, what it is, and bytes."""
    for assessment in basis.assessments:
        folder = f"assessment/{assessment.number}"
        yield (
            f"{folder}/about.json",
            "assessment",
            form.document(_about(assessment, basis.runs[assessment.id])),
        )
        yield f"{folder}/facts.json", "facts that were assessed", assessment.facts.encode()
        yield f"{folder}/result.json", "result of the assessment", assessment.result.encode()
    for digest in sorted({row.policy_digest for row in basis.assessments}):
        name = digest.removeprefix("sha256:")
        yield f"policies/{name}.json", "policy", _policy(basis.session, digest).encode()
    for decision in basis.decisions:
        yield f"decisions/{decision.id}.json", "decision", form.document(_decision(basis.session, decision))
    for exception in basis.exceptions:
        yield f"exceptions/{exception.id}.json", "accepted gap", form.document(_exception(exception))
    for submission in basis.submissions:
        yield from _submission(basis, submission)
    yield (
        form.EVIDENCE,
        "evidence, by its digests",
        form.document([_evidence(row) for row in basis.evidence]),
    )
    for sample in basis.samples:
        yield f"samples/{sample.id}.json", "sample of a lot", form.document(_sample(sample))
    for key in basis.keys:
        yield f"keys/{key.id}.json", "approved key", form.document(_key(key))
    for sha256, data in basis.lists():
        yield form.revocation_list(sha256), "revocation list", data
    for row in basis.authorities:
        body = {"id": row.id, "label": row.label, "pem": row.pem, "fingerprint": row.fingerprint}
        yield f"authorities/{row.id}.json", "time-stamp authority", form.document(body)


def _about(row: Assessment, runs: dict[str, int | None]) -> dict[str, object]:
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
        "runs": runs,
    }


def _policy(session: Session, digest: str) -> str:
    kept = session.get(PolicyVersion, digest.removeprefix("sha256:"))
    if kept is not None:
        return kept.text
    if builtin().digest == digest:
        return builtin_text()
    raise Conflict(f"the text of the policy that was applied ({digest}) was not kept")


def _decision(session: Session, row: Decision) -> dict[str, object]:
    reason = row.reason if told(row.reason, Audience.SUPPLIER) == row.reason else None
    items = session.scalars(
        select(ChangeRequest.text).where(ChangeRequest.decision_id == row.id).order_by(ChangeRequest.position)
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


def _submission(basis: Basis, row: Submission) -> Iterator[tuple[str, str, bytes]]:
    numbers = sorted({run for runs in basis.runs.values() if (run := runs.get(row.id)) is not None})
    files = [one for one in row.attachments if one.evidence in basis.evidence]
    body: dict[str, object] = {
        "id": row.id,
        "kind": row.kind.value,
        "title": row.title,
        "product": row.product_id,
        "submitted_at": rfc3339(row.submitted_at) if row.submitted_at else None,
        "files": [{"role": one.role.value, "evidence": one.evidence_id} for one in files],
        "runs": {str(run): checks_document(run_checks(basis.session, row.id, run)) for run in numbers},
    }
    release = basis.session.scalars(
        select(FirmwareRelease).where(FirmwareRelease.submission_id == row.id)
    ).first()
    if release is not None:
        body["declared_sha256"] = release.declared_sha256
        body["declared_version"] = release.declared_version
    batch = basis.session.scalars(
        select(AttestationBatch).where(AttestationBatch.submission_id == row.id)
    ).first()
    if batch is not None:
        body["lot"] = batch.lot.submission_id
    yield f"submissions/{row.id}.json", f"submission: {row.kind.value}", form.document(body)
    for run in numbers:
        if (verdicts := verdicts_document(basis.session, row.id, run)) is not None:
            path = f"submissions/{row.id}.verdicts-{run}.json"
            yield path, "verdict on each attestation", form.document(verdicts)


def _key(row: SigningKey) -> dict[str, object]:
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
