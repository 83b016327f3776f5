from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import pytest

from trackops_common.errors import RequestIdReused
from trackops_common.testing import ManualClock
from trackops_order.application.cancel_orders import CancelOrder, CancelOrders
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.close_orders import CloseOrder, CloseOrders
from trackops_order.application.confirm_orders import ConfirmOrder, ConfirmOrders
from trackops_order.application.update_order_statuses import UpdateOrderStatus, UpdateOrderStatuses
from trackops_order.domain.errors import EtagMismatch, ForbiddenTransition, OrderNotFound
from trackops_order.domain.events import (
    OrderCancellationRequested,
    OrderClosedShort,
    OrderConfirmed,
    OrderDelivered,
    OrderEvent,
    OrderRejected,
)
from trackops_order.domain.goods import Pieces, Shipment
from trackops_order.domain.order import Order, Rejection
from trackops_order.domain.states import OrderState
from trackops_order.testing import InMemoryOrderCache, InMemoryOrderFeed, InMemoryOrders, placed

REJECTION = Rejection("INSUFFICIENT_STOCK", "no tea is left")


def _encode(event: OrderEvent) -> bytes:
    return f"{event.order.order_id} v{event.order.version}".encode()


class World:
    def __init__(self) -> None:
        self.orders = InMemoryOrders()
        self.cache = InMemoryOrderCache()
        self.feed = InMemoryOrderFeed()
        self.clock = ManualClock()
        change_orders = ChangeOrders(self.orders, self.cache, self.feed, _encode, self.clock)
        self.confirm = ConfirmOrders(change_orders)
        self.close = CloseOrders(change_orders)
        self.cancel = CancelOrders(change_orders)
        self.update = UpdateOrderStatuses(change_orders)

    def place(self, way: Callable[[Order, datetime], OrderEvent] | None = None) -> UUID:
        """An order that has gone some way already, of which nobody was told."""
        order = placed(now=self.clock.now()).order
        if way is not None:
            way(order, self.clock.now())
        with self.orders() as work:
            work.orders.add([order])
            work.commit([])
        return order.order_id

    def order(self, order_id: UUID) -> Order:
        return self.orders.get([order_id])[order_id]


@pytest.fixture
def world() -> World:
    return World()


def _confirm(order_id: UUID, request_id: str | None = None) -> ConfirmOrder:
    return ConfirmOrder("orchestrator", request_id or str(uuid.uuid4()), order_id)


def _close(order_id: UUID, request_id: str | None = None) -> CloseOrder:
    return CloseOrder("orchestrator", request_id or str(uuid.uuid4()), order_id, REJECTION)


def _cancel(order_id: UUID, request_id: str | None = None) -> CancelOrder:
    return CancelOrder("customer", request_id or str(uuid.uuid4()), order_id)


def _update(order_id: UUID, state: OrderState, request_id: str | None = None) -> UpdateOrderStatus:
    return UpdateOrderStatus(
        "operator", request_id or str(uuid.uuid4()), order_id, state, "as the shop asked"
    )


@dataclass(frozen=True)
class Kind:
    """A use case, by what it does."""

    state: OrderState
    event: type
    run: Callable[[World, Sequence[UUID], str | None], Sequence[ChangeOutcome]]


CONFIRM = Kind(
    OrderState.CONFIRMED,
    OrderConfirmed,
    lambda world, ids, request_id: world.confirm([_confirm(id_, request_id) for id_ in ids]),
)
CLOSE = Kind(
    OrderState.REJECTED,
    OrderRejected,
    lambda world, ids, request_id: world.close([_close(id_, request_id) for id_ in ids]),
)
UPDATE = Kind(
    OrderState.CANCELLING,
    OrderCancellationRequested,
    lambda world, ids, request_id: world.update(
        [_update(id_, OrderState.CANCELLING, request_id) for id_ in ids]
    ),
)
CANCEL = Kind(
    OrderState.CANCELLING,
    OrderCancellationRequested,
    lambda world, ids, request_id: world.cancel([_cancel(id_, request_id) for id_ in ids]),
)
each_kind = pytest.mark.parametrize(
    "kind", [CONFIRM, CLOSE, CANCEL, UPDATE], ids=["confirm", "close", "cancel", "update"]
)


@each_kind
def test_each_order_of_a_batch_is_changed_told_and_shown(world: World, kind: Kind) -> None:
    ids = [world.place() for _ in range(3)]
    world.clock.advance(minutes=1)

    outcomes = kind.run(world, ids, None)

    assert outcomes == [f"{order_id} v2".encode() for order_id in ids]
    assert [type(event) for event in world.orders.events] == [kind.event] * 3
    assert [event.order.order_id for event in world.orders.events] == ids
    for order_id in ids:
        order = world.order(order_id)
        assert (order.state, order.version) == (kind.state, 2)
        assert order.update_time == world.clock.now()


