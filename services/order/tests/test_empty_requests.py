"""What every RPC says to a request without its fields."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import pytest
from google.protobuf.message import Message
from trackops.order.v1 import order_saga_service_pb2, order_service_pb2

from trackops_common.database import Database
from trackops_common.testing import error_details
from trackops_order.testing import OrderServer

COUNTS = """
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_transitions),
       (SELECT count(*) FROM outbox), (SELECT count(*) FROM requests)
"""
EMPTY: Sequence[tuple[str, str, Message, set[str]]] = [
    (
        "orders",
        "CreateOrder",
        order_service_pb2.CreateOrderRequest(),
        {"request_id", "customer_id", "currency_code", "lines", "payment_method_token"},
    ),
    ("orders", "BatchCreateOrders", order_service_pb2.BatchCreateOrdersRequest(), {"requests"}),
    ("orders", "GetOrder", order_service_pb2.GetOrderRequest(), {"order_id"}),
    ("orders", "BatchGetOrders", order_service_pb2.BatchGetOrdersRequest(), {"order_ids"}),
    ("orders", "GetOrderTimeline", order_service_pb2.GetOrderTimelineRequest(), {"order_id"}),
    (
        "sagas",
        "ConfirmOrder",
        order_saga_service_pb2.ConfirmOrderRequest(),
        {"request_id", "order_id"},
    ),
    (
        "sagas",
        "CloseOrder",
        order_saga_service_pb2.CloseOrderRequest(),
        {"request_id", "order_id", "reason"},
    ),
    (
        "sagas",
        "BatchConfirmOrders",
        order_saga_service_pb2.BatchConfirmOrdersRequest(),
        {"requests"},
    ),
    (
        "orders",
        "ShipOrder",
        order_service_pb2.ShipOrderRequest(),
        {"request_id", "order_id", "lines", "carrier", "tracking_number"},
    ),
    (
        "orders",
        "DeliverOrder",
        order_service_pb2.DeliverOrderRequest(),
        {"request_id", "order_id"},
    ),
    (
        "orders",
        "CancelOrder",
        order_service_pb2.CancelOrderRequest(),
        {"request_id", "order_id"},
    ),
    ("orders", "BatchCancelOrders", order_service_pb2.BatchCancelOrdersRequest(), {"requests"}),
    (
        "orders",
        "ReturnOrder",
        order_service_pb2.ReturnOrderRequest(),
        {"request_id", "order_id", "lines", "reason"},
    ),
    ("orders", "BatchShipOrders", order_service_pb2.BatchShipOrdersRequest(), {"requests"}),
    ("orders", "BatchDeliverOrders", order_service_pb2.BatchDeliverOrdersRequest(), {"requests"}),
    ("orders", "BatchReturnOrders", order_service_pb2.BatchReturnOrdersRequest(), {"requests"}),
    (
        "orders",
        "UpdateOrderStatus",
        order_service_pb2.UpdateOrderStatusRequest(),
        {"request_id", "order_id", "state", "reason"},
    ),
    (
        "orders",
        "BatchUpdateOrderStatuses",
        order_service_pb2.BatchUpdateOrderStatusesRequest(),
        {"requests"},
    ),
    ("sagas", "BatchCloseOrders", order_saga_service_pb2.BatchCloseOrdersRequest(), {"requests"}),
]


@pytest.mark.parametrize(
    ("stub", "rpc", "request_", "fields"), EMPTY, ids=[rpc for _, rpc, *_ in EMPTY]
)
def test_an_empty_request_names_every_wrong_field_and_leaves_no_row(
    service: OrderServer,
    service_rows: Database,
    stub: str,
    rpc: str,
    request_: Message,
    fields: set[str],
) -> None:
    before = service_rows.fetch(COUNTS)

    with pytest.raises(grpc.RpcError) as failed:
        getattr(getattr(service, stub), rpc)(request_)

    details = error_details(failed.value)

    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert set(details.violations) == fields
    assert service_rows.fetch(COUNTS) == before
