"""Verbs of the vendor record: suppliers, products, components, the companies in the chain, signing keys."""

from collections.abc import Mapping
from datetime import date
from math import isfinite
from typing import Any, Final, TypedDict, Unpack

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.models import Organisation, OrganisationKind
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.db import new_id
from portal.errors import Conflict, NotAllowed, Problem
from portal.ledger import service as ledger
from portal.suppliers import sampling
from portal.suppliers.keys import decide_key, distrust_key, key_name, register_key, trust_for
from portal.suppliers.models import Component, Entity, EntityRole, Product, Supplier
from portal.suppliers.rules import clean_text, country_problem, demand, own_supplier, owned, text_problem

__all__ = [
    "LIMITS",
    "ProductChanges",
    "add_component",
    "add_entity",
    "clean_text",
    "create_product",
    "create_supplier",
    "decide_key",
    "distrust_key",
    "key_name",
    "register_key",
    "remove_entity",
    "trust_for",
    "update_product",
]

LIMITS: Final = {"capacity_ah": "Ah", "resistance_mohm": "mΩ", "ocv_v": "V"}
"""What limits can be set for, with the unit: the measured values of every unit in a lot."""
STRICTEST_TIER: Final = 1
COMPONENTS_MAX: Final = 64
ENTITIES_MAX: Final = 200
_YEARS: Final = range(1990, 2101)


class ProductChanges(TypedDict, total=False):
    """What can change about a product. Tier and limits are for the buyer to set, the rest for both."""

    name: str
    chemistry: str | None
    end_of_sale: date | None
    end_of_support: date | None
    tier: int
    limits: Mapping[str, Any]


def create_supplier(
    session: Session, actor: Actor, clock: Clock, *, name: str, country: str | None
) -> Supplier:
    """A new vendor record and its organisation, under one id. Raises InvalidInput, Conflict."""
    actor.must(Permission.ADMIN_SUPPLIER_CREATE)
    demand(
        "The supplier was not created.",
        (text_problem("name", name, 200), country_problem("country", country) if country else None),
    )
    name = name.strip()
    if session.scalars(select(Organisation.id).where(Organisation.name == name)).first():
        raise Conflict(f"There is an organisation of the name “{name}” already.")
    supplier = Supplier(id=new_id(), name=name, country=country or None, created_at=clock.now())
    session.add(
        Organisation(
            id=supplier.id, kind=OrganisationKind.SUPPLIER, name=name, created_at=supplier.created_at
        )
    )
    session.flush()
    session.add(supplier)
    session.flush()
    ledger.append(session, clock, "supplier.created", supplier.id, supplier_says(supplier), supplier.id)
    return supplier


def supplier_says(supplier: Supplier) -> dict[str, object]:
    """What the ledger entry of a new supplier says of it."""
    return {"name": supplier.name, "country": supplier.country}


def create_product(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    model: str,
    name: str,
    chemistry: str | None = None,
    end_of_sale: date | None = None,
    end_of_support: date | None = None,
    components: tuple[str, ...] = (),
) -> Product:
    """A model on offer. It begins in the strictest tier until the buyer says how critical its use is.

    Raises InvalidInput, Conflict when the supplier has that model already.
    """
    actor.must(Permission.SUPPLIER_PRODUCT_EDIT)
    owner = own_supplier(actor)
    demand(
        "The product was not created.",
        (
            text_problem("model", model, 100),
            text_problem("name", name, 200),
            *_change_problems(
                {"chemistry": chemistry, "end_of_sale": end_of_sale, "end_of_support": end_of_support}
            ),
        ),
    )
    model = model.strip()
    if session.scalars(
        select(Product.id).where(Product.supplier_id == owner, Product.model == model)
    ).first():
        raise Conflict(f"There is a product of the model “{model}” already.")
    product = Product(
        supplier_id=owner,
        model=model,
        name=name.strip(),
        chemistry=(chemistry or "").strip() or None,
        tier=STRICTEST_TIER,
        limits={},
        end_of_sale=end_of_sale,
        end_of_support=end_of_support,
        created_at=clock.now(),
    )
    session.add(product)
    session.flush()
    ledger.append(session, clock, "product.created", product.id, product_says(product), supplier_id=owner)
    sampling.commit(session, clock, product)
    for component in components:
        add_component(session, actor, clock, product.id, name=component)
    return product


def product_says(product: Product) -> dict[str, object]:
    """What the ledger entry of a new product says of it; a change of it says what is new."""
    names = ("model", "name", "chemistry", "tier", "limits", "end_of_sale", "end_of_support")
    return {name: ledger.told(getattr(product, name)) for name in names}


def update_product(
    session: Session, actor: Actor, clock: Clock, product_id: str, **changes: Unpack[ProductChanges]
) -> Product:
    """Change what is named. Tier and limits need a reviewer. Raises NotFound, NotAllowed, InvalidInput."""
    buyer = actor.supplier_id is None
    actor.must(Permission.REVIEW_PRODUCT_EDIT if buyer else Permission.SUPPLIER_PRODUCT_EDIT)
    if not buyer and {"tier", "limits"} & set(changes):
        raise NotAllowed("tier and limits are set by the buyer")
    product = owned(session, actor, Product, product_id, "product", lock=True)
    demand("The product stays as it was.", _change_problems(changes))
    changed: dict[str, Any] = {}
    for field, given in changes.items():
        value = _kept(given)
        if getattr(product, field) != value:
            setattr(product, field, value)
            changed[field] = ledger.told(value)
    if changed:
        session.flush()
        body = {"changes": changed, "by": actor.user_id}
        ledger.append(session, clock, "product.changed", product.id, body, supplier_id=product.supplier_id)
    return product


