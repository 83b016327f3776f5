"""Orders and their events as protobuf."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.order.v1 import (
    order_events_pb2,
    order_pb2,
    order_saga_service_pb2,
    order_service_pb2,
)

from trackops_common.outbox import OutboxEvent
from trackops_order.domain.events import OrderConfirmed, OrderEvent, OrderPlaced, OrderRejected
from trackops_order.domain.order import Order, OrderState, Rejection

__all__ = [
    "encode_changed",
    "encode_created",
    "encode_found",
    "encode_page",
    "order_message",
    "outbox_event",
]

_STATES = {state: order_pb2.OrderState.Value(f"ORDER_STATE_{state}") for state in OrderState}


def encode_created(order: Order) -> bytes:
    """A `CreateOrderResponse`."""
    return order_service_pb2.CreateOrderResponse(order=order_message(order)).SerializeToString()


def encode_found(order: Order) -> bytes:
    """A `GetOrderResponse`."""
    return order_service_pb2.GetOrderResponse(order=order_message(order)).SerializeToString()


def encode_page(orders: Sequence[Order], next_page_token: str) -> bytes:
    """A `ListOrdersResponse`."""
    return order_service_pb2.ListOrdersResponse(
        orders=[order_message(order) for order in orders], next_page_token=next_page_token
    ).SerializeToString()


def encode_changed(order: Order) -> bytes:
    """A `ConfirmOrderResponse`, which `CloseOrderResponse` equals on the wire."""
    return order_saga_service_pb2.ConfirmOrderResponse(
        order_id=str(order.order_id), version=order.version
    ).SerializeToString()


def order_message(order: Order) -> order_pb2.Order:
    """The order as its service shows it."""
    return order_pb2.Order(
        order_id=str(order.order_id),
        customer_id=order.customer_id,
        state=_STATES[order.state],
        lines=[
            order_pb2.OrderLine(
                sku=line.sku, quantity=line.quantity, unit_price_minor=line.unit_price_minor
            )
            for line in order.lines
        ],
        currency_code=order.currency_code,
        total_minor=order.total_minor,
        version=order.version,
        create_time=timestamp(order.create_time),
        update_time=timestamp(order.update_time),
        rejection=_rejection_message(order.rejection),
    )


def _rejection_message(rejection: Rejection | None) -> order_pb2.Rejection | None:
    if rejection is None:
        return None
    return order_pb2.Rejection(reason=rejection.reason, message=rejection.message)


@lru_cache(maxsize=1024)
def timestamp(moment: datetime) -> Timestamp:
    """`moment` as a message, not to be changed: a batch has one moment and many orders."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def outbox_event(event: OrderEvent, *, topic: str) -> OutboxEvent:
    """The event as a row of the outbox."""
    payload = _payload(event)
    order = event.order
    return OutboxEvent(
        event_id=uuid.uuid4(),
        topic=topic,
        key=str(order.order_id),
        type=payload.DESCRIPTOR.full_name,
        aggregate_version=order.version,
        payload=payload.SerializeToString(),
        occurred_at=order.update_time,
    )


def _payload(event: OrderEvent) -> Message:
    order = event.order
    match event:
        case OrderPlaced():
            return order_events_pb2.OrderPlaced(
                order=order_message(order), payment_method_token=event.payment_method_token
            )
        case OrderConfirmed():
            return order_events_pb2.OrderConfirmed(
                order_id=str(order.order_id), customer_id=order.customer_id
            )
        case OrderRejected():
            return order_events_pb2.OrderRejected(
                order_id=str(order.order_id),
                customer_id=order.customer_id,
                rejection=_rejection_message(order.rejection),
            )
