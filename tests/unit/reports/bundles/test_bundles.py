"""Bundles: what holds, and each thing that was tampered with, by the sentence that refuses it."""

import contextlib
import hashlib
import io
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.adapters.keys import signer_in
from portal.clock import SystemClock
from portal.db import open_engine, open_session
from portal.errors import LotgateError
from portal.ledger import logs
from portal.ledger.leaves import Opening
from portal.ledger.models import Entry
from portal.ledger.policies import TrustPolicy
from portal.ledger.proofs import Proof
from portal.reports.bundles.verify import verify_bundle
from portal.retention import holds
from portal.zips import ZipReader, ZipWriter
from tests.unit.reports.bundles.conftest import World

Files = dict[str, bytes]
ANOTHER_DAY = "2026-11-20T00:00:00Z"


def unpacked(data: bytes) -> Files:
    reader = ZipReader(io.BytesIO(data))
    return {name: reader.read(member, 1 << 24) for name, member in reader.members.items()}


def packed(files: Files, *, listed: bool = True) -> bytes:
    """A bundle again; `listed`: with a manifest that fits."""
    if listed:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = [
            {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "what": ""}
            for name, data in files.items()
            if name != "manifest.json"
        ]
        files = files | {"manifest.json": rfc8785.dumps(manifest)}
    file = io.BytesIO()
    writer = ZipWriter(file)
    for name, data in files.items():
        writer.add(name, data)
    writer.close()
    return file.getvalue()


def checked(data: bytes, policy: TrustPolicy | None) -> tuple[list[str], list[str]]:
    steps: list[str] = []
    warnings: list[str] = []
    verify_bundle(io.BytesIO(data), policy, SystemClock(), steps.append, warnings.append)
    return steps, warnings


def refusal(data: bytes, world: World) -> str:
    with pytest.raises(LotgateError) as caught:
        checked(data, world.policy)
    return caught.value.message


def named(files: Files, begin: str, end: str = ".json") -> str:
    return next(name for name in files if name.startswith(begin) and name.endswith(end))


def edited(files: Files, name: str, edit: Callable[[Any], object]) -> Files:
    """With a document that says something else, in canonical form as before."""
    document = json.loads(files[name])
    edit(document)
    return files | {name: rfc8785.dumps(document)}


# --- What holds -----------------------------------------------------------------------------------


def test_everything_holds_and_each_step_says_so(world: World, whole: bytes) -> None:
    steps, warnings = checked(whole, world.policy)
    assert len(steps) == 13
    assert "1 samples of lots are those that were drawn, 1 were drawn again; each seed" in " ".join(steps)
    assert "Verified again: 1 signed files and 41 attestations" in steps[-1]
    assert not [text for text in warnings if "--policy" in text]


def test_the_same_state_makes_the_same_bytes(world: World) -> None:
    assert world.bundle() == world.bundle()


def test_digests_only_has_no_evidence_and_says_so(world: World, digests: bytes, whole: bytes) -> None:
    files = unpacked(digests)
    assert not [name for name in files if name.startswith("evidence/")]
    assert unpacked(whole).keys() - files.keys() == {
        name for name in unpacked(whole) if name.startswith("evidence/")
    }
    steps, _ = checked(digests, world.policy)
    assert "no signature can be verified again" in steps[-1]


def test_the_bundles_own_policy_counts_only_with_a_warning(whole: bytes) -> None:
    _, warnings = checked(whole, None)
    assert "portal's own word" in warnings[0]


def test_nothing_internal_to_the_buyer_is_in_it(world: World, whole: bytes) -> None:
    for name, data in unpacked(whole).items():
        for secret in (b"read out on the telephone", b"stolen from the works"):
            assert secret not in data, name


def test_a_hold_is_not_told(world: World) -> None:
    """Its reference names an incident; who is looked into must not learn it from a bundle."""
    actor, product = world.desk.make.actor(RoleName.REVIEWER), world.desk.product
    holds.place(
        *(world.session, actor, world.clock),
        supplier_id=product.supplier_id,
        product_id=product.id,
        reference="Incident Narvik 7",
        why="cells burnt",
    )
    world.session.commit()
    world.publish()
    entry = world.session.scalars(select(Entry).where(Entry.kind == "hold.placed")).one()
    name = f"ledger/1/entries/{entry.seq:012d}.tlog-proof"
    files = unpacked(world.bundle())
    assert name not in files
    assert not [one for one, data in files.items() if b"Narvik 7" in data or entry.salt.encode() in data]
    proof = logs.receipt(world.session, entry)
    assert "of which this bundle tells nothing" in refusal(packed(files | {name: str(proof).encode()}), world)


