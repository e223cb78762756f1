"""Pages of the vault: who sees what, what can be done on them, and what is refused."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import RoleName, User
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import signer_in
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence.models import Tombstone
from portal.http.access import ACCESS
from portal.ledger import logs as ledger
from portal.retention import rules
from portal.retention.exporting import export
from portal.retention.models import Hold, HoldAct, HoldStep
from portal.settings import Settings
from portal.submissions.models import Submission
from portal.suppliers.models import Supplier
from tests.factories import Make, RecordingQueue
from tests.factories.kept import Kept
from tests.factories.tokens import bearer
from tests.unit.web.test_review_pages import text_of

SignIn = Callable[[User], FlaskClient]
R = RoleName
READ = {
    "deleted", "export", "export_form", "export_receipt", "exports", "holds", "preview", "retention", "state",
}  # fmt: skip
EXPORT = {"export_archive", "new_export", "new_hold"}
SEES: dict[RoleName, set[str]] = {
    R.REVIEWER: READ | EXPORT,
    R.APPROVER: READ | EXPORT,
    R.AUDITOR: READ,
    R.ADMINISTRATOR: READ | {"new_hold"},
    R.SUPPLIER_ADMIN: set(),
    R.SUPPLIER_CONTRIBUTOR: set(),
}


@pytest.fixture
def kept(session: TenantSession, clock: FixedClock, make: Make, store: LocalBlobStore, spool: Path) -> Kept:
    return Kept(session, clock, make, store, spool)


@pytest.fixture
def supplier(make: Make) -> Supplier:
    return make.supplier("Nordhaven Cells")


@pytest.fixture
def administrator(make: Make, sign_in: SignIn) -> FlaskClient:
    return sign_in(make.user(R.ADMINISTRATOR, name="Ada Berg"))


@pytest.fixture
def addresses(
    kept: Kept, supplier: Supplier, make: Make, clock: FixedClock, tmp_path: Path
) -> dict[str, str]:
    """One address of every page."""
    evidence = kept.delivered(kept.ended(supplier))
    row = export(
        *(kept.session, make.actor(R.REVIEWER), clock),
        evidence_ids=[evidence.id],
        reference="INC-1",
        purpose="Insurance",
        recipient="The insurer",
    )
    signer = signer_in(Settings(ledger_dir=tmp_path / "ledger"), 1, "gate.example/ledger/1")
    ledger.create(kept.session, clock, signer)
    ledger.publish(kept.session, clock, signer)
    kept.session.commit()
    return {
        "deleted": "/vault/deleted",
        "export": f"/vault/exports/{row.number}",
        "export_archive": f"/vault/exports/{row.number}/archive.zip",
        "export_form": f"/vault/exports/{row.number}/form.pdf",
        "export_receipt": f"/vault/exports/{row.number}/receipt",
        "exports": "/vault/exports",
        "holds": "/vault/holds",
        "new_export": f"/vault/exports/new/file/{evidence.id}",
        "new_hold": f"/vault/holds/new/{supplier.id}",
        "preview": "/vault/preview",
        "retention": "/vault/retention",
        "state": "/vault/",
    }


def digest_of(page: str) -> str:
    found = re.search(r'name="digest" value="(\w+)"', page)
    assert found
    return found[1]


def test_every_page_of_the_vault_is_in_this_table(addresses: dict[str, str]) -> None:
    readable = {
        name.removeprefix("vault.")
        for name, rule in ACCESS.items()
        if name.startswith("vault.") and "GET" in rule
    }
    assert set(addresses) == readable


@pytest.mark.parametrize("role", list(RoleName))
def test_each_role_sees_its_pages_and_no_others(
    make: Make, sign_in: SignIn, supplier: Supplier, addresses: dict[str, str], role: RoleName
) -> None:
    client = sign_in(make.user(role, supplier if role.value.startswith("supplier") else None))
    make.session.commit()
    answers = {name: client.get(address).status_code for name, address in addresses.items()}
    assert answers == {name: 200 if name in SEES[role] else 403 for name in answers}


@pytest.mark.parametrize(
    ("act", "may"),
    [
        ("/vault/exports/new/case/1", {R.APPROVER, R.REVIEWER}),
        ("/vault/preview", {R.ADMINISTRATOR}),
        ("/vault/retention", {R.ADMINISTRATOR}),
        ("/vault/holds/{hold}/ask", {R.ADMINISTRATOR, R.APPROVER}),
        ("/vault/holds/{hold}/release", {R.ADMINISTRATOR, R.APPROVER}),
        ("/vault/holds/new/{supplier}", {R.ADMINISTRATOR, R.APPROVER, R.REVIEWER}),
    ],
)
def test_acts_by_the_wrong_role_are_refused(
    make: Make, sign_in: SignIn, supplier: Supplier, act: str, may: set[RoleName]
) -> None:
    address = act.format(hold="0" * 32, supplier=supplier.id)
    for role in RoleName:
        client = sign_in(make.user(role, supplier if role.value.startswith("supplier") else None))
        make.session.commit()
        assert (client.post(address).status_code == 403) == (role not in may), role


def test_what_would_go_is_seen_and_then_deleted_and_what_is_left_is_told(
    session: TenantSession,
    clock: FixedClock,
    kept: Kept,
    make: Make,
    supplier: Supplier,
    sign_in: SignIn,
    administrator: FlaskClient,
    jobs: RecordingQueue,
    store: LocalBlobStore,
) -> None:
    product = kept.ended(supplier)
    gone = kept.delivered(product, filename="old.bin")
    kept.delivered(make.product(supplier), b"newer", filename="newer.bin", ago=timedelta(days=400))
    page = administrator.get("/vault/preview")
    assert "old.bin" in text_of(page)
    assert "Firmware: the product’s end of support is not known." in text_of(page)
    answer = administrator.post(
        "/vault/preview", data={"digest": digest_of(page.text)}, follow_redirects=True
    )
    assert "1 file was deleted." in text_of(answer)
    assert "Still there" in text_of(answer)
    assert jobs.run_all() == [("remove_bytes", ())]
    assert store.stat(gone.sha256) is None
    assert "Gone" in text_of(administrator.get("/vault/deleted"))
    assert "old.bin" in text_of(administrator.get(f"/vault/deleted?q={gone.sha256[:9].upper()}"))
    assert "Nothing matches" in text_of(administrator.get("/vault/deleted?q=another"))

    told = "old.bin was deleted on 21 November 2026 by Ada Berg under the rule “firmware: 10 years"
    submission = session.scalars(select(Submission).where(Submission.product_id == product.id)).one()
    session.commit()
    reviewer = sign_in(make.user(R.REVIEWER))
    seller = sign_in(make.user(R.SUPPLIER_ADMIN, supplier))
    session.commit()
    for client, prefix in ((reviewer, "/r"), (seller, "/s")):
        page = client.get(f"{prefix}/submissions/{submission.id}")
        assert told in text_of(page)
        assert f'href="{prefix}/evidence/{gone.id}"' not in page.text
        answer = client.get(f"{prefix}/evidence/{gone.id}")
        assert answer.status_code == 410
        assert told in text_of(answer)


def test_the_api_tells_a_deletion_and_has_no_way_to_make_one(
    kept: Kept,
    supplier: Supplier,
    administrator: FlaskClient,
    client: FlaskClient,
) -> None:
    evidence = kept.delivered(kept.ended(supplier))
    headers = bearer(kept.make, supplier)
    before = client.get(f"/api/v1/evidence/{evidence.id}", headers=headers)
    assert before.json is not None
    assert before.json["deleted"] is None
    page = administrator.get("/vault/preview")
    administrator.post("/vault/preview", data={"digest": digest_of(page.text)})
    after = client.get(f"/api/v1/evidence/{evidence.id}", headers=headers)
    assert after.json is not None
    assert after.json["deleted"] == {
        "at": "2026-11-21T12:00:00Z",
        "by": "Ada Berg",
        "rule": "firmware: 10 years from the product’s end of support (rules, version 0)",
    }
    assert client.delete(f"/api/v1/evidence/{evidence.id}", headers=headers).status_code == 405
    assert client.post("/vault/preview", headers=headers).location.startswith("/account/sign-in")


def test_a_deletion_of_what_has_changed_is_refused_on_the_page(
    session: TenantSession, kept: Kept, supplier: Supplier, administrator: FlaskClient
) -> None:
    kept.delivered(kept.ended(supplier))
    seen = digest_of(administrator.get("/vault/preview").text)
    kept.delivered(kept.ended(supplier), b"another")
    answer = administrator.post("/vault/preview", data={"digest": seen})
    assert answer.status_code == 409
    assert "changed since you saw it" in text_of(answer)
    assert session.scalars(select(Tombstone)).all() == []


def test_rules_are_changed_with_a_reason_and_never_by_half(
    session: TenantSession, administrator: FlaskClient
) -> None:
    fields = {"version": "0", "why": "Contract of 2026."}
    for kind, rule in rules.current(session).by_kind.items():
        fields |= {f"{kind.value}_years": str(rule.years), f"{kind.value}_anchor": rule.anchor.value}
    session.commit()
    for wrong in (
        {"lot_years": "0"},
        {"lot_years": "x"},
        {"lot_anchor": "whenever"},
        {"why": ""},
        {"version": "7"},
    ):
        assert administrator.post("/vault/retention", data=fields | wrong).status_code == 422, wrong
    same = administrator.post("/vault/retention", data=fields)
    assert (same.status_code, "These are the rules in force." in text_of(same)) == (422, True)
    done = administrator.post("/vault/retention", data=fields | {"lot_years": "12"}, follow_redirects=True)
    assert "Version 1 of the rules is in force. Nothing was deleted." in text_of(done)
    assert "12 years from the product’s end of support" in text_of(done)
    assert "Contract of 2026." in text_of(done)


def test_a_hold_is_placed_on_a_page_and_two_people_release_it(
    session: TenantSession,
    kept: Kept,
    make: Make,
    supplier: Supplier,
    sign_in: SignIn,
    administrator: FlaskClient,
) -> None:
    product = kept.ended(supplier)
    kept.delivered(product)
    approver = sign_in(make.user(R.APPROVER, name="Jon Vik"))
    session.commit()
    address = f"/vault/holds/new/{supplier.id}?product={product.id}"
    assert product.name in text_of(approver.get(address))
    refused = approver.post(address, data={"reference": "", "why": "Fire"})
    assert (refused.status_code, "Name the case or incident." in text_of(refused)) == (422, True)
    placed = approver.post(address, data={"reference": "INC-1", "why": "Fire"}, follow_redirects=True)
    assert "The hold for INC-1 is in force." in text_of(placed)
    assert "On hold: INC-1." in text_of(administrator.get("/vault/preview"))
    hold = session.scalars(select(Hold)).one()
    session.commit()
    approver.post(f"/vault/holds/{hold.id}/ask", data={"why": "Over"})
    own = approver.post(f"/vault/holds/{hold.id}/release", data={"why": "Over"}, follow_redirects=True)
    assert "another person releases it" in text_of(own)
    reasonless = administrator.post(
        f"/vault/holds/{hold.id}/release", data={"why": " "}, follow_redirects=True
    )
    assert "Say why" in text_of(reasonless)
    administrator.post(f"/vault/holds/{hold.id}/release", data={"why": "Seen"}, follow_redirects=True)
    assert session.scalars(select(HoldAct.step).order_by(HoldAct.step)).all() == list(HoldStep)
    session.commit()
    assert "INC-1" in text_of(administrator.get("/vault/holds?view=ended"))
    assert "Nothing is on hold" in text_of(administrator.get("/vault/holds"))


def test_a_hold_on_what_is_another_suppliers_is_not_found(
    kept: Kept, make: Make, supplier: Supplier, administrator: FlaskClient
) -> None:
    evidence = kept.delivered(kept.ended())
    address = f"/vault/holds/new/{supplier.id}?evidence={evidence.id}"
    assert administrator.get(address).status_code == 404
    assert administrator.post(address, data={"reference": "INC-1", "why": "Fire"}).status_code == 404
