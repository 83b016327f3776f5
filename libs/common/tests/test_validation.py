from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import Message
from trackops.order.v1 import order_pb2, order_service_pb2

from trackops_common.grpc.validation import validation_failure

REQUEST_ID = "6f1c0000-0000-4000-8000-00000000000a"


def _request(**changes: object) -> order_service_pb2.CreateOrderRequest:
    fields: dict[str, object] = {
        "request_id": REQUEST_ID,
        "customer_id": "c-1",
        "currency_code": "EUR",
        "lines": [order_pb2.OrderLine(sku="TEA-1", quantity=1, unit_price_minor=100)],
        "payment_method_token": "tok_1",
    }
    return order_service_pb2.CreateOrderRequest(**(fields | changes))  # type: ignore[arg-type]


def _paths(message: Message) -> list[str]:
    failure = validation_failure(message)
    return [path for path, _ in failure.violations] if failure else []


def test_a_message_that_keeps_the_rules_passes() -> None:
    assert validation_failure(_request()) is None


def test_every_wrong_field_is_named_at_once() -> None:
    failure = validation_failure(order_service_pb2.CreateOrderRequest())

    assert failure is not None
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [path for path, _ in failure.violations] == [
        "request_id",
        "customer_id",
        "currency_code",
        "lines",
        "payment_method_token",
    ]
    assert all(description for _, description in failure.violations)


def test_a_wrong_element_is_named_with_its_place() -> None:
    good = order_pb2.OrderLine(sku="TEA-1", quantity=1)
    bad = order_pb2.OrderLine(sku="tea", quantity=0, unit_price_minor=-1)

    assert _paths(_request(lines=[good, good, bad])) == [
        "lines[2].sku",
        "lines[2].quantity",
        "lines[2].unit_price_minor",
    ]


def test_a_path_leads_through_the_requests_of_a_batch() -> None:
    batch = order_service_pb2.BatchCreateOrdersRequest(
        requests=[_request(), _request(lines=[order_pb2.OrderLine(sku="TEA-1", quantity=0)])]
    )

    assert _paths(batch) == ["requests[1].lines[0].quantity"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", "not-a-uuid"),
        ("customer_id", "spaces are wrong"),
        ("customer_id", "x" * 129),
        ("customer_id", "trailing-newline\n"),
        ("currency_code", "eur"),
        ("payment_method_token", "4111 1111 1111 1111"),
        ("payment_method_token", "nul\x00"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused(field: str, value: str) -> None:
    assert _paths(_request(**{field: value})) == [field]


def test_a_list_that_is_too_long_is_refused() -> None:
    line = order_pb2.OrderLine(sku="TEA-1", quantity=1)

    assert _paths(_request(lines=[line] * 501)) == ["lines"]
