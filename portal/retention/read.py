"""What the pages of the vault show of rules, holds, and what was deleted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.evidence.models import Evidence, Tombstone
from portal.retention.holds import in_force
from portal.retention.models import Hold, HoldAct, HoldStep, RetentionRules
from portal.retention.rules import Kind, Rule, load
from portal.suppliers.models import Product, Supplier

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Step:
    """Who did what when and why."""

    by: str
    by_id: str
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class HoldView:
    """`product` and `filename` say what it is on; neither: everything of the supplier."""

    id: str
    reference: str
    supplier_id: str
    supplier: str
    product_id: str | None
    product: str | None
    filename: str | None
    sha256: str | None
    placed: Step
    asked: Step | None
    released: Step | None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the rules. Version 0 comes with Lotgate and was set by nobody."""

    number: int
    by_kind: dict[Kind, Rule]
    digest: str
    set: Step


@dataclass(frozen=True, slots=True)
class Deleted:
    """One deleted file; `removed_at` None: its bytes are still there (another row needs them, or a hold)."""

    id: str
    filename: str
    sha256: str
    size: int
    supplier: str
    rule: str
    by: str
    at: datetime
    removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeletedPage:
    rows: tuple[Deleted, ...]
    number: int
    total: int

    @property
    def more(self) -> bool:
        return self.number * PAGE < self.total


def holds(session: Session, *, ended: bool = False, **about: str) -> list[HoldView]:
    """Holds in force (or those that ended), the oldest first. `about`: columns of Hold to match."""
    condition = ~in_force() if ended else in_force()
    rows = session.execute(
        _holds().where(condition).filter_by(**about).order_by(Hold.placed_at, Hold.id)
    ).all()
    steps = _steps(session, [row.Hold.id for row in rows])
    return [
        HoldView(
            id=hold.id,
            reference=hold.reference,
            supplier_id=hold.supplier_id,
            supplier=supplier,
            product_id=hold.product_id,
            product=product,
            filename=filename,
            sha256=sha256,
            placed=Step(name, hold.placed_by, hold.placed_at, hold.why),
            asked=steps.get((hold.id, HoldStep.RELEASE_ASKED)),
            released=steps.get((hold.id, HoldStep.RELEASED)),
        )
        for hold, supplier, product, filename, sha256, name in rows
    ]


def _holds() -> Select[Hold, str, str, str, str, str]:
    return (
        select(Hold, Supplier.name, Product.name, Evidence.filename, Evidence.sha256, User.name)
        .select_from(Hold)
        .join(Supplier, Supplier.id == Hold.supplier_id)
        .join(User, User.id == Hold.placed_by)
        .outerjoin(Product, Product.id == Hold.product_id)
        .outerjoin(Evidence, Evidence.id == Hold.evidence_id)
    )


def _steps(session: Session, hold_ids: list[str]) -> dict[tuple[str, HoldStep], Step]:
    rows = session.execute(
        select(HoldAct, User.name).join(User, User.id == HoldAct.by).where(HoldAct.hold_id.in_(hold_ids))
    )
    return {(act.hold_id, act.step): Step(name, act.by, act.at, act.why) for act, name in rows}


def versions(session: Session) -> list[Version]:
    """Every version that people set, the newest first."""
    rows = session.execute(
        select(RetentionRules, User.name)
        .join(User, User.id == RetentionRules.set_by)
        .order_by(RetentionRules.version.desc())
    )
    return [
        Version(row.version, dict(load(row.rules)), row.digest, Step(name, row.set_by, row.set_at, row.why))
        for row, name in rows
    ]


def deleted(session: Session, *, text: str = "", number: int = 1) -> DeletedPage:
    """What was deleted, the newest first; `text` is part of a name or a digest."""
    query = (
        select(Tombstone, Evidence.filename, Evidence.sha256, Evidence.size, Supplier.name, User.name)
        .join(Evidence, Evidence.id == Tombstone.id)
        .join(Supplier, Supplier.id == Tombstone.supplier_id)
        .join(User, User.id == Tombstone.deleted_by)
    )
    if text:
        query = query.where(
            Evidence.filename.icontains(text, autoescape=True)
            | Evidence.sha256.startswith(text.lower(), autoescape=True)
        )
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    number = max(1, number)
    rows = session.execute(
        query.order_by(Tombstone.deleted_at.desc(), Tombstone.id).offset((number - 1) * PAGE).limit(PAGE)
    )
    return DeletedPage(
        tuple(
            Deleted(
                stone.id, filename, sha256, size, supplier, stone.rule, by, stone.deleted_at, stone.removed_at
            )
            for stone, filename, sha256, size, supplier, by in rows
        ),
        number,
        total,
    )
