"""What stable names are called on reviewer pages."""

from portal.review.models import CaseCause, DecisionKind

CAUSES = {
    CaseCause.FIRST: "First assessment",
    CaseCause.SUBMISSION: "New evidence",
    CaseCause.CHANGE: "Something changed",
    CaseCause.DUE: "Re-assessment is due",
    CaseCause.FAILURE: "Could not be verified",
}
DECISIONS = {
    DecisionKind.APPROVE: "Approve",
    DecisionKind.APPROVE_WITH_CONDITIONS: "Approve with conditions",
    DecisionKind.REQUEST_CHANGES: "Request changes",
    DecisionKind.REJECT: "Reject",
    DecisionKind.QUARANTINE: "Quarantine",
}
TIERS = {1: "Tier 1: most critical use", 2: "Tier 2: important use", 3: "Tier 3: ordinary use"}