def add_component(session: Session, actor: Actor, clock: Clock, product_id: str, *, name: str) -> Component:
    """A firmware-bearing part of a product. Raises NotFound, InvalidInput, Conflict."""
    actor.must(Permission.SUPPLIER_PRODUCT_EDIT)
    own_supplier(actor)
    product = owned(session, actor, Product, product_id, "product", lock=True)
    demand("The component was not added.", (text_problem("name", name, 100),))
    name = name.strip()
    names = session.scalars(select(Component.name).where(Component.product_id == product.id)).all()
    if name in names:
        raise Conflict(f"{product.model} has a component “{name}” already.")
    if len(names) >= COMPONENTS_MAX:
        raise Conflict(f"{product.model} has {COMPONENTS_MAX} components, which is the most there can be.")
    component = Component(
        supplier_id=product.supplier_id, product_id=product.id, name=name, created_at=clock.now()
    )
    session.add(component)
    session.flush()
    session.expire(product, ["components"])
    ledger.append(
        session,
        clock,
        "component.added",
        component.id,
        component_says(component),
        supplier_id=product.supplier_id,
    )
    return component


def component_says(component: Component) -> dict[str, object]:
    """What the ledger entry of a component says of it."""
    return {"product": component.product_id, "name": component.name}


def add_entity(
    session: Session, actor: Actor, clock: Clock, *, role: EntityRole, name: str, country: str
) -> Entity:
    """Name a company in the supplier's chain. Raises InvalidInput, Conflict."""
    actor.must(Permission.SUPPLIER_PRODUCT_EDIT)
    owner = own_supplier(actor)
    demand(
        "The company was not added.", (text_problem("name", name, 200), country_problem("country", country))
    )
    there = session.scalars(select(Entity).where(Entity.supplier_id == owner)).all()
    if any((row.role, row.name, row.country) == (role, name.strip(), country) for row in there):
        raise Conflict(f"“{name.strip()}” is in your chain in this role already.")
    if len(there) >= ENTITIES_MAX:
        raise Conflict(f"Your chain has {ENTITIES_MAX} entries, which is the most there can be.")
    entity = Entity(supplier_id=owner, role=role, name=name.strip(), country=country, created_at=clock.now())
    session.add(entity)
    session.flush()
    _enter_entity(session, clock, "entity.added", entity)
    return entity


def remove_entity(session: Session, actor: Actor, clock: Clock, entity_id: str) -> None:
    """Take a company out of the chain; the ledger keeps that it was there. Raises NotFound."""
    actor.must(Permission.SUPPLIER_PRODUCT_EDIT)
    own_supplier(actor)
    entity = owned(session, actor, Entity, entity_id, "company", lock=True)
    _enter_entity(session, clock, "entity.removed", entity)
    session.delete(entity)
    session.flush()


def _kept(value: object) -> object:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, Mapping):
        return {name: {end: float(n) for end, n in ends.items()} for name, ends in value.items() if ends}
    return value


def _enter_entity(session: Session, clock: Clock, kind: str, entity: Entity) -> None:
    ledger.append(session, clock, kind, entity.id, entity_says(entity), supplier_id=entity.supplier_id)


def entity_says(entity: Entity) -> dict[str, object]:
    """What the ledger says of a company in a supplier's chain."""
    return {"role": entity.role.value, "name": entity.name, "country": entity.country}


def _change_problems(changes: Mapping[str, Any]) -> list[Problem]:
    found: list[Problem | None] = []
    if "name" in changes:
        found.append(text_problem("name", changes["name"] or "", 200))
    if changes.get("chemistry"):
        found.append(text_problem("chemistry", changes["chemistry"], 40))
    for field in ("end_of_sale", "end_of_support"):
        day = changes.get(field)
        if day is not None and day.year not in _YEARS:
            found.append(Problem(field, "a date from 1990 to 2100", day.isoformat()))
    if "tier" in changes and changes["tier"] not in (1, 2, 3):
        found.append(Problem("tier", "1, 2 or 3", repr(changes["tier"])))
    if "limits" in changes:
        found += _limit_problems(changes["limits"])
    return [problem for problem in found if problem is not None]


def _limit_problems(limits: Mapping[str, Any]) -> list[Problem]:
    found = []
    for measure, ends in limits.items():
        where = f"limits.{measure}"
        if measure not in LIMITS:
            found.append(Problem(where, "one of " + ", ".join(LIMITS), repr(measure[:40])))
            continue
        numbers = ends.values() if isinstance(ends, Mapping) and set(ends) <= {"min", "max"} else [None]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) and isfinite(n) for n in numbers):
            found.append(Problem(where, "min, max or both, as finite numbers", repr(ends)[:80]))
        elif len(ends) == 2 and ends["min"] > ends["max"]:
            found.append(Problem(where, "min not above max", f"{ends['min']} above {ends['max']}"))
    return found
