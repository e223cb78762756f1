"""Each thing of a bundle that was tampered with and listed so that the manifest fits, by the sentence that
refuses it."""

import hashlib
import json
from collections.abc import Callable

import pytest
import rfc8785

from portal.errors import LotgateError
from portal.ledger.leaves import Opening
from portal.ledger.proofs import Proof
from tests.factories.zips import unzipped
from tests.unit.reports.bundles.conftest import World
from tests.unit.reports.bundles.packing import Files, checked, edited, named, packed

ANOTHER_DAY = "2026-11-20T00:00:00Z"


def tampered_evidence(files: Files) -> Files:
    name = named(files, "evidence/", "")
    return files | {name: files[name] + b"x"}


def swapped_evidence(files: Files) -> Files:
    name = named(files, "evidence/", "")
    data = files.pop(name) + b"x"
    return files | {f"evidence/{hashlib.sha256(data).hexdigest()}": data}


def missing_evidence(files: Files) -> Files:
    del files[named(files, "evidence/", "")]
    return files


def entry_about_other_bytes(files: Files) -> Files:
    return edited(files, "evidence.json", lambda rows: rows[0].update(sha256="0" * 64))


def changed_check(files: Files) -> Files:
    name = named(files, "submissions/")
    return edited(files, name, lambda row: next(iter(row["runs"].values()))[0].update(outcome="warn"))


def changed_verdicts(files: Files) -> Files:
    name = next(name for name in files if ".verdicts-" in name)
    return edited(files, name, lambda row: row["failures"].pop())


def changed_policy(files: Files) -> Files:
    name = named(files, "policies/")
    return edited(files, name, lambda row: row.update(title="Another policy"))


def changed_facts(files: Files) -> Files:
    return edited(files, named(files, "assessment/", "facts.json"), lambda row: row["checks"].pop())


def changed_result(files: Files) -> Files:
    name = named(files, "assessment/", "result.json")
    return edited(files, name, lambda row: row.update(rating="approvable"))


def changed_decision(files: Files) -> Files:
    return edited(files, named(files, "decisions/"), lambda row: row.update(decision="approve"))


def changed_reason(files: Files) -> Files:
    return edited(files, named(files, "decisions/"), lambda row: row.update(reason="Perfect."))


def changed_condition(files: Files) -> Files:
    return edited(files, named(files, "exceptions/"), lambda row: row.update(condition="Anywhere."))


def missing_condition(files: Files) -> Files:
    del files[named(files, "exceptions/")]
    return files


def longer_condition(files: Files) -> Files:
    return edited(files, named(files, "exceptions/"), lambda row: row.update(expires="2030-01-01"))


def changed_sample(files: Files) -> Files:
    return edited(files, named(files, "samples/"), lambda row: row["serials"].reverse())


def larger_sample(files: Files) -> Files:
    return edited(files, named(files, "samples/"), lambda row: row.update(size=6))


def sample_with_another_seed(files: Files) -> Files:
    return edited(files, named(files, "samples/"), lambda row: row.update(seed="0" * 64))


def sample_with_another_commitment(files: Files) -> Files:
    return edited(files, named(files, "samples/"), lambda row: row.update(commitment="sha256:" + "0" * 64))


def sample_of_another_plan(files: Files) -> Files:
    return edited(files, named(files, "samples/"), lambda row: row["plan"].update(size=5, units=9))


def sample_of_another_day(files: Files) -> Files:
    return edited(files, named(files, "samples/"), lambda row: row.update(at="2026-11-20T00:00:00Z"))


def sample_of_no_lot(files: Files) -> Files:
    return edited(files, named(files, "samples/"), lambda row: row.update(lot="0" * 32))


def missing_sample(files: Files) -> Files:
    del files[named(files, "samples/")]
    return files


def without_the_commitment(files: Files) -> Files:
    committed = json.loads(files[named(files, "samples/")])["committed"]
    for name in [name for name in files if name.endswith(".tlog-proof")]:
        if Opening.load(Proof.parse(files[name].decode()).extra).facts["subject"] == committed:
            del files[name]
    return files


