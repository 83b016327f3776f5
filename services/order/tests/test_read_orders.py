from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest

from trackops_common.testing import ManualClock
from trackops_order.application.get_orders import GetOrders
from trackops_order.application.get_timelines import GetTimelines
from trackops_order.domain.errors import OrderNotFound
from trackops_order.domain.order import Order, Rejection
from trackops_order.domain.states import OrderState
from trackops_order.testing import InMemoryOrderCache, InMemoryOrders, placed


def _encode(order: Order) -> bytes:
    return f"{order.order_id} {order.state} v{order.version}".encode()


class CountingReader(InMemoryOrders):
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[UUID]] = []

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Order]:
        self.asked.append(list(order_ids))
        return super().get(order_ids)


@pytest.fixture
def orders() -> CountingReader:
    return CountingReader()


@pytest.fixture
def cache() -> InMemoryOrderCache:
    return InMemoryOrderCache()


@pytest.fixture
def get(orders: CountingReader, cache: InMemoryOrderCache) -> GetOrders:
    return GetOrders(orders, cache, _encode)


def _place(orders: InMemoryOrders) -> UUID:
    order = placed().order
    with orders() as work:
        work.orders.add([order])
        work.commit([])
    return order.order_id


def _confirm(orders: InMemoryOrders, order_id: UUID) -> None:
    with orders() as work:
        order = work.orders.lock([order_id])[order_id]
        work.orders.save([order.confirm(ManualClock().now())])
        work.commit([])


def test_the_second_read_of_an_order_comes_from_the_cache(
    get: GetOrders, orders: CountingReader
) -> None:
    order_id = _place(orders)

    assert get([order_id]) == get([order_id]) == [f"{order_id} PENDING v1".encode()]
    assert orders.asked == [[order_id]]


def test_only_what_the_cache_lacks_is_read_and_with_one_query(
    get: GetOrders, orders: CountingReader
) -> None:
    ids = [_place(orders) for _ in range(4)]
    get(ids[:2])

    found = get(ids)

    assert [text.split()[0] for text in found if isinstance(text, bytes)] == [
        str(order_id).encode() for order_id in ids
    ]
    assert orders.asked == [ids[:2], ids[2:]]


def test_an_id_asked_twice_is_read_once_and_answered_twice(
    get: GetOrders, orders: CountingReader
) -> None:
    order_id = _place(orders)

    first, second = get([order_id, order_id])

    assert first == second == f"{order_id} PENDING v1".encode()
    assert orders.asked == [[order_id]]


def test_an_unknown_id_is_an_answer_of_its_own_and_is_not_cached(
    get: GetOrders, orders: CountingReader
) -> None:
    known, unknown = _place(orders), uuid.uuid4()

    found, missing = get([known, unknown])
    get([unknown])

    assert isinstance(found, bytes)
    assert isinstance(missing, OrderNotFound)
    assert missing.order_id == unknown
    assert orders.asked[-1] == [unknown]


def test_a_superseded_entry_is_read_anew(
    get: GetOrders, orders: CountingReader, cache: InMemoryOrderCache
) -> None:
    order_id = _place(orders)
    get([order_id])
    _confirm(orders, order_id)
    cache.supersede({order_id: 2})

    assert get([order_id]) == [f"{order_id} CONFIRMED v2".encode()]


def test_a_slow_reader_does_not_bring_back_the_past(
    orders: CountingReader, cache: InMemoryOrderCache
) -> None:
    """The order changes after it was read and before the entry is put."""
    order_id = _place(orders)

    def encode_while_it_changes(order: Order) -> bytes:
        if order.version == 1:
            _confirm(orders, order_id)
            cache.supersede({order_id: 2})
        return _encode(order)

    get = GetOrders(orders, cache, encode_while_it_changes)
    get([order_id])

    assert get([order_id]) == [f"{order_id} CONFIRMED v2".encode()]


def test_without_its_cache_every_read_is_right(
    get: GetOrders, orders: CountingReader, cache: InMemoryOrderCache
) -> None:
    order_id = _place(orders)
    get([order_id])
    cache.cut()
    _confirm(orders, order_id)
    cache.supersede({order_id: 2})

    while_away = get([order_id])
    cache.restore()

    assert while_away == get([order_id]) == [f"{order_id} CONFIRMED v2".encode()]


def test_a_timeline_has_every_state_oldest_first() -> None:
    orders = InMemoryOrders()
    order_id, unknown = _place(orders), uuid.uuid4()
    with orders() as work:
        order = work.orders.lock([order_id])[order_id]
        work.orders.save([order.close(Rejection("R", "m"), ManualClock().now())])
        work.commit([])

    get = GetTimelines(
        orders, lambda entries: repr([(e.version, e.state) for e in entries]).encode()
    )
    timeline, missing = get([order_id, unknown])

    assert isinstance(missing, OrderNotFound)
    assert timeline == repr([(1, OrderState.PENDING), (2, OrderState.REJECTED)]).encode()
    assert orders.timelines([order_id])[order_id][1].rejection == Rejection("R", "m")