def test_other_programs_unpack_it(whole: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(whole)) as other:
        assert other.testzip() is None
        manifest = json.loads(other.read("manifest.json"))
        for row in manifest["files"]:
            assert hashlib.sha256(other.read(row["path"])).hexdigest() == row["sha256"]


def test_what_waits_for_its_checkpoint_makes_no_bundle(world: World) -> None:
    evidence = world.desk.put(b"one more file", "late.pdf")
    world.session.rollback()
    assert evidence
    world.bundle()  # it is not about this assessment
    key = world.desk.key("newest")
    with pytest.raises(LotgateError, match="wait for their checkpoint"):
        world.bundle()
    world.publish()
    assert f"keys/{key.id}.json" in unpacked(world.bundle())


def test_verifying_imports_no_database() -> None:
    code = (
        "import sys, portal.cli.verify_bundle\n"
        "assert not {'sqlalchemy', 'flask', 'weasyprint'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Files ----------------------------------------------------------------------------------------


def test_an_extra_file_is_refused(world: World, whole: bytes) -> None:
    said = refusal(packed(unpacked(whole) | {"keys/extra.json": b"{}"}, listed=False), world)
    assert said == "keys/extra.json is in the bundle, and the manifest does not list it"


def test_a_missing_file_is_refused(world: World, whole: bytes) -> None:
    files = unpacked(whole)
    name = named(files, "keys/")
    del files[name]
    assert refusal(packed(files, listed=False), world) == f"{name} is missing: the manifest lists it"


def test_a_renamed_file_is_refused(world: World, whole: bytes) -> None:
    files = unpacked(whole)
    name = named(files, "decisions/")
    files["decisions/other.json"] = files.pop(name)
    assert "the manifest" in refusal(packed(files, listed=False), world)
    assert "the file was renamed" in refusal(packed(files), world)


def test_a_doubled_file_is_refused(world: World, whole: bytes) -> None:
    files = unpacked(whole) | {"README.tx2": b"another"}
    assert "'README.txt' is there twice" in refusal(
        packed(files).replace(b"README.tx2", b"README.txt"), world
    )


@pytest.mark.parametrize(
    "name",
    [
        "IMPORTANT.txt",
        "keys/more/extra.json",
        "keys/extra.pem",
        "revocation/more/extra.crl",
        "policies/extra.json",
        "submissions/extra.verdicts-1.json",
        "assessment/N/extra.json",
        "ledger/1/000000000001.checkpoint",
        "ledger/1/more/extra/000000000001.tlog-proof",
    ],
)
def test_a_file_that_nothing_asks_for_is_refused(world: World, whole: bytes, name: str) -> None:
    """Though the manifest lists it: that is signed by nobody."""
    files = unpacked(whole)
    name = name.replace("assessment/N", named(files, "assessment/", "about.json").rpartition("/")[0])
    said = refusal(packed(files | {name: b"{}"}), world)
    assert said == f"{name}: nothing in this bundle asks for this file, and nothing proves it"


def test_changed_bytes_are_refused(world: World, whole: bytes) -> None:
    name = named(unpacked(whole), "decisions/")
    files = edited(unpacked(whole), name, lambda row: row.update(reason="Perfect."))
    assert f"{name}: expected" in refusal(packed(files, listed=False), world)


@pytest.mark.parametrize("member", ["sha256", "size", "path"])
def test_a_changed_manifest_is_refused(world: World, whole: bytes, member: str) -> None:
    other = {"sha256": "0" * 64, "size": 1, "path": "README.md"}
    files = edited(
        unpacked(whole), "manifest.json", lambda row: row["files"][3].update({member: other[member]})
    )
    assert "the manifest" in refusal(packed(files, listed=False), world)


def test_a_file_that_is_listed_twice_is_refused(world: World, whole: bytes) -> None:
    files = edited(unpacked(whole), "manifest.json", lambda row: row["files"].append(row["files"][0]))
    assert "is listed twice" in refusal(packed(files, listed=False), world)


@pytest.mark.parametrize("add", [lambda data: b"PK" + data, lambda data: data + b"\0", lambda data: data * 2])
def test_bytes_around_it_are_refused(world: World, whole: bytes, add: Callable[[bytes], bytes]) -> None:
    """tests/unit/test_zips.py has every other trick with ZIP files, by name."""
    assert refusal(add(whole), world)


def test_no_changed_byte_goes_unnoticed(world: World, whole: bytes) -> None:
    chance = random.Random(22)
    for place in chance.sample(range(len(whole)), 60):
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        assert refusal(bytes(changed), world), place


ODD: list[object] = [None, 0, -1, 1 << 70, 0.5, "", "x" * 300, "\ud7ff", [], [[]], {}, {"a": {}}, True]


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a document: what holds it, and its key there."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *nodes(value[key])]]


@pytest.mark.parametrize("seed", range(4))
def test_odd_documents_are_told_in_words(world: World, whole: bytes, seed: int) -> None:
    """With a value that nobody expects it is refused, or says nothing that counts: nothing breaks."""
    chance, files = random.Random(seed), unpacked(whole)
    names = sorted(name for name in files if name.endswith(".json"))
    for _ in range(10):
        name = chance.choice(names)
        document = json.loads(files[name])
        holder, key = chance.choice(nodes(document))
        holder[key] = chance.choice(ODD)
        try:
            data = packed(files | {name: json.dumps(document).encode()}, listed=name != "manifest.json")
        except (ValueError, TypeError, LookupError):
            continue
        with contextlib.suppress(LotgateError):
            checked(data, world.policy)


def test_a_file_packed_again_by_another_program_is_refused(world: World, whole: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as other:
        for name, data in unpacked(whole).items():
            other.writestr(name, data)
    assert "compressed" in refusal(file.getvalue(), world)


# --- Tampered with, and listed so that the manifest fits -------------------------------------------


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
        checked(packed(tamper(unpacked(whole))), world.policy)


def test_a_receipt_of_another_bundle_is_refused(world: World, whole: bytes) -> None:
    """It is true, and about something that this bundle does not tell of."""
    evidence = world.desk.put(b"a file of another story", "other.pdf")
    world.publish()
    files = unpacked(world.bundle())
    entry = world.session.scalars(select(Entry).where(Entry.subject_id == evidence)).one()
    proof = logs.receipt(world.session, entry)
    assert proof is not None
    files[f"ledger/1/entries/{proof.index:012d}.tlog-proof"] = str(proof).encode()
    assert "of which this bundle tells nothing" in refusal(packed(files), world)
    # Under an older checkpoint it is not even read.
    old = unpacked(whole)
    old[f"ledger/1/entries/{proof.index:012d}.tlog-proof"] = str(proof).encode()
    if str(proof.note).encode() != old["ledger/1/checkpoint"]:
        assert "it belongs to another bundle" in refusal(packed(old), world)


def test_a_checkpoint_of_another_portal_is_refused(world: World, whole: bytes, tmp_path: Path) -> None:
    """Another log of the same name, with keys of its own: the policy from outside does not know them."""
    engine = open_engine(f"sqlite:///{tmp_path / 'other.db'}")
    logs.Entry.metadata.create_all(engine)
    with open_session(engine) as session:
        signer = signer_in(replace(world.settings, var_dir=tmp_path), 1, "portal.example/ledger/1")
        log = logs.create(session, world.clock, signer)
        other = TrustPolicy.parse(logs.policy_text(session, "https://portal.example", None))
        assert log.origin == "portal.example/ledger/1"
    engine.dispose()
    with pytest.raises(LotgateError, match="is not signed by"):
        checked(whole, other)


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"null", b"{" * 2000, b"\xff", b'{"a":1,"a":2}'])
def test_a_document_of_another_form_is_refused(world: World, whole: bytes, document: bytes) -> None:
    files = unpacked(whole)
    for name in (
        "manifest.json",
        "evidence.json",
        named(files, "keys/"),
        named(files, "submissions/"),
        named(files, "decisions/"),
        named(files, "exceptions/"),
        named(files, "assessment/", "about.json"),
        named(files, "assessment/", "facts.json"),
        named(files, "policies/"),
    ):
        changed = files | {name: document}
        assert refusal(packed(changed, listed=name != "manifest.json"), world)


# --- The command ----------------------------------------------------------------------------------


def lotgate(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "portal.cli", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_the_command_says_what_holds(whole: bytes, tmp_path: Path, policy_file: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(whole)
    done = lotgate("verify-bundle", path, "--policy", policy_file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Everything holds.\n")
    told = json.loads(lotgate("verify-bundle", path, "--policy", policy_file, "--json").stdout)
    assert told["holds"]
    assert not told["own_policy"]
    own = lotgate("verify-bundle", path)
    assert own.returncode == 3
    assert "by the keys that it brings itself" in own.stdout


def test_the_command_says_what_does_not_hold(whole: bytes, tmp_path: Path, policy_file: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(whole[:-1])
    done = lotgate("verify-bundle", path, "--policy", policy_file)
    assert done.returncode == 1
    assert done.stdout.startswith("NOT  it is no ZIP file")
    told = json.loads(lotgate("verify-bundle", path, "--json").stdout)
    assert not told["holds"]
    assert told["refused"].startswith("it is no ZIP file")
