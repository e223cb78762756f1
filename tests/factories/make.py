"""`Make`: rows with sensible values; every argument can be given by keyword."""

import itertools
from typing import Any, TypeVar

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor, actor_of
from portal.accounts.models import BUYER_ROLES, Organisation, OrganisationKind, Role, RoleName, User
from portal.clock import FixedClock
from portal.db import new_id
from portal.ledger.service import append
from portal.suppliers.models import Component, Product, Supplier
from portal.suppliers.service import component_says, product_says, supplier_says

T = TypeVar("T")
_count = itertools.count(1)
PASSWORD = "correct horse battery staple 2026"


class Make:
    def __init__(self, session: Session, clock: FixedClock, app: Flask, *, entered: bool = False) -> None:
        """`entered`: the ledger tells of suppliers, products and components, as fsck expects."""
        self.session, self.clock, self.app, self.entered = session, clock, app, entered

    def buyer(self) -> Organisation:
        found = self.session.scalar(select(Organisation).where(Organisation.kind == OrganisationKind.BUYER))
        return found or self._add(
            Organisation(
                kind=OrganisationKind.BUYER, name="Meridian Data Centres", created_at=self.clock.now()
            )
        )

    def supplier(self, name: str | None = None, **values: Any) -> Supplier:
        name = name or f"Supplier {next(_count)}"
        organisation = self._add(
            Organisation(kind=OrganisationKind.SUPPLIER, name=name, created_at=self.clock.now())
        )
        supplier = self._add(Supplier(id=organisation.id, name=name, created_at=self.clock.now(), **values))
        self._enter("supplier.created", supplier, supplier_says(supplier), supplier.id)
        return supplier

    def user(
        self, role: RoleName = RoleName.REVIEWER, supplier: Supplier | None = None, **values: Any
    ) -> User:
        number = next(_count)
        organisation_id = supplier.id if supplier else self.buyer().id
        row = self.session.scalar(select(Role).where(Role.name == role)) or self._add(Role(name=role))
        values = {"name": f"Person {number}", "email": f"person{number}@example.com"} | values
        if role in BUYER_ROLES:  # they have a second factor (no code fits this one), or they get nowhere
            values = {"tf_primary_method": "authenticator", "tf_totp_secret": "{}"} | values
        return self._add(
            User(
                organisation_id=organisation_id,
                active=True,
                fs_uniquifier=new_id(),
                created_at=self.clock.now(),
                confirmed_at=self.clock.now(),
                roles=[row],
                **values,
            )
        )

    def actor(self, role: RoleName = RoleName.REVIEWER, supplier: Supplier | None = None) -> Actor:
        return actor_of(self.user(role, supplier))

    def supplier_actor(self, supplier: Supplier | None = None) -> Actor:
        return self.actor(RoleName.SUPPLIER_ADMIN, supplier or self.supplier())

    def product(
        self, supplier: Supplier | None = None, *, components: tuple[str, ...] = ("BMS",), **values: Any
    ) -> Product:
        supplier = supplier or self.supplier()
        number = next(_count)
        values = {"model": f"M-{number}", "name": f"Product {number}", "tier": 2} | values
        product = self._add(Product(supplier_id=supplier.id, created_at=self.clock.now(), **values))
        self._enter("product.created", product, product_says(product), supplier.id)
        for name in components:
            component = self._add(
                Component(
                    supplier_id=supplier.id, product_id=product.id, name=name, created_at=self.clock.now()
                )
            )
            self._enter("component.added", component, component_says(component), supplier.id)
        self.session.refresh(product)
        self.session.commit()
        return product

    def _enter(self, kind: str, row: Any, facts: dict[str, object], supplier_id: str) -> None:
        if self.entered:
            append(self.session, self.clock, kind, row.id, facts, supplier_id)
            self.session.commit()

    def _add(self, row: T) -> T:
        self.session.add(row)
        self.session.commit()
        return row
