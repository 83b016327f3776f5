from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import pytest

from trackops_common.errors import TransientError
from trackops_common.testing import ManualClock
from trackops_order.application.get_orders import CacheUse, GetOrders, ReadOrder, ReadOutcome
from trackops_order.domain.errors import OrderNotFound, VersionNotReached
from trackops_order.domain.order import Order
from trackops_order.testing import InMemoryOrderCache, InMemoryOrders, placed

Get = Callable[[Sequence[UUID]], Sequence[ReadOutcome]]


def _encode(order: Order) -> bytes:
    return f"{order.order_id} {order.state} v{order.version}".encode()


def _customer_of(encoded: bytes) -> str:
    """Of orders that are made by `placed`."""
    assert encoded
    return "customer-1"


class CountingReader(InMemoryOrders):
    """Remembers what was asked of it, and fails once if told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[UUID]] = []
        self.failure: Exception | None = None

    def get(self, order_ids: Sequence[UUID]) -> Mapping[UUID, Order]:
        self.asked.append(list(order_ids))
        failure, self.failure = self.failure, None
        if failure:
            raise failure
        return super().get(order_ids)


class Background:
    """What is to be done later, done when told."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def run(self) -> None:
        while self.work:
            self.work.pop(0)()


@pytest.fixture
def orders() -> CountingReader:
    return CountingReader()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(clock: ManualClock) -> InMemoryOrderCache:
    return InMemoryOrderCache(clock)


@pytest.fixture
def background() -> Background:
    return Background()


@pytest.fixture
def leads() -> list[float]:
    """What the dice say, one a batch; then 0."""
    return []


@pytest.fixture
def get_orders(
    orders: CountingReader, cache: InMemoryOrderCache, background: Background, leads: list[float]
) -> GetOrders:
    lead = lambda: leads.pop(0) if leads else 0.0  # noqa: E731 - it has no better name
    return GetOrders(orders, cache, _encode, _customer_of, background.work.append, lead)


@pytest.fixture
def get(get_orders: GetOrders) -> Get:
    """By id alone."""
    return lambda order_ids: get_orders([ReadOrder(order_id) for order_id in order_ids])


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


def test_the_second_read_of_an_order_comes_from_the_cache(get: Get, orders: CountingReader) -> None:
    order_id = _place(orders)

    assert get([order_id]) == get([order_id]) == [f"{order_id} PENDING v1".encode()]
    assert orders.asked == [[order_id]]


def test_only_what_the_cache_lacks_is_read_and_with_one_query(
    get: Get, orders: CountingReader
) -> None:
    ids = [_place(orders) for _ in range(4)]
    get(ids[:2])

    found = get(ids)

    assert [text.split()[0] for text in found if isinstance(text, bytes)] == [
        str(order_id).encode() for order_id in ids
    ]
    assert orders.asked == [ids[:2], ids[2:]]


def test_an_id_asked_twice_is_read_once_and_answered_twice(
    get: Get, orders: CountingReader
) -> None:
    order_id = _place(orders)

    first, second = get([order_id, order_id])

    assert first == second == f"{order_id} PENDING v1".encode()
    assert orders.asked == [[order_id]]


def test_an_unknown_id_is_an_answer_of_its_own_and_remembered_for_a_second(
    get: Get, orders: CountingReader, clock: ManualClock
) -> None:
    known, unknown = _place(orders), uuid.uuid4()

    for found, missing in [get([known, unknown]), get([known, unknown])]:
        assert isinstance(found, bytes)
        assert isinstance(missing, OrderNotFound)
        assert missing.order_id == unknown
    assert orders.asked == [[known, unknown]]

    clock.advance(seconds=1)
    get([known, unknown])

    assert orders.asked[1:] == [[unknown]]


def test_an_order_is_there_at_once_although_its_id_was_unknown(
    get: Get, orders: CountingReader, cache: InMemoryOrderCache
) -> None:
    order = placed().order
    get([order.order_id])
    with orders() as work:
        work.orders.add([order])
        work.commit([])
    cache.supersede({order.order_id: 1})

    assert get([order.order_id]) == [f"{order.order_id} PENDING v1".encode()]


