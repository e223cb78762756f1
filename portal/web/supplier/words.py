"""What stable names are called on supplier pages."""

from portal.reassessment.models import ChangeKind
from portal.review.models import DecisionKind
from portal.submissions.models import SubmissionKind, SubmissionState
from portal.suppliers.models import EntityRole, KeyPurpose

CHANGES = {
    ChangeKind.FIRMWARE: "Firmware",
    ChangeKind.BOM: "Bill of materials",
    ChangeKind.OWNERSHIP: "Ownership",
    ChangeKind.SITE: "Site",
    ChangeKind.KEY: "Signing key",
    ChangeKind.DATE: "A date passed",
    ChangeKind.DUE: "Re-assessment is due",
    ChangeKind.OTHER: "Other",
}
DECISIONS = {
    DecisionKind.APPROVE: "Approved",
    DecisionKind.APPROVE_WITH_CONDITIONS: "Approved with conditions",
    DecisionKind.REJECT: "Rejected",
    DecisionKind.QUARANTINE: "Put in quarantine",
}
KINDS = {
    SubmissionKind.QUESTIONNAIRE: "Questionnaire",
    SubmissionKind.LOT: "Lot",
    SubmissionKind.FIRMWARE: "Firmware",
    SubmissionKind.ATTESTATIONS: "Attestations",
}
PURPOSES = {
    KeyPurpose.FIRMWARE: "Firmware images",
    KeyPurpose.ATTESTATION: "Attestations about units",
    KeyPurpose.MANIFEST: "Lot manifests",
}
ROLES = {role: role.value.replace("_", " ").capitalize() for role in EntityRole}
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
