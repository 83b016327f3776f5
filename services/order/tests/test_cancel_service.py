"""Cancelling over gRPC, on real servers."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from trackops.order.v1 import (
    order_events_pb2,
    order_pb2,
    order_saga_service_pb2,
    order_service_pb2,
)

from trackops_common.database import Database
from trackops_common.testing import ErrorDetails, error_details
from trackops_order.testing import OrderServer, create_request

ROUNDS = 100


def _place(service: OrderServer) -> str:
    order_id: str = service.orders.CreateOrder(create_request()).order.order_id
    return order_id


def _cancel(
    order_id: str, etag: str = "", reason: str = ""
) -> order_service_pb2.CancelOrderRequest:
    return order_service_pb2.CancelOrderRequest(
        request_id=str(uuid.uuid4()), order_id=order_id, etag=etag, reason=reason
    )


def _ship(order_id: str) -> order_service_pb2.ShipOrderRequest:
    """One piece of many."""
    return order_service_pb2.ShipOrderRequest(
        request_id=str(uuid.uuid4()),
        order_id=order_id,
        lines=[order_pb2.Pieces(sku="SKU-2", quantity=1)],
        carrier="UPS",
        tracking_number="1Z999",
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


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_cancellation_says_from_where_and_why(
    service: OrderServer, service_rows: Database, confirmed: bool
) -> None:
    order_id = _place(service)
    if confirmed:
        service.sagas.ConfirmOrder(_confirm(order_id))

    order = service.orders.CancelOrder(_cancel(order_id, reason="Cafe\u0301")).order
    service.sagas.CloseOrder(_close(order_id))

    assert order.cancellation_reason == "Caf\u00e9"
    found = service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order_id)).order
    assert (found.state, found.cancellation_reason) == (
        order_pb2.ORDER_STATE_CANCELLED,
        "Caf\u00e9",
    )
    timeline = service.orders.GetOrderTimeline(
        order_service_pb2.GetOrderTimelineRequest(order_id=order_id)
    )
    assert [entry.reason for entry in timeline.entries][-3:] == ["", "Caf\u00e9", ""]
    assert _requested(service_rows, [order_id]) == {
        order_id: order_events_pb2.OrderCancellationRequested(
            order_id=order_id,
            customer_id="customer-1",
            from_state=(
                order_pb2.ORDER_STATE_CONFIRMED if confirmed else order_pb2.ORDER_STATE_PENDING
            ),
            reason="Caf\u00e9",
        )
    }


@pytest.mark.parametrize("reason", ["bell \x07", "x" * 1001, "line\nbreak"])
def test_a_reason_that_is_not_a_line_of_text_is_refused(service: OrderServer, reason: str) -> None:
    request = _cancel(str(uuid.uuid4()), reason=reason)

    details = _details(service.orders.CancelOrder.future(request).exception())

    assert set(details.violations) == {"reason"}


def test_an_order_of_which_a_piece_left_cannot_be_cancelled(service: OrderServer) -> None:
    order_id = _place(service)
    service.sagas.ConfirmOrder(_confirm(order_id))
    service.orders.ShipOrder(_ship(order_id))

    details = _details(service.orders.CancelOrder.future(_cancel(order_id)).exception())

    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.metadata == {"order_id": order_id, "from": "FULFILLING", "to": "CANCELLING"}


def test_a_stale_etag_cancels_nothing(service: OrderServer) -> None:
    order_id = _place(service)

    details = _details(service.orders.CancelOrder.future(_cancel(order_id, "v7")).exception())

    assert (details.code, details.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert _state(service, order_id) == "PENDING"


def test_each_of_a_batch_is_cancelled_or_refused_alone(service: OrderServer) -> None:
    one, closed = _place(service), _place(service)
    service.sagas.CloseOrder(_close(closed))

    answer = service.orders.BatchCancelOrders(
        order_service_pb2.BatchCancelOrdersRequest(requests=[_cancel(closed), _cancel(one)])
    )

    assert [result.WhichOneof("result") for result in answer.results] == ["error", "response"]


def _requested(
    rows: Database, order_ids: Sequence[str]
) -> dict[str, order_events_pb2.OrderCancellationRequested]:
    """What was told of the cancellations of these orders; each may be told once."""
    found = rows.fetch(
        "SELECT key, payload FROM outbox WHERE key = ANY(%(ids)s::text[])"
        " AND type = 'trackops.order.v1.OrderCancellationRequested'",
        {"ids": "{" + ",".join(order_ids) + "}"},
    )
    told = {
        row[0]: order_events_pb2.OrderCancellationRequested.FromString(bytes(row[1]))
        for row in found
    }
    assert len(told) == len(found)
    return told


def _transitions(rows: Database, order_ids: Sequence[str]) -> int:
    counted: int = rows.fetch(
        "SELECT count(*) FROM order_transitions WHERE order_id = ANY(%(ids)s::uuid[])",
        {"ids": "{" + ",".join(order_ids) + "}"},
    )[0][0]
    return counted


def _race(one: Callable[[], Any], other: Callable[[], Any], *, other_first: bool) -> list[Any]:
    """The errors of two calls that are on their way together, None where one succeeded."""
    if other_first:
        second, first = other(), one()
    else:
        first, second = one(), other()
    return [first.exception(), second.exception()]


def _cancel_against(
    service: OrderServer, order_id: str, call: Any, request: Message, *, number: int, etag: str = ""
) -> list[Any]:
    """The errors of the call and of the cancellation; who is sent first takes turns."""
    return _race(
        lambda: call.future(request, timeout=30),
        lambda: service.orders.CancelOrder.future(_cancel(order_id, etag), timeout=30),
        other_first=number % 2 == 0,
    )


def test_of_a_confirmation_and_a_cancellation_of_the_pending_order_exactly_one_wins(
    service: OrderServer, service_rows: Database
) -> None:
    ids = [_place(service) for _ in range(ROUNDS)]

    won: Counter[str] = Counter()
    for number, order_id in enumerate(ids):
        errors = _cancel_against(
            service,
            order_id,
            service.sagas.ConfirmOrder,
            _confirm(order_id),
            number=number,
            etag="v1",
        )
        assert errors.count(None) == 1
        winner = "CONFIRMED" if errors[0] is None else "CANCELLING"
        refused = _details(errors[0] or errors[1])
        assert refused.reason == (
            "ETAG_MISMATCH" if winner == "CONFIRMED" else "FORBIDDEN_TRANSITION"
        )
        assert _state(service, order_id) == winner
        won[winner] += 1

    assert won.keys() == {"CONFIRMED", "CANCELLING"}
    assert _transitions(service_rows, ids) == ROUNDS
    assert len(_requested(service_rows, ids)) == won["CANCELLING"]


def test_a_cancellation_beside_a_confirmation_tells_which_of_them_was_first(
    service: OrderServer, service_rows: Database
) -> None:
    """Whose saga undoes what was arranged depends on it; it is cancelled either way."""
    ids = [_place(service) for _ in range(ROUNDS)]

    confirmed = set()
    for number, order_id in enumerate(ids):
        refused, uncancelled = _cancel_against(
            service, order_id, service.sagas.ConfirmOrder, _confirm(order_id), number=number
        )
        assert uncancelled is None
        assert _state(service, order_id) == "CANCELLING"
        if refused is None:
            confirmed.add(order_id)
        else:
            assert _details(refused).metadata["from"] == "CANCELLING"

    assert 0 < len(confirmed) < ROUNDS
    assert _transitions(service_rows, ids) == ROUNDS + len(confirmed)
    told = _requested(service_rows, ids)
    assert told.keys() == set(ids)
    from_confirmed = {
        id_ for id_, event in told.items() if event.from_state == order_pb2.ORDER_STATE_CONFIRMED
    }
    assert from_confirmed == confirmed


def test_of_a_shipment_and_a_cancellation_at_once_exactly_one_wins(
    service: OrderServer, service_rows: Database
) -> None:
    ids = [_place(service) for _ in range(ROUNDS)]
    for order_id in ids:
        service.sagas.ConfirmOrder(_confirm(order_id))

    won: Counter[str] = Counter()
    for number, order_id in enumerate(ids):
        errors = _cancel_against(
            service, order_id, service.orders.ShipOrder, _ship(order_id), number=number
        )
        assert errors.count(None) == 1
        winner = "FULFILLING" if errors[0] is None else "CANCELLING"
        assert _details(errors[0] or errors[1]).metadata["from"] == winner
        assert _state(service, order_id) == winner
        won[winner] += 1

    assert won.keys() == {"FULFILLING", "CANCELLING"}
    assert _transitions(service_rows, ids) == 2 * ROUNDS
    assert len(_requested(service_rows, ids)) == won["CANCELLING"]
