"""What stable names are called on reviewer pages."""

from portal.reassessment.models import ChangeKind
from portal.review.models import CaseCause, DecisionKind
from portal.submissions.models import SubmissionKind
from portal.suppliers.models import EntityRole

CAUSES = {
    CaseCause.FIRST: "First assessment",
    CaseCause.SUBMISSION: "New evidence",
    CaseCause.CHANGE: "Something changed",
    CaseCause.DUE: "Re-assessment is due",
    CaseCause.FAILURE: "Could not be verified",
}
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
    DecisionKind.APPROVE: "Approve",
    DecisionKind.APPROVE_WITH_CONDITIONS: "Approve with conditions",
    DecisionKind.REQUEST_CHANGES: "Request changes",
    DecisionKind.REJECT: "Reject",
    DecisionKind.QUARANTINE: "Quarantine",
}
KINDS = {
    SubmissionKind.QUESTIONNAIRE: "Questionnaire",
    SubmissionKind.LOT: "Lot",
    SubmissionKind.FIRMWARE: "Firmware",
    SubmissionKind.ATTESTATIONS: "Attestations",
}
ROLES = {role: role.value.replace("_", " ").capitalize() for role in EntityRole}
TIERS = {1: "Tier 1: most critical use", 2: "Tier 2: important use", 3: "Tier 3: ordinary use"}
