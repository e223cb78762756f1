"""Evidence files, submissions of each kind, their state and checks."""

from flask import abort, request

from portal.accounts.permissions import Permission
from portal.api import shapes
from portal.api.blueprint import FILE_MAX_BYTES, contract, own_id
from portal.errors import NotFound
from portal.evidence.service import get_evidence, receipt, receive_bytes
from portal.http.context import actor, clock, parts, session
from portal.ledger import logs, stamps
from portal.ledger.proofs import Proof
from portal.ledger.service import known_watch_key
from portal.review.receipts import decision_receipt
from portal.submissions import service
from portal.submissions.attestations.service import start_attestations
from portal.submissions.firmware.service import start_firmware
from portal.submissions.lots.service import start_lot
from portal.submissions.models import Submission
from portal.submissions.read import submission_page, submission_view
from portal.suppliers import timestamping

READ, WRITE = Permission.SUPPLIER_SUBMISSION_READ, Permission.SUPPLIER_SUBMISSION_WRITE


@contract.route("POST", "/evidence", Permission.SUPPLIER_UPLOAD_WRITE, status=201, raw=True)
def send_evidence(query: shapes.FileName) -> shapes.Evidence:
    """Send a file of at most 64 MiB as the body. Larger ones: tus at `/files/`."""
    if request.mimetype in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        abort(415, "Expected the file itself as the body, not a form.")
    evidence = receive_bytes(
        session(),
        actor(),
        clock(),
        parts().store,
        parts().spool,
        request.stream,  # type: ignore[arg-type]  # reads bytes
        filename=query.filename,
        limit=FILE_MAX_BYTES,
        declared_sha256=query.sha256,
        quota=parts().settings.supplier_quota_bytes,
    )
    session().commit()
    return shapes.Evidence.of(evidence)


@contract.route("GET", "/evidence/{evidence_id}", READ)
def show_evidence(evidence_id: str) -> shapes.Evidence:
    """What is known of one delivered file."""
    return shapes.Evidence.of(get_evidence(session(), evidence_id))


@contract.route("GET", "/evidence/{evidence_id}/receipt", READ)
def show_receipt(evidence_id: str) -> shapes.Receipt:
    """Proof that the delivery of a file is in the ledger (tlog-proof). 409 until its checkpoint is signed."""
    return _receipt(receipt(session(), evidence_id), "evidence.accepted", evidence_id)


@contract.route("GET", "/decisions/{decision_id}/receipt", READ)
def show_decision_receipt(decision_id: str) -> shapes.Receipt:
    """Proof that a decision is in the ledger (tlog-proof). 409 until its checkpoint is signed."""
    proof = decision_receipt(session(), decision_id, in_effect=True)
    return _receipt(proof, "decision.made", decision_id)


def _receipt(proof: Proof, kind: str, subject_id: str) -> shapes.Receipt:
    entry = logs.entry_about(session(), kind, subject_id)
    if entry is None:
        raise NotFound("There is no such entry.")
    time = stamps.time_of(session(), entry, timestamping.entries(session()))
    return shapes.Receipt(
        origin=proof.note.checkpoint.origin,
        index=proof.index,
        size=proof.note.checkpoint.size,
        proof=str(proof),
        there_by=time.at,
        authority=time.authority,
        stamped_size=time.stamp.size if time.stamp else None,
    )


@contract.route("GET", "/watch-key", Permission.SUPPLIER_WATCH_READ)
def show_watch_key() -> shapes.WatchKey:
    """The key that finds your entries in the public ledger, for `lotgate monitor`. Keep it to yourself."""
    return shapes.WatchKey(key=known_watch_key(session(), own_id()))


@contract.route("POST", "/submissions/firmware", WRITE, status=201)
def submit_firmware(body: shapes.NewFirmware) -> shapes.SubmissionDetail:
    """Submit an image of one component; its checks begin at once."""
    return _submit(start_firmware(session(), actor(), clock(), **body.model_dump()))


@contract.route("POST", "/submissions/lots", WRITE, status=201)
def submit_lot(body: shapes.NewLot) -> shapes.SubmissionDetail:
    """Submit a lot manifest; its checks begin at once."""
    return _submit(start_lot(session(), actor(), clock(), **body.model_dump()))


@contract.route("POST", "/submissions/attestations", WRITE, status=201)
def submit_attestations(body: shapes.NewAttestations) -> shapes.SubmissionDetail:
    """Submit attestations about the units of a lot; their checks begin at once."""
    return _submit(start_attestations(session(), actor(), clock(), **body.model_dump()))


@contract.route("GET", "/submissions", READ)
def list_submissions(query: shapes.SubmissionFilter) -> shapes.Submissions:
    """Your submissions, the newest first."""
    found = submission_page(session(), own_id(), **query.model_dump())
    return shapes.Submissions(
        items=[shapes.Submission.of(row) for row in found.rows],
        total=found.total,
        page=found.page,
        pages=found.pages,
    )


@contract.route("GET", "/submissions/{submission_id}", READ)
def get_submission(submission_id: str) -> shapes.SubmissionDetail:
    """One submission: state, progress, files, and the checks of the newest run."""
    return _detail(service.get_submission(session(), submission_id))


@contract.route("POST", "/submissions/{submission_id}/withdraw", WRITE)
def withdraw_submission(submission_id: str) -> shapes.SubmissionDetail:
    """Take back what was not decided on yet."""
    row = service.withdraw(session(), actor(), clock(), parts().jobs, submission_id)
    session().commit()
    return _detail(row)


@contract.route("POST", "/submissions/{submission_id}/submit", WRITE)
def submit_draft(submission_id: str) -> shapes.SubmissionDetail:
    """Submit a draft (a questionnaire). Refused, with a list, while something required is missing."""
    return _submit(service.get_submission(session(), submission_id))


def _submit(draft: Submission) -> shapes.SubmissionDetail:
    row = service.submit(session(), actor(), clock(), parts().jobs, draft.id)
    session().commit()
    return _detail(row)


def _detail(row: Submission) -> shapes.SubmissionDetail:
    return shapes.SubmissionDetail.of_view(submission_view(session(), row))
