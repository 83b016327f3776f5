"""Shipping, delivering and returning, as use cases."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from trackops_common.database import Database
from trackops_common.errors import RequestIdReused
from trackops_common.racing import at_once
from trackops_common.testing import ManualClock
from trackops_order.adapters.postgres import PostgresOrderReader, PostgresUnitOfWorkFactory
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.confirm_orders import ConfirmOrder, ConfirmOrders
from trackops_order.application.deliver_orders import DeliverOrder, DeliverOrders
from trackops_order.application.ports import OrderReader, UnitOfWorkFactory
from trackops_order.application.return_orders import ReturnOrder, ReturnOrders
from trackops_order.application.ship_orders import ShipOrder, ShipOrders
from trackops_order.domain.errors import EtagMismatch, ForbiddenTransition, TooManyPieces
from trackops_order.domain.events import OrderEvent
from trackops_order.domain.goods import OrderLine, Pieces
from trackops_order.domain.order import Order
from trackops_order.domain.states import OrderState
from trackops_order.testing import InMemoryOrderCache, InMemoryOrderFeed, InMemoryOrders, placed


def _encode(event: OrderEvent) -> bytes:
    return f"{event.order.state} v{event.order.version}".encode()


class World:
    def __init__(self, work: UnitOfWorkFactory, reader: OrderReader) -> None:
        self.reader = reader
        self._work = work
        change_orders = ChangeOrders(
            work, InMemoryOrderCache(), InMemoryOrderFeed(), _encode, ManualClock()
        )
        self.confirm = ConfirmOrders(change_orders)
        self.ship = ShipOrders(change_orders)
        self.deliver = DeliverOrders(change_orders)
        self.take_back = ReturnOrders(change_orders)

    def confirmed(self, quantity: int) -> UUID:
        """A confirmed order of so many TEA-1."""
        order = placed(lines=[OrderLine("TEA-1", quantity, 350)]).order
        with self._work() as work:
            work.orders.add([order])
            work.commit([])
        self.confirm([ConfirmOrder("orchestrator", str(uuid.uuid4()), order.order_id)])
        return order.order_id

    def order(self, order_id: UUID) -> Order:
        return self.reader.get([order_id])[order_id]


@pytest.fixture
def orders() -> InMemoryOrders:
    return InMemoryOrders()


@pytest.fixture
def world(orders: InMemoryOrders) -> World:
    return World(orders, orders)


def _ship(order_id: UUID, quantity: int) -> ShipOrder:
    return ShipOrder(
        "shop",
        str(uuid.uuid4()),
        order_id,
        carrier="UPS",
        tracking_number="1Z",
        lines=[Pieces("TEA-1", quantity)],
    )


def _return(order_id: UUID, quantity: int) -> ReturnOrder:
    return ReturnOrder(
        "shop", str(uuid.uuid4()), order_id, reason="broken", lines=[Pieces("TEA-1", quantity)]
    )


def _deliver(order_id: UUID) -> DeliverOrder:
    return DeliverOrder("shop", str(uuid.uuid4()), order_id)


def test_shipments_of_one_order_in_one_batch_run_one_after_the_other(
    world: World, orders: InMemoryOrders
) -> None:
    order_id = world.confirmed(3)

    outcomes = world.ship([_ship(order_id, 2), _ship(order_id, 2), _ship(order_id, 1)])

    assert [outcomes[0], outcomes[2]] == [b"FULFILLING v3", b"SHIPPED v4"]
    assert isinstance(outcomes[1], TooManyPieces)
    assert (outcomes[1].requested, outcomes[1].available) == (2, 1)
    told = [(event.order.version, event.order.state) for event in orders.events[1:]]
    assert told == [(3, OrderState.FULFILLING), (4, OrderState.SHIPPED)]


def test_an_order_goes_all_the_way_and_back(world: World) -> None:
    order_id = world.confirmed(2)

    answers = [
        *world.ship([_ship(order_id, 2)]),
        *world.deliver([_deliver(order_id)]),
        *world.take_back([_return(order_id, 1), _return(order_id, 1)]),
    ]

    states = [b"SHIPPED v3", b"DELIVERED v4", b"PARTIALLY_RETURNED v5", b"RETURNED v6"]
    assert answers == states
    assert world.order(order_id).refunded_minor == 700


def test_a_repeat_gets_the_same_response_and_moves_nothing(world: World) -> None:
    order_id = world.confirmed(4)
    shipping, rest = _ship(order_id, 1), _ship(order_id, 3)
    delivering, returning = _deliver(order_id), _return(order_id, 1)

    first = [*world.ship([shipping, rest]), *world.deliver([delivering])]
    first += world.take_back([returning])
    again = [*world.ship([shipping, rest]), *world.deliver([delivering])]
    again += world.take_back([returning])

    assert first == again
    order = world.order(order_id)
    assert (order.version, order.lines[0].returned_quantity) == (6, 1)


def test_another_body_under_the_same_request_id_is_refused(world: World) -> None:
    order_id = world.confirmed(4)
    shipping, returning = _ship(order_id, 4), _return(order_id, 1)
    world.ship([shipping])
    world.take_back([returning])

    fewer = [Pieces("TEA-1", 2)]
    outcomes = [
        *world.ship([replace(shipping, lines=fewer)]),
        *world.ship([replace(shipping, carrier="DHL")]),
        *world.ship([replace(shipping, tracking_number="2")]),
        *world.take_back([replace(returning, lines=fewer)]),
        *world.take_back([replace(returning, reason="late")]),
    ]

    assert [type(outcome) for outcome in outcomes] == [RequestIdReused] * 5
    assert world.order(order_id).version == 4


@pytest.mark.parametrize("etag", ["v1", "v3", "2", "something else"])
def test_a_stale_etag_aborts_every_change_and_leaves_nothing(
    world: World, orders: InMemoryOrders, etag: str
) -> None:
    order_id = world.confirmed(4)
    before, told = world.order(order_id), len(orders.events)

    outcomes = [
        *world.ship([replace(_ship(order_id, 1), etag=etag)]),
        *world.deliver([replace(_deliver(order_id), etag=etag)]),
        *world.take_back([replace(_return(order_id, 1), etag=etag)]),
    ]

    for outcome in outcomes:
        assert isinstance(outcome, EtagMismatch)
        assert (outcome.order_id, outcome.etag, outcome.current) == (order_id, etag, "v2")
    assert world.order(order_id) == before
    assert (len(orders.events), len(orders.requests)) == (told, 1)


def test_the_order_s_own_etag_lets_a_change_through_and_its_repeat(world: World) -> None:
    order_id = world.confirmed(4)
    shipping = replace(_ship(order_id, 1), etag=world.order(order_id).etag)

    (first,) = world.ship([shipping])
    (again,) = world.ship([shipping])
    (bare,) = world.ship([replace(shipping, etag="")])

    assert first == again == b"FULFILLING v3"
    assert isinstance(bare, RequestIdReused)


def test_of_two_changes_with_one_etag_in_a_batch_the_second_is_aborted(world: World) -> None:
    order_id = world.confirmed(4)
    etag = world.order(order_id).etag

    first, second = world.ship([replace(_ship(order_id, 1), etag=etag) for _ in range(2)])

    assert first == b"FULFILLING v3"
    assert isinstance(second, EtagMismatch)


def test_the_shipment_and_the_return_bear_the_key_of_their_request(world: World) -> None:
    order_id = world.confirmed(1)
    shipping, returning = _ship(order_id, 1), _return(order_id, 1)

    world.ship([shipping])
    world.take_back([returning])

    *_, shipped, returned = world.reader.timelines([order_id])[order_id]
    assert shipped.shipment is not None and returned.goods_return is not None
    assert shipped.shipment.shipment_id == shipping.request_key
    assert returned.goods_return.return_id == returning.request_key


@pytest.mark.parametrize("pieces", [1, 3])
def test_however_the_calls_race_no_more_is_shipped_or_returned_than_there_is(
    schema: Database, pieces: int
) -> None:
    world = World(PostgresUnitOfWorkFactory(schema, events_topic="t"), PostgresOrderReader(schema))
    order_id = world.confirmed(10)

    shipped = _raced([lambda: world.ship([_ship(order_id, pieces)])] * 16)
    rest = 10 - shipped * pieces
    world.ship([_ship(order_id, rest)] if rest else [])
    returned = _raced([lambda: world.take_back([_return(order_id, pieces)])] * 16)

    assert shipped == returned == 10 // pieces
    line = world.order(order_id).lines[0]
    assert (line.shipped_quantity, line.returned_quantity) == (10, returned * pieces)
    rows = schema.fetch(
        "SELECT (SELECT sum(quantity) FROM order_shipment_lines),"
        " (SELECT sum(quantity) FROM order_return_lines), (SELECT count(*) FROM outbox)"
    )
    assert tuple(rows[0]) == (10, returned * pieces, 1 + shipped + bool(rest) + returned)


def _raced(calls: Sequence[Callable[[], Sequence[ChangeOutcome]]]) -> int:
    """How many succeeded; every other was refused for what was left or for the state."""
    outcomes = [outcome for outcomes in at_once(*calls) for outcome in outcomes]
    refused = [one for one in outcomes if isinstance(one, TooManyPieces | ForbiddenTransition)]
    successes = [one for one in outcomes if isinstance(one, bytes)]
    assert len(successes) + len(refused) == len(calls)
    return len(successes)
