"""What stable names are called on every page; each side has more of its own."""

from portal.reassessment.models import ChangeKind
from portal.submissions.models import SubmissionKind
from portal.suppliers.models import EntityRole

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
KINDS = {
    SubmissionKind.QUESTIONNAIRE: "Questionnaire",
    SubmissionKind.LOT: "Lot",
    SubmissionKind.FIRMWARE: "Firmware",
    SubmissionKind.ATTESTATIONS: "Attestations",
}
ROLES = {role: role.value.replace("_", " ").capitalize() for role in EntityRole}
