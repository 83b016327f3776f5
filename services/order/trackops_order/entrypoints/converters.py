"""Requests as commands, and what is not stored encoded as messages."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from trackops.order.v1 import order_pb2, order_saga_service_pb2, order_service_pb2

from trackops_common.auth import Principal
from trackops_order.application.close_orders import CloseOrder
from trackops_order.application.confirm_orders import ConfirmOrder
from trackops_order.application.create_orders import CreateOrder
from trackops_order.application.ports import TimelineEntry
from trackops_order.domain.order import OrderLine, Rejection

__all__ = ["close_command", "confirm_command", "create_command", "timeline_message"]


def create_command(
    request: order_service_pb2.CreateOrderRequest, principal: Principal
) -> CreateOrder:
    """The command of a valid request."""
    return CreateOrder(
        principal=principal.name,
        request_id=request.request_id,
        customer_id=request.customer_id,
        currency_code=request.currency_code,
        lines=[OrderLine(line.sku, line.quantity, line.unit_price_minor) for line in request.lines],
        payment_method_token=request.payment_method_token,
    )


def confirm_command(
    request: order_saga_service_pb2.ConfirmOrderRequest, principal: Principal
) -> ConfirmOrder:
    """The command of a valid request."""
    return ConfirmOrder(principal.name, request.request_id, UUID(request.order_id))


def close_command(
    request: order_saga_service_pb2.CloseOrderRequest, principal: Principal
) -> CloseOrder:
    """The command of a valid request."""
    return CloseOrder(
        principal.name,
        request.request_id,
        UUID(request.order_id),
        Rejection(request.reason, request.message),
    )


def timeline_message(
    entries: Sequence[TimelineEntry],
) -> order_service_pb2.GetOrderTimelineResponse:
    """The timeline as its service shows it."""
    return order_service_pb2.GetOrderTimelineResponse(entries=[_entry(entry) for entry in entries])


def _entry(entry: TimelineEntry) -> order_service_pb2.TimelineEntry:
    message = order_service_pb2.TimelineEntry(
        version=entry.version,
        state=order_pb2.OrderState.Value(f"ORDER_STATE_{entry.state}"),
    )
    message.enter_time.FromDatetime(entry.enter_time)
    if entry.rejection is not None:
        message.rejection.reason = entry.rejection.reason
        message.rejection.message = entry.rejection.message
    return message
