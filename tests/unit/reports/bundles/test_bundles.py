"""Bundles: what holds, what is refused before its documents are read, and the command."""

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
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.adapters.keys import signer_in
from portal.db import open_engine, open_session
from portal.errors import LotgateError
from portal.ledger import logs
from portal.ledger.models import Entry
from portal.ledger.policies import TrustPolicy
from portal.retention import holds
from tests.factories.zips import unzipped
from tests.unit.reports.bundles.conftest import World
from tests.unit.reports.bundles.packing import (
    checked,
    edited,
    lotgate,
    named,
    packed,
    refusal,
)

# --- What holds -----------------------------------------------------------------------------------


def test_everything_holds_and_each_step_says_so(world: World, whole: bytes) -> None:
    steps, warnings = checked(whole, world.policy)
    assert len(steps) == 13
    assert "As they were drawn: 1 sample of lots, 1 of them drawn again; each seed" in " ".join(steps)
    assert "Verified again: 1 signed file and 41 attestations" in steps[-1]
    assert not [text for text in warnings if "--policy" in text]


def test_the_same_state_makes_the_same_bytes(world: World) -> None:
    assert world.bundle() == world.bundle()


def test_digests_only_has_no_evidence_and_says_so(world: World, digests: bytes, whole: bytes) -> None:
    files = unzipped(digests)
    assert not [name for name in files if name.startswith("evidence/")]
    assert unzipped(whole).keys() - files.keys() == {
        name for name in unzipped(whole) if name.startswith("evidence/")
    }
    steps, _ = checked(digests, world.policy)
    assert "no signature can be verified again" in steps[-1]


def test_the_bundles_own_policy_counts_only_with_a_warning(whole: bytes) -> None:
    _, warnings = checked(whole, None)
    assert "portal's own word" in warnings[0]


def test_nothing_internal_to_the_buyer_is_in_it(world: World, whole: bytes) -> None:
    for name, data in unzipped(whole).items():
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
    files = unzipped(world.bundle())
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
    assert f"keys/{key.id}.json" in unzipped(world.bundle())


def test_verifying_imports_no_database() -> None:
    code = (
        "import sys, portal.cli.verify_bundle\n"
        "assert not {'sqlalchemy', 'flask', 'weasyprint'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Files ----------------------------------------------------------------------------------------


def test_an_extra_file_is_refused(world: World, whole: bytes) -> None:
    said = refusal(packed(unzipped(whole) | {"keys/extra.json": b"{}"}, listed=False), world)
    assert said == "keys/extra.json is in the bundle, and the manifest does not list it"


def test_a_missing_file_is_refused(world: World, whole: bytes) -> None:
    files = unzipped(whole)
    name = named(files, "keys/")
    del files[name]
    assert refusal(packed(files, listed=False), world) == f"{name} is missing: the manifest lists it"


def test_a_renamed_file_is_refused(world: World, whole: bytes) -> None:
    files = unzipped(whole)
    name = named(files, "decisions/")
    files["decisions/other.json"] = files.pop(name)
    assert "the manifest" in refusal(packed(files, listed=False), world)
    assert "the file was renamed" in refusal(packed(files), world)


def test_a_doubled_file_is_refused(world: World, whole: bytes) -> None:
    files = unzipped(whole) | {"README.tx2": b"another"}
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
    files = unzipped(whole)
    name = name.replace("assessment/N", named(files, "assessment/", "about.json").rpartition("/")[0])
    said = refusal(packed(files | {name: b"{}"}), world)
    assert said == f"{name}: nothing in this bundle asks for this file, and nothing proves it"


def test_changed_bytes_are_refused(world: World, whole: bytes) -> None:
    name = named(unzipped(whole), "decisions/")
    files = edited(unzipped(whole), name, lambda row: row.update(reason="Perfect."))
    assert f"{name}: expected" in refusal(packed(files, listed=False), world)


@pytest.mark.parametrize("member", ["sha256", "size", "path"])
def test_a_changed_manifest_is_refused(world: World, whole: bytes, member: str) -> None:
    other = {"sha256": "0" * 64, "size": 1, "path": "README.md"}
    files = edited(
        unzipped(whole), "manifest.json", lambda row: row["files"][3].update({member: other[member]})
    )
    assert "the manifest" in refusal(packed(files, listed=False), world)


def test_a_file_that_is_listed_twice_is_refused(world: World, whole: bytes) -> None:
    files = edited(unzipped(whole), "manifest.json", lambda row: row["files"].append(row["files"][0]))
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
    chance, files = random.Random(seed), unzipped(whole)
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
        for name, data in unzipped(whole).items():
            other.writestr(name, data)
    assert "compressed" in refusal(file.getvalue(), world)


def test_a_receipt_of_another_bundle_is_refused(world: World, whole: bytes) -> None:
    """It is true, and about something that this bundle does not tell of."""
    evidence = world.desk.put(b"a file of another story", "other.pdf")
    world.publish()
    files = unzipped(world.bundle())
    entry = world.session.scalars(select(Entry).where(Entry.subject_id == evidence)).one()
    proof = logs.receipt(world.session, entry)
    assert proof is not None
    files[f"ledger/1/entries/{proof.index:012d}.tlog-proof"] = str(proof).encode()
    assert "of which this bundle tells nothing" in refusal(packed(files), world)
    # Under an older checkpoint it is not even read.
    old = unzipped(whole)
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
    files = unzipped(whole)
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
