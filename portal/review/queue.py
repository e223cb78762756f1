"""The queue as reviewers see it: filtered, sorted and paged in the database, a page at a time by key."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, tuple_
from sqlalchemy import case as when
from sqlalchemy.orm import Session

from portal.accounts.models import User
from portal.policy.model import Rating
from portal.review.models import Case, CaseCause, CaseState

PAGE = 50
_STILL_OPEN = tuple(state for state in CaseState if state is not CaseState.CLOSED)
SEARCH_MAX = 100


class View(StrEnum):
    """Which cases to show. `work`: mine, and those that nobody holds."""

    WORK = "work"
    MINE = "mine"
    FREE = "free"
    TAKEN = "taken"
    SECOND = "second"
    WAITING = "waiting"
    CLOSED = "closed"
    ALL = "all"


class Sort(StrEnum):
    """What comes first: the earliest due date, the oldest, the worst rating; with `-`, the other end."""

    DUE = "due"
    DUE_LAST = "-due"
    AGE = "age"
    AGE_LAST = "-age"
    RATING = "rating"
    RATING_LAST = "-rating"


# The names of ratings, from best to worst, are in the order of the alphabet; the queue's index relies on it.
if list(Rating) != sorted(Rating):
    raise RuntimeError("the queue sorts ratings by name: name them from best to worst in alphabetical order")

_ORDERS: dict[str, tuple[Any, ...]] = {
    "due": (Case.due_on, Case.number),
    "age": (Case.opened_at, Case.number),
    "rating": (Case.rating, Case.due_on, Case.number),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show. `after` and `before` are case numbers: the page begins behind, or ends ahead of, that
    case."""

    view: View = View.WORK
    rating: Rating | None = None
    tier: int | None = None
    cause: CaseCause | None = None
    supplier_id: str | None = None
    assignee_id: str | None = None
    overdue: bool = False
    text: str = ""
    sort: Sort = Sort.DUE
    after: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the queue."""

    number: int
    title: str
    why: str
    state: CaseState
    cause: CaseCause
    tier: int
    rating: str
    holder_id: str | None
    holder: str | None
    opened_at: datetime
    due_on: date
    closed_at: datetime | None
    supplier_id: str

    def is_overdue(self, today: date) -> bool:
        return self.closed_at is None and self.due_on < today


@dataclass(frozen=True, slots=True)
class Counts:
    by_view: dict[View, int]
    overdue: int


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in order, and the case numbers to page on from (None: nothing there)."""

    rows: tuple[Row, ...]
    previous: int | None
    next: int | None


def page(session: Session, user_id: str | None, today: date, wanted: Filter, size: int = PAGE) -> Page:
    """One page of the queue, as `user_id` sees it."""
    backwards = wanted.before is not None
    anchor = wanted.before if backwards else wanted.after
    query = _filtered(select(*_COLUMNS).outerjoin(User, User.id == Case.claimed_by), user_id, today, wanted)
    rows = _fetch(session, query, wanted.sort, anchor, size + 1, backwards=backwards)
    more, rows = len(rows) > size, rows[:size]
    if backwards:
        rows = rows[::-1]
    ahead, behind = (more, True) if backwards else (anchor is not None, more)
    return Page(
        rows=tuple(rows),
        previous=rows[0].number if rows and ahead else None,
        next=rows[-1].number if rows and behind else None,
    )


def neighbours(
    session: Session, user_id: str | None, today: date, wanted: Filter, number: int
) -> tuple[int | None, int | None]:
    """The numbers of the cases before and behind case `number` in the queue as filtered."""
    query = _filtered(select(Case.number), user_id, today, wanted)
    found = [
        _fetch_numbers(session, query, wanted.sort, number, backwards=backwards)
        for backwards in (True, False)
    ]
    return found[0], found[1]


def counts(session: Session, user_id: str | None, today: date) -> Counts:
    """How many cases each view holds, without further filters, and how many of those still open are
    overdue."""
    late = func.sum(when((Case.due_on < today, 1), else_=0))
    groups = session.execute(
        select(Case.state, Case.claimed_by, func.count(), late)
        .where(Case.state.in_(_STILL_OPEN))
        .group_by(Case.state, Case.claimed_by)
    ).all()
    closed = session.scalar(select(func.count()).select_from(Case).where(Case.state == CaseState.CLOSED))
    totals = dict.fromkeys(View, 0) | {View.CLOSED: closed or 0, View.ALL: closed or 0}
    for state, holder, count, _ in groups:
        for view in _views_of(state, holder is None, holder == user_id):
            totals[view] += count
    return Counts(totals, sum(row[3] for row in groups))


def filter_of(arguments: dict[str, str]) -> Filter:
    """The filter that query arguments name; what they name wrongly is as if it were not there."""
    wanted = Filter(
        view=_member(View, arguments.get("view")) or View.WORK,
        rating=_member(Rating, arguments.get("rating")),
        tier=_number(arguments.get("tier"), (1, 2, 3)),
        cause=_member(CaseCause, arguments.get("cause")),
        supplier_id=arguments.get("supplier") or None,
        assignee_id=arguments.get("assignee") or None,
        overdue=arguments.get("overdue") == "yes",
        text=arguments.get("q", "").strip()[:SEARCH_MAX],
        sort=_member(Sort, arguments.get("sort")) or Sort.DUE,
    )
    after, before = _number(arguments.get("after")), _number(arguments.get("before"))
    return replace(wanted, after=after, before=None if after is not None else before)


