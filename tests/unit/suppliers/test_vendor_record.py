"""Suppliers, products, components and the chain: what is kept, what is refused, who may."""

from datetime import date

import pytest

from portal.accounts.models import Organisation, RoleName
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.suppliers import service
from portal.suppliers.models import Entity, EntityRole, Product


@pytest.fixture
def admin(make):
    return make.supplier_actor()


@pytest.fixture
def product(session, clock, admin) -> Product:
    return service.create_product(
        session, admin, clock, model="NH-48", name="Rack battery", components=("BMS",)
    )


def test_supplier_shares_its_id_with_its_organisation(session, make, clock):
    actor = make.actor(RoleName.ADMINISTRATOR)
    supplier = service.create_supplier(session, actor, clock, name=" Nordhaven Cells ", country="SE")
    assert session.get_one(Organisation, supplier.id).name == supplier.name == "Nordhaven Cells"
    with pytest.raises(Conflict):
        service.create_supplier(session, actor, clock, name="Nordhaven Cells", country=None)
    with pytest.raises(InvalidInput):
        service.create_supplier(session, actor, clock, name="Other", country="Sweden")


def test_reviewer_cannot_create_a_supplier(session, make, clock):
    with pytest.raises(NotAllowed):
        service.create_supplier(session, make.actor(), clock, name="X", country=None)


def test_product_begins_in_the_strictest_tier(product):
    assert product.tier == 1
    assert [component.name for component in product.components] == ["BMS"]


def test_model_and_component_names_are_taken_once(session, clock, admin, product):
    with pytest.raises(Conflict):
        service.create_product(session, admin, clock, model="NH-48", name="Again")
    with pytest.raises(Conflict):
        service.add_component(session, admin, clock, product.id, name=" BMS ")


def test_supplier_may_not_set_tier_or_limits(session, clock, admin, product):
    for change in ({"tier": 3}, {"limits": {}}):
        with pytest.raises(NotAllowed):
            service.update_product(session, admin, clock, product.id, **change)
    assert product.tier == 1


def test_reviewer_sets_tier_and_limits_and_empty_limits_are_dropped(session, make, clock, product):
    limits = {"capacity_ah": {"min": 98, "max": 104}, "resistance_mohm": {}, "ocv_v": {"min": 3.1}}
    service.update_product(
        session, make.actor(), clock, product.id, tier=2, limits=limits, end_of_support=date(2036, 1, 1)
    )
    assert (product.tier, product.end_of_support) == (2, date(2036, 1, 1))
    assert product.limits == {"capacity_ah": {"min": 98.0, "max": 104.0}, "ocv_v": {"min": 3.1}}


@pytest.mark.parametrize(
    "change",
    [
        {"tier": 4},
        {"limits": {"weight_kg": {"min": 1}}},
        {"limits": {"ocv_v": {"min": 4, "max": 3}}},
        {"limits": {"ocv_v": {"min": float("nan")}}},
        {"limits": {"ocv_v": {"least": 3}}},
        {"limits": {"ocv_v": {"min": True}}},
        {"end_of_support": date(3000, 1, 1)},
        {"name": "  "},
    ],
)
def test_bad_change_leaves_the_product_as_it_was(session, make, clock, product, change):
    with pytest.raises(InvalidInput):
        service.update_product(session, make.actor(), clock, product.id, **change)
    assert (product.tier, product.limits, product.name) == (1, {}, "Rack battery")


def test_chain_entries_come_and_go(session, clock, admin):
    values = {"role": EntityRole.MANUFACTURER, "name": "Nordhaven Cells AB", "country": "SE"}
    entity = service.add_entity(session, admin, clock, **values)
    with pytest.raises(Conflict):
        service.add_entity(session, admin, clock, **values)
    with pytest.raises(InvalidInput):
        service.add_entity(session, admin, clock, **(values | {"country": "se"}))
    service.remove_entity(session, admin, clock, entity.id)
    assert session.get(Entity, entity.id) is None


def test_another_suppliers_things_look_like_none_even_in_a_wide_session(session, make, clock, admin, product):
    """The fixture session sees everything, as jobs do: the verbs themselves must ask who owns the row."""
    stranger = make.supplier_actor()
    entity = service.add_entity(session, admin, clock, role=EntityRole.CARRIER, name="Haul AB", country="SE")
    for attempt in (
        lambda: service.update_product(session, stranger, clock, product.id, name="Mine now"),
        lambda: service.add_component(session, stranger, clock, product.id, name="Gateway"),
        lambda: service.remove_entity(session, stranger, clock, entity.id),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert product.name == "Rack battery"
    assert session.get(Entity, entity.id) is not None
