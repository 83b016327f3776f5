"""What must be true after a demo, checked from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import grpc
from trackops.inventory.v1.inventory_pb2 import StockLevel
from trackops.order.v1.order_pb2 import Order, OrderState

from trackops_cli.demo.client import PlacedOrder
from trackops_cli.demo.log import LoggedEvent
from trackops_cli.demo.plan import Ending, Plan
from trackops_common.topics import INVENTORY_EVENTS, ORDER_EVENTS, PAYMENT_EVENTS

__all__ = ["check_answers", "check_events", "check_outcomes", "check_stock", "events_complete"]

_EXPECTED: Mapping[tuple[str, str], Mapping[str, list[str]]] = {
    ("CONFIRMED", ""): {
        ORDER_EVENTS.name: ["OrderPlaced", "OrderConfirmed"],
        INVENTORY_EVENTS.name: ["StockReserved"],
        PAYMENT_EVENTS.name: ["PaymentAuthorized"],
    },
    ("REJECTED", "PAYMENT_DECLINED"): {
        ORDER_EVENTS.name: ["OrderPlaced", "OrderRejected"],
        INVENTORY_EVENTS.name: ["StockReserved", "StockReleased"],
        PAYMENT_EVENTS.name: ["PaymentDeclined"],
    },
    ("REJECTED", "INSUFFICIENT_STOCK"): {
        ORDER_EVENTS.name: ["OrderPlaced", "OrderRejected"],
    },
}
"""The events of each topic, by how an order ended and why."""

_ENDINGS: Mapping[Ending, set[tuple[str, str]]] = {
    Ending.CONFIRMED: {("CONFIRMED", "")},
    Ending.DECLINED: {("REJECTED", "PAYMENT_DECLINED")},
    Ending.SCARCE: {("CONFIRMED", ""), ("REJECTED", "INSUFFICIENT_STOCK")},
}


def end_of(order: Order) -> tuple[str, str]:
    """State and reason, such as ("REJECTED", "PAYMENT_DECLINED")."""
    return OrderState.Name(order.state).removeprefix("ORDER_STATE_"), order.rejection.reason


def check_answers(placed: Sequence[PlacedOrder]) -> Iterator[str]:
    """Problems with what CreateOrder answered."""
    for one in placed:
        if one.planned.ending is Ending.INVALID:
            if one.refusal is not grpc.StatusCode.INVALID_ARGUMENT:
                yield f"an invalid order was answered with {one.refusal or one.order_id}"
        elif one.refusal is not None:
            yield f"a valid order was refused with {one.refusal}"
        elif any(answer != one.answers[0] for answer in one.answers):
            yield f"order {one.order_id}: a repeat got another response"
    ids = [one.order_id for one in placed if one.order_id]
    if len(set(ids)) < len(ids):
        yield "two requests got the same order"


def check_outcomes(
    plan: Plan, placed: Sequence[PlacedOrder], orders: Mapping[str, Order]
) -> Iterator[str]:
    """Problems with how the orders ended."""
    confirmed_scarce = 0
    for one in placed:
        if not one.order_id:
            continue
        end = end_of(orders[one.order_id])
        if end not in _ENDINGS[one.planned.ending]:
            yield f"order {one.order_id} ended {end}; planned: {one.planned.ending}"
        confirmed_scarce += one.planned.ending is Ending.SCARCE and end[0] == "CONFIRMED"
    if confirmed_scarce != plan.scarce_confirmations:
        yield f"{confirmed_scarce} orders got one of {plan.scarce_confirmations} scarce pieces"


def check_stock(
    plan: Plan, orders: Mapping[str, Order], levels: Mapping[str, StockLevel]
) -> Iterator[str]:
    """Problems with stock: on hand as filled, reserved as confirmed, available the difference."""
    promised: Counter[str] = Counter()
    for order in orders.values():
        if order.state == OrderState.ORDER_STATE_CONFIRMED:
            promised.update({line.sku: line.quantity for line in order.lines})
    for sku, filled in plan.stock.items():
        level = levels[sku]
        found = (level.on_hand, level.reserved, level.available)
        expected = (filled, promised[sku], filled - promised[sku])
        if found != expected:
            yield f"{sku}: on hand, reserved, available are {found}; expected {expected}"


def events_complete(
    orders: Mapping[str, Order], events: Mapping[str, Sequence[LoggedEvent]]
) -> bool:
    """Whether as many events have arrived as the ends of the orders ask for."""
    return all(
        len(events[order_id]) >= _expected_count(order) for order_id, order in orders.items()
    )


def check_events(
    orders: Mapping[str, Order], events: Mapping[str, Sequence[LoggedEvent]]
) -> Iterator[str]:
    """Problems with the log: each order's events complete, in order and single."""
    for order_id, order in orders.items():
        by_topic: dict[str, list[LoggedEvent]] = {}
        for event in events[order_id]:
            by_topic.setdefault(event.topic, []).append(event)
        found = {topic: [event.name for event in group] for topic, group in by_topic.items()}
        if found != _EXPECTED[end_of(order)]:
            yield f"order {order_id} ended {end_of(order)} but its events are {found}"
        for topic, group in by_topic.items():
            versions = [event.attributes.aggregateversion for event in group]
            sequence = [event.attributes.outboxseq for event in group]
            if versions != sorted(set(versions)) or sequence != sorted(set(sequence)):
                yield f"order {order_id}: versions {versions}, seq {sequence} on {topic}"
    ids = Counter(event.attributes.id for group in events.values() for event in group)
    yield from (f"event {event_id} is there {n} times" for event_id, n in ids.items() if n > 1)


def _expected_count(order: Order) -> int:
    return sum(map(len, _EXPECTED.get(end_of(order), {}).values()))