def arguments_of(wanted: Filter) -> dict[str, str]:
    """The query arguments that name a filter, without the page; defaults are left out."""
    given = {
        "view": "" if wanted.view is View.WORK else wanted.view.value,
        "rating": wanted.rating.value if wanted.rating else "",
        "tier": str(wanted.tier or ""),
        "cause": wanted.cause.value if wanted.cause else "",
        "supplier": wanted.supplier_id or "",
        "assignee": wanted.assignee_id or "",
        "overdue": "yes" if wanted.overdue else "",
        "q": wanted.text,
        "sort": "" if wanted.sort is Sort.DUE else wanted.sort.value,
    }
    return {name: value for name, value in given.items() if value}


_COLUMNS: tuple[Any, ...] = (
    Case.number,
    Case.title,
    Case.why,
    Case.state,
    Case.cause,
    Case.tier,
    Case.rating,
    Case.claimed_by,
    User.name,
    Case.opened_at,
    Case.due_on,
    Case.closed_at,
    Case.supplier_id,
)


def _views_of(state: CaseState, free: bool, own: bool) -> list[View]:
    """The views that a case still open is in."""
    views = [View.ALL, View.MINE if own else View.FREE if free else View.TAKEN]
    if own or (free and state is not CaseState.WAITING):
        views.append(View.WORK)
    if state is CaseState.SECOND:
        views.append(View.SECOND)
    if state is CaseState.WAITING:
        views.append(View.WAITING)
    return views


def _in_view(view: View, user_id: str | None) -> list[ColumnElement[bool]]:
    """What `_views_of` says, for the database."""
    still_open = Case.state.in_(_STILL_OPEN)
    mine, free = Case.claimed_by == user_id, Case.claimed_by.is_(None)
    ready = Case.state.in_((CaseState.OPEN, CaseState.CLAIMED, CaseState.SECOND))
    views: dict[View, list[ColumnElement[bool]]] = {
        View.WORK: [still_open, or_(mine, and_(free, ready))],
        View.MINE: [still_open, mine],
        View.FREE: [still_open, free],
        View.TAKEN: [still_open, Case.claimed_by != user_id],
        View.SECOND: [Case.state == CaseState.SECOND],
        View.WAITING: [Case.state == CaseState.WAITING],
        View.CLOSED: [Case.state == CaseState.CLOSED],
        View.ALL: [],
    }
    return views[view]


def _filtered(query: Select[Any], user_id: str | None, today: date, wanted: Filter) -> Select[Any]:
    conditions = _in_view(wanted.view, user_id)
    if wanted.rating is not None:
        conditions.append(Case.rating == wanted.rating.value)
    if wanted.tier is not None:
        conditions.append(Case.tier == wanted.tier)
    if wanted.cause is not None:
        conditions.append(Case.cause == wanted.cause)
    if wanted.supplier_id is not None:
        conditions.append(Case.supplier_id == wanted.supplier_id)
    if wanted.assignee_id is not None:
        conditions.append(Case.claimed_by == wanted.assignee_id)
    if wanted.overdue:
        conditions += [Case.state.in_(_STILL_OPEN), Case.due_on < today]
    if wanted.text:
        number = _number(wanted.text.removeprefix("#"))
        titled = Case.title.icontains(wanted.text, autoescape=True)
        conditions.append(titled if number is None else or_(Case.number == number, titled))
    return query.where(*conditions)


def _ordered(query: Select[Any], sort: Sort, backwards: bool) -> tuple[Select[Any], tuple[Any, ...], bool]:
    """The query in order, the columns of the order, and whether it runs downwards. Ratings begin with the
    worst."""
    key = sort.value.removeprefix("-")
    downwards = sort.value.startswith("-") ^ (key == "rating") ^ backwards
    columns = _ORDERS[key]
    return query.order_by(*(column.desc() if downwards else column for column in columns)), columns, downwards


def _beyond(
    session: Session, query: Select[Any], sort: Sort, anchor: int | None, *, backwards: bool
) -> Select[Any] | None:
    query, columns, downwards = _ordered(query, sort, backwards)
    if anchor is None:
        return query
    values = session.execute(select(*columns).where(Case.number == anchor)).first()
    if values is None:
        return None
    key, at = tuple_(*columns), tuple(values)
    return query.where(key < at if downwards else key > at)


def _fetch(
    session: Session, query: Select[Any], sort: Sort, anchor: int | None, limit: int, *, backwards: bool
) -> Sequence[Row]:
    beyond = _beyond(session, query, sort, anchor, backwards=backwards)
    if beyond is None:
        return []
    return [Row(*values) for values in session.execute(beyond.limit(limit))]


def _fetch_numbers(
    session: Session, query: Select[Any], sort: Sort, anchor: int, *, backwards: bool
) -> int | None:
    beyond = _beyond(session, query, sort, anchor, backwards=backwards)
    return None if beyond is None else session.scalar(beyond.limit(1))


def _member(kind: type[StrEnum], value: str | None) -> Any:
    return kind(value) if value in [member.value for member in kind] else None


def _number(value: str | None, known: Sequence[int] | None = None) -> int | None:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 9:
        return None
    return int(value) if known is None or int(value) in known else None
