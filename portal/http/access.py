"""The one table of who may do what: a row for every endpoint and method, pages, API and uploads.

Enforced before every request (portal/http/gate.py). A route without a row answers 404 and fails the build.
Keep the blocks in the order of the blueprints and the rows sorted.
"""

from typing import Final

from portal.accounts.permissions import Permission as P

PUBLIC: Final = "public"  # anyone, signed in or not
SIGNED_IN: Final = "signed in"  # any account
CLOSED: Final = "closed"  # a library's route that we do not use: answers 404
Rule = P | str | tuple[P, ...]  # a tuple: any one of these

ACCESS: Final[dict[str, dict[str, Rule]]] = {
    # --- the ground
    "static": {"GET": PUBLIC},
    "bootstrap.static": {"GET": PUBLIC},
    "health": {"GET": PUBLIC},
    "home.index": {"GET": PUBLIC},  # sends each to their own home
    # --- account pages (portal/web/account.py and flask_security)
    "account.accept": {"GET": PUBLIC, "POST": PUBLIC},
    "account.create_token": {"POST": P.SUPPLIER_TOKEN_MANAGE},
    "account.end_other_sign_ins": {"POST": SIGNED_IN},
    "account.end_sign_in": {"POST": SIGNED_IN},
    "account.invite": {"POST": P.SUPPLIER_TEAM_MANAGE},
    "account.profile": {"GET": SIGNED_IN},
    "account.resend_invitation": {"POST": P.SUPPLIER_TEAM_MANAGE},
    "account.revoke_invitation": {"POST": P.SUPPLIER_TEAM_MANAGE},
    "account.revoke_token": {"POST": P.SUPPLIER_TOKEN_MANAGE},
    "account.team": {"GET": P.SUPPLIER_TEAM_MANAGE},
    "account.tokens": {"GET": P.SUPPLIER_TOKEN_MANAGE},
    "account.update_member": {"POST": P.SUPPLIER_TEAM_MANAGE},
    "security.change_password": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "security.forgot_password": {"GET": PUBLIC, "POST": PUBLIC},
    "security.login": {"GET": PUBLIC, "POST": PUBLIC},
    "security.logout": {"POST": PUBLIC},
    "security.mf_recovery": {"GET": PUBLIC, "POST": PUBLIC},  # after the password, before the code
    "security.mf_recovery_codes": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "security.reset_password": {"GET": PUBLIC, "POST": PUBLIC},
    "security.tf_select": {"GET": PUBLIC, "POST": PUBLIC},  # after the password: app or passkey
    "security.two_factor_rescue": {"GET": CLOSED, "POST": CLOSED},
    "security.two_factor_setup": {"GET": PUBLIC, "POST": PUBLIC},  # buyers set up before they are signed in
    "security.two_factor_setup_validate": {"POST": SIGNED_IN},
    "security.two_factor_token_validation": {"GET": PUBLIC, "POST": PUBLIC},  # after the password
    "security.verify": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "security.wan_delete": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "security.wan_register": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "security.wan_register_response": {"POST": SIGNED_IN},
    "security.wan_signin": {"GET": PUBLIC, "POST": PUBLIC},  # after the password
    "security.wan_signin_response": {"POST": PUBLIC},
    # --- uploads (portal/web/files.py)
    "files.append": {"PATCH": P.SUPPLIER_UPLOAD_WRITE},
    "files.create": {"POST": P.SUPPLIER_UPLOAD_WRITE},
    "files.end": {"DELETE": P.SUPPLIER_UPLOAD_WRITE},
    "files.options": {"OPTIONS": PUBLIC},
    "files.state": {"GET": P.SUPPLIER_UPLOAD_WRITE},
    # --- supplier pages (portal/web/supplier/)
    "supplier.add_component": {"POST": P.SUPPLIER_PRODUCT_EDIT},
    "supplier.add_entity": {"POST": P.SUPPLIER_PRODUCT_EDIT},
    "supplier.answer_request": {"POST": P.SUPPLIER_CHANGE_REQUEST_ANSWER},
    "supplier.begin_questionnaire": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "supplier.change": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.changes": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.edit_product": {"POST": P.SUPPLIER_PRODUCT_EDIT},
    "supplier.entities": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.evidence": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.home": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.key": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.keys": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.manifest_schema": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.new_attestations": {"GET": P.SUPPLIER_SUBMISSION_WRITE, "POST": P.SUPPLIER_SUBMISSION_WRITE},
    "supplier.new_change": {"GET": P.SUPPLIER_CHANGE_FILE, "POST": P.SUPPLIER_CHANGE_FILE},
    "supplier.new_firmware": {"GET": P.SUPPLIER_SUBMISSION_WRITE, "POST": P.SUPPLIER_SUBMISSION_WRITE},
    "supplier.new_key": {"GET": P.SUPPLIER_KEY_REGISTER, "POST": P.SUPPLIER_KEY_REGISTER},
    "supplier.new_lot": {"GET": P.SUPPLIER_SUBMISSION_WRITE, "POST": P.SUPPLIER_SUBMISSION_WRITE},
    "supplier.new_product": {"GET": P.SUPPLIER_PRODUCT_EDIT, "POST": P.SUPPLIER_PRODUCT_EDIT},
    "supplier.product": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.products": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.progress": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.questionnaire": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.remove_entity": {"POST": P.SUPPLIER_PRODUCT_EDIT},
    "supplier.save_section": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "supplier.submission": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.submissions": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "supplier.submit_questionnaire": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "supplier.withdraw": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    # --- reviewer pages (portal/web/review/)
    "review.assess_again": {"POST": P.REVIEW_CASE_DECIDE},
    "review.assessment": {"GET": P.REVIEW_CASE_READ},
    "review.case": {"GET": P.REVIEW_CASE_READ},
    "review.change": {"GET": P.REVIEW_CASE_READ},
    "review.changes": {"GET": P.REVIEW_CASE_READ},
    "review.claim": {"POST": P.REVIEW_CASE_CLAIM},
    "review.close_exception": {"POST": P.REVIEW_CASE_DECIDE},
    "review.comment": {"POST": P.REVIEW_COMMENT_WRITE},
    "review.decide": {"POST": P.REVIEW_CASE_DECIDE},
    "review.decide_key": {"POST": P.REVIEW_KEY_DECIDE},
    "review.distrust_key": {"POST": P.REVIEW_KEY_DECIDE},
    "review.edit_product": {"POST": P.REVIEW_PRODUCT_EDIT},
    "review.evidence": {"GET": P.REVIEW_EVIDENCE_READ},
    "review.exceptions": {"GET": P.REVIEW_CASE_READ},
    "review.key": {"GET": P.REVIEW_CASE_READ},
    "review.keys": {"GET": P.REVIEW_CASE_READ},
    "review.ledger": {"GET": P.ADMIN_LEDGER_READ},
    "review.new_change": {"GET": P.REVIEW_CHANGE_FILE, "POST": P.REVIEW_CHANGE_FILE},
    "review.product": {"GET": P.REVIEW_SUPPLIER_READ},
    "review.queue": {"GET": P.REVIEW_CASE_READ},
    "review.reassessments": {"GET": P.REVIEW_CASE_READ},
    "review.release": {"POST": P.REVIEW_CASE_CLAIM},
    "review.submission": {"GET": P.REVIEW_CASE_READ},
    "review.supplier": {"GET": P.REVIEW_SUPPLIER_READ},
    "review.suppliers": {"GET": P.REVIEW_SUPPLIER_READ},
    "review.take_over": {"POST": P.REVIEW_CASE_APPROVE_TIER1},
    # --- reports (portal/web/reports.py)
    "reports.assessment": {"GET": P.REVIEW_REPORT_READ},
    "reports.case_report": {"GET": P.REVIEW_REPORT_READ},
    "reports.supplier_report": {"GET": P.SUPPLIER_REPORT_READ},
    # --- administration (portal/web/admin.py)
    "admin.create_supplier": {"POST": P.ADMIN_SUPPLIER_CREATE},
    "admin.invite": {"POST": P.ADMIN_USER_MANAGE},
    "admin.invite_to_supplier": {"POST": P.ADMIN_USER_MANAGE},
    "admin.resend_invitation": {"POST": P.ADMIN_USER_MANAGE},
    "admin.revoke_invitation": {"POST": P.ADMIN_USER_MANAGE},
    "admin.supplier": {"GET": P.ADMIN_USER_MANAGE},
    "admin.suppliers": {"GET": P.ADMIN_SUPPLIER_CREATE},
    "admin.update_user": {"POST": P.ADMIN_USER_MANAGE},
    "admin.user": {"GET": P.ADMIN_USER_MANAGE},
    "admin.users": {"GET": P.ADMIN_USER_MANAGE},
    # --- API (portal/api/)
    "api.add_component": {"POST": P.SUPPLIER_PRODUCT_EDIT},
    "api.add_entity": {"POST": P.SUPPLIER_PRODUCT_EDIT},
    "api.attach_answer_file": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "api.change_product": {"PATCH": P.SUPPLIER_PRODUCT_EDIT},
    "api.create_product": {"POST": P.SUPPLIER_PRODUCT_EDIT},
    "api.detach_answer_file": {"DELETE": P.SUPPLIER_SUBMISSION_WRITE},
    "api.document": {"GET": PUBLIC},
    "api.file_change": {"POST": P.SUPPLIER_CHANGE_FILE},
    "api.get_answers": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.get_product": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.get_questionnaire": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.get_submission": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.list_changes": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.list_entities": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.list_keys": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.list_products": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.list_submissions": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.remove_entity": {"DELETE": P.SUPPLIER_PRODUCT_EDIT},
    "api.save_answers": {"PATCH": P.SUPPLIER_SUBMISSION_WRITE},
    "api.send_evidence": {"POST": P.SUPPLIER_UPLOAD_WRITE},
    "api.show_evidence": {"GET": P.SUPPLIER_SUBMISSION_READ},
    "api.start_questionnaire": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "api.submit_attestations": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "api.submit_draft": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "api.submit_firmware": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "api.submit_lot": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
    "api.withdraw_submission": {"POST": P.SUPPLIER_SUBMISSION_WRITE},
}
