"""What operators do to orders, over gRPC and on real servers."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from trackops.order.v1 import order_events_pb2, order_pb2, order_service_pb2

from trackops_common.database import Database
from trackops_common.testing import ErrorDetails, error_details
from trackops_order.testing import OrderServer, confirm_request, create_request


def _confirmed(service: OrderServer) -> str:
    """A confirmed order of 1 SKU-1 and 2 SKU-2, each piece for 100."""
    order_id: str = service.orders.CreateOrder(create_request(lines=2)).order.order_id
    service.sagas.ConfirmOrder(confirm_request(order_id))
    return order_id


def _in_part_shipped(service: OrderServer) -> str:
    """As above, of which one SKU-2 left."""
    order_id = _confirmed(service)
    service.orders.ShipOrder(
        order_service_pb2.ShipOrderRequest(
            request_id=str(uuid.uuid4()),
            order_id=order_id,
            lines=[order_pb2.Pieces(sku="SKU-2", quantity=1)],
            carrier="UPS",
            tracking_number="1Z999",
        )
    )
    return order_id


def _update(
    order_id: str, state: str, *, etag: str = "", reason: str = "sold out"
) -> order_service_pb2.UpdateOrderStatusRequest:
    return order_service_pb2.UpdateOrderStatusRequest(
        request_id=str(uuid.uuid4()),
        order_id=order_id,
        state=order_pb2.OrderState.Value(f"ORDER_STATE_{state}"),
        reason=reason,
        etag=etag,
    )


def _refusal(
    service: OrderServer, request: order_service_pb2.UpdateOrderStatusRequest
) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as failed:
        service.orders.UpdateOrderStatus(request)
    return error_details(failed.value)


def _get(service: OrderServer, order_id: str) -> order_pb2.Order:
    return service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order_id)).order


def test_an_order_that_is_closed_short_is_delivered_and_returned_as_far_as_it_was_shipped(
    service: OrderServer, service_rows: Database
) -> None:
    order_id = _in_part_shipped(service)

    short = service.orders.UpdateOrderStatus(_update(order_id, "SHIPPED")).order
    delivered = service.orders.UpdateOrderStatus(
        _update(order_id, "DELIVERED", reason="the carrier phoned")
    ).order
    returned = service.orders.ReturnOrder(
        order_service_pb2.ReturnOrderRequest(
            request_id=str(uuid.uuid4()),
            order_id=order_id,
            lines=[order_pb2.Pieces(sku="SKU-2", quantity=1)],
            reason="too small",
        )
    ).order

    states = [order_pb2.OrderState.Name(one.state)[12:] for one in (short, delivered, returned)]
    assert states == ["SHIPPED", "DELIVERED", "RETURNED"]
    assert (returned.total_minor, returned.refunded_minor) == (300, 100)
    assert _get(service, order_id) == returned
    timeline = service.orders.GetOrderTimeline(
        order_service_pb2.GetOrderTimelineRequest(order_id=order_id)
    )
    reasons = [entry.reason for entry in timeline.entries]
    assert reasons == ["", "", "", "sold out", "the carrier phoned", ""]
    rows = service_rows.fetch(
        "SELECT payload FROM outbox WHERE key = %(key)s AND aggregate_version = 4"
        " AND type = 'trackops.order.v1.OrderClosedShort'",
        {"key": order_id},
    )
    assert [order_events_pb2.OrderClosedShort.FromString(bytes(row[0])) for row in rows] == [
        order_events_pb2.OrderClosedShort(
            order_id=order_id,
            customer_id="customer-1",
            lines=[
                order_pb2.Pieces(sku="SKU-1", quantity=1),
                order_pb2.Pieces(sku="SKU-2", quantity=1),
            ],
            reason="sold out",
        )
    ]


def test_to_cancel_is_what_cancel_order_does(service: OrderServer) -> None:
    order_id = _confirmed(service)

    order = service.orders.UpdateOrderStatus(_update(order_id, "CANCELLING")).order

    assert order.state == order_pb2.ORDER_STATE_CANCELLING
    assert order.cancellation_reason == "sold out"


@pytest.mark.parametrize("state", ["PENDING", "CONFIRMED", "REJECTED", "CANCELLED", "FULFILLING"])
def test_what_belongs_to_sagas_and_to_goods_that_move_is_refused(
    service: OrderServer, state: str
) -> None:
    order_id = service.orders.CreateOrder(create_request()).order.order_id

    details = _refusal(service, _update(order_id, state))

    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.reason == "FORBIDDEN_TRANSITION"
    assert details.metadata == {"order_id": order_id, "from": "PENDING", "to": state}
    assert _get(service, order_id).version == 1


@pytest.mark.parametrize("reason", ["", "bell \x07", "x" * 1001])
def test_without_a_reason_that_can_be_read_nothing_is_done(
    service: OrderServer, reason: str
) -> None:
    details = _refusal(service, _update(str(uuid.uuid4()), "SHIPPED", reason=reason))

    assert set(details.violations) == {"reason"}


def test_a_state_that_is_not_there_is_refused_as_a_field(service: OrderServer) -> None:
    request = _update(str(uuid.uuid4()), "SHIPPED")
    unknown: Any = 99
    request.state = unknown

    assert set(_refusal(service, request).violations) == {"state"}


def test_a_stale_etag_changes_nothing(service: OrderServer) -> None:
    order_id = _in_part_shipped(service)

    details = _refusal(service, _update(order_id, "SHIPPED", etag="v2"))

    assert (details.code, details.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert _get(service, order_id).state == order_pb2.ORDER_STATE_FULFILLING


def test_a_repeat_gets_the_same_bytes_and_another_reason_is_another_body(
    service: OrderServer,
) -> None:
    request = _update(_in_part_shipped(service), "SHIPPED")

    calls = [service.orders.UpdateOrderStatus.future(request, timeout=30) for _ in range(20)]
    answers = {call.result().SerializeToString() for call in calls}

    assert len(answers) == 1
    request.reason = "lost"
    assert _refusal(service, request).reason == "REQUEST_ID_REUSED"


def test_each_of_a_batch_succeeds_or_fails_alone(service: OrderServer) -> None:
    requests = [
        _update(_in_part_shipped(service), "SHIPPED"),
        _update(_confirmed(service), "SHIPPED"),
        _update(str(uuid.uuid4()), "SHIPPED"),
        _update(_confirmed(service), "CANCELLING"),
    ]

    answer = service.orders.BatchUpdateOrderStatuses(
        order_service_pb2.BatchUpdateOrderStatusesRequest(requests=requests)
    )

    kinds = [result.WhichOneof("result") for result in answer.results]
    assert kinds == ["response", "error", "error", "response"]
    reasons = [ErrorDetails.of_status(answer.results[bad].error).reason for bad in (1, 2)]
    assert reasons == ["FORBIDDEN_TRANSITION", "ORDER_NOT_FOUND"]
