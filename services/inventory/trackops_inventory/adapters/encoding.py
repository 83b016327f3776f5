"""Stock, reservations and their events as protobuf."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.inventory.v1 import inventory_events_pb2, inventory_pb2, inventory_service_pb2

from trackops_common.outbox import OutboxEvent
from trackops_inventory.domain.events import (
    InventoryEvent,
    StockAdjusted,
    StockCommitted,
    StockReleased,
    StockReserved,
    StockRestocked,
)
from trackops_inventory.domain.reservation import Reservation, ReservationState, ReservedItem
from trackops_inventory.domain.stock import StockItem, StockLevel

__all__ = ["encode_adjusted", "encode_reservation", "outbox_event"]

_STATES = {
    state: inventory_pb2.ReservationState.Value(f"RESERVATION_STATE_{state}")
    for state in ReservationState
}


def encode_adjusted(level: StockLevel) -> bytes:
    """An `AdjustStockResponse`."""
    return inventory_service_pb2.AdjustStockResponse(
        stock_level=inventory_pb2.StockLevel(
            sku=level.sku,
            on_hand=level.on_hand,
            reserved=level.reserved,
            available=level.available,
        )
    ).SerializeToString()


def encode_reservation(reservation: Reservation) -> bytes:
    """A `ReserveStockResponse`, which the other responses about reservations equal on the wire."""
    message = inventory_pb2.Reservation(
        order_id=str(reservation.order_id),
        state=_STATES[reservation.state],
        items=_item_messages(reservation.items),
        create_time=_timestamp(reservation.create_time),
        update_time=_timestamp(reservation.update_time),
        reserved_items=[_reserved_item_message(item) for item in reservation.items],
    )
    if reservation.expire_time:
        message.expire_time.CopyFrom(_timestamp(reservation.expire_time))
    return inventory_service_pb2.ReserveStockResponse(reservation=message).SerializeToString()


def outbox_event(event: InventoryEvent, *, topic: str, traceparent: str) -> OutboxEvent:
    """The event as a row of the outbox."""
    payload = _payload(event)
    return OutboxEvent(
        event_id=uuid.uuid4(),
        topic=topic,
        key=event.sku if isinstance(event, StockAdjusted) else str(event.order_id),
        type=payload.DESCRIPTOR.full_name,
        aggregate_version=event.version,
        payload=payload.SerializeToString(),
        occurred_at=event.time,
        traceparent=traceparent,
    )


def _payload(event: InventoryEvent) -> Message:
    if isinstance(event, StockAdjusted):
        return inventory_events_pb2.StockAdjusted(
            sku=event.sku, delta=event.delta, on_hand=event.on_hand
        )
    order_id, items = str(event.order_id), _item_messages(event.items)
    match event:
        case StockReserved():
            return inventory_events_pb2.StockReserved(order_id=order_id, items=items)
        case StockReleased():
            return inventory_events_pb2.StockReleased(
                order_id=order_id, items=items, expired=event.expired
            )
        case StockCommitted():
            return inventory_events_pb2.StockCommitted(order_id=order_id, items=items)
        case StockRestocked():
            return inventory_events_pb2.StockRestocked(order_id=order_id, items=items)


def _item_messages(items: Sequence[StockItem | ReservedItem]) -> list[inventory_pb2.StockItem]:
    return [inventory_pb2.StockItem(sku=item.sku, quantity=item.quantity) for item in items]


def _reserved_item_message(item: ReservedItem) -> inventory_pb2.ReservedItem:
    if not item.committed:  # the most by far, and each field has its price
        return inventory_pb2.ReservedItem(sku=item.sku, quantity=item.quantity)
    return inventory_pb2.ReservedItem(
        sku=item.sku,
        quantity=item.quantity,
        committed_quantity=item.committed,
        restocked_quantity=item.restocked,
    )


@lru_cache(maxsize=1024)
def _timestamp(moment: datetime) -> Timestamp:
    """`moment` as a message, not to be changed: a batch has one moment and many reservations."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
