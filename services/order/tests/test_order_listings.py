"""What every lister of orders promises, whether it stands in memory or in Postgres."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from trackops_common.database import Database
from trackops_order.adapters.order_listings import PostgresOrderLister
from trackops_order.adapters.postgres import PostgresUnitOfWorkFactory
from trackops_order.application.list_orders import Listing, OrderLister, OrderPage, Place, Sort
from trackops_order.application.ports import UnitOfWork
from trackops_order.domain.details import OrderDetails
from trackops_order.domain.goods import OrderLine
from trackops_order.domain.order import Order
from trackops_order.domain.states import OrderState
from trackops_order.testing import InMemoryOrders, placed

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SORTS = list(Sort)
FILTERS = [
    Listing(),
    Listing(customer_id="c-1"),
    Listing(customer_id="nobody"),
    Listing(sku="S-2"),
    Listing(sku="NONE"),
    Listing(states=frozenset({OrderState.CONFIRMED})),
    Listing(states=frozenset(OrderState)),
    Listing(states=frozenset({OrderState.REJECTED})),
    Listing(create_time_from=START + timedelta(seconds=2)),
    Listing(create_time_before=START + timedelta(seconds=2)),
    Listing(
        create_time_from=START + timedelta(seconds=1), create_time_before=START + timedelta(hours=1)
    ),
    Listing(customer_id="c-0", sku="S-0"),
    Listing(customer_id="c-0", states=frozenset({OrderState.PENDING})),
    Listing(sku="S-1", states=frozenset({OrderState.CONFIRMED})),
    Listing(
        customer_id="c-1",
        sku="S-1",
        states=frozenset({OrderState.PENDING, OrderState.CONFIRMED}),
        create_time_from=START,
        create_time_before=START + timedelta(seconds=4),
    ),
]


def _asked_for(listing: Listing) -> str:
    """The fields that narrow it down; a set's own text has another order in every process."""
    asked = [one.name for one in fields(listing) if getattr(listing, one.name) != one.default]
    return " ".join(asked) or "all"


@dataclass(frozen=True)
class Store:
    work: Callable[[], AbstractContextManager[UnitOfWork]]
    lister: OrderLister

    def add(self, *orders: Order) -> None:
        with self.work() as work:
            work.orders.add(orders)
            work.commit([])

    def confirm(self, orders: Sequence[Order]) -> None:
        with self.work() as work:
            locked = work.orders.lock([order.order_id for order in orders]).values()
            work.orders.save([order.confirm(order.create_time) for order in locked])
            work.commit([])

    def pages(self, listing: Listing, size: int) -> Iterator[OrderPage]:
        after: Place | None = None
        while True:
            page = self.lister.page(listing, after=after, size=size)
            yield page
            after = page.end
            if after is None:
                return

    def listed(self, listing: Listing, *, size: int) -> list[Order]:
        return [order for page in self.pages(listing, size) for order in page.orders]


