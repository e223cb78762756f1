"""Evidence handed out: the archive, the form, what is told of each file, and what is refused."""

import hashlib
import json
import subprocess
import zipfile
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from pypdf import PdfReader
from sqlalchemy import select, text

from portal.accounts.actors import MACHINE, Actor
from portal.accounts.models import RoleName, User
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import InvalidInput, NotAllowed, NotFound, StorageFailed
from portal.evidence.models import Evidence
from portal.ledger import logs
from portal.ledger.leaves import Opening
from portal.ledger.models import Entry
from portal.ledger.proofs import Proof
from portal.reports import custody
from portal.retention import exporting, service
from portal.retention.models import Export
from portal.review.assessing import open_case
from portal.review.models import CaseCause
from portal.review.service import assess
from portal.settings import Settings
from portal.submissions.models import AttachmentRole, Submission, SubmissionKind
from portal.verification import Outcome
from tests.factories import Make
from tests.factories.kept import Kept
from tests.factories.offered import Offered
from tests.unit.web.test_review_pages import text_of

WHAT = {
    "reference": "INC-2026-014",
    "purpose": "Claim after the fire",
    "recipient": "Nordic Insurance, L. Holm",
}
SignIn = Callable[[User], FlaskClient]


@pytest.fixture
def kept(session: TenantSession, clock: FixedClock, make: Make, store: LocalBlobStore, spool: Path) -> Kept:
    make.entered = True
    return Kept(session, clock, make, store, spool)


@pytest.fixture
def reviewer(make: Make) -> Actor:
    return make.actor(RoleName.REVIEWER)


def published(session: TenantSession, clock: FixedClock, folder: Path) -> logs.Log:
    signer = signer_in(Settings(ledger_dir=folder), 1, "gate.example/ledger/1")
    log = logs.create(session, clock, signer)
    logs.publish(session, clock, signer)
    session.commit()
    return log


def exported(kept: Kept, reviewer: Actor, *files: Evidence) -> Export:
    row = exporting.export(
        kept.session, reviewer, kept.clock, evidence_ids=[file.id for file in files], **WHAT
    )
    kept.session.commit()
    return row


def test_others_unpack_the_archive_and_find_every_file_as_it_was_delivered(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    reviewer: Actor,
    store: LocalBlobStore,
    spool: Path,
    tmp_path: Path,
) -> None:
    product = kept.ended()
    files = [
        kept.delivered(product, b"an image", filename="../BMS controller / 2.1.0 ß.bin"),
        kept.delivered(product, bytes(3 << 20), filename="…", ago=timedelta(days=3)),
    ]
    log = published(session, clock, tmp_path / "ledger")
    row = exported(kept, reviewer, *reversed(files))
    path = tmp_path / "out.zip"
    with custody.archive(row, store, spool) as made:
        path.write_bytes(made.read())
    with custody.archive(row, store, spool) as made:
        assert made.read() == path.read_bytes()
    subprocess.run(("python3", "-m", "zipfile", "-t", path), check=True, capture_output=True)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert names == [
            "chain-of-custody.pdf", "manifest.json", "receipts/0001.tlog-proof", "receipts/0002.tlog-proof",
            "files/0001-2.1.0-.bin", "files/0002-...",
        ]  # fmt: skip
        manifest = archive.read("manifest.json")
        assert hashlib.sha256(manifest).hexdigest() == row.digest
        for file, told in zip(files, json.loads(manifest)["files"], strict=True):
            assert hashlib.sha256(archive.read(told["name"])).hexdigest() == file.sha256 == told["sha256"]
            proof = Proof.parse(told["receipt"])
            opening = Opening.load(proof.extra)
            proof.check(opening.leaf(), logs.verifier_keys(log))
            assert opening.facts["sha256"] == file.sha256
    assert list(spool.iterdir()) == []


def test_what_is_known_of_a_file_is_told_in_its_order(
    session: TenantSession, clock: FixedClock, kept: Kept, reviewer: Actor, make: Make, offered: Offered
) -> None:
    product = kept.ended()
    evidence = kept.delivered(product)
    submission = session.scalars(select(Submission)).one()
    offered.run(submission, {"firmware.signature": Outcome.PASS})
    clock.advance(timedelta(days=1))
    approver = make.actor(RoleName.APPROVER)
    service.place(
        *(session, approver, clock),
        supplier_id=product.supplier_id, evidence_id=evidence.id, reference="INC-1", why="Fire",
    )  # fmt: skip
    clock.advance(timedelta(days=1))
    exported(kept, reviewer, evidence)
    clock.advance(timedelta(days=1))
    (file,) = custody.manifest_of(exported(kept, reviewer, evidence))["files"]
    assert file["received_from"] == kept.suppliers[product.supplier_id].name
    assert [event["what"] for event in file["history"]] == [
        "submitted with “firmware image.bin”",
        "verified with “firmware image.bin”, run 2",
        "put on hold for INC-1",
        f"exported by {reviewer.name} to Nordic Insurance, L. Holm (export 1)",
    ]
    assert [entry["kind"] for entry in file["entries"]] == ["evidence.accepted"]


