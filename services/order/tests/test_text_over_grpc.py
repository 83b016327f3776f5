"""The text of requests, over gRPC and as it is stored."""

from __future__ import annotations

import uuid

import grpc
import pytest
from trackops.order.v1 import order_saga_service_pb2, order_service_pb2

from trackops_common.testing import error_details
from trackops_order.testing import OrderServer, create_request

COMPOSED = "Caf\u00e9 ferm\u00e9 \U0001f375"
DECOMPOSED = "Cafe\u0301 ferme\u0301 \U0001f375"


@pytest.fixture
def closing(service: OrderServer) -> order_saga_service_pb2.CloseOrderRequest:
    """The request to close an order that is PENDING."""
    return order_saga_service_pb2.CloseOrderRequest(
        request_id=str(uuid.uuid4()),
        order_id=service.orders.CreateOrder(create_request()).order.order_id,
        reason="PAYMENT_DECLINED",
    )


def test_a_repeat_whose_text_is_composed_otherwise_gets_the_same_response(
    service: OrderServer, closing: order_saga_service_pb2.CloseOrderRequest
) -> None:
    closing.message = DECOMPOSED
    first = service.sagas.CloseOrder(closing)

    closing.message = COMPOSED

    assert service.sagas.CloseOrder(closing) == first
    stored = service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=closing.order_id))
    assert stored.order.rejection.message == COMPOSED


def test_a_control_character_is_refused_beside_the_other_wrong_fields(
    service: OrderServer, closing: order_saga_service_pb2.CloseOrderRequest
) -> None:
    bad = order_saga_service_pb2.CloseOrderRequest(message="\x1b[2J")

    with pytest.raises(grpc.RpcError) as failed:
        service.sagas.BatchCloseOrders(
            order_saga_service_pb2.BatchCloseOrdersRequest(requests=[closing, bad])
        )

    details = error_details(failed.value)
    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    wrong = ("message", "order_id", "reason", "request_id")
    assert sorted(details.violations) == [f"requests[1].{field}" for field in wrong]
    stored = service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=closing.order_id))
    assert stored.order.version == 1
