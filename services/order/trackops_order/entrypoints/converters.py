"""Requests as commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from trackops.order.v1 import order_pb2, order_saga_service_pb2, order_service_pb2

from trackops_common.auth import Principal, caller, expect_own
from trackops_order.application.cancel_orders import CancelOrder
from trackops_order.application.close_orders import CloseOrder
from trackops_order.application.confirm_orders import ConfirmOrder
from trackops_order.application.create_orders import CreateOrder
from trackops_order.application.deliver_orders import DeliverOrder
from trackops_order.application.get_orders import ReadOrder
from trackops_order.application.list_orders import Listing, PageRequest, Sort
from trackops_order.application.return_orders import ReturnOrder
from trackops_order.application.ship_orders import ShipOrder
from trackops_order.application.update_order_statuses import UpdateOrderStatus
from trackops_order.application.watch_orders import Position
from trackops_order.domain.details import Address, OrderDetails
from trackops_order.domain.goods import OrderLine, Pieces
from trackops_order.domain.order import Rejection
from trackops_order.domain.states import OrderState

__all__ = [
    "batch_reads",
    "cancel_command",
    "close_command",
    "confirm_command",
    "create_command",
    "deliver_command",
    "page_request",
    "return_command",
    "ship_command",
    "update_status_command",
    "watch_position",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT_PAGE_SIZE = 50
_STATES = {order_pb2.OrderState.Value(f"ORDER_STATE_{state}"): state for state in OrderState}
_SORTS = {
    order_service_pb2.LIST_ORDERS_SORT_UNSPECIFIED: Sort.NEWEST_FIRST,
    order_service_pb2.LIST_ORDERS_SORT_NEWEST_FIRST: Sort.NEWEST_FIRST,
    order_service_pb2.LIST_ORDERS_SORT_OLDEST_FIRST: Sort.OLDEST_FIRST,
}


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
        details=_details(request),
        owner=caller().owner,
    )


def _details(request: order_service_pb2.CreateOrderRequest) -> OrderDetails | None:
    ships, bills = request.HasField("shipping_address"), request.HasField("billing_address")
    if not (ships or bills or request.metadata or request.note):
        return None
    return OrderDetails(
        shipping_address=_address(request.shipping_address) if ships else None,
        billing_address=_address(request.billing_address) if bills else None,
        metadata=dict(request.metadata),
        note=request.note,
    )


def _address(message: order_pb2.Address) -> Address:
    return Address(
        recipient=message.recipient,
        lines=tuple(message.lines),
        postal_code=message.postal_code,
        locality=message.locality,
        administrative_area=message.administrative_area,
        country_code=message.country_code,
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


def batch_reads(request: order_service_pb2.BatchGetOrdersRequest) -> Sequence[ReadOrder]:
    """What a valid request asks for, in its order."""
    owner = caller().owner
    min_versions = {UUID(order_id): least for order_id, least in request.min_versions.items()}
    order_ids = map(UUID, request.order_ids)
    return [ReadOrder(order_id, min_versions.get(order_id, 0), owner) for order_id in order_ids]


def page_request(request: order_service_pb2.ListOrdersRequest) -> PageRequest:
    """The page that a valid request asks for; of their own orders, of those who see no others.

    Raises:
        PermissionDenied: they ask for another customer's.
    """
    customer_id = request.customer_id or caller().owner
    expect_own(customer_id)
    listing = Listing(
        sort=_SORTS[request.sort],
        customer_id=customer_id or None,
        states=frozenset(_STATES[state] for state in request.states),
        create_time_from=(
            _time(request.create_time_from) if request.HasField("create_time_from") else None
        ),
        create_time_before=(
            _time(request.create_time_before) if request.HasField("create_time_before") else None
        ),
        sku=request.sku or None,
    )
    return PageRequest(listing, request.page_size or _DEFAULT_PAGE_SIZE, request.page_token)


def watch_position(request: order_service_pb2.WatchOrderRequest) -> Position:
    """The position from which a valid request watches."""
    return Position(UUID(request.order_id), request.after_version)


def _time(moment: Timestamp) -> datetime:
    """Also of nanoseconds beyond a second, which the contract's rules let pass."""
    return _EPOCH + timedelta(seconds=moment.seconds, microseconds=moment.nanos // 1000)


def cancel_command(
    request: order_service_pb2.CancelOrderRequest, principal: Principal
) -> CancelOrder:
    """The command of a valid request."""
    return CancelOrder(
        principal.name,
        request.request_id,
        UUID(request.order_id),
        etag=request.etag,
        reason=request.reason,
        owner=caller().owner,
    )


def ship_command(request: order_service_pb2.ShipOrderRequest, principal: Principal) -> ShipOrder:
    """The command of a valid request."""
    return ShipOrder(
        principal.name,
        request.request_id,
        UUID(request.order_id),
        carrier=request.carrier,
        tracking_number=request.tracking_number,
        lines=_pieces(request.lines),
        etag=request.etag,
    )


def deliver_command(
    request: order_service_pb2.DeliverOrderRequest, principal: Principal
) -> DeliverOrder:
    """The command of a valid request."""
    return DeliverOrder(
        principal.name, request.request_id, UUID(request.order_id), etag=request.etag
    )


def return_command(
    request: order_service_pb2.ReturnOrderRequest, principal: Principal
) -> ReturnOrder:
    """The command of a valid request."""
    return ReturnOrder(
        principal.name,
        request.request_id,
        UUID(request.order_id),
        reason=request.reason,
        lines=_pieces(request.lines),
        etag=request.etag,
    )


def update_status_command(
    request: order_service_pb2.UpdateOrderStatusRequest, principal: Principal
) -> UpdateOrderStatus:
    """The command of a valid request."""
    return UpdateOrderStatus(
        principal.name,
        request.request_id,
        UUID(request.order_id),
        state=_STATES[request.state],
        reason=request.reason,
        etag=request.etag,
    )


def _pieces(lines: Iterable[order_pb2.Pieces]) -> Sequence[Pieces]:
    return [Pieces(line.sku, line.quantity) for line in lines]
