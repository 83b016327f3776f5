"""Pieces that left or came back, as rows beside their order's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Transaction
from trackops_order.domain.events import OrderEvent, OrderReturned, OrderShipped
from trackops_order.domain.goods import GoodsReturn, Pieces, ReturnedLine, Shipment
from trackops_order.domain.order import Order

__all__ = ["goods_return", "save_movements", "shipment"]

_SAVE_LINES = """
UPDATE order_lines
   SET shipped_quantity = moved.shipped, returned_quantity = moved.returned
  FROM unnest(%(order_ids)s::uuid[], %(line_numbers)s::smallint[], %(shipped)s::int[],
              %(returned)s::int[]) AS moved(order_id, line_number, shipped, returned)
 WHERE order_lines.order_id = moved.order_id AND order_lines.line_number = moved.line_number
"""

_INSERT_SHIPMENTS = """
WITH added AS (
    INSERT INTO order_shipments (order_id, version, shipment_id, carrier, tracking_number)
    SELECT * FROM unnest(%(order_ids)s::uuid[], %(versions)s::bigint[], %(ids)s::uuid[],
                         %(carriers)s::text[], %(tracking_numbers)s::text[])
)
INSERT INTO order_shipment_lines (order_id, version, line_number, quantity)
SELECT * FROM unnest(%(line_order_ids)s::uuid[], %(line_versions)s::bigint[],
                     %(line_numbers)s::smallint[], %(quantities)s::int[])
"""

_INSERT_RETURNS = """
WITH added AS (
    INSERT INTO order_returns (order_id, version, return_id, reason)
    SELECT * FROM unnest(%(order_ids)s::uuid[], %(versions)s::bigint[], %(ids)s::uuid[],
                         %(reasons)s::text[])
)
INSERT INTO order_return_lines (order_id, version, line_number, quantity, refund_minor)
SELECT * FROM unnest(%(line_order_ids)s::uuid[], %(line_versions)s::bigint[],
                     %(line_numbers)s::smallint[], %(quantities)s::int[], %(refunds)s::bigint[])
"""

Movement = OrderShipped | OrderReturned


def save_movements(transaction: Transaction, events: Iterable[OrderEvent]) -> None:
    """Store the shipments and returns among `events`, and what their lines have left."""
    movements = [event for event in events if isinstance(event, Movement)]
    if not movements:
        return
    latest = {event.order.order_id: event.order for event in movements}
    transaction.execute(_SAVE_LINES, _line_columns(latest.values()))
    if shipped := [event for event in movements if isinstance(event, OrderShipped)]:
        transaction.execute(_INSERT_SHIPMENTS, _shipment_columns(shipped))
    if returned := [event for event in movements if isinstance(event, OrderReturned)]:
        transaction.execute(_INSERT_RETURNS, _return_columns(returned))


def shipment(value: Sequence[Any] | None) -> Shipment | None:
    """The shipment of a JSON array as the timeline's query makes it."""
    if value is None:
        return None
    shipment_id, carrier, tracking_number, lines = value
    return Shipment(UUID(shipment_id), carrier, tracking_number, [Pieces(*line) for line in lines])


def goods_return(value: Sequence[Any] | None) -> GoodsReturn | None:
    """The return of a JSON array as the timeline's query makes it."""
    if value is None:
        return None
    return_id, reason, lines = value
    return GoodsReturn(UUID(return_id), reason, [ReturnedLine(*line) for line in lines])


def _line_columns(orders: Iterable[Order]) -> Mapping[str, Any]:
    lines = [
        (order.order_id, number, line)
        for order in orders
        for number, line in enumerate(order.lines, start=1)
    ]
    return {
        "order_ids": arrays.uuids(order_id for order_id, _, _ in lines),
        "line_numbers": arrays.integers(number for _, number, _ in lines),
        "shipped": arrays.integers(line.shipped_quantity for _, _, line in lines),
        "returned": arrays.integers(line.returned_quantity for _, _, line in lines),
    }


def _shipment_columns(events: Sequence[OrderShipped]) -> Mapping[str, Any]:
    shipments = [event.shipment for event in events]
    return {
        **_event_columns(events),
        **_moved_columns([(event.order, event.shipment.lines) for event in events]),
        "ids": arrays.uuids(one.shipment_id for one in shipments),
        "carriers": arrays.texts(one.carrier for one in shipments),
        "tracking_numbers": arrays.texts(one.tracking_number for one in shipments),
    }


def _return_columns(events: Sequence[OrderReturned]) -> Mapping[str, Any]:
    returns = [event.goods_return for event in events]
    return {
        **_event_columns(events),
        **_moved_columns([(event.order, event.goods_return.lines) for event in events]),
        "ids": arrays.uuids(one.return_id for one in returns),
        "reasons": arrays.texts(one.reason for one in returns),
        "refunds": arrays.integers(line.refund_minor for one in returns for line in one.lines),
    }


def _event_columns(events: Sequence[Movement]) -> Mapping[str, Any]:
    return {
        "order_ids": arrays.uuids(event.order.order_id for event in events),
        "versions": arrays.integers(event.order.version for event in events),
    }


def _moved_columns(
    moved: Sequence[tuple[Order, Sequence[Pieces] | Sequence[ReturnedLine]]],
) -> Mapping[str, Any]:
    rows = [
        (order, _line_number(order, line.sku), line) for order, lines in moved for line in lines
    ]
    return {
        "line_order_ids": arrays.uuids(order.order_id for order, _, _ in rows),
        "line_versions": arrays.integers(order.version for order, _, _ in rows),
        "line_numbers": arrays.integers(number for _, number, _ in rows),
        "quantities": arrays.integers(line.quantity for _, _, line in rows),
    }


def _line_number(order: Order, sku: str) -> int:
    return next(number for number, line in enumerate(order.lines, start=1) if line.sku == sku)
