from portal.db import TenantSession
from portal.suppliers.models import KeyPurpose, SigningKey
from tests.factories import Make
from tests.unit.api.conftest import Machine

PRODUCT = {
    "model": "NH-280",
    "name": "Nordhaven 280 Ah",
    "chemistry": "LFP",
    "end_of_support": "2036-12-31",
    "components": ["BMS controller"],
}


def test_a_product_is_offered_listed_and_changed(machine: Machine) -> None:
    made = machine.post("/products", PRODUCT)
    assert made.status_code == 201
    product = made.get_json()
    assert product["components"][0]["name"] == "BMS controller"
    assert (product["end_of_support"], product["tier"]) == ("2036-12-31", 1)

    changed = machine.patch(f"/products/{product['id']}", {"end_of_support": None, "name": "New name"})
    assert (changed.get_json()["end_of_support"], changed.get_json()["name"]) == (None, "New name")
    assert changed.get_json()["chemistry"] == "LFP"
    assert machine.get(f"/products/{product['id']}").get_json() == changed.get_json()
    listed = machine.get("/products").get_json()
    assert (listed["total"], listed["pages"]) == (1, 1)
    assert listed["items"] == [changed.get_json()]


def test_the_same_model_twice_is_a_conflict(machine: Machine) -> None:
    machine.post("/products", PRODUCT)
    again = machine.post("/products", PRODUCT)
    assert again.status_code == 409
    assert again.get_json()["code"] == "conflict"


def test_lists_come_in_pages(machine: Machine, make: Make) -> None:
    for _ in range(3):
        make.product(machine.supplier)
    second = machine.get("/products", page=2, size=2).get_json()
    assert (second["total"], second["pages"], len(second["items"])) == (3, 2, 1)
    assert machine.get("/products", page=9, size=2).get_json()["items"] == []


def test_a_component_is_added(machine: Machine, make: Make) -> None:
    product = make.product(machine.supplier, components=())
    made = machine.post(f"/products/{product.id}/components", {"name": "Gateway"})
    assert made.status_code == 201
    shown = machine.get(f"/products/{product.id}").get_json()
    assert shown["components"] == [made.get_json()]


def test_the_chain_is_named(machine: Machine) -> None:
    made = machine.post("/entities", {"role": "manufacturer", "name": "Cell works", "country": "NO"})
    assert made.status_code == 201
    assert machine.get("/entities").get_json()["items"] == [made.get_json()]
    assert machine.post("/entities", {"role": "x", "name": "a", "country": "no"}).status_code == 422
    assert machine.delete(f"/entities/{made.get_json()['id']}").status_code == 204
    assert machine.get("/entities").get_json()["items"] == []


def test_keys_are_listed_with_their_state(machine: Machine, make: Make, session: TenantSession) -> None:
    user = make.user(supplier=machine.supplier)
    session.add(
        SigningKey(
            supplier_id=machine.supplier.id,
            label="release key",
            purposes=[KeyPurpose.FIRMWARE.value],
            pem="…",
            kind="public_key",
            algorithm="Ed25519",
            fingerprint="sha256:" + "0" * 64,
            registered_by=user.id,
            registered_at=make.clock.now(),
        )
    )
    session.commit()
    key = machine.get("/keys").get_json()["items"][0]
    assert (key["label"], key["state"], key["purposes"]) == ("release key", "pending", ["firmware"])
    assert "pem" not in key


def test_another_suppliers_products_look_like_none(machine: Machine, stranger: Machine, make: Make) -> None:
    product = make.product(machine.supplier)
    nothing = "0" * 32
    for path, body in (
        ("/products/{}", None),
        ("/products/{}/components", {"name": "x"}),
    ):
        answers = [
            stranger.post(path.format(target), body) if body else stranger.get(path.format(target))
            for target in (product.id, nothing)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].data == answers[1].data
    assert stranger.patch(f"/products/{product.id}", {"name": "mine now"}).status_code == 404
    assert stranger.get("/products").get_json()["total"] == 0
