"""What stable names are called on supplier pages."""

from portal.review.models import DecisionKind
from portal.submissions.models import SubmissionState
from portal.suppliers.models import KeyPurpose

DECISIONS = {
    DecisionKind.APPROVE: "Approved",
    DecisionKind.APPROVE_WITH_CONDITIONS: "Approved with conditions",
    DecisionKind.REJECT: "Rejected",
    DecisionKind.QUARANTINE: "Put in quarantine",
}
PURPOSES = {
    KeyPurpose.FIRMWARE: "Firmware images",
    KeyPurpose.ATTESTATION: "Attestations about units",
    KeyPurpose.MANIFEST: "Lot manifests",
}
STATES = {
    SubmissionState.DRAFT: "Not submitted yet: you can still change it.",
    SubmissionState.SUBMITTED: "Received. It waits for its checks.",
    SubmissionState.VERIFYING: "Its checks are being made now.",
    SubmissionState.VERIFIED: "All checks were made. What did not pass stands below; a reviewer looks at it.",
    SubmissionState.FAILED: "Our machine could not make the checks. The buyer sees that too.",
    SubmissionState.ACCEPTED: "Accepted.",
    SubmissionState.REFUSED: "Refused by the buyer. Submit a new one once the cause is put right.",
    SubmissionState.WITHDRAWN: "Withdrawn by you. It stays in the record and proves nothing any more.",
}
