"""Who downloads a file on hold is written down before they get it, and told in its chain of custody."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from pypdf import PdfReader
from sqlalchemy import select

from portal.accounts.actors import MACHINE, Actor
from portal.accounts.models import RoleName, User
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import NotAllowed, StorageFailed
from portal.evidence.models import Evidence
from portal.ledger.models import Entry
from portal.reports import custody
from portal.retention import accesses, exporting, service
from portal.retention.models import Access, Hold
from portal.submissions.models import Attachment, Submission
from tests.factories import Make
from tests.factories.kept import Kept

SignIn = Callable[[User], FlaskClient]


@pytest.fixture
def evidence(kept: Kept) -> Evidence:
    return kept.delivered(kept.make.product())


def hold(kept: Kept, approver: Actor, supplier_id: str, **about: str) -> Hold:
    row = service.place(
        kept.session, approver, kept.clock, supplier_id=supplier_id, reference="INC-7", why="fire", **about
    )
    kept.session.commit()
    return row


def told(session: TenantSession) -> list[tuple[str, str]]:
    rows = session.execute(select(Access.evidence_id, Access.by).order_by(Access.at)).all()
    entries = session.scalars(select(Entry).where(Entry.kind == "evidence.downloaded")).all()
    session.commit()
    assert len(entries) == len(rows)
    return [(row.evidence_id, row.by) for row in rows]


@pytest.mark.parametrize("on", ["supplier", "product", "file"])
def test_a_download_under_a_hold_is_an_entry_with_who_and_why(
    session: TenantSession,
    kept: Kept,
    evidence: Evidence,
    approver: Actor,
    make: Make,
    sign_in: SignIn,
    on: str,
) -> None:
    product_id = evidence_product(session, evidence)
    about = {"supplier": {}, "product": {"product_id": product_id}, "file": {"evidence_id": evidence.id}}[on]
    hold(kept, approver, evidence.supplier_id, **about)
    reviewer = make.user(RoleName.REVIEWER)
    answer = sign_in(reviewer).get(f"/r/evidence/{evidence.id}")
    assert answer.data == b"an image"
    assert told(session) == [(evidence.id, reviewer.id)]
    body = json.loads(session.scalars(select(Entry.body).where(Entry.kind == "evidence.downloaded")).one())
    assert (body["evidence"], body["by"], body["reference"]) == (evidence.id, reviewer.id, "INC-7")


def evidence_product(session: TenantSession, evidence: Evidence) -> str:
    found = session.scalars(
        select(Submission.product_id)
        .join(Attachment, Attachment.submission_id == Submission.id)
        .where(Attachment.evidence_id == evidence.id)
    ).one()
    session.commit()
    return found


def test_what_no_hold_covers_is_not_recorded_nor_what_only_asks(
    session: TenantSession, kept: Kept, evidence: Evidence, approver: Actor, make: Make, sign_in: SignIn
) -> None:
    reviewer = sign_in(make.user(RoleName.REVIEWER))
    other = kept.delivered(kept.make.product(), b"another")
    placed = hold(kept, approver, other.supplier_id)
    assert reviewer.get(f"/r/evidence/{evidence.id}").data == b"an image"
    assert reviewer.head(f"/r/evidence/{other.id}").status_code == 200
    assert told(session) == []
    assert reviewer.get(f"/r/evidence/{other.id}").data == b"another"
    assert len(told(session)) == 1
    service.ask_release(session, approver, kept.clock, placed.id, why="over")
    service.release(session, make.actor(RoleName.APPROVER), kept.clock, placed.id, why="over")
    session.commit()
    assert reviewer.get(f"/r/evidence/{other.id}").data == b"another"
    assert len(told(session)) == 1


def test_a_supplier_who_takes_its_own_file_is_not_recorded_and_learns_nothing_of_the_hold(
    session: TenantSession, kept: Kept, evidence: Evidence, approver: Actor, make: Make, sign_in: SignIn
) -> None:
    hold(kept, approver, evidence.supplier_id)
    owner = session.get_one(User, kept.suppliers[evidence.supplier_id].user_id)
    session.commit()
    assert sign_in(owner).get(f"/s/evidence/{evidence.id}").data == b"an image"
    assert told(session) == []


def test_what_cannot_be_recorded_is_not_given_out(
    session: TenantSession,
    kept: Kept,
    evidence: Evidence,
    approver: Actor,
    make: Make,
    sign_in: SignIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold(kept, approver, evidence.supplier_id)

    def full(*_: object, **__: object) -> None:
        raise StorageFailed("No space left on device")

    monkeypatch.setattr("portal.retention.accesses.ledger.append", full)
    answer = sign_in(make.user(RoleName.REVIEWER)).get(f"/r/evidence/{evidence.id}")
    assert answer.status_code >= 500
    assert b"an image" not in answer.data
    assert session.scalars(select(Access)).all() == []


def test_a_machine_takes_nothing_that_is_on_hold(
    session: TenantSession, kept: Kept, evidence: Evidence, approver: Actor
) -> None:
    hold(kept, approver, evidence.supplier_id)
    with pytest.raises(NotAllowed):
        accesses.record(session, MACHINE, kept.clock, evidence.id)


def test_the_form_and_its_manifest_name_who_downloaded_and_fsck_holds_the_entry_against_its_row(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    evidence: Evidence,
    approver: Actor,
    make: Make,
    sign_in: SignIn,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    hold(kept, approver, evidence.supplier_id)
    reviewer = make.user(RoleName.REVIEWER)
    name = reviewer.name
    sign_in(reviewer).get(f"/r/evidence/{evidence.id}")
    row = exporting.export(
        session,
        approver,
        clock,
        evidence_ids=[evidence.id],
        reference="INC-7",
        purpose="claim",
        recipient="insurer",
    )
    session.commit()
    (file,) = json.loads(row.manifest)["files"]
    assert f"downloaded by {name} while on hold for INC-7" in [one["what"] for one in file["history"]]
    assert "evidence.downloaded" in [one["kind"] for one in file["entries"]]
    pages = "".join(page.extract_text() for page in PdfReader(BytesIO(custody.form(row))).pages)
    assert f"downloaded by {name}" in " ".join(pages.split())
    assert kept.faults() == []
    session.scalars(select(Access)).one().reference = "INC-8"
    session.commit()
    faults = kept.faults()
    assert len(faults) == 1
    assert "reference" in faults[0]
