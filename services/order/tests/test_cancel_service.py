"""Cancelling over gRPC, on real servers."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import grpc
from trackops.order.v1 import order_pb2, order_saga_service_pb2, order_service_pb2

from trackops_common.database import Database
from trackops_common.testing import ErrorDetails, error_details
from trackops_order.testing import OrderServer, create_request

ROUNDS = 100


def _place(service: OrderServer) -> str:
    order_id: str = service.orders.CreateOrder(create_request()).order.order_id
    return order_id


def _cancel(order_id: str, etag: str = "") -> order_service_pb2.CancelOrderRequest:
    return order_service_pb2.CancelOrderRequest(
        request_id=str(uuid.uuid4()), order_id=order_id, etag=etag
    )


def _confirm(order_id: str) -> order_saga_service_pb2.ConfirmOrderRequest:
    return order_saga_service_pb2.ConfirmOrderRequest(
        request_id=str(uuid.uuid4()), order_id=order_id
    )


def _close(order_id: str) -> order_saga_service_pb2.CloseOrderRequest:
    return order_saga_service_pb2.CloseOrderRequest(
        request_id=str(uuid.uuid4()), order_id=order_id, reason="FORBIDDEN_TRANSITION"
    )


def _state(service: OrderServer, order_id: str) -> str:
    request = order_service_pb2.GetOrderRequest(order_id=order_id)
    return order_pb2.OrderState.Name(service.orders.GetOrder(request).order.state)[12:]


def _details(error: Any) -> ErrorDetails:
    assert isinstance(error, grpc.RpcError)
    return error_details(error)


def test_a_cancelled_order_is_closed_as_cancelled_and_every_step_is_told(
    service: OrderServer, service_rows: Database
) -> None:
    order_id = _place(service)

    order = service.orders.CancelOrder(_cancel(order_id)).order
    refused = _details(service.sagas.ConfirmOrder.future(_confirm(order_id)).exception())
    service.sagas.CloseOrder(_close(order_id))

    assert (order.state, order.version) == (order_pb2.ORDER_STATE_CANCELLING, 2)
    assert refused.reason == "FORBIDDEN_TRANSITION"
    assert refused.metadata == {"order_id": order_id, "from": "CANCELLING", "to": "CONFIRMED"}
    assert _state(service, order_id) == "CANCELLED"
    rows = service_rows.fetch(
        "SELECT type FROM outbox WHERE key = %(k)s ORDER BY seq", {"k": order_id}
    )
    assert [row[0].rpartition(".")[2] for row in rows] == [
        "OrderPlaced",
        "OrderCancellationRequested",
        "OrderCancelled",
    ]


def test_a_confirmed_order_cannot_be_cancelled(service: OrderServer) -> None:
    order_id = _place(service)
    service.sagas.ConfirmOrder(_confirm(order_id))

    details = _details(service.orders.CancelOrder.future(_cancel(order_id)).exception())

    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.metadata == {"order_id": order_id, "from": "CONFIRMED", "to": "CANCELLING"}


def test_a_stale_etag_cancels_nothing(service: OrderServer) -> None:
    order_id = _place(service)

    details = _details(service.orders.CancelOrder.future(_cancel(order_id, "v7")).exception())

    assert (details.code, details.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert _state(service, order_id) == "PENDING"


def test_each_of_a_batch_is_cancelled_or_refused_alone(service: OrderServer) -> None:
    one, confirmed = _place(service), _place(service)
    service.sagas.ConfirmOrder(_confirm(confirmed))

    answer = service.orders.BatchCancelOrders(
        order_service_pb2.BatchCancelOrdersRequest(requests=[_cancel(confirmed), _cancel(one)])
    )

    assert [result.WhichOneof("result") for result in answer.results] == ["error", "response"]


def _race(service: OrderServer, order_id: str, *, confirm_first: bool) -> tuple[Any, Any]:
    """The errors of a confirmation and of a cancellation that are on their way together."""

    def confirm() -> Any:
        return service.sagas.ConfirmOrder.future(_confirm(order_id), timeout=30)

    def cancel() -> Any:
        return service.orders.CancelOrder.future(_cancel(order_id), timeout=30)

    if confirm_first:
        confirming, cancelling = confirm(), cancel()
    else:
        cancelling, confirming = cancel(), confirm()
    return confirming.exception(), cancelling.exception()


def test_of_a_confirmation_and_a_cancellation_at_once_exactly_one_wins(
    service: OrderServer, service_rows: Database
) -> None:
    ids = [_place(service) for _ in range(ROUNDS)]

    won: Counter[str] = Counter()
    for number, order_id in enumerate(ids):
        errors = _race(service, order_id, confirm_first=number % 2 == 0)
        assert errors.count(None) == 1
        winner = "CONFIRMED" if errors[0] is None else "CANCELLING"
        assert _details(errors[0] or errors[1]).metadata["from"] == winner
        assert _state(service, order_id) == winner
        won[winner] += 1

    assert won.keys() == {"CONFIRMED", "CANCELLING"}
    entered = service_rows.fetch(
        "SELECT count(*) FROM order_transitions WHERE order_id = ANY(%(ids)s::uuid[])",
        {"ids": "{" + ",".join(ids) + "}"},
    )
    assert entered[0][0] == ROUNDS
