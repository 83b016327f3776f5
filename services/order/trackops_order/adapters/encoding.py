"""Orders and their events as protobuf."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
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
from trackops_order.application.ports import TimelineEntry
from trackops_order.domain.details import Address, OrderDetails
from trackops_order.domain.events import (
    OrderCancellationRequested,
    OrderCancelled,
    OrderClosedShort,
    OrderConfirmed,
    OrderDelivered,
    OrderEvent,
    OrderPlaced,
    OrderRejected,
    OrderReturned,
    OrderShipped,
)
from trackops_order.domain.goods import GoodsReturn, Pieces, Shipment
from trackops_order.domain.order import Order, Rejection
from trackops_order.domain.states import OrderState

__all__ = [
    "encode_changed",
    "encode_created",
    "encode_found",
    "encode_page",
    "encode_timeline",
    "encode_watched",
    "order_message",
    "outbox_event",
]

_STATES = {state: order_pb2.OrderState.Value(f"ORDER_STATE_{state}") for state in OrderState}

_PLAIN_EVENTS: Mapping[type[OrderEvent], Callable[..., Message]] = {
    OrderConfirmed: order_events_pb2.OrderConfirmed,
    OrderCancelled: order_events_pb2.OrderCancelled,
    OrderDelivered: order_events_pb2.OrderDelivered,
}
"""Facts that need no more than the order's and its customer's ids."""


def encode_created(order: Order) -> bytes:
    """A `CreateOrderResponse`."""
    return order_service_pb2.CreateOrderResponse(order=order_message(order)).SerializeToString()


def encode_found(order: Order) -> bytes:
    """A `GetOrderResponse`."""
    return order_service_pb2.GetOrderResponse(order=order_message(order)).SerializeToString()


def customer_of_found(encoded: bytes) -> str:
    """The customer of the order in a `GetOrderResponse`."""
    return order_service_pb2.GetOrderResponse.FromString(encoded).order.customer_id


def encode_timeline(entries: Sequence[TimelineEntry]) -> bytes:
    """A `GetOrderTimelineResponse`."""
    return order_service_pb2.GetOrderTimelineResponse(
        entries=[_entry_message(entry) for entry in entries]
    ).SerializeToString()


def encode_page(orders: Sequence[Order], next_page_token: str) -> bytes:
    """A `ListOrdersResponse`."""
    return order_service_pb2.ListOrdersResponse(
        orders=[order_message(order) for order in orders], next_page_token=next_page_token
    ).SerializeToString()


def encode_watched(entry: TimelineEntry, order: Order | None) -> bytes:
    """A `WatchOrderResponse`."""
    return order_service_pb2.WatchOrderResponse(
        entry=_entry_message(entry), order=order_message(order) if order else None
    ).SerializeToString()


def _entry_message(entry: TimelineEntry) -> order_service_pb2.TimelineEntry:
    return order_service_pb2.TimelineEntry(
        version=entry.version,
        state=_STATES[entry.state],
        enter_time=timestamp(entry.enter_time),
        rejection=_rejection_message(entry.rejection),
        shipment=_shipment_message(entry.shipment) if entry.shipment else None,
        goods_return=_return_message(entry.goods_return) if entry.goods_return else None,
        reason=entry.reason,
    )


def encode_changed(event: OrderEvent) -> bytes:
    """The response of the RPC that made `event` a fact."""
    return _response(event).SerializeToString()


def _response(event: OrderEvent) -> Message:
    """What shows no more than the order, or than its id and version, is alike on the wire."""
    order = event.order
    match event:
        case OrderShipped():
            return order_service_pb2.ShipOrderResponse(
                order=order_message(order), shipment=_shipment_message(event.shipment)
            )
        case OrderReturned():
            return order_service_pb2.ReturnOrderResponse(
                order=order_message(order), goods_return=_return_message(event.goods_return)
            )
        case OrderCancellationRequested() | OrderClosedShort() | OrderDelivered():
            return order_service_pb2.UpdateOrderStatusResponse(order=order_message(order))
        case _:
            return order_saga_service_pb2.ConfirmOrderResponse(
                order_id=str(order.order_id), version=order.version
            )


def order_message(order: Order) -> order_pb2.Order:
    """The order as its service shows it."""
    message = order_pb2.Order(
        order_id=str(order.order_id),
        customer_id=order.customer_id,
        state=_STATES[order.state],
        lines=[
            order_pb2.OrderLine(
                sku=line.sku,
                quantity=line.quantity,
                unit_price_minor=line.unit_price_minor,
                shipped_quantity=line.shipped_quantity,
                returned_quantity=line.returned_quantity,
            )
            for line in order.lines
        ],
        currency_code=order.currency_code,
        total_minor=order.total_minor,
        version=order.version,
        create_time=timestamp(order.create_time),
        update_time=timestamp(order.update_time),
        rejection=_rejection_message(order.rejection),
        refunded_minor=order.refunded_minor,
        etag=order.etag,
        cancellation_reason=order.cancellation_reason,
    )
    if order.details is not None:
        message.MergeFrom(_details_message(order.details))
    return message


def _details_message(details: OrderDetails) -> order_pb2.Order:
    """An order that has nothing else."""
    shipping, billing = details.shipping_address, details.billing_address
    return order_pb2.Order(
        shipping_address=_address_message(shipping) if shipping else None,
        billing_address=_address_message(billing) if billing else None,
        metadata=details.metadata,
        note=details.note,
    )


def _address_message(address: Address) -> order_pb2.Address:
    return order_pb2.Address(
        recipient=address.recipient,
        lines=address.lines,
        postal_code=address.postal_code,
        locality=address.locality,
        administrative_area=address.administrative_area,
        country_code=address.country_code,
    )


def _shipment_message(shipment: Shipment) -> order_pb2.Shipment:
    return order_pb2.Shipment(
        shipment_id=str(shipment.shipment_id),
        carrier=shipment.carrier,
        tracking_number=shipment.tracking_number,
        lines=_pieces_messages(shipment.lines),
    )


def _pieces_messages(pieces: Sequence[Pieces]) -> Sequence[order_pb2.Pieces]:
    return [order_pb2.Pieces(sku=one.sku, quantity=one.quantity) for one in pieces]


def _return_message(goods_return: GoodsReturn) -> order_pb2.GoodsReturn:
    return order_pb2.GoodsReturn(
        return_id=str(goods_return.return_id),
        reason=goods_return.reason,
        lines=[
            order_pb2.ReturnedLine(
                sku=line.sku, quantity=line.quantity, refund_minor=line.refund_minor
            )
            for line in goods_return.lines
        ],
        refund_minor=goods_return.refund_minor,
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


def outbox_event(event: OrderEvent, *, topic: str, traceparent: str) -> OutboxEvent:
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
        traceparent=traceparent,
    )


def _payload(event: OrderEvent) -> Message:
    pb, order = order_events_pb2, event.order
    order_id, customer_id = str(order.order_id), order.customer_id
    match event:
        case OrderPlaced():
            return pb.OrderPlaced(
                order=order_message(order), payment_method_token=event.payment_method_token
            )
        case OrderRejected():
            return pb.OrderRejected(
                order_id=order_id,
                customer_id=customer_id,
                rejection=_rejection_message(order.rejection),
            )
        case OrderShipped():
            return pb.OrderShipped(
                order_id=order_id,
                customer_id=customer_id,
                state=_STATES[order.state],
                shipment=_shipment_message(event.shipment),
                amount_minor=event.amount_minor,
                currency_code=order.currency_code,
            )
        case OrderClosedShort():
            return pb.OrderClosedShort(
                order_id=order_id,
                customer_id=customer_id,
                lines=_pieces_messages(event.pieces),
                reason=event.reason,
            )
        case OrderCancellationRequested():
            return pb.OrderCancellationRequested(
                order_id=order_id,
                customer_id=customer_id,
                from_state=_STATES[event.from_state],
                reason=event.reason,
            )
        case OrderReturned():
            return pb.OrderReturned(
                order_id=order_id,
                customer_id=customer_id,
                state=_STATES[order.state],
                goods_return=_return_message(event.goods_return),
                currency_code=order.currency_code,
            )
        case _:
            return _PLAIN_EVENTS[type(event)](order_id=order_id, customer_id=customer_id)
