"""The queue: views, filters, order, pages."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from portal.accounts.models import RoleName
from portal.clock import FixedClock, today
from portal.db import TenantSession
from portal.policy.model import Rating
from portal.review.models import Assessment, Case, CaseCause, CaseState
from portal.review.queue import Filter, Sort, View, arguments_of, counts, filter_of, neighbours, page
from tests.factories import Make

TODAY = date(2026, 11, 21)
ME = "me"


class Stack:
    """Cases without assessments behind them: what the queue reads and nothing else."""

    def __init__(self, session: TenantSession, clock: FixedClock, make: Make) -> None:
        self.session, self.clock, self.make = session, clock, make
        self.supplier = make.supplier("Nordhaven Cells")
        self.me = make.user(RoleName.REVIEWER).id
        self.other = make.user(RoleName.REVIEWER).id
        self.number = 0

    def case(self, **values: object) -> int:
        self.number += 1
        product = self.make.product(self.supplier)
        rating = values.get("rating", Rating.APPROVABLE)
        assessment = Assessment(
            supplier_id=self.supplier.id,
            product_id=product.id,
            number=1,
            tier=2,
            rating=str(rating),
            score=None,
            knock_outs=0,
            cause="test",
            policy_id="p",
            policy_version="1",
            policy_digest="sha256:0",
            facts="{}",
            facts_digest="0" * 64,
            result="{}",
            result_digest="0" * 64,
            created_at=self.clock.now(),
        )
        self.session.add(assessment)
        self.session.flush()
        row = {
            "state": CaseState.OPEN,
            "cause": CaseCause.FIRST,
            "title": f"Nordhaven Cells: module {self.number}",
            "tier": 2,
            "rating": rating,
            "opened_at": self.clock.now() + timedelta(minutes=self.number),
            "due_on": TODAY + timedelta(days=self.number),
        } | values
        if row["state"] is CaseState.CLOSED:
            row["closed_at"] = self.clock.now()
        if row.get("claimed_by"):
            row |= {"claimed_at": self.clock.now()}
        self.session.add(
            Case(
                supplier_id=self.supplier.id,
                number=self.number,
                product_id=product.id,
                assessment_id=assessment.id,
                why="because",
                **row,
            )
        )
        self.session.commit()
        return self.number

    def numbers(self, wanted: Filter, size: int = 50) -> list[int]:
        found = page(self.session, self.me, today(self.clock), wanted, size)
        return [row.number for row in found.rows]


@pytest.fixture
def stack(session: TenantSession, clock: FixedClock, make: Make) -> Stack:
    return Stack(session, clock, make)


@pytest.fixture
def kinds(stack: Stack) -> dict[str, int]:
    """One case of each kind of holder and state."""
    return {
        "free": stack.case(),
        "mine": stack.case(state=CaseState.CLAIMED, claimed_by=stack.me),
        "taken": stack.case(state=CaseState.CLAIMED, claimed_by=stack.other),
        "second": stack.case(state=CaseState.SECOND),
        "my second": stack.case(state=CaseState.SECOND, claimed_by=stack.me),
        "waiting": stack.case(state=CaseState.WAITING),
        "my waiting": stack.case(state=CaseState.WAITING, claimed_by=stack.me),
        "closed": stack.case(state=CaseState.CLOSED, claimed_by=stack.me),
    }


VIEWS = {
    View.WORK: {"free", "mine", "second", "my second", "my waiting"},
    View.MINE: {"mine", "my second", "my waiting"},
    View.FREE: {"free", "second", "waiting"},
    View.TAKEN: {"taken"},
    View.SECOND: {"second", "my second"},
    View.WAITING: {"waiting", "my waiting"},
    View.CLOSED: {"closed"},
    View.ALL: {
        "free", "mine", "taken", "second", "my second", "waiting", "my waiting", "closed"
    },
}  # fmt: skip


@pytest.mark.parametrize("view", list(View))
def test_each_view_shows_its_cases_and_counts_them(stack: Stack, kinds: dict[str, int], view: View) -> None:
    expected = {kinds[name] for name in VIEWS[view]}
    assert set(stack.numbers(Filter(view=view))) == expected
    assert counts(stack.session, stack.me, TODAY).by_view[view] == len(expected)


def test_filters_narrow(stack: Stack) -> None:
    first = stack.case(rating=Rating.HIGH_RISK, tier=1, cause=CaseCause.DUE)
    late = stack.case(due_on=TODAY - timedelta(days=1))
    assert stack.numbers(Filter(rating=Rating.HIGH_RISK)) == [first]
    assert stack.numbers(Filter(tier=1)) == [first]
    assert stack.numbers(Filter(cause=CaseCause.DUE)) == [first]
    assert stack.numbers(Filter(overdue=True)) == [late]
    assert counts(stack.session, stack.me, TODAY).overdue == 1
    assert stack.numbers(Filter(supplier_id="nobody")) == []
    assert stack.numbers(Filter(supplier_id=stack.supplier.id, view=View.ALL)) == [late, first]


def test_search_is_by_words_of_the_title_or_the_number(stack: Stack) -> None:
    odd = stack.case(title="Kestrel UPS: 100% online (KU_40)")
    stack.case()
    for text in ("kestrel", "100%", "KU_40", str(odd), f"#{odd}"):
        assert stack.numbers(Filter(text=text)) == [odd], text
    assert stack.numbers(Filter(text="%")) == [odd]
    assert stack.numbers(Filter(text="9_9")) == []


@pytest.mark.parametrize("sort", list(Sort))
def test_pages_go_through_every_order_without_gap_or_repetition(stack: Stack, sort: Sort) -> None:
    ratings = list(Rating)
    for number in range(11):
        stack.case(
            rating=ratings[number % 4],
            due_on=TODAY + timedelta(days=number % 3),
            opened_at=stack.clock.now() + timedelta(hours=number % 5),
        )
    everything = stack.numbers(Filter(sort=sort))
    seen, after, pages = [], None, []
    while True:
        found = page(stack.session, stack.me, TODAY, Filter(sort=sort, after=after), 4)
        pages.append(found)
        seen += [row.number for row in found.rows]
        if found.next is None:
            break
        after = found.next
    assert seen == everything and len(seen) == 11
    assert pages[0].previous is None
    back = page(stack.session, stack.me, TODAY, Filter(sort=sort, before=pages[2].previous), 4)
    assert back.rows == pages[1].rows
    first = page(stack.session, stack.me, TODAY, Filter(sort=sort, before=back.previous), 4)
    assert first.rows == pages[0].rows and first.previous is None


def test_orders_are_what_they_say(stack: Stack) -> None:
    day = timedelta(days=1)
    a = stack.case(rating=Rating.APPROVABLE, due_on=TODAY + day, opened_at=stack.clock.now() + 3 * day)
    b = stack.case(rating=Rating.REJECT, due_on=TODAY + 3 * day, opened_at=stack.clock.now() + 2 * day)
    c = stack.case(rating=Rating.CONDITIONAL, due_on=TODAY + 2 * day, opened_at=stack.clock.now() + day)
    assert stack.numbers(Filter(sort=Sort.DUE)) == [a, c, b]
    assert stack.numbers(Filter(sort=Sort.DUE_LAST)) == [b, c, a]
    assert stack.numbers(Filter(sort=Sort.AGE)) == [c, b, a]
    assert stack.numbers(Filter(sort=Sort.RATING)) == [b, c, a]
    assert stack.numbers(Filter(sort=Sort.RATING_LAST)) == [a, c, b]


def test_neighbours_are_those_of_the_queue_as_filtered(stack: Stack) -> None:
    numbers = [stack.case(tier=1 if number % 2 else 2) for number in range(5)]
    assert neighbours(stack.session, stack.me, TODAY, Filter(), numbers[2]) == (numbers[1], numbers[3])
    narrowed = Filter(tier=2)
    assert neighbours(stack.session, stack.me, TODAY, narrowed, numbers[2]) == (numbers[0], numbers[4])
    assert neighbours(stack.session, stack.me, TODAY, narrowed, numbers[0]) == (None, numbers[2])
    assert neighbours(stack.session, stack.me, TODAY, Filter(), 999) == (None, None)


def test_a_filter_survives_its_address(stack: Stack) -> None:
    wanted = Filter(
        view=View.ALL,
        rating=Rating.REJECT,
        tier=1,
        cause=CaseCause.CHANGE,
        supplier_id="abc",
        assignee_id=ME,
        overdue=True,
        text="pack",
        sort=Sort.RATING_LAST,
    )
    assert filter_of(arguments_of(wanted)) == wanted
    assert arguments_of(Filter()) == {}
    assert filter_of({"after": "12", "before": "3"}) == replace(Filter(), after=12)


@pytest.mark.parametrize(
    "arguments",
    [
        {"view": "nope"},
        {"rating": "superb"},
        {"tier": "4"},
        {"tier": "one"},
        {"sort": "why; drop table"},
        {"after": "-1"},
        {"before": "9" * 30},
        {"cause": ""},
    ],
)
def test_arguments_that_name_nothing_are_as_if_not_there(arguments: dict[str, str]) -> None:
    assert filter_of(arguments) == Filter()


def test_a_page_behind_a_case_that_is_gone_is_empty(stack: Stack) -> None:
    stack.case()
    found = page(stack.session, stack.me, TODAY, Filter(after=77))
    assert (found.rows, found.previous, found.next) == ((), None, None)


def test_a_row_says_whether_it_is_overdue(stack: Stack) -> None:
    stack.case(due_on=TODAY - timedelta(days=1))
    row = page(stack.session, stack.me, TODAY, Filter()).rows[0]
    assert row.is_overdue(TODAY)
    assert not row.is_overdue(TODAY - timedelta(days=1))
    assert not replace(row, closed_at=datetime(2026, 11, 20)).is_overdue(TODAY)  # noqa: DTZ001
