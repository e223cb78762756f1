"""Runs, policies, accepted gaps and keys: row and entry agree, and fsck names where they do not."""

import pytest
from sqlalchemy import select, text

from portal.ledger.models import Entry
from portal.policy.model import builtin
from portal.reports.consistency import examine
from portal.reports.recorded import RULES
from portal.review.models import GrantedException, PolicyVersion
from portal.submissions.models import Submission
from portal.suppliers.models import SigningKey
from tests.unit.reports.bundles.conftest import World


def faults(world: World) -> list[str]:
    return [f"{fault.where}: {fault.text}" for _, rule in RULES for fault in rule(world.session)]


def test_a_clean_portal_has_no_fault(world: World) -> None:
    found = examine(
        *(world.session, world.clock, world.store, world.settings.store / "spool"), tell=lambda _: None
    )
    told = [f"{fault.where}: {fault.text}" for fault in found if "users" not in fault.where]
    assert told == []


def test_each_run_each_policy_each_gap_has_its_entry(world: World) -> None:
    session = world.session
    kinds = session.scalars(select(Entry.kind)).all()
    assert kinds.count("verification.ended") == sum(session.scalars(select(Submission.run)).all())
    assert kinds.count("policy.adopted") == 1
    kept = session.scalars(select(PolicyVersion)).one()
    assert f"sha256:{kept.digest}" == builtin().digest
    assert kinds.count("exception.granted") == len(session.scalars(select(GrantedException)).all()) > 0


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        ("UPDATE submissions SET outcome = 'pass'", "outcome: the database says pass"),
        ("UPDATE submissions SET run = run + 1", "run: the database says"),
        ("UPDATE submissions SET submitted_at = '1999-01-01 00:00:00.000000'",
         "is dated 1999-01-01T00:00:00Z, ledger entry"),
        ("UPDATE submissions SET state = 'draft'", "says that it was submitted, the database does not"),
        ("DELETE FROM submissions", "says that it was submitted, the database does not"),
        ("UPDATE submissions SET product_id = 'another'", "says that it was submitted, the database"),
        ("UPDATE submissions SET submitted_by = NULL", "by: the database says None"),
        ("UPDATE submissions SET supplier_id = 'another'", "supplier: the database says another"),
        ("DELETE FROM attachments", "evidence: the database says []"),
        ("UPDATE answers SET value = '\"perhaps\"'", "answers: the database says"),
        ("DELETE FROM answer_evidence", "answers: the database says"),
        ("UPDATE answer_evidence SET valid_until = '2099-01-01'", "answers: the database says"),
        ("DELETE FROM questionnaire_responses", "what was declared with it is not in the database"),
        ("UPDATE firmware_releases SET declared_version = '9'", "declared_version: the database says 9"),
        ("DELETE FROM attestation_batches", "what was declared with it is not in the database"),
        ("UPDATE checks SET outcome = 'pass' WHERE outcome = 'fail'", "checks: the database says"),
        ("DELETE FROM checks WHERE check_id = 'firmware.signature'", "checks: the database says"),
        ("UPDATE attestation_failures SET outcome = 'unreadable'", "verdicts: the database says"),
        ("DELETE FROM attestation_passes", "verdicts: the database says"),
        (("DELETE FROM ledger_entries WHERE kind = 'verification.ended' AND seq > "
         "(SELECT min(seq) FROM ledger_entries WHERE kind = 'verification.ended')"),
         "has no entry verification.ended"),
        ("UPDATE policy_versions SET text = replace(text, 'required', 'optional')", "text does not have its"),
        ("UPDATE policy_versions SET version = '9'", "version: the database says 9"),
        ("DELETE FROM policy_versions", "which is not kept"),
        ("UPDATE exceptions SET expires_on = '2030-01-01'", "expires: the database says 2030-01-01"),
        ("UPDATE exceptions SET condition = 'anywhere'", "condition: the database says sha256:"),
        ("UPDATE exceptions SET closed_at = created_at", "the ledger says that it is in force"),
        ("DELETE FROM exceptions", "which is not in the database"),
        ("UPDATE exceptions SET id = 'backdated', created_at = '2020-01-01 00:00:00'",
         "exceptions backdated: has no entry exception.granted"),
        ("UPDATE exceptions SET created_at = '1999-01-01 00:00:00.000000'", "is granted 1999-01-01"),
        ("UPDATE policy_versions SET first_used_at = '1999-01-01 00:00:00.000000'", "is first used 1999"),
        ("UPDATE assessments SET score = 100", "score: the database says 100"),
        ("UPDATE assessments SET knock_outs = 7", "knock_outs: the database says 7"),
        ("UPDATE assessments SET cause = 'another'", "cause: the database says sha256:"),
        ("UPDATE assessments SET facts_digest = result_digest", "its facts do not have the digest"),
        ("UPDATE cases SET title = 'another'", "title: the database says sha256:"),
        ("UPDATE cases SET due_on = '2030-01-01'", "due: the database says 2030-01-01"),
        ("UPDATE cases SET state = 'claimed', closed_at = NULL", "state: the database says claimed, and"),
        ("UPDATE cases SET closed_at = '1999-01-01 00:00:00.000000'", "is closed 1999-01-01"),
        ("UPDATE cases SET claimed_by = (SELECT id FROM users WHERE id <> claimed_by)", "claimed by: "),
        ("UPDATE cases SET rating = 'reject'", "rating: the database says reject"),
        ("DELETE FROM cases", "which is not in the database"),
        ("DELETE FROM findings", "is not there as the assessment found it"),
        ("UPDATE findings SET severity = 'expected'", "is not what the assessment found"),
        ("UPDATE decisions SET effective = 0, settled_id = NULL", "effective: the database says False"),
        ("UPDATE decisions SET settled_id = assessment_id", "settled on: the database says"),
        ("UPDATE suppliers SET standing = 'approved'", "standing: the database says approved"),
        ("UPDATE signing_keys SET distrusted_from = NULL, distrusted_by = NULL", "distrusted from:"),
        ("UPDATE signing_keys SET purposes = '[\"firmware\"]'", "purposes: the database says"),
        ("UPDATE signing_keys SET options = '{\"hash\": \"sha512\"}'", "options: the database says"),
        ("UPDATE signing_keys SET pem = pem || ' '", "key: the database says sha256:"),
        ("UPDATE signing_keys SET state = 'rejected'", "is rejected; the ledger has"),
    ],
)  # fmt: skip
def test_a_row_that_says_something_else_is_named(world: World, tamper: str, said: str) -> None:
    try:
        world.session.execute(text("PRAGMA defer_foreign_keys = ON"))  # until the end, which never comes
        world.session.execute(
            text(
                tamper
                if "'backdated'" not in tamper
                else f"{tamper} WHERE id = (SELECT min(id) FROM exceptions)"
            )
        )
        world.session.expire_all()
        assert [fault for fault in faults(world) if said in fault]
    finally:
        world.session.rollback()
        world.session.expire_all()


def test_a_key_that_was_never_approved_is_named(world: World) -> None:
    key = world.session.scalars(select(SigningKey)).first()
    assert key is not None
    try:
        world.session.execute(
            text("DELETE FROM ledger_entries WHERE kind = 'key.approved' AND subject_id = :key"),
            {"key": key.id},
        )
        assert [fault for fault in faults(world) if f"signing key {key.id}" in fault]
    finally:
        world.session.rollback()
