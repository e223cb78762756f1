"""Products and their components, the chain, and signing keys."""

from sqlalchemy import func, select

from portal.accounts.permissions import Permission
from portal.api import shapes
from portal.api.blueprint import contract, own_id
from portal.errors import NotFound
from portal.http.context import actor, clock, session
from portal.suppliers import service
from portal.suppliers.models import Entity, Product, SigningKey

READ, EDIT = Permission.SUPPLIER_SUBMISSION_READ, Permission.SUPPLIER_PRODUCT_EDIT


@contract.route("GET", "/products", READ)
def list_products(query: shapes.Paging) -> shapes.Products:
    """Your products, by name."""
    mine = Product.supplier_id == own_id()
    total = session().scalar(select(func.count()).select_from(Product).where(mine)) or 0
    rows = session().scalars(
        select(Product)
        .where(mine)
        .order_by(Product.name, Product.id)
        .offset((query.page - 1) * query.size)
        .limit(query.size)
    )
    return shapes.Products(
        items=[shapes.Product.of(row) for row in rows],
        total=total,
        page=query.page,
        pages=max(1, -(-total // query.size)),
    )


@contract.route("POST", "/products", EDIT, status=201)
def create_product(body: shapes.NewProduct) -> shapes.Product:
    """Offer a product."""
    values = body.model_dump() | {"components": tuple(body.components)}
    product = service.create_product(session(), actor(), clock(), **values)
    session().commit()
    return shapes.Product.of(product)


@contract.route("GET", "/products/{product_id}", READ)
def get_product(product_id: str) -> shapes.Product:
    """One product."""
    found = session().get(Product, product_id)
    if found is None:
        raise NotFound("There is no such product.")
    return shapes.Product.of(found)


@contract.route("PATCH", "/products/{product_id}", EDIT)
def change_product(product_id: str, body: shapes.ProductChange) -> shapes.Product:
    """Change what is named of a product."""
    changes = body.model_dump(exclude_unset=True)
    product = service.update_product(session(), actor(), clock(), product_id, **changes)
    session().commit()
    return shapes.Product.of(product)


@contract.route("POST", "/products/{product_id}/components", EDIT, status=201)
def add_component(product_id: str, body: shapes.NewComponent) -> shapes.Component:
    """Add a part of the product that carries firmware."""
    component = service.add_component(session(), actor(), clock(), product_id, name=body.name)
    session().commit()
    return shapes.Component.of(component)


@contract.route("GET", "/entities", READ)
def list_entities() -> shapes.Entities:
    """The companies in your chain."""
    rows = session().scalars(
        select(Entity).where(Entity.supplier_id == own_id()).order_by(Entity.role, Entity.name, Entity.id)
    )
    return shapes.Entities(items=[shapes.Entity.of(row) for row in rows])


@contract.route("POST", "/entities", EDIT, status=201)
def add_entity(body: shapes.NewEntity) -> shapes.Entity:
    """Name a company in your chain."""
    entity = service.add_entity(
        session(), actor(), clock(), role=body.role, name=body.name, country=body.country
    )
    session().commit()
    return shapes.Entity.of(entity)


@contract.route("DELETE", "/entities/{entity_id}", EDIT, status=204)
def remove_entity(entity_id: str) -> None:
    """Take a company out of your chain."""
    service.remove_entity(session(), actor(), clock(), entity_id)
    session().commit()


@contract.route("GET", "/keys", READ)
def list_keys() -> shapes.Keys:
    """Your signing keys and whether they are approved. (People register keys, on the pages.)"""
    rows = session().scalars(
        select(SigningKey)
        .where(SigningKey.supplier_id == own_id())
        .order_by(SigningKey.registered_at.desc(), SigningKey.id)
    )
    return shapes.Keys(items=[shapes.Key.of(row) for row in rows])
