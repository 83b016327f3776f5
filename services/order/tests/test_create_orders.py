from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from trackops_common.errors import RequestIdExpired, RequestIdReused
from trackops_common.testing import ManualClock
from trackops_order.application.create_orders import CreateOrder, CreateOrders
from trackops_order.application.ports import UnitOfWork
from trackops_order.domain.details import Address, OrderDetails
from trackops_order.domain.errors import InvalidOrder
from trackops_order.domain.events import OrderPlaced
from trackops_order.domain.goods import OrderLine
from trackops_order.domain.order import Order
from trackops_order.testing import InMemoryOrderCache, InMemoryOrders

COMMAND = CreateOrder(
    principal="somebody",
    request_id="6f1c0000-0000-4000-8000-00000000000a",
    customer_id="c-1",
    currency_code="EUR",
    lines=[OrderLine("TEA-1", 2, 350)],
    payment_method_token="tok_ok",
)
OTHER_BODY = replace(COMMAND, customer_id="c-2")
INVALID_BODY = replace(COMMAND, lines=[OrderLine("TEA-1", 1, 1), OrderLine("TEA-1", 2, 1)])


def _another(number: int) -> CreateOrder:
    return replace(COMMAND, request_id=f"6f1c0000-0000-4000-8000-{number:012d}")


def _encode(order: Order) -> bytes:
    return f"{order.order_id} for {order.customer_id} at {order.create_time}".encode()


@pytest.fixture
def orders() -> InMemoryOrders:
    return InMemoryOrders()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache() -> InMemoryOrderCache:
    return InMemoryOrderCache()


@pytest.fixture
def create(orders: InMemoryOrders, cache: InMemoryOrderCache, clock: ManualClock) -> CreateOrders:
    return CreateOrders(orders, cache, _encode, clock)


def _ids(orders: InMemoryOrders) -> list[object]:
    return [event.order.order_id for event in orders.events]


def test_a_new_order_is_stored_told_and_shown(
    create: CreateOrders, orders: InMemoryOrders, clock: ManualClock
) -> None:
    (response,) = create([COMMAND])

    stored = orders.get([COMMAND.request_key])[COMMAND.request_key]
    (event,) = orders.events
    assert isinstance(event, OrderPlaced)
    assert event.order == stored
    assert event.payment_method_token == "tok_ok"
    assert stored.total_minor == 700
    assert stored.create_time == clock.now()
    assert response == _encode(stored)
    assert len(orders.requests) == 1


def test_the_time_of_creation_is_taken_after_the_unit_of_work_began(
    orders: InMemoryOrders, clock: ManualClock
) -> None:
    """OLDEST_FIRST listings end where the oldest open unit of work began, and count on that."""
    began: list[datetime] = []

    @contextmanager
    def begin_late() -> Iterator[UnitOfWork]:
        clock.advance(seconds=3)  # as whoever waits for a connection
        with orders() as work:
            began.append(clock.now())
            yield work

    CreateOrders(begin_late, InMemoryOrderCache(), _encode, clock)([COMMAND])

    stored = orders.get([COMMAND.request_key])[COMMAND.request_key]
    assert [stored.create_time] == began


def test_metadata_in_another_order_is_the_same_request(
    create: CreateOrders, orders: InMemoryOrders
) -> None:
    pairs = [(f"key-{number}", f"value {number}") for number in range(8)]

    (first,) = create([_detailed(metadata=dict(pairs))])
    (again,) = create([_detailed(metadata=dict(reversed(pairs)))])

    assert first == again
    assert len(orders.events) == 1


@pytest.mark.parametrize(
    "other",
    [
        OrderDetails(note="ring once"),
        OrderDetails(metadata={"a": "b"}),
        OrderDetails(shipping_address=Address("Ada", ("1 High St",), "", "London", "", "GB")),
        OrderDetails(billing_address=Address("Ada", ("1 High St",), "", "London", "", "GB")),
        None,
    ],
    ids=repr,
)
def test_other_details_are_another_body(create: CreateOrders, other: OrderDetails | None) -> None:
    create([_detailed(note="ring twice")])

    (outcome,) = create([replace(COMMAND, details=other)])

    assert isinstance(outcome, RequestIdReused)


def test_a_request_without_details_has_the_hash_that_it_had_before_there_were_any() -> None:
    """Or else a request that was answered by the version of before could not be repeated."""
    assert COMMAND.request_hash.hex() == "2244b0091c49e8d906dc61e2cafe054f"


def _detailed(**details: Any) -> CreateOrder:
    return replace(COMMAND, details=OrderDetails(**details))


def test_no_command_is_no_work(create: CreateOrders, orders: InMemoryOrders) -> None:
    assert create([]) == []
    assert orders.events == []