def other_key(files: Files) -> Files:
    """The approved key's name and id, with the text of another key."""
    names = [name for name in files if name.startswith("keys/")]
    pem = json.loads(files[names[1]])["pem"]
    return edited(files, names[0], lambda row: row.update(pem=pem))


def other_name_of_a_key(files: Files) -> Files:
    return edited(files, named(files, "keys/"), lambda row: row.update(label="Nordhaven release key"))


def other_name_of_a_file(files: Files) -> Files:
    return edited(files, "evidence.json", lambda rows: rows[0].update(name="certificate.pdf"))


def other_title(files: Files) -> Files:
    name = next(name for name in files if name.startswith("submissions/") and "verdicts" not in name)
    return edited(files, name, lambda row: row.update(title="Lot L-7"))


def key_not_approved(files: Files) -> Files:
    """A key of one's own, beside the approved ones."""
    name = named(files, "keys/")
    row = json.loads(files[name]) | {"id": "f" * 32}
    return files | {f"keys/{'f' * 32}.json": rfc8785.dumps(row)}


def key_for_another_purpose(files: Files) -> Files:
    return edited(files, named(files, "keys/"), lambda row: row.update(purposes=["firmware"]))


def key_trusted_again(files: Files) -> Files:
    name = next(
        name for name in files if name.startswith("keys/") and json.loads(files[name])["distrusted_from"]
    )
    return edited(files, name, lambda row: row.update(distrusted_from=None))


def decision_of_another_product(files: Files) -> Files:
    return edited(files, named(files, "decisions/"), lambda row: row.update(product="0" * 32))


def decision_on_another_assessment(files: Files) -> Files:
    return edited(files, named(files, "decisions/"), lambda row: row.update(assessment="0" * 32))


def decision_that_left_another_in_force(files: Files) -> Files:
    return edited(files, named(files, "decisions/"), lambda row: row.update(settled="0" * 32))


def decision_of_another_day(files: Files) -> Files:
    return edited(files, named(files, "decisions/"), lambda row: row.update(at=ANOTHER_DAY))


def condition_of_another_day(files: Files) -> Files:
    return edited(files, named(files, "exceptions/"), lambda row: row.update(granted_at=ANOTHER_DAY))


def key_approved_on_another_day(files: Files) -> Files:
    return edited(files, named(files, "keys/"), lambda row: row.update(approved_at=ANOTHER_DAY))


def assessment_of_another_day(files: Files) -> Files:
    name = named(files, "assessment/", "about.json")
    return edited(files, name, lambda row: row.update(made_at=ANOTHER_DAY))


def assessment_by_another_policy(files: Files) -> Files:
    name = named(files, "assessment/", "about.json")
    return edited(files, name, lambda row: row.update(policy="sha256:" + "0" * 64))


def another_assessment(files: Files) -> Files:
    return edited(files, "manifest.json", lambda row: row.update(assessment="0" * 32))


def another_number(files: Files) -> Files:
    return edited(files, "manifest.json", lambda row: row.update(number=99))


def another_supplier(files: Files) -> Files:
    return edited(files, "manifest.json", lambda row: row["supplier"].update(id="0" * 32))


def missing_receipt(files: Files) -> Files:
    about = json.loads(files[named(files, "decisions/")])["id"]
    for name in [name for name in files if name.endswith(".tlog-proof")]:
        if Opening.load(Proof.parse(files[name].decode()).extra).facts["subject"] == about:
            del files[name]
    return files


def renamed_receipt(files: Files) -> Files:
    name = named(files, "ledger/", ".tlog-proof")
    files["ledger/1/entries/000000009999.tlog-proof"] = files.pop(name)
    return files


def doubled_receipt(files: Files) -> Files:
    files["ledger/2/entries/000000000001.tlog-proof"] = files[named(files, "ledger/", ".tlog-proof")]
    return files