def test_a_closed_order_keeps_the_reason(world: World) -> None:
    order_id = world.place()

    world.close([_close(order_id)])

    assert world.order(order_id).rejection == REJECTION
    assert world.orders.timelines([order_id])[order_id][-1].rejection == REJECTION


@each_kind
def test_a_repeat_gets_the_same_response_and_changes_nothing(world: World, kind: Kind) -> None:
    order_id, request_id = world.place(), str(uuid.uuid4())

    first, again = kind.run(world, [order_id, order_id], request_id)
    world.clock.advance(hours=1)
    (later,) = kind.run(world, [order_id], request_id)

    assert first == again == later
    assert world.order(order_id).version == 2
    assert len(world.orders.events) == len(world.orders.requests) == 1


@each_kind
def test_the_same_request_id_for_another_order_is_refused(world: World, kind: Kind) -> None:
    one, other, request_id = world.place(), world.place(), str(uuid.uuid4())

    _, outcome = kind.run(world, [one, other], request_id)

    assert isinstance(outcome, RequestIdReused)
    assert world.order(other).state is OrderState.PENDING


def test_closing_for_another_reason_under_the_same_request_id_is_refused(world: World) -> None:
    command = _close(world.place())
    world.close([command])

    (outcome,) = world.close([replace(command, rejection=Rejection("OTHER", ""))])

    assert isinstance(outcome, RequestIdReused)


def test_confirming_and_closing_under_one_request_id_are_two_requests(world: World) -> None:
    one, other, request_id = world.place(), world.place(), str(uuid.uuid4())

    assert world.confirm([_confirm(one, request_id)]) == [f"{one} v2".encode()]
    assert world.close([_close(other, request_id)]) == [f"{other} v2".encode()]


@each_kind
def test_an_unknown_order_fails_alone_and_leaves_nothing(world: World, kind: Kind) -> None:
    known, unknown = world.place(), uuid.uuid4()

    outcomes = kind.run(world, [unknown, known], None)

    assert isinstance(outcomes[0], OrderNotFound)
    assert outcomes[0].order_id == unknown
    assert outcomes[1] == f"{known} v2".encode()
    assert len(world.orders.requests) == 1


def test_a_forbidden_transition_is_refused_and_leaves_nothing(world: World) -> None:
    order_id = world.place()
    world.close([_close(order_id)])
    before = world.order(order_id)

    (outcome,) = world.confirm([_confirm(order_id)])

    assert isinstance(outcome, ForbiddenTransition)
    assert (outcome.frm, outcome.to) == ("REJECTED", "CONFIRMED")
    assert world.order(order_id) == before
    assert len(world.orders.events) == len(world.orders.requests) == 1


def test_a_refused_request_is_looked_at_anew_when_it_comes_again(world: World) -> None:
    """Only what had an effect is remembered (AIP-155 stores responses, not refusals)."""
    missing = uuid.uuid4()
    command = _confirm(missing)
    (refused,) = world.confirm([command])
    with world.orders() as work:
        work.orders.add([placed(order_id=missing).order])
        work.commit([])

    assert isinstance(refused, OrderNotFound)
    assert world.confirm([command]) == [f"{missing} v2".encode()]


def test_two_requests_for_one_order_in_a_batch_run_one_after_the_other(world: World) -> None:
    order_id = world.place()

    first, second = world.confirm([_confirm(order_id), _confirm(order_id)])

    assert first == f"{order_id} v2".encode()
    assert isinstance(second, ForbiddenTransition)


def test_a_cancelled_order_is_not_confirmed_and_closing_ends_it(world: World) -> None:
    order_id = world.place()
    world.cancel([_cancel(order_id)])

    (refused,) = world.confirm([_confirm(order_id)])
    (closed,) = world.close([_close(order_id)])

    assert isinstance(refused, ForbiddenTransition)
    assert (refused.frm, refused.to) == ("CANCELLING", "CONFIRMED")
    assert closed == f"{order_id} v3".encode()
    order = world.order(order_id)
    assert (order.state, order.rejection) == (OrderState.CANCELLED, None)


def test_a_confirmed_order_is_cancelled_and_says_so(world: World) -> None:
    order_id = world.place()
    world.confirm([_confirm(order_id)])

    (cancelled,) = world.cancel([replace(_cancel(order_id), reason="too slow")])

    assert cancelled == f"{order_id} v3".encode()
    fact = world.orders.events[-1]
    assert isinstance(fact, OrderCancellationRequested)
    assert (fact.from_state, fact.reason) == (OrderState.CONFIRMED, "too slow")
    assert world.orders.timelines([order_id])[order_id][-1].reason == "too slow"


def test_cancelling_for_another_reason_under_the_same_request_id_is_refused(world: World) -> None:
    command = _cancel(world.place())
    world.cancel([command])

    (outcome,) = world.cancel([replace(command, reason="too slow")])

    assert isinstance(outcome, RequestIdReused)