def test_each_command_of_a_batch_gets_its_own_order_in_its_place(
    create: CreateOrders, orders: InMemoryOrders
) -> None:
    commands = [_another(number) for number in range(5)]

    responses = create(commands)

    stored = orders.get([command.request_key for command in commands])
    assert responses == [_encode(stored[command.request_key]) for command in commands]
    assert _ids(orders) == [command.request_key for command in commands]


def test_a_repeat_in_the_same_batch_gets_the_same_response(
    create: CreateOrders, orders: InMemoryOrders
) -> None:
    first, between, again = create([COMMAND, _another(1), COMMAND])

    assert first == again != between
    assert len(orders.events) == len(orders.requests) == 2


def test_a_repeat_in_a_later_batch_gets_the_same_response(
    create: CreateOrders, orders: InMemoryOrders, clock: ManualClock
) -> None:
    (first,) = create([COMMAND])
    clock.advance(hours=1)

    new, again = create([_another(1), COMMAND])

    assert again == first != new
    assert len(orders.events) == len(orders.requests) == 2


@pytest.mark.parametrize("same_batch", [True, False])
@pytest.mark.parametrize("other", [OTHER_BODY, INVALID_BODY], ids=["valid", "invalid"])
def test_another_body_under_the_same_request_id_is_refused(
    create: CreateOrders, orders: InMemoryOrders, other: CreateOrder, same_batch: bool
) -> None:
    if same_batch:
        _, outcome = create([COMMAND, other])
    else:
        create([COMMAND])
        (outcome,) = create([other])

    assert isinstance(outcome, RequestIdReused)
    assert outcome.request_id == COMMAND.request_id
    (event,) = orders.events
    assert event.order.customer_id == "c-1"


def test_the_same_request_id_of_another_principal_is_another_request(
    create: CreateOrders, orders: InMemoryOrders
) -> None:
    mine, theirs = create([COMMAND, replace(COMMAND, principal="another", customer_id="c-2")])

    assert mine != theirs
    assert len(orders.events) == 2


def test_a_repeat_after_its_response_was_forgotten_makes_no_second_order(
    create: CreateOrders, orders: InMemoryOrders
) -> None:
    create([COMMAND])
    orders.forget_requests()

    outcomes = create([COMMAND, OTHER_BODY])

    assert [type(outcome) for outcome in outcomes] == [RequestIdExpired, RequestIdExpired]
    assert len(orders.events) == 1
    assert orders.requests == []


def test_an_invalid_command_fails_alone(create: CreateOrders, orders: InMemoryOrders) -> None:
    invalid = replace(INVALID_BODY, request_id=_another(2).request_id)

    good, bad, good_too = create([_another(1), invalid, _another(3)])

    assert isinstance(good, bytes)
    assert isinstance(bad, InvalidOrder)
    assert isinstance(good_too, bytes)
    assert _ids(orders) == [_another(1).request_key, _another(3).request_key]
    assert len(orders.requests) == 2


@pytest.mark.parametrize("same_batch", [True, False])
def test_an_invalid_command_does_not_use_up_its_request_id(
    create: CreateOrders, orders: InMemoryOrders, same_batch: bool
) -> None:
    if same_batch:
        invalid, valid = create([INVALID_BODY, COMMAND])
    else:
        (invalid,) = create([INVALID_BODY])
        (valid,) = create([COMMAND])

    assert isinstance(invalid, InvalidOrder)
    assert isinstance(valid, bytes)
    assert _ids(orders) == [COMMAND.request_key]
    assert create([COMMAND]) == [valid]


def test_an_id_that_was_known_as_unknown_is_not_any_more(
    create: CreateOrders, cache: InMemoryOrderCache
) -> None:
    generation = cache.get([]).generation
    cache.put(generation, {COMMAND.request_key: (0, b"")})

    create([COMMAND])

    cache.put(generation, {COMMAND.request_key: (0, b"")})  # by one who looked before
    assert cache.get([COMMAND.request_key]).entries == {}


def test_a_repeat_tells_the_cache_what_the_first_could_not(
    create: CreateOrders, cache: InMemoryOrderCache
) -> None:
    cache.cut()
    create([COMMAND])
    cache.restore()
    cache.put(cache.get([]).generation, {COMMAND.request_key: (0, b"")})

    create([COMMAND])

    assert cache.get([COMMAND.request_key]).entries == {}


def test_the_event_carries_the_trace_of_the_command_that_made_it(
    create: CreateOrders, orders: InMemoryOrders
) -> None:
    create([replace(INVALID_BODY, traceparent="invalid"), replace(COMMAND, traceparent="first")])
    create([replace(_another(2), traceparent="other"), replace(COMMAND, traceparent="repeat")])
    assert orders.traces == ["first", "other"]
