"""Supplier pages: every page for every role and tenant, forms that come back, what is kept."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import RoleName, User
from portal.cli.monitor import read_watch_key
from portal.db import TenantSession
from portal.ledger.service import watch_key
from portal.suppliers.models import Entity, EntityRole, Product, Supplier
from tests.factories import Make
from tests.factories.offered import Offered

SignIn = Callable[[User], FlaskClient]


@dataclass
class House:
    """One supplier with one of everything, and a browser of its administrator."""

    supplier: Supplier
    product: Product
    offered: Offered
    client: FlaskClient
    user: User


@pytest.fixture
def house(make: Make, session: TenantSession, sign_in: SignIn) -> House:
    supplier = make.supplier("Nordhaven Cells")
    product = make.product(supplier, name="NH rack", limits={"ocv_v": {"min": 3.2}})
    user = make.user(RoleName.SUPPLIER_ADMIN, supplier)
    return House(supplier, product, Offered(session, make.clock), sign_in(user), user)


def pages(house: House) -> list[str]:
    """Every page that can be opened by its address, with one of everything in it."""
    firmware = house.offered.firmware(house.product)
    questionnaire = house.offered.questionnaire(house.product)
    lot = house.offered.lot(house.product)
    attestations = house.offered.attestations(lot)
    key = house.offered.key(house.supplier.id, house.user)
    house.offered.session.add(
        Entity(
            supplier_id=house.supplier.id,
            role=EntityRole.MANUFACTURER,
            name="Nordhaven Cells AS",
            country="NO",
            created_at=house.offered.clock.now(),
        )
    )
    house.offered.session.commit()
    submissions = (firmware, questionnaire, lot, attestations)
    return [
        "/s/",
        "/s/products",
        "/s/products/new",
        f"/s/products/{house.product.id}",
        "/s/company",
        "/s/keys",
        "/s/keys/new",
        f"/s/keys/{key.id}",
        "/s/submissions",
        *(f"/s/submissions/{row.id}" for row in submissions),
        f"/s/submissions/{firmware.id}/progress",
        f"/s/submissions/{questionnaire.id}/answers",
        "/s/submissions/new/firmware",
        "/s/submissions/new/lot",
        "/s/submissions/new/attestations",
        "/s/changes",
        "/s/changes/new",
    ]


def test_every_page_opens(house: House) -> None:
    for address in pages(house):
        answer = house.client.get(address)
        assert answer.status_code == 200, (address, answer.text[:500])


def test_another_suppliers_things_are_not_there(house: House, make: Make, sign_in: SignIn) -> None:
    stranger = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    for address in pages(house):
        answer = stranger.get(address)
        names_one = re.search("[0-9a-f]{32}", address)
        assert answer.status_code == (404 if names_one else 200), address
        assert "Nordhaven" not in answer.text, address


def test_the_buyers_people_have_no_supplier_pages(house: House, make: Make, sign_in: SignIn) -> None:
    for role in (RoleName.REVIEWER, RoleName.APPROVER, RoleName.AUDITOR, RoleName.ADMINISTRATOR):
        client = sign_in(make.user(role))
        for address in (
            "/s/",
            "/s/products",
            f"/s/products/{house.product.id}",
            "/s/submissions/new/firmware",
        ):
            assert client.get(address).status_code == 403, (role, address)


def test_a_contributor_cannot_register_keys(house: House, make: Make, sign_in: SignIn) -> None:
    client = sign_in(make.user(RoleName.SUPPLIER_CONTRIBUTOR, house.supplier))
    assert client.get("/s/keys/new").status_code == 403
    assert "/s/keys/new" not in client.get("/s/keys").text


def test_a_new_supplier_sees_the_first_steps(make: Make, sign_in: SignIn) -> None:
    client = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    home = client.get("/s/")
    assert "First steps" in home.text
    assert "Add a product" in home.text


def test_administrators_of_a_supplier_download_the_key_to_their_entries(
    make: Make, session: TenantSession, sign_in: SignIn, tmp_path: Path
) -> None:
    ours, theirs = make.supplier(), make.supplier()
    admin = sign_in(make.user(RoleName.SUPPLIER_ADMIN, ours))
    contributor = sign_in(make.user(RoleName.SUPPLIER_CONTRIBUTOR, ours))
    session.commit()
    assert admin.get("/s/watch-key").status_code == 404  # nothing about them is in the ledger yet
    keys = {one.id: watch_key(session, make.clock, one.id) for one in (ours, theirs)}
    session.commit()
    answer = admin.get("/s/watch-key")
    assert "attachment" in answer.headers["Content-Disposition"]
    path = tmp_path / "watch.key"
    path.write_bytes(answer.data)
    assert read_watch_key(path) == keys[ours.id]
    assert "Watch key" in admin.get("/s/submissions").text
    assert contributor.get("/s/watch-key").status_code in {403, 404}
    assert "Watch key" not in contributor.get("/s/submissions").text