def _in_part_shipped(order: Order, now: datetime) -> OrderEvent:
    order.confirm(now)
    return order.ship(Shipment(uuid.uuid4(), "UPS", "1Z", [Pieces("TEA-1", 1)]), now)


def _shipped(order: Order, now: datetime) -> OrderEvent:
    _in_part_shipped(order, now)
    return order.close_short("sold out", now)


WAYS: Sequence[tuple[Callable[[Order, datetime], OrderEvent] | None, OrderState, type]] = [
    (None, OrderState.CANCELLING, OrderCancellationRequested),
    (lambda order, now: order.confirm(now), OrderState.CANCELLING, OrderCancellationRequested),
    (_in_part_shipped, OrderState.SHIPPED, OrderClosedShort),
    (_shipped, OrderState.DELIVERED, OrderDelivered),
]
"""How an order comes to where an operator may bring it on."""


@pytest.mark.parametrize(("way", "state", "event"), WAYS)
def test_an_operator_brings_an_order_on_and_the_timeline_says_why(
    world: World,
    way: Callable[[Order, datetime], OrderEvent] | None,
    state: OrderState,
    event: type,
) -> None:
    order_id = world.place(way)
    before = world.order(order_id).version

    (outcome,) = world.update([_update(order_id, state)])

    order = world.order(order_id)
    assert outcome == f"{order_id} v{before + 1}".encode()
    assert (order.state, order.version) == (state, before + 1)
    assert type(world.orders.events[-1]) is event
    entry = world.orders.timelines([order_id])[order_id][-1]
    assert (entry.state, entry.reason) == (state, "as the shop asked")


@pytest.mark.parametrize(
    "state",
    sorted(set(OrderState) - {OrderState.CANCELLING, OrderState.SHIPPED, OrderState.DELIVERED}),
)
@pytest.mark.parametrize("way", [way for way, *_ in WAYS])
def test_every_other_state_is_not_an_operators_to_set(
    world: World, way: Callable[[Order, datetime], OrderEvent] | None, state: OrderState
) -> None:
    order_id = world.place(way)
    before = world.order(order_id)

    (refused,) = world.update([_update(order_id, state)])

    assert isinstance(refused, ForbiddenTransition)
    assert (refused.frm, refused.to) == (before.state, state)
    assert world.order(order_id) == before
    assert world.orders.requests == []


def test_an_order_of_which_nothing_left_is_not_closed_short(world: World) -> None:
    order_id = world.place(lambda order, now: order.confirm(now))

    (refused,) = world.update([_update(order_id, OrderState.SHIPPED)])

    assert isinstance(refused, ForbiddenTransition)
    assert (refused.frm, refused.to) == ("CONFIRMED", "SHIPPED")


def test_a_stale_etag_cancels_nothing(world: World) -> None:
    order_id = world.place()

    (outcome,) = world.cancel([replace(_cancel(order_id), etag="v2")])

    assert isinstance(outcome, EtagMismatch)
    assert world.order(order_id).state is OrderState.PENDING


@each_kind
def test_what_the_cache_had_is_superseded(world: World, kind: Kind) -> None:
    order_id = world.place()
    generation = world.cache.get([order_id]).generation
    world.cache.put(generation, {order_id: (1, b"old")})

    kind.run(world, [order_id], None)
    world.cache.put(generation, {order_id: (1, b"old, read before and put after")})

    assert world.cache.get([order_id]).entries == {}


@each_kind
async def test_who_watches_here_is_told_at_once(world: World, kind: Kind) -> None:
    order_id = world.place()
    with world.feed.subscribe(order_id) as subscription:
        kind.run(world, [order_id], None)

        async with asyncio.timeout(0):
            await subscription.news(above=1)


@each_kind
def test_a_repeat_tells_the_cache_what_the_first_could_not(world: World, kind: Kind) -> None:
    """Its server died in between, say, and another one answers the repeat."""
    order_id, request_id = world.place(), str(uuid.uuid4())
    world.cache.cut()
    kind.run(world, [order_id], request_id)
    world.cache.restore()
    world.cache.put(world.cache.get([]).generation, {order_id: (1, b"old")})

    kind.run(world, [order_id], request_id)

    assert world.cache.get([order_id]).entries == {}


@each_kind
def test_a_cache_that_is_away_stops_no_change(world: World, kind: Kind) -> None:
    order_id = world.place()
    world.cache.cut()

    assert kind.run(world, [order_id], None) == [f"{order_id} v2".encode()]


def test_the_clock_of_a_batch_is_read_once(world: World) -> None:
    ids = [world.place() for _ in range(3)]

    world.confirm([_confirm(order_id) for order_id in ids])

    moments: set[datetime] = {world.order(order_id).update_time for order_id in ids}
    assert moments == {world.clock.now()}
