"""The order service over gRPC, as a process of its own on real servers."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
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
from trackops_order.testing import OrderServer, close_request, confirm_request, create_request

TABLES = ("orders", "order_lines", "order_transitions", "outbox", "requests")


def _counts(rows: Database) -> list[int]:
    return [rows.fetch(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]


def _order_rows(rows: Database, customer_id: str) -> int:
    count: int = rows.fetch(
        "SELECT count(*) FROM orders WHERE customer_id = %(c)s", {"c": customer_id}
    )[0][0]
    return count


def _failure(call: Any, request: Message) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as failed:
        call(request)
    return error_details(failed.value)


def _customer() -> str:
    return f"customer-{uuid.uuid4()}"


def _place(service: OrderServer) -> str:
    return service.orders.CreateOrder(create_request()).order.order_id


def _get(service: OrderServer, order_id: str) -> order_pb2.Order:
    return service.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order_id)).order


def test_an_accepted_order_is_what_was_asked_for(service: OrderServer) -> None:
    request = create_request(lines=3)

    order = service.orders.CreateOrder(request).order

    assert order.state == order_pb2.ORDER_STATE_PENDING
    assert (order.customer_id, order.currency_code) == ("customer-1", "EUR")
    assert list(order.lines) == list(request.lines)
    assert order.total_minor == 600
    assert order.version == 1
    assert order.create_time == order.update_time
    assert not order.HasField("rejection")
    assert _get(service, order.order_id) == order


def test_a_repeat_gets_the_same_bytes(service: OrderServer, service_rows: Database) -> None:
    request = create_request(customer_id=_customer())

    first = service.orders.CreateOrder(request)
    service.sagas.ConfirmOrder(confirm_request(first.order.order_id))
    again = service.orders.CreateOrder(request)

    assert again.SerializeToString() == first.SerializeToString()
    assert _order_rows(service_rows, request.customer_id) == 1


def test_fifty_equal_requests_at_once_make_one_order_and_get_one_answer(
    service: OrderServer, service_rows: Database
) -> None:
    request = create_request(customer_id=_customer())

    calls = [service.orders.CreateOrder.future(request, timeout=30) for _ in range(50)]
    answers = {call.result().SerializeToString() for call in calls}

    assert len(answers) == 1
    order = order_service_pb2.CreateOrderResponse.FromString(answers.pop()).order
    assert _order_rows(service_rows, request.customer_id) == 1
    events = service_rows.fetch("SELECT FROM outbox WHERE key = %(key)s", {"key": order.order_id})
    assert len(events) == 1


def test_the_same_request_id_with_another_body_is_refused(
    service: OrderServer, service_rows: Database
) -> None:
    request = create_request()
    service.orders.CreateOrder(request)
    before = _counts(service_rows)

    details = _failure(
        service.orders.CreateOrder, create_request(request_id=request.request_id, lines=2)
    )

    assert details.code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.reason == "REQUEST_ID_REUSED"
    assert details.metadata == {"request_id": request.request_id}
    assert _counts(service_rows) == before


def test_a_sku_in_two_lines_is_refused_as_a_field_and_leaves_no_row(
    service: OrderServer, service_rows: Database
) -> None:
    request = create_request(lines=1)
    request.lines.add().CopyFrom(request.lines[0])
    before = _counts(service_rows)

    details = _failure(service.orders.CreateOrder, request)

    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert set(details.violations) == {"lines"}
    assert _counts(service_rows) == before


def test_an_unknown_field_is_ignored(service: OrderServer) -> None:
    known = create_request()
    field_2000_as_varint = b"\x80\x7d\x01"
    request = order_service_pb2.CreateOrderRequest.FromString(
        known.SerializeToString() + field_2000_as_varint
    )
    assert request.SerializeToString() != known.SerializeToString()

    created = service.orders.CreateOrder(request)

    assert service.orders.CreateOrder(known) == created


def test_an_unknown_id_is_not_found(service: OrderServer, service_rows: Database) -> None:
    unknown = str(uuid.uuid4())
    before = _counts(service_rows)
    calls: Sequence[tuple[Any, Message]] = [
        (service.orders.GetOrder, order_service_pb2.GetOrderRequest(order_id=unknown)),
        (
            service.orders.GetOrderTimeline,
            order_service_pb2.GetOrderTimelineRequest(order_id=unknown),
        ),
        (service.sagas.ConfirmOrder, confirm_request(unknown)),
        (service.sagas.CloseOrder, close_request(unknown)),
    ]

    for call, request in calls:
        details = _failure(call, request)
        assert (details.code, details.reason) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")
        assert details.metadata == {"order_id": unknown}
    assert _counts(service_rows) == before


def test_a_batch_read_answers_in_the_order_asked_and_leaves_out_the_unknown(
    service: OrderServer,
) -> None:
    first, second = _place(service), _place(service)

    answer = service.orders.BatchGetOrders(
        order_service_pb2.BatchGetOrdersRequest(order_ids=[second, str(uuid.uuid4()), first])
    )

    assert [order.order_id for order in answer.orders] == [second, first]


def test_a_forbidden_transition_names_both_states_and_leaves_no_row(
    service: OrderServer, service_rows: Database
) -> None:
    order_id = _place(service)
    service.sagas.CloseOrder(close_request(order_id))
    before = _counts(service_rows)

    details = _failure(service.sagas.ConfirmOrder, confirm_request(order_id))

    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.reason == "FORBIDDEN_TRANSITION"
    assert details.metadata == {"order_id": order_id, "from": "REJECTED", "to": "CONFIRMED"}
    assert _counts(service_rows) == before


def test_a_repeated_change_gets_the_same_bytes_and_happens_once(
    service: OrderServer, service_rows: Database
) -> None:
    order_id = _place(service)
    request = confirm_request(order_id)

    first = service.sagas.ConfirmOrder(request)
    before = _counts(service_rows)
    again = service.sagas.ConfirmOrder(request)

    assert first.SerializeToString() == again.SerializeToString()
    assert (first.order_id, first.version) == (order_id, 2)
    assert _counts(service_rows) == before


def test_each_order_of_a_batch_is_accepted_or_refused_alone(
    service: OrderServer, service_rows: Database
) -> None:
    customer_id = _customer()
    good, good_too = (
        create_request(customer_id=customer_id),
        create_request(customer_id=customer_id),
    )
    duplicate = create_request(customer_id=customer_id, lines=1)
    duplicate.lines.add().CopyFrom(duplicate.lines[0])
    reused = create_request(request_id=good.request_id, customer_id=_customer())

    answer = service.orders.BatchCreateOrders(
        order_service_pb2.BatchCreateOrdersRequest(
            requests=[good, duplicate, good_too, reused, good]
        )
    )

    kinds = [result.WhichOneof("result") for result in answer.results]
    assert kinds == ["response", "error", "response", "error", "response"]
    assert answer.results[0] == answer.results[4]
    reasons = [ErrorDetails.of_status(answer.results[bad].error).reason for bad in (1, 3)]
    assert reasons == ["INVALID_REQUEST", "REQUEST_ID_REUSED"]
    assert _order_rows(service_rows, customer_id) == 2


def test_a_batch_with_a_request_that_breaks_the_contract_is_refused_whole(
    service: OrderServer, service_rows: Database
) -> None:
    before = _counts(service_rows)
    bad = create_request()
    bad.lines[1].quantity = 0

    details = _failure(
        service.orders.BatchCreateOrders,
        order_service_pb2.BatchCreateOrdersRequest(requests=[create_request(), bad]),
    )

    assert set(details.violations) == {"requests[1].lines[1].quantity"}
    assert _counts(service_rows) == before


def test_each_change_of_a_batch_succeeds_or_fails_alone(service: OrderServer) -> None:
    pending, closed, unknown = _place(service), _place(service), str(uuid.uuid4())
    service.sagas.CloseOrder(close_request(closed))

    confirmed = service.sagas.BatchConfirmOrders(
        order_saga_service_pb2.BatchConfirmOrdersRequest(
            requests=[confirm_request(unknown), confirm_request(pending), confirm_request(closed)]
        )
    )
    closing = service.sagas.BatchCloseOrders(
        order_saga_service_pb2.BatchCloseOrdersRequest(
            requests=[close_request(pending), close_request(_place(service))]
        )
    )

    assert [result.WhichOneof("result") for result in confirmed.results] == [
        "error",
        "response",
        "error",
    ]
    assert confirmed.results[1].response.version == 2
    assert [result.WhichOneof("result") for result in closing.results] == ["error", "response"]


def test_a_change_is_seen_by_the_next_read(service: OrderServer) -> None:
    confirmed, closed = _place(service), _place(service)
    assert _get(service, confirmed).state == order_pb2.ORDER_STATE_PENDING

    service.sagas.ConfirmOrder(confirm_request(confirmed))
    service.sagas.CloseOrder(close_request(closed))

    assert _get(service, confirmed).state == order_pb2.ORDER_STATE_CONFIRMED
    order = _get(service, closed)
    assert (order.state, order.version) == (order_pb2.ORDER_STATE_REJECTED, 2)
    assert order.rejection == order_pb2.Rejection(
        reason="PAYMENT_DECLINED", message="the card was declined"
    )


def test_the_timeline_tells_every_state_oldest_first(service: OrderServer) -> None:
    order_id = _place(service)
    service.sagas.CloseOrder(close_request(order_id))

    entries = service.orders.GetOrderTimeline(
        order_service_pb2.GetOrderTimelineRequest(order_id=order_id)
    ).entries

    assert [(entry.version, entry.state) for entry in entries] == [
        (1, order_pb2.ORDER_STATE_PENDING),
        (2, order_pb2.ORDER_STATE_REJECTED),
    ]
    order = _get(service, order_id)
    assert [entry.enter_time for entry in entries] == [order.create_time, order.update_time]
    assert entries[1].rejection == order.rejection


def test_a_text_that_cannot_be_stored_fails_alone(service: OrderServer) -> None:
    good, bad = _place(service), close_request(_place(service))
    bad.message = "nul \x00"

    failing = service.sagas.CloseOrder.future(bad)
    going = service.sagas.CloseOrder.future(close_request(good))

    assert going.result().version == 2
    assert failing.exception() is not None
    assert _get(service, bad.order_id).state == order_pb2.ORDER_STATE_PENDING


def test_every_change_leaves_as_an_event_in_order(
    service: OrderServer, service_rows: Database
) -> None:
    confirmed = service.orders.CreateOrder(create_request()).order
    service.sagas.ConfirmOrder(confirm_request(confirmed.order_id))
    closed = service.orders.CreateOrder(create_request()).order
    service.sagas.CloseOrder(close_request(closed.order_id))

    rows = service_rows.fetch(
        "SELECT key, aggregate_version, type, topic, payload FROM outbox"
        " WHERE key IN (%(one)s, %(other)s) ORDER BY seq",
        {"one": confirmed.order_id, "other": closed.order_id},
    )

    assert [(row[0], row[1], row[2]) for row in rows] == [
        (confirmed.order_id, 1, "trackops.order.v1.OrderPlaced"),
        (confirmed.order_id, 2, "trackops.order.v1.OrderConfirmed"),
        (closed.order_id, 1, "trackops.order.v1.OrderPlaced"),
        (closed.order_id, 2, "trackops.order.v1.OrderRejected"),
    ]
    assert {row[3] for row in rows} == {"trackops.order.events.v1"}
    placed = order_events_pb2.OrderPlaced.FromString(bytes(rows[0][4]))
    assert placed == order_events_pb2.OrderPlaced(order=confirmed, payment_method_token="tok_ok")
    rejected = order_events_pb2.OrderRejected.FromString(bytes(rows[3][4]))
    assert (rejected.order_id, rejected.customer_id) == (closed.order_id, closed.customer_id)
    assert rejected.rejection.reason == "PAYMENT_DECLINED"