def receipt_of_another_text(files: Files) -> Files:
    name = named(files, "ledger/", ".tlog-proof")
    proof = Proof.parse(files[name].decode())
    opening = Opening.load(proof.extra)
    body = opening.body.replace('"seq":', '"seq":1')
    made = Proof(proof.index, proof.hashes, proof.note, Opening(body, opening.salt, opening.tag).dump())
    return files | {name: str(made).encode()}


def no_checkpoint(files: Files) -> Files:
    del files["ledger/1/checkpoint"]
    return files


def changed_checkpoint(files: Files) -> Files:
    lines = files["ledger/1/checkpoint"].decode().split("\n")
    lines[1] = str(int(lines[1]) + 1)
    return files | {"ledger/1/checkpoint": "\n".join(lines).encode()}


TAMPERED: dict[Callable[[Files], Files], str] = {
    tampered_evidence: "its bytes have SHA-256",
    swapped_evidence: "no evidence of this bundle has this digest",
    missing_evidence: "evidence/[0-9a-f]{64} is missing",
    entry_about_other_bytes: "sha256: the bundle says '0000",
    changed_check: "checks: the bundle says 'sha256:",
    changed_verdicts: "verdicts: the bundle says 'sha256:",
    changed_policy: "the policy has digest sha256:.*: it was changed",
    changed_facts: "facts: the bundle says 'sha256:",
    changed_result: "result: the bundle says 'sha256:",
    changed_decision: "decision: the bundle says 'approve', entry",
    changed_reason: "reason: the bundle says 'sha256:",
    changed_condition: "condition: the bundle says 'sha256:",
    missing_condition: "its conditions are not the accepted gaps of the bundle",
    longer_condition: "expires: the bundle says '2030-01-01'",
    changed_sample: "serials: the bundle says 'sha256:",
    larger_sample: "size: the bundle says 6",
    sample_with_another_seed: "seed: the bundle says '0000",
    sample_with_another_commitment: "its seed does not open the commitment",
    sample_of_another_plan: "the plan asks for 8 of 40 units",
    sample_of_another_day: "drawn at 2026-11-20T00:00:00Z, entry",
    sample_of_no_lot: "is no lot of this bundle",
    missing_sample: "of which this bundle tells nothing",
    without_the_commitment: "no receipt of an entry sampling.committed",
    other_key: "its text is not the key with fingerprint",
    other_name_of_a_key: "label: the bundle says 'Nordhaven release key'",
    other_name_of_a_file: "filename: the bundle says 'certificate.pdf'",
    other_title: "title: the bundle says 'Lot L-7'",
    key_not_approved: "no receipt of an entry key.approved",
    key_for_another_purpose: r"purposes: the bundle says \['firmware'\]",
    key_trusted_again: "the ledger has another day from which it is distrusted",
    decision_of_another_product: "this bundle is about another one",
    decision_on_another_assessment: "which is not in the bundle",
    decision_that_left_another_in_force: "left in force assessment 0000",
    decision_of_another_day: "decided at 2026-11-20T00:00:00Z, entry",
    condition_of_another_day: "granted at 2026-11-20T00:00:00Z, entry",
    key_approved_on_another_day: "approved at 2026-11-20T00:00:00Z, entry",
    assessment_of_another_day: "made at 2026-11-20T00:00:00Z, entry",
    assessment_by_another_policy: "it names other facts, policy or supplier than the ledger",
    another_assessment: "names another number",
    another_number: "names another number",
    another_supplier: "supplier: the bundle says '0000",
    missing_receipt: "no receipt of an entry decision.made is in the bundle",
    renamed_receipt: "the file was renamed",
    doubled_receipt: "the bundle has no checkpoint of log 2",
    receipt_of_another_text: "does not lead to the root",
    no_checkpoint: "the bundle has no checkpoint",
    changed_checkpoint: "the checkpoint was altered",
}


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda tamper: tamper.__name__)
def test_is_refused(world: World, whole: bytes, tamper: Callable[[Files], Files]) -> None:
    said = TAMPERED[tamper]
    with pytest.raises(LotgateError, match=said):
        checked(packed(tamper(unzipped(whole))), world.policy)
