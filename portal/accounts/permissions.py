"""What may be done here, and which role may do it. Names are `scope:resource:action`."""

from enum import StrEnum

from portal.accounts.models import RoleName


class Permission(StrEnum):
    ADMIN_LEDGER_READ = "admin:ledger:read"
    ADMIN_RETENTION_MANAGE = "admin:retention:manage"
    ADMIN_SUPPLIER_CREATE = "admin:supplier:create"
    ADMIN_TRUST_MANAGE = "admin:trust:manage"
    ADMIN_USER_MANAGE = "admin:user:manage"
    REVIEW_CASE_APPROVE_TIER1 = "review:case:approve_tier1"
    REVIEW_CASE_CLAIM = "review:case:claim"
    REVIEW_CASE_DECIDE = "review:case:decide"
    REVIEW_CASE_READ = "review:case:read"
    REVIEW_CHANGE_FILE = "review:change:file"
    REVIEW_COMMENT_WRITE = "review:comment:write"
    REVIEW_EVIDENCE_EXPORT = "review:evidence:export"
    REVIEW_EVIDENCE_READ = "review:evidence:read"
    REVIEW_HOLD_PLACE = "review:hold:place"
    REVIEW_HOLD_RELEASE = "review:hold:release"
    REVIEW_KEY_DECIDE = "review:key:decide"
    REVIEW_PRODUCT_EDIT = "review:product:edit"
    REVIEW_REPORT_READ = "review:report:read"
    REVIEW_SUPPLIER_READ = "review:supplier:read"
    REVIEW_VAULT_READ = "review:vault:read"
    SUPPLIER_CHANGE_FILE = "supplier:change:file"
    SUPPLIER_CHANGE_REQUEST_ANSWER = "supplier:change_request:answer"
    SUPPLIER_KEY_REGISTER = "supplier:key:register"
    SUPPLIER_PRODUCT_EDIT = "supplier:product:edit"
    SUPPLIER_REPORT_READ = "supplier:report:read"
    SUPPLIER_SUBMISSION_READ = "supplier:submission:read"
    SUPPLIER_SUBMISSION_WRITE = "supplier:submission:write"
    SUPPLIER_TEAM_MANAGE = "supplier:team:manage"
    SUPPLIER_TOKEN_MANAGE = "supplier:token:manage"
    SUPPLIER_UPLOAD_WRITE = "supplier:upload:write"
    SUPPLIER_WATCH_READ = "supplier:watch:read"


P = Permission
_CONTRIBUTOR = {
    P.SUPPLIER_CHANGE_FILE,
    P.SUPPLIER_CHANGE_REQUEST_ANSWER,
    P.SUPPLIER_PRODUCT_EDIT,
    P.SUPPLIER_REPORT_READ,
    P.SUPPLIER_SUBMISSION_READ,
    P.SUPPLIER_SUBMISSION_WRITE,
    P.SUPPLIER_UPLOAD_WRITE,
}
_READ_ALL = {
    P.REVIEW_CASE_READ,
    P.REVIEW_EVIDENCE_READ,
    P.REVIEW_REPORT_READ,
    P.REVIEW_SUPPLIER_READ,
    P.REVIEW_VAULT_READ,
}
_REVIEWER = _READ_ALL | {
    P.REVIEW_CASE_CLAIM,
    P.REVIEW_CASE_DECIDE,
    P.REVIEW_CHANGE_FILE,
    P.REVIEW_COMMENT_WRITE,
    P.REVIEW_EVIDENCE_EXPORT,
    P.REVIEW_HOLD_PLACE,
    P.REVIEW_KEY_DECIDE,
    P.REVIEW_PRODUCT_EDIT,
}
GRANTS: dict[RoleName, frozenset[Permission]] = {
    RoleName.SUPPLIER_CONTRIBUTOR: frozenset(_CONTRIBUTOR),
    RoleName.SUPPLIER_ADMIN: frozenset(
        _CONTRIBUTOR
        | {
            P.SUPPLIER_KEY_REGISTER,
            P.SUPPLIER_TEAM_MANAGE,
            P.SUPPLIER_TOKEN_MANAGE,
            P.SUPPLIER_WATCH_READ,
        }
    ),
    RoleName.REVIEWER: frozenset(_REVIEWER),
    RoleName.APPROVER: frozenset(_REVIEWER | {P.REVIEW_CASE_APPROVE_TIER1, P.REVIEW_HOLD_RELEASE}),
    RoleName.AUDITOR: frozenset(_READ_ALL | {P.ADMIN_LEDGER_READ}),
    RoleName.ADMINISTRATOR: frozenset(
        {
            P.ADMIN_LEDGER_READ,
            P.ADMIN_RETENTION_MANAGE,
            P.ADMIN_SUPPLIER_CREATE,
            P.ADMIN_TRUST_MANAGE,
            P.ADMIN_USER_MANAGE,
            P.REVIEW_HOLD_PLACE,
            P.REVIEW_HOLD_RELEASE,
            P.REVIEW_SUPPLIER_READ,
            P.REVIEW_VAULT_READ,
        }
    ),
}
# What a bearer token of a supplier's machine may be given; a token never exceeds its creator's role.
TOKEN_SCOPES: tuple[Permission, ...] = (
    P.SUPPLIER_PRODUCT_EDIT,
    P.SUPPLIER_SUBMISSION_READ,
    P.SUPPLIER_SUBMISSION_WRITE,
    P.SUPPLIER_UPLOAD_WRITE,
    P.SUPPLIER_REPORT_READ,
    P.SUPPLIER_CHANGE_FILE,
    P.SUPPLIER_WATCH_READ,
)
