"""What every store of orders promises, whether it stands in memory or in Postgres."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from trackops_cli.local.provision import connect
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_common.database import Database
from trackops_common.errors import BatchRefused
from trackops_common.idempotency import StoredRequest
from trackops_order.adapters.postgres import PostgresOrderReader, PostgresUnitOfWorkFactory
from trackops_order.application.ports import OrderReader, UnitOfWork
from trackops_order.domain.details import Address, OrderDetails
from trackops_order.domain.events import OrderEvent
from trackops_order.domain.goods import OrderLine, Pieces, Shipment
from trackops_order.domain.order import Order, Rejection
from trackops_order.domain.states import OrderState
from trackops_order.testing import InMemoryOrders, placed

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
NASTY = "\\ \" ' {} , NULL %s é 漢\n"
REJECTION = Rejection("PAYMENT_DECLINED", NASTY)


@dataclass(frozen=True)
class Store:
    work: Callable[[], AbstractContextManager[UnitOfWork]]
    reader: OrderReader

    def order(self, order_id: UUID) -> Order:
        return self.reader.get([order_id])[order_id]

    def add(self, *orders: Order) -> set[UUID]:
        with self.work() as work:
            added = work.orders.add(orders)
            work.commit([])
        return added

    def change(self, order_id: UUID, change: Callable[[Order], OrderEvent]) -> None:
        with self.work() as work:
            order = work.orders.lock([order_id])[order_id]
            work.orders.save([change(order)])
            work.commit([])


@pytest.fixture(params=["in memory", "Postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "in memory":
        orders = InMemoryOrders()
        return Store(orders, orders)
    return _in_postgres(request.getfixturevalue("schema"))


def _in_postgres(schema: Database) -> Store:
    return Store(PostgresUnitOfWorkFactory(schema, events_topic="t"), PostgresOrderReader(schema))


def _order(*lines: OrderLine) -> Order:
    return placed(lines=list(lines) or [OrderLine("B", 1, 2), OrderLine("A", 3, 4)], now=NOW).order


def test_an_order_is_read_as_it_was_added(store: Store) -> None:
    orders = [
        _order(),
        _order(OrderLine("X", 1_000_000, 10**12)),
        _order(*(OrderLine(f"S-{n}", n, n) for n in range(1, 501))),
    ]

    added = store.add(*orders)

    assert added == {order.order_id for order in orders}
    assert store.reader.get([order.order_id for order in orders]) == {
        order.order_id: order for order in orders
    }


def test_strings_are_kept_as_they_are(store: Store) -> None:
    order = placed(customer_id=NASTY, lines=[OrderLine(NASTY, 1, 1)], now=NOW).order

    store.add(order)

    assert store.order(order.order_id) == order


ADDRESS = Address(NASTY, (NASTY, "2"), "", NASTY, "", "DE")
DETAILS = [
    OrderDetails(ADDRESS, replace(ADDRESS, lines=("1",)), {NASTY: NASTY, "b": ""}, NASTY),
    OrderDetails(shipping_address=ADDRESS),
    OrderDetails(metadata={"only": "this"}),
    None,
]


def test_details_are_kept_as_they_are_whatever_is_missing(store: Store) -> None:
    orders = [placed(details=details, now=NOW).order for details in DETAILS]
    store.add(*orders)

    store.change(orders[0].order_id, lambda order: order.confirm(NOW))

    ids = [order.order_id for order in orders]
    assert [store.reader.get(ids)[order_id].details for order_id in ids] == DETAILS


def test_what_is_not_committed_never_was(store: Store) -> None:
    order = _order()
    with store.work() as work:
        work.orders.add([order])
        work.requests.save([StoredRequest(order.order_id, b"h", b"r")])

    assert store.reader.get([order.order_id]) == {}
    with store.work() as work:
        assert list(work.requests.find([order.order_id])) == []


def test_an_error_undoes_everything(store: Store) -> None:
    order = _order()
    with pytest.raises(LookupError), store.work() as work:
        work.orders.add([order])
        raise LookupError

    assert store.reader.get([order.order_id]) == {}


def test_an_id_that_is_taken_changes_nothing(store: Store) -> None:
    first = _order()
    store.add(first)
    second = placed(order_id=first.order_id, customer_id="somebody else", now=NOW).order
    new = _order()

    assert store.add(second, new) == {new.order_id}
    assert store.order(first.order_id) == first
    assert store.order(new.order_id) == new


def test_of_units_of_work_that_add_one_id_at_once_one_has_added_it(store: Store) -> None:
    order_id = uuid.uuid4()
    start = threading.Barrier(4, timeout=10)

    def add(number: int) -> int:
        order = placed(order_id=order_id, customer_id=f"c-{number}", now=NOW).order
        start.wait()
        return len(store.add(order))

    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(add, range(4)))

    assert sum(added) == 1
    assert store.order(order_id).customer_id == f"c-{added.index(1)}"
    assert len(store.order(order_id).lines) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda order: order.confirm(NOW + timedelta(minutes=1)),
        lambda order: order.close(REJECTION, NOW + timedelta(minutes=1)),
        lambda order: order.cancel(NASTY, NOW + timedelta(minutes=1)),
    ],
    ids=["confirmed", "closed", "cancelled"],
)
def test_a_changed_order_is_read_as_it_was_saved(
    store: Store, change: Callable[[Order], OrderEvent]
) -> None:
    order, bystander = _order(), _order()
    store.add(order, bystander)
    change(order)

    store.change(order.order_id, change)

    assert store.order(order.order_id) == order
    assert store.order(bystander.order_id) == bystander


def test_who_locks_an_order_waits_for_who_has_it_and_sees_the_change(store: Store) -> None:
    order = _order()
    store.add(order)
    store.change(order.order_id, lambda order: order.confirm(NOW))
    parcel = Shipment(uuid.uuid4(), "UPS", "1", [Pieces("A", 2)])
    seen: list[Order] = []

    def look() -> None:
        with store.work() as work:
            seen.append(work.orders.lock([order.order_id])[order.order_id])

    other = threading.Thread(target=look)
    with store.work() as work:
        mine = work.orders.lock([order.order_id])[order.order_id]
        other.start()
        other.join(0.3)
        work.orders.save([mine.ship(parcel, NOW)])
        work.commit([])
    other.join(10)

    assert seen == [mine]
    assert seen[0].lines[1].shipped_quantity == 2


def test_only_what_exists_is_found(store: Store) -> None:
    order, unknown = _order(), uuid.uuid4()
    store.add(order)

    with store.work() as work:
        assert dict(work.orders.lock([unknown, order.order_id])) == {order.order_id: order}
    assert store.reader.get([unknown]) == {}
    assert store.reader.timelines([unknown]) == {}


@pytest.mark.parametrize("nothing", [[]])
def test_nothing_is_a_set_too(store: Store, nothing: Sequence[Any]) -> None:
    with store.work() as work:
        assert work.orders.add(nothing) == set()
        assert dict(work.orders.lock([])) == {}
        work.orders.save(nothing)
        work.commit([])
    assert store.reader.get([]) == {}
    assert store.reader.timelines([]) == {}


def test_a_timeline_has_every_state_with_its_time_and_reason(store: Store) -> None:
    closed, pending = _order(), _order()
    store.add(closed, pending)
    store.change(closed.order_id, lambda order: order.close(REJECTION, NOW + timedelta(hours=1)))

    timelines = store.reader.timelines([pending.order_id, closed.order_id])

    assert [
        (entry.version, entry.state, entry.enter_time, entry.rejection)
        for entry in timelines[closed.order_id]
    ] == [
        (1, OrderState.PENDING, NOW, None),
        (2, OrderState.REJECTED, NOW + timedelta(hours=1), REJECTION),
    ]
    assert [entry.state for entry in timelines[pending.order_id]] == [OrderState.PENDING]


def test_a_timeline_keeps_the_reasons_of_those_who_changed_the_order(store: Store) -> None:
    cancelled, short = _order(), _order()
    store.add(cancelled, short)
    parcel = Shipment(uuid.uuid4(), "UPS", "1", [Pieces("A", 2)])
    steps: Sequence[tuple[Order, Callable[[Order], OrderEvent]]] = [
        (cancelled, lambda order: order.cancel(NASTY, NOW)),
        (cancelled, lambda order: order.close(REJECTION, NOW)),
        (short, lambda order: order.confirm(NOW)),
        (short, lambda order: order.ship(parcel, NOW)),
        (short, lambda order: order.close_short("sold out", NOW)),
        (short, lambda order: order.deliver(NOW, reason=NASTY)),
    ]
    for order, step in steps:
        store.change(order.order_id, step)

    timelines = store.reader.timelines([cancelled.order_id, short.order_id])

    assert [entry.reason for entry in timelines[cancelled.order_id]] == ["", NASTY, ""]
    assert [entry.reason for entry in timelines[short.order_id]] == ["", "", "", "sold out", NASTY]
    assert store.order(cancelled.order_id).cancellation_reason == NASTY


def _fulfil(order: Order) -> Sequence[OrderEvent]:
    """Ship all of 1 B and 3 A in two parts, deliver, take two of A back."""
    return [
        order.confirm(NOW),
        order.ship(Shipment(uuid.uuid4(), "UPS", NASTY, [Pieces("A", 2)]), NOW),
        order.ship(Shipment(uuid.uuid4(), "DHL", "2", [Pieces("A", 1), Pieces("B", 1)]), NOW),
        order.deliver(NOW),
        order.take_back(uuid.uuid4(), [Pieces("A", 1)], reason=NASTY, now=NOW),
        order.take_back(uuid.uuid4(), [Pieces("A", 1)], reason="late", now=NOW),
    ]


def test_what_happened_to_an_order_in_one_unit_of_work_is_all_kept(store: Store) -> None:
    order, other = _order(), _order()
    store.add(order, other)
    events = [event for both in zip(_fulfil(order), _fulfil(other), strict=True) for event in both]

    with store.work() as work:
        work.orders.lock([order.order_id, other.order_id])
        work.orders.save(events)
        work.commit([])

    assert store.order(order.order_id) == order
    assert store.order(other.order_id) == other
    assert [line.returned_quantity for line in store.order(order.order_id).lines] == [0, 2]
    timeline = store.reader.timelines([order.order_id])[order.order_id]
    assert [entry.version for entry in timeline] == [1, 2, 3, 4, 5, 6, 7]
    mine = [event for event in events if event.order.order_id == order.order_id]
    for event, entry in zip(mine, timeline[1:], strict=True):
        assert entry.state is event.order.state
        assert entry.goods_return == getattr(event, "goods_return", None)
        assert _sorted(entry.shipment) == _sorted(getattr(event, "shipment", None))


def _sorted(shipment: Shipment | None) -> object:
    """A shipment whose lines stand in no order."""
    return shipment and replace(shipment, lines=sorted(shipment.lines, key=lambda one: one.sku))


@pytest.mark.parametrize(
    "columns",
    ["shipped_quantity = quantity + 1", "returned_quantity = 1", "shipped_quantity = -1"],
)
def test_the_table_refuses_more_than_was_ordered_or_shipped(schema: Database, columns: str) -> None:
    order = _order()
    _in_postgres(schema).add(order)

    with pytest.raises(BatchRefused):
        schema.execute(f"UPDATE order_lines SET {columns}")


def test_rows_are_locked_in_the_order_of_their_ids_wherever_they_lie(schema: Database) -> None:
    """Two batches with orders in common would deadlock otherwise."""
    store = _in_postgres(schema)
    ids = sorted((uuid.uuid4() for _ in range(5)), key=str)
    for order_id in reversed(ids):
        store.add(placed(order_id=order_id).order)

    def lock_all() -> None:
        with store.work() as work:
            work.orders.lock(ids)

    other = threading.Thread(target=lock_all)
    with store.work() as work:
        work.orders.lock(ids[-1:])
        other.start()
        wait_for(lambda: schema.fetch("SELECT FROM pg_locks WHERE NOT granted"))
        with schema.transaction() as transaction:
            free = transaction.execute("SELECT order_id FROM orders FOR UPDATE SKIP LOCKED")
    other.join(10)

    assert free == []


def test_lines_keep_their_order_wherever_they_lie(
    schema: Database, database: FreshDatabase
) -> None:
    with connect(database.admin_url) as admin, admin.cursor() as cursor:
        for scan in ("indexscan", "bitmapscan"):
            cursor.execute(f'ALTER DATABASE "{database.name}" SET enable_{scan} = off')
    order = _order()
    _in_postgres(schema).add(order)
    schema.execute("UPDATE order_lines SET quantity = quantity WHERE line_number = 1")

    with closing(Database(database.url("trackops_order"), application_name="scan")) as scanning:
        assert _in_postgres(scanning).order(order.order_id) == order
