"""What pages see of changes: told and seen ones, and what each did to the products it touched."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.policy.result import Difference
from portal.reassessment.models import ChangeKind, ChangeNotice, ChangeSource, Reassessment
from portal.review.models import Assessment, Case
from portal.suppliers.models import Product, Supplier

PAGE = 50


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change, with how many products it touched and how many of them materially."""

    notice: ChangeNotice
    supplier: str
    product: str | None
    filed_by: str | None
    touched: int
    material: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What one change did to one product: was, is, why."""

    reassessment: Reassessment
    product: Product
    difference: Difference
    before: int | None
    after: int
    case_number: int | None


@dataclass(frozen=True, slots=True)
class ChangePage:
    rows: tuple[ChangeRow, ...]
    total: int
    page: int
    pages: int


def change_page(
    session: Session,
    *,
    kind: ChangeKind | None = None,
    supplier_id: str | None = None,
    text: str = "",
    page: int = 1,
    size: int = PAGE,
    without: ChangeSource | None = None,
) -> ChangePage:
    """Changes, newest first. `without`: leave out what came from there."""
    conditions: list[ColumnElement[bool]] = []
    if without is not None:
        conditions.append(ChangeNotice.source != without)
    if kind is not None:
        conditions.append(ChangeNotice.kind == kind)
    if supplier_id is not None:
        conditions.append(ChangeNotice.supplier_id == supplier_id)
    if text:
        conditions.append(
            or_(
                ChangeNotice.title.icontains(text, autoescape=True),
                Supplier.name.icontains(text, autoescape=True),
            )
        )
    joined = select(func.count()).select_from(ChangeNotice)
    total = (
        session.scalar(joined.join(Supplier, Supplier.id == ChangeNotice.supplier_id).where(*conditions)) or 0
    )
    pages = max(1, -(-total // size))
    page = min(max(1, page), pages)
    return ChangePage(_rows(session, conditions, size, (page - 1) * size), total, page, pages)


def changes_of(session: Session, product_id: str, limit: int = 20) -> tuple[ChangeRow, ...]:
    """The newest changes that touched a product."""
    touched = select(Reassessment.change_notice_id).where(Reassessment.product_id == product_id)
    return _rows(
        session, [or_(ChangeNotice.product_id == product_id, ChangeNotice.id.in_(touched))], limit, 0
    )


def change_row(session: Session, notice_id: str) -> ChangeRow | None:
    """One change, if it is there."""
    return next(iter(_rows(session, [ChangeNotice.id == notice_id], 1, 0)), None)


def effects_of(session: Session, notice_id: str) -> tuple[Effect, ...]:
    """What a change did, product by product."""
    return _effects(session, [Reassessment.change_notice_id == notice_id], 200)


def newest_effects(session: Session, *, material: bool, limit: int = 100) -> tuple[Effect, ...]:
    """The newest re-assessments; with `material` only those that a person had to look at."""
    return _effects(session, [Reassessment.material.is_(True)] if material else [], limit)


def _rows(
    session: Session, conditions: list[ColumnElement[bool]], limit: int, offset: int
) -> tuple[ChangeRow, ...]:
    found = session.execute(
        select(ChangeNotice, Supplier.name, Product.name, User.name)
        .join(Supplier, Supplier.id == ChangeNotice.supplier_id)
        .outerjoin(Product, Product.id == ChangeNotice.product_id)
        .outerjoin(User, User.id == ChangeNotice.filed_by)
        .where(*conditions)
        .order_by(ChangeNotice.filed_at.desc(), ChangeNotice.id)
        .limit(limit)
        .offset(offset)
    ).all()
    counts = {
        row[0]: (row[1], row[2])
        for row in session.execute(
            select(
                Reassessment.change_notice_id,
                func.count(),
                func.count().filter(Reassessment.material),
            )
            .where(Reassessment.change_notice_id.in_([row[0].id for row in found]))
            .group_by(Reassessment.change_notice_id)
        )
    }
    return tuple(ChangeRow(*row, *counts.get(row[0].id, (0, 0))) for row in found)


def _effects(session: Session, conditions: list[ColumnElement[bool]], limit: int) -> tuple[Effect, ...]:
    rows = session.execute(
        select(Reassessment, Product, Case.number)
        .join(Product, Product.id == Reassessment.product_id)
        .outerjoin(Case, Case.id == Reassessment.case_id)
        .where(*conditions)
        .order_by(Reassessment.at.desc(), Reassessment.id)
        .limit(limit)
    ).all()
    ids = {row[0].after_id for row in rows} | {row[0].before_id for row in rows if row[0].before_id}
    numbers = {
        row.id: row.number
        for row in session.execute(select(Assessment.id, Assessment.number).where(Assessment.id.in_(ids)))
    }
    return tuple(
        Effect(
            reassessment=row[0],
            product=row[1],
            difference=Difference.from_json(row[0].difference),
            before=numbers.get(row[0].before_id or ""),
            after=numbers[row[0].after_id],
            case_number=row[2],
        )
        for row in rows
    )
