"""Which events start which sagas, and what these know then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message
from trackops.order.v1 import order_events_pb2, order_pb2

from trackops_saga_orchestrator.application.start_sagas import StartSaga
from trackops_saga_orchestrator.domain.cancel_order import CANCEL_ORDER
from trackops_saga_orchestrator.domain.fulfil_order import FULFIL_ORDER
from trackops_saga_orchestrator.domain.goods_moved import GoodsMoved
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER, OrderToPlace
from trackops_saga_orchestrator.domain.return_order import RETURN_ORDER
from trackops_saga_orchestrator.domain.settle_order import SETTLE_ORDER

__all__ = ["triggered_by"]


def triggered_by(
    type_name: str, value: bytes, *, check: Callable[[Message], None] = lambda _: None
) -> StartSaga | None:
    """What an event starts, by its message's full name and wire form; None for most.

    Raises:
        DecodeError: `value` is no message of that type.
        Exception: whatever `check` raises for the message.
    """
    if type_name not in _TRIGGERS:
        return None
    kind, trigger = _TRIGGERS[type_name]
    event = kind.FromString(value)
    check(event)
    return trigger(event)


def _place_order(event: order_events_pb2.OrderPlaced) -> StartSaga:
    order = event.order
    wanted = OrderToPlace(
        items=[(line.sku, line.quantity) for line in order.lines],
        amount_minor=order.total_minor,
        currency_code=order.currency_code,
        payment_method_token=event.payment_method_token,
    )
    return StartSaga(PLACE_ORDER, order.order_id, wanted.to_input())


def _cancel_order(event: order_events_pb2.OrderCancellationRequested) -> StartSaga | None:
    """Nothing for an order that was PENDING: place-order finds out, and undoes what it did."""
    if event.from_state == order_pb2.ORDER_STATE_PENDING:
        return None
    return StartSaga(CANCEL_ORDER, event.order_id, {})


def _fulfil_order(event: order_events_pb2.OrderShipped) -> StartSaga:
    shipped = GoodsMoved(
        items=[(line.sku, line.quantity) for line in event.shipment.lines],
        amount_minor=event.amount_minor,
    )
    return StartSaga(FULFIL_ORDER, event.order_id, shipped.to_input(), event.shipment.shipment_id)


def _settle_order(event: order_events_pb2.OrderClosedShort) -> StartSaga:
    return StartSaga(SETTLE_ORDER, event.order_id, {})


def _return_order(event: order_events_pb2.OrderReturned) -> StartSaga:
    goods = event.goods_return
    returned = GoodsMoved(
        items=[(line.sku, line.quantity) for line in goods.lines],
        amount_minor=goods.refund_minor,
    )
    return StartSaga(RETURN_ORDER, event.order_id, returned.to_input(), goods.return_id)


_TRIGGERS: Mapping[str, tuple[type[Message], Callable[[Any], StartSaga | None]]] = {
    kind.DESCRIPTOR.full_name: (kind, trigger)
    for kind, trigger in (
        (order_events_pb2.OrderPlaced, _place_order),
        (order_events_pb2.OrderCancellationRequested, _cancel_order),
        (order_events_pb2.OrderShipped, _fulfil_order),
        (order_events_pb2.OrderClosedShort, _settle_order),
        (order_events_pb2.OrderReturned, _return_order),
    )
}