def test_a_superseded_entry_is_read_anew(
    get: Get, orders: CountingReader, cache: InMemoryOrderCache
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

    get = GetOrders(
        orders,
        cache,
        encode_while_it_changes,
        _customer_of,
        Background().work.append,
        lambda: 0,
    )
    get([ReadOrder(order_id)])

    assert get([ReadOrder(order_id)]) == [f"{order_id} CONFIRMED v2".encode()]


def test_without_its_cache_every_read_is_right(
    get: Get, orders: CountingReader, cache: InMemoryOrderCache
) -> None:
    order_id = _place(orders)
    get([order_id])
    cache.cut()
    _confirm(orders, order_id)
    cache.supersede({order_id: 2})

    while_away = get([order_id])
    cache.restore()

    assert while_away == get([order_id]) == [f"{order_id} CONFIRMED v2".encode()]


def test_what_is_older_than_the_minimum_is_read_anew(
    get_orders: GetOrders, orders: CountingReader
) -> None:
    """The mark of the change was missed."""
    order_id, other = _place(orders), _place(orders)
    get_orders([ReadOrder(order_id), ReadOrder(other)])
    _confirm(orders, order_id)

    found = get_orders([ReadOrder(order_id, 1), ReadOrder(other, 1)])
    assert [one.split()[1] for one in found if isinstance(one, bytes)] == [b"PENDING"] * 2
    found = get_orders([ReadOrder(order_id, 2), ReadOrder(other, 1)])
    assert [one.split()[1] for one in found if isinstance(one, bytes)] == [b"CONFIRMED", b"PENDING"]
    assert orders.asked[1:] == [[order_id]]
    assert get_orders([ReadOrder(order_id)]) == [f"{order_id} CONFIRMED v2".encode()]
    assert len(orders.asked) == 2


def test_in_one_batch_the_greatest_minimum_of_an_order_counts(
    get_orders: GetOrders, orders: CountingReader
) -> None:
    order_id = _place(orders)
    get_orders([ReadOrder(order_id)])
    _confirm(orders, order_id)

    found = get_orders([ReadOrder(order_id, 2), ReadOrder(order_id), ReadOrder(order_id, 1)])

    assert found == [f"{order_id} CONFIRMED v2".encode()] * 3


def test_a_version_that_the_order_never_had_is_refused_to_who_asks_for_it_alone(
    get_orders: GetOrders, orders: CountingReader
) -> None:
    order_id = _place(orders)

    refused, found = get_orders([ReadOrder(order_id, 5), ReadOrder(order_id, 1)])

    assert isinstance(refused, VersionNotReached)
    assert (refused.order_id, refused.min_version, refused.version) == (order_id, 5, 1)
    assert found == f"{order_id} PENDING v1".encode()


def test_an_id_known_as_unknown_is_older_than_any_minimum(
    get_orders: GetOrders, orders: CountingReader
) -> None:
    """The mark of its creation was missed."""
    order = placed().order
    assert isinstance(get_orders([ReadOrder(order.order_id)])[0], OrderNotFound)
    with orders() as work:
        work.orders.add([order])
        work.commit([])

    assert isinstance(get_orders([ReadOrder(order.order_id, 1)])[0], bytes)


def test_an_unknown_id_is_not_found_at_any_minimum(get_orders: GetOrders) -> None:
    assert isinstance(get_orders([ReadOrder(uuid.uuid4(), 3)])[0], OrderNotFound)


def test_an_entry_is_refreshed_before_it_expires_by_one_of_its_readers(
    get: Get,
    orders: CountingReader,
    background: Background,
    clock: ManualClock,
    leads: list[float],
) -> None:
    order_id = _place(orders)
    get([order_id])
    clock.advance(seconds=25)  # 5 are left

    leads += [4.9, 5.1, 5.1]
    assert len({*get([order_id]), *get([order_id]), *get([order_id])}) == 1
    assert len(background.work) == 1
    assert len(orders.asked) == 1
    background.run()
    assert orders.asked == [[order_id]] * 2

    clock.advance(seconds=25)
    leads += [4.9, 5.1]
    get([order_id])
    assert not background.work
    get([order_id])
    background.run()
    assert orders.asked == [[order_id]] * 3


def test_a_refresh_does_not_bring_back_the_past(
    get: Get,
    orders: CountingReader,
    cache: InMemoryOrderCache,
    background: Background,
    leads: list[float],
) -> None:
    order_id = _place(orders)
    get([order_id])
    leads += [60]
    get([order_id])
    cache.supersede({order_id: 2})

    background.run()
    _confirm(orders, order_id)

    assert get([order_id]) == [f"{order_id} CONFIRMED v2".encode()]


@pytest.mark.parametrize("failure", [TransientError("lost"), ValueError("a defect")])
def test_a_refresh_that_failed_can_be_tried_again(
    get: Get,
    orders: CountingReader,
    background: Background,
    leads: list[float],
    failure: Exception,
) -> None:
    order_id = _place(orders)
    get([order_id])
    leads += [60, 60]
    get([order_id])
    orders.failure = failure
    with suppress(ValueError):  # which the background reports
        background.run()

    get([order_id])

    assert len(background.work) == 1


def test_unknown_ids_are_not_refreshed(
    get: Get, background: Background, leads: list[float]
) -> None:
    unknown = uuid.uuid4()
    get([unknown])
    leads += [60]

    get([unknown])

    assert not background.work


def test_what_the_cache_was_good_for_is_counted(
    get_orders: GetOrders, orders: CountingReader, leads: list[float]
) -> None:
    ids = [_place(orders), _place(orders), uuid.uuid4()]
    get_orders([ReadOrder(ids[0])])
    leads += [60]

    get_orders([ReadOrder(one) for one in ids] + [ReadOrder(ids[0])])
    get_orders([ReadOrder(ids[2])])

    assert get_orders.use == CacheUse(hits=2, misses=3, early_refreshes=1)


def test_an_older_version_than_asked_for_and_a_late_write_are_counted(
    get_orders: GetOrders, orders: CountingReader
) -> None:
    order_id = _place(orders)
    get_orders([ReadOrder(order_id)])
    get_orders.cache.supersede({order_id: 1})  # which it knows already
    get_orders.cache.put(1, {order_id: (3, b"of another replica")})

    get_orders([ReadOrder(order_id, min_version=4)])

    assert get_orders.use == CacheUse(misses=1, stale=1, late_writes=1)