@pytest.fixture(params=["in memory", "Postgres", "Postgres, few entries a page"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "in memory":
        orders = InMemoryOrders()
        return Store(orders, orders)
    few = request.param.endswith("few entries a page")
    return _in_postgres(request.getfixturevalue("schema"), examined=3 if few else 5_000)


def _in_postgres(schema: Database, *, examined: int = 5_000) -> Store:
    return Store(
        PostgresUnitOfWorkFactory(schema, events_topic="t"),
        PostgresOrderLister(schema, clock_skew_seconds=0, examined=examined),
    )


def _order(number: int, now: datetime) -> Order:
    lines = [OrderLine(f"S-{number % 3}", 1, 1), OrderLine(f"S-{3 + number % 2}", 1, 1)]
    return placed(customer_id=f"c-{number % 2}", lines=lines, now=now).order


def _order_of_now() -> Order:
    return _order(0, datetime.now(UTC))


@pytest.fixture
def orders(store: Store) -> list[Order]:
    """24 orders, four of each second, as they are listed oldest first; a third is CONFIRMED."""
    made = [_order(number, START + timedelta(seconds=number // 4)) for number in range(24)]
    store.add(*made)
    store.confirm(made[::3])
    for order in made[::3]:
        order.confirm(order.create_time)
    return sorted(made, key=_place)


def _place(order: Order) -> tuple[datetime, object]:
    return order.create_time, order.order_id


def _matching(orders: Sequence[Order], listing: Listing) -> list[Order]:
    found = [
        order
        for order in orders
        if listing.customer_id in (None, order.customer_id)
        and (not listing.states or order.state in listing.states)
        and (listing.sku is None or any(line.sku == listing.sku for line in order.lines))
        and (listing.create_time_from or START) <= order.create_time
        and order.create_time < (listing.create_time_before or datetime.max.replace(tzinfo=UTC))
    ]
    return found if listing.sort is Sort.OLDEST_FIRST else found[::-1]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("listing", FILTERS, ids=_asked_for)
def test_the_pages_together_are_what_matches_in_order(
    store: Store, orders: list[Order], listing: Listing, sort: Sort
) -> None:
    listing = replace(listing, sort=sort)

    for size in (1, 5, 24, 1000):
        assert store.listed(listing, size=size) == _matching(orders, listing)


def test_no_page_is_longer_than_asked_for(store: Store, orders: list[Order]) -> None:
    assert max(len(page.orders) for page in store.pages(Listing(), 5)) == 5
    assert len(list(store.pages(Listing(), 24))) == 1


def test_orders_are_listed_without_their_details(store: Store) -> None:
    order = replace(_order(0, START), details=OrderDetails(note="ring twice"))
    store.add(order)

    assert store.listed(Listing(), size=5) == [replace(order, details=None)]


@pytest.mark.parametrize("sort", SORTS)
def test_what_was_there_at_the_first_page_is_seen_once_while_others_write(
    store: Store, orders: list[Order], sort: Sort
) -> None:
    pages = store.pages(Listing(sort=sort), 5)
    seen = list(next(pages).orders)
    for number, page in enumerate(pages):
        seen += page.orders
        if number < 20:  # before all, after all, and between those that are still to come
            store.add(*(_order(0, START + timedelta(seconds=s)) for s in (-1, 3.5, 60 + number)))

    places = [_place(order) for order in seen]
    assert sorted(places, reverse=sort is Sort.NEWEST_FIRST) == places
    assert len(set(places)) == len(places)
    assert {_place(order) for order in orders} <= set(places)


@pytest.mark.parametrize("sort", SORTS)
def test_an_order_that_changes_between_pages_is_seen_once(
    store: Store, orders: list[Order], sort: Sort
) -> None:
    pending = Listing(sort=sort, states=frozenset({OrderState.PENDING}))
    pages = store.pages(pending, 5)
    seen = list(next(pages).orders)
    store.confirm([order for order in orders if order.state is OrderState.PENDING])

    assert [order for page in pages for order in page.orders] == []
    assert seen == _matching(orders, pending)[: len(seen)]


class TestOrdersThatCommitLate:
    """In Postgres; units of work in memory run one after the other."""

    def test_oldest_first_waits_for_them(self, schema: Database) -> None:
        store, oldest_first = _in_postgres(schema), Listing(sort=Sort.OLDEST_FIRST)
        with store.work() as work:
            late = _order_of_now()
            work.orders.add([late])
            early = _order_of_now()
            store.add(early)
            assert store.listed(oldest_first, size=5) == []
            work.commit([])

        assert store.listed(oldest_first, size=1) == [late, early]

    def test_oldest_first_waits_for_a_unit_of_work_that_has_done_nothing_yet(
        self, schema: Database
    ) -> None:
        """It takes the time for its orders from now on, before it says anything to Postgres."""
        store, oldest_first = _in_postgres(schema), Listing(sort=Sort.OLDEST_FIRST)
        with store.work() as work:
            late = _order_of_now()
            early = _order_of_now()
            store.add(early)
            assert store.listed(oldest_first, size=5) == []
            work.orders.add([late])
            work.commit([])

        assert store.listed(oldest_first, size=1) == [late, early]

    def test_newest_first_shows_what_is_committed_and_nothing_twice(self, schema: Database) -> None:
        store = _in_postgres(schema)
        with store.work() as work:
            late = _order_of_now()
            work.orders.add([late])
            early = [_order_of_now() for _ in range(2)]
            store.add(*early)
            pages = store.pages(Listing(), 1)
            seen = list(next(pages).orders)
            work.commit([])

        seen += [order for page in pages for order in page.orders]
        assert seen == [*early[::-1], late]

    def test_a_difference_between_clocks_is_allowed_for(self, schema: Database) -> None:
        store = _in_postgres(schema)
        old, new = (_order(0, datetime.now(UTC) - timedelta(seconds=s)) for s in (90, 30))
        store.add(old, new)
        careful = PostgresOrderLister(schema, clock_skew_seconds=60)

        page = careful.page(Listing(sort=Sort.OLDEST_FIRST), after=None, size=5)

        assert page == OrderPage([old], None)

    def test_oldest_first_nothing_appears_before_what_was_seen(self, schema: Database) -> None:
        """Writers take the time and commit in every order; a reader follows the newest end."""
        store, listing = _in_postgres(schema), Listing(sort=Sort.OLDEST_FIRST)
        writers = [threading.Thread(target=_write, args=(store, 40)) for _ in range(3)]
        for writer in writers:
            writer.start()
        seen: list[Order] = []
        while any(writer.is_alive() for writer in writers):
            seen += _next_orders(store, listing, seen)
        for writer in writers:
            writer.join()
        seen += _next_orders(store, listing, seen)

        assert len(seen) == 120
        assert seen == store.listed(listing, size=1000)


def _write(store: Store, count: int) -> None:
    for _ in range(count):
        with store.work() as work:
            work.orders.add([_order_of_now()])
            work.commit([])


def _next_orders(store: Store, listing: Listing, seen: Sequence[Order]) -> Sequence[Order]:
    after = Place(seen[-1].create_time, seen[-1].order_id) if seen else None
    return store.lister.page(listing, after=after, size=7 if seen else 1).orders