def test_an_export_is_an_entry_that_fsck_holds_against_its_row(
    session: TenantSession, clock: FixedClock, kept: Kept, reviewer: Actor, store: LocalBlobStore, spool: Path
) -> None:
    row = exported(kept, reviewer, kept.delivered(kept.ended()))
    entry = session.scalars(select(Entry).where(Entry.kind == "evidence.exported")).one()
    said = json.loads(entry.body)
    assert (said["manifest"], said["by"]) == (f"sha256:{row.digest}", reviewer.user_id)
    assert "Nordic" not in entry.body
    session.commit()
    assert kept.faults() == []
    session.execute(text("UPDATE exports SET manifest = replace(manifest, 'Nordic', 'Another')"))
    found = kept.faults()
    assert any("manifest: the database says" in fault for fault in found)


def test_the_form_has_what_is_signed_for(kept: Kept, reviewer: Actor) -> None:
    product = kept.ended()
    files = [
        kept.delivered(product, f"file {number}".encode(), filename=f"file-{number}.bin")
        for number in range(30)
    ]
    row = exported(kept, reviewer, *files)
    paper = custody.form(row)
    assert custody.form(row) == paper
    pages = PdfReader(BytesIO(paper)).pages
    found = " ".join(" ".join(page.extract_text() for page in pages).split())
    for wanted in (*WHAT.values(), reviewer.name, row.digest, "Released by: name, signature", "Hand-offs"):
        assert wanted.replace(" ", "") in found.replace(" ", "")
    assert all(file.sha256 in found.replace(" ", "") for file in files)


def test_deleted_evidence_is_in_the_manifest_and_not_in_the_archive(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    reviewer: Actor,
    make: Make,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    product = kept.ended()
    gone = kept.delivered(product)
    administrator = make.actor(RoleName.ADMINISTRATOR)
    service.delete(session, administrator, clock, digest=service.preview(session, clock).digest)
    session.commit()
    row = exported(kept, reviewer, gone)
    (file,) = custody.manifest_of(row)["files"]
    assert (file["name"], "was deleted on 21 November 2026" in file["missing"]) == (None, True)
    assert file["history"][-1]["what"] == file["missing"]
    with custody.archive(row, store, spool) as made, zipfile.ZipFile(made) as archive:
        assert archive.namelist() == ["chain-of-custody.pdf", "manifest.json"]


def test_a_file_that_is_not_what_was_delivered_stops_the_archive(
    kept: Kept, reviewer: Actor, store: LocalBlobStore, spool: Path
) -> None:
    evidence = kept.delivered(kept.ended())
    row = exported(kept, reviewer, evidence)
    path = store._path(evidence.sha256)
    for damaged in (b"an Image", b"an image and more", b"an"):
        path.chmod(0o640)
        path.write_bytes(damaged)
        with pytest.raises(StorageFailed, match="not what was delivered"):
            custody.archive(row, store, spool)
    assert list(spool.iterdir()) == []


def test_files_of_several_suppliers_in_one_export_are_refused(kept: Kept, reviewer: Actor) -> None:
    one, other = kept.delivered(kept.ended()), kept.delivered(kept.ended(), b"another")
    with pytest.raises(NotFound, match="several suppliers"):
        exported(kept, reviewer, one, other)


def test_an_export_of_nothing_or_for_nobody_is_refused(
    session: TenantSession, clock: FixedClock, kept: Kept, reviewer: Actor
) -> None:
    evidence = kept.delivered(kept.ended())
    for given, files in (
        ({}, []),
        ({"recipient": " "}, [evidence.id]),
        ({"purpose": "x" * 501}, [evidence.id]),
    ):
        with pytest.raises(InvalidInput):
            exporting.export(session, reviewer, clock, evidence_ids=files, **{**WHAT, **given})
    assert session.scalars(select(Export)).all() == []


def test_an_export_without_a_person_or_by_the_wrong_role_is_refused(kept: Kept, make: Make) -> None:
    evidence = kept.delivered(kept.ended())
    for actor in (
        MACHINE,
        make.actor(RoleName.AUDITOR),
        make.actor(RoleName.ADMINISTRATOR),
        make.supplier_actor(),
    ):
        with pytest.raises(NotAllowed):
            exported(kept, actor, evidence)


def test_a_case_is_exported_from_its_page(
    session: TenantSession, clock: FixedClock, kept: Kept, make: Make, sign_in: SignIn
) -> None:
    product = kept.make.product()
    kept.delivered(product, kind=SubmissionKind.LOT, role=AttachmentRole.MANIFEST, filename="lot.json")
    assess(session, clock, product.id, cause="test", case_cause=CaseCause.SUBMISSION)
    case = open_case(session, product.id)
    assert case is not None
    client = sign_in(make.user(RoleName.REVIEWER, name="Ida Sørli"))
    session.commit()
    address = f"/vault/exports/new/case/{case.number}"
    assert f'href="{address}"' in client.get(f"/r/cases/{case.number}").text
    assert "lot.json" in text_of(client.get(address))
    refused = client.post(address, data=WHAT | {"recipient": ""})
    assert (refused.status_code, "Say who gets it." in text_of(refused)) == (422, True)
    page = client.post(address, data=WHAT, follow_redirects=True)
    assert "Export 1 is recorded." in text_of(page)
    answer = client.get("/vault/exports/1/archive.zip")
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    with zipfile.ZipFile(BytesIO(answer.data)) as archive:
        assert archive.read("files/0001-lot.json") == b"an image"
    assert client.get("/vault/exports/1/form.pdf").data.startswith(b"%PDF-")
    assert client.get("/vault/exports/2").status_code == 404
    assert client.get("/vault/exports/new/file/x").status_code == 404
    assert client.get("/vault/exports/1/receipt").status_code == 409
