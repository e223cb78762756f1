"""What reviewers see of suppliers and products: lists by page, and one of each in full."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.policy.model import Rating
from portal.review.facts import exceptions_in_force
from portal.review.models import Assessment, Case, CaseState, Decision, GrantedException
from portal.submissions.models import Submission, SubmissionState
from portal.suppliers.models import Entity, KeyState, Product, SigningKey, Standing, Supplier

PAGE = 50
RECENT = 50


@dataclass(frozen=True, slots=True)
class SupplierRow:
    """One line of the list of suppliers. `worst` is the worst rating among the newest of its products."""

    id: str
    name: str
    country: str | None
    standing: Standing
    products: int
    open_cases: int
    worst: str | None


@dataclass(frozen=True, slots=True)
class SupplierPage:
    rows: tuple[SupplierRow, ...]
    total: int
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest assessment of a product, without its facts."""

    id: str
    supplier_id: str
    product_id: str
    number: int
    rating: str
    score: int | None


@dataclass(frozen=True, slots=True)
class ProductRow:
    """A product with its newest assessment and its open case (number)."""

    product: Product
    assessment: Newest | None
    open_case: int | None
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class SupplierView:
    supplier: Supplier
    products: tuple[ProductRow, ...]
    keys: tuple[SigningKey, ...]
    entities: tuple[Entity, ...]
    submissions: tuple[Submission, ...]
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class KeyRow:
    key: SigningKey
    supplier: str


def supplier_page(
    session: Session, *, text: str = "", standing: Standing | None = None, page: int = 1, size: int = PAGE
) -> SupplierPage:
    """Suppliers by name."""
    found: list[Any] = []
    if text:
        found.append(Supplier.name.icontains(text, autoescape=True))
    if standing is not None:
        found.append(Supplier.standing == standing)
    total = session.scalar(select(func.count()).select_from(Supplier).where(*found)) or 0
    pages = max(1, -(-total // size))
    page = min(max(1, page), pages)
    suppliers = session.scalars(
        select(Supplier).where(*found).order_by(Supplier.name).offset((page - 1) * size).limit(size)
    ).all()
    ids = [row.id for row in suppliers]
    products = _counted(
        session, select(Product.supplier_id, func.count()).where(Product.supplier_id.in_(ids))
    )
    cases = _counted(
        session,
        select(Case.supplier_id, func.count()).where(
            Case.supplier_id.in_(ids), Case.state != CaseState.CLOSED
        ),
    )
    worst: dict[str, str] = {}
    for product in newest_assessments(session, Assessment.supplier_id.in_(ids)).values():
        rating = worst.get(product.supplier_id, product.rating)
        worst[product.supplier_id] = max(rating, product.rating, key=lambda name: Rating(name).rank)
    return SupplierPage(
        rows=tuple(
            SupplierRow(
                id=row.id,
                name=row.name,
                country=row.country,
                standing=row.standing,
                products=products.get(row.id, 0),
                open_cases=cases.get(row.id, 0),
                worst=worst.get(row.id),
            )
            for row in suppliers
        ),
        total=total,
        page=page,
        pages=pages,
    )


def newest_assessments(session: Session, *conditions: Any) -> Mapping[str, Newest]:
    """The newest assessment of each product that the conditions select, by product."""
    newest = (
        select(Assessment.product_id, func.max(Assessment.number).label("number"))
        .where(*conditions)
        .group_by(Assessment.product_id)
        .subquery()
    )
    rows = session.execute(
        select(
            Assessment.id,
            Assessment.supplier_id,
            Assessment.product_id,
            Assessment.number,
            Assessment.rating,
            Assessment.score,
        ).join(
            newest, (newest.c.product_id == Assessment.product_id) & (newest.c.number == Assessment.number)
        )
    )
    return {row.product_id: Newest(*row) for row in rows}


def supplier_view(session: Session, supplier: Supplier) -> SupplierView:
    """One supplier with all that hangs on it; submissions and cases only the newest."""
    products = session.scalars(
        select(Product).where(Product.supplier_id == supplier.id).order_by(Product.name)
    ).all()
    return SupplierView(
        supplier=supplier,
        products=tuple(product_rows(session, products)),
        keys=tuple(
            session.scalars(
                select(SigningKey)
                .where(SigningKey.supplier_id == supplier.id)
                .order_by(SigningKey.registered_at.desc())
            )
        ),
        entities=tuple(
            session.scalars(
                select(Entity).where(Entity.supplier_id == supplier.id).order_by(Entity.role, Entity.name)
            )
        ),
        submissions=tuple(
            session.scalars(
                select(Submission)
                .where(Submission.supplier_id == supplier.id, Submission.state != SubmissionState.DRAFT)
                .order_by(Submission.submitted_at.desc())
                .limit(RECENT)
            )
        ),
        cases=tuple(
            session.scalars(
                select(Case).where(Case.supplier_id == supplier.id).order_by(Case.number.desc()).limit(RECENT)
            )
        ),
    )


def product_rows(session: Session, products: Sequence[Product]) -> list[ProductRow]:
    ids = [product.id for product in products]
    newest = newest_assessments(session, Assessment.product_id.in_(ids))
    cases = dict(
        session.execute(
            select(Case.product_id, Case.number).where(
                Case.product_id.in_(ids), Case.state != CaseState.CLOSED
            )
        ).all()
    )
    decisions = {
        row.product_id: row
        for row in session.scalars(
            select(Decision)
            .join(Case, Case.id == Decision.case_id)
            .where(Decision.product_id.in_(ids), Decision.settled_id.is_not(None))
            .order_by(Decision.decided_at, Case.number)
        )
    }
    return [
        ProductRow(product, newest.get(product.id), cases.get(product.id), decisions.get(product.id))
        for product in products
    ]


def keys(session: Session, state: KeyState | None = None) -> list[KeyRow]:
    """Signing keys, those that wait for a decision first, then the newest."""
    query = (
        select(SigningKey, Supplier.name)
        .join(Supplier, Supplier.id == SigningKey.supplier_id)
        .order_by((SigningKey.state != KeyState.PENDING), SigningKey.registered_at.desc())
    )
    if state is not None:
        query = query.where(SigningKey.state == state)
    return [KeyRow(key, name) for key, name in session.execute(query.limit(500))]


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    exception: GrantedException
    supplier: str
    product: Product
    case_number: int


def exceptions(session: Session, day: date, product_id: str | None = None) -> list[ExceptionRow]:
    """Accepted gaps that count on `day`, the next to expire first."""
    in_force = exceptions_in_force(day).order_by(None).with_only_columns(GrantedException.id)
    conditions: list[Any] = [GrantedException.id.in_(in_force)]
    if product_id is not None:
        conditions.append(GrantedException.product_id == product_id)
    rows = session.execute(
        select(GrantedException, Supplier.name, Product, Case.number)
        .join(Supplier, Supplier.id == GrantedException.supplier_id)
        .join(Product, Product.id == GrantedException.product_id)
        .join(Decision, Decision.id == GrantedException.decision_id)
        .join(Case, Case.id == Decision.case_id)
        .where(*conditions)
        .order_by(GrantedException.expires_on, GrantedException.control_id)
        .limit(500)
    )
    return [ExceptionRow(*row) for row in rows]


def _counted(session: Session, query: Any) -> dict[str, int]:
    return dict(session.execute(query.group_by(query.selected_columns[0])).all())
