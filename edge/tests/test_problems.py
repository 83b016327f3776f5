"""Errors as problem details (RFC 9457), whoever made them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from trackops.common.v1.error_reason_pb2 import ErrorReason
from trackops.order.v1 import order_service_pb2

from trackops_common.grpc.failures import Failure

from .edge_harness import PLENTY, Answer, Edge, Refused, run_edge

ORDER = "3f2c8a51-6d0e-4b7a-9c14-5e8f7a2b1c90"
NOT_FOUND = Failure(
    grpc.StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_ORDER_NOT_FOUND,
    'order "\\ é 茶" does not exist',
    {"order_id": ORDER, 'key "with" marks': "{[,]}"},
)
WRONG = Failure(
    grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_INVALID_REQUEST,
    "2 fields are wrong",
    violations=[("lines[0].sku", 'no "sku"'), ("lines[0].quantity", "must be > 0, not {0}")],
)
OVERLOADED = Failure(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_OVERLOADED,
    "the queue is full",
    retry_after_seconds=1.5,
)


def refused(edge: Edge, failure: Failure) -> Answer:
    """What a caller of GetOrder gets when the service answers so."""

    def refuse(*_: object) -> None:
        raise Refused(failure)

    edge.services.behaviours["GetOrder"] = refuse
    answer = edge.call("GET", f"/v1/orders/{ORDER}")
    assert_is_problem(answer)
    return answer


def assert_is_problem(answer: Answer) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    assert answer.json["type"]
    assert answer.json["title"]
    assert int(answer.headers["content-length"]) == len(answer.body)


def test_a_refusal_tells_its_reason_and_its_metadata(edge: Edge) -> None:
    assert refused(edge, NOT_FOUND).json == {
        "type": "/docs#ORDER_NOT_FOUND",
        "title": "Order not found",
        "status": 404,
        "detail": NOT_FOUND.message,
        "reason": "ORDER_NOT_FOUND",
        "metadata": dict(NOT_FOUND.metadata),
    }


def test_wrong_fields_are_named(edge: Edge) -> None:
    answer = refused(edge, WRONG)

    assert answer.status == 400
    assert answer.json["reason"] == "INVALID_REQUEST"
    assert answer.json["errors"] == [
        {"field": field, "detail": detail} for field, detail in WRONG.violations
    ]


def test_back_pressure_says_when_to_come_back(edge: Edge) -> None:
    answer = refused(edge, OVERLOADED)

    assert (answer.status, answer.headers["retry-after"]) == (429, "2")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", 400),
        ("FAILED_PRECONDITION", 400),
        ("UNAUTHENTICATED", 401),
        ("PERMISSION_DENIED", 403),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("ABORTED", 409),
        ("RESOURCE_EXHAUSTED", 429),
        ("INTERNAL", 500),
        ("UNIMPLEMENTED", 501),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
    ],
)
def test_each_code_has_its_status(edge: Edge, code: str, status: int) -> None:
    failure = Failure(grpc.StatusCode[code], ErrorReason.ERROR_REASON_INTERNAL, "no")

    answer = refused(edge, failure)

    assert (answer.status, answer.json["reason"]) == (status, "INTERNAL")


def test_a_status_without_details_is_a_problem_too(edge: Edge) -> None:
    def abort(_: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, "bare {")

    edge.services.behaviours["GetOrder"] = abort
    answer = edge.call("GET", f"/v1/orders/{ORDER}")

    assert_is_problem(answer)
    assert answer.json == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "bare {",
    }


def test_a_watch_that_is_refused_is_a_problem(edge: Edge) -> None:
    def refuse(*_: object) -> Iterator[order_service_pb2.WatchOrderResponse]:
        raise Refused(NOT_FOUND)

    edge.services.behaviours["WatchOrder"] = refuse
    answer = edge.call("GET", f"/v1/orders/{ORDER}:watch")

    assert_is_problem(answer)
    assert (answer.status, answer.json["reason"]) == (404, "ORDER_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "Unexpected end"),
        (b"[]", ""),
        (b'{"lines": 7}', ""),
        (b'\xff\xfe"\x00\\', ""),
    ],
)
def test_a_body_that_is_no_such_request_is_a_problem(edge: Edge, body: bytes, said: str) -> None:
    answer = edge.call("POST", "/v1/orders", body)

    assert_is_problem(answer)
    assert answer.status == 400
    assert said in answer.json["detail"]
    assert edge.services.calls == []


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("GET", "/v1/orders?no_such_field=1", None),
        ("GET", "/v1/orders?page_size=many", None),
        ("POST", f"/v1/orders/{ORDER}:cancel", {"order_id": str(uuid.uuid4())}),
        ("GET", "/v1/orders%2F..%2Fusers", None),
    ],
)
def test_what_cannot_be_bound_is_a_problem(edge: Edge, verb: str, path: str, body: object) -> None:
    answer = edge.call(verb, path, body)

    assert_is_problem(answer)
    assert answer.status == 400
    assert edge.services.calls == []


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/orders"),
        ("GET", "/"),
        ("POST", "/docs"),
        ("POST", "/trackops.order.v1.OrderService/CreateOrder"),
    ],
)
def test_what_does_not_exist_is_a_problem(edge: Edge, verb: str, path: str) -> None:
    answer = edge.call(verb, path, {} if verb == "POST" else None)

    assert_is_problem(answer)
    assert answer.status == 404
    assert edge.services.calls == []


def test_a_body_that_is_too_large_is_a_problem(edge: Edge) -> None:
    most = edge.settings.limits.request_bytes

    answer = edge.call("POST", "/v1/orders", {"note": "x" * most})

    assert_is_problem(answer)
    assert answer.status == 413
    assert edge.services.calls == []
    assert edge.call("POST", "/v1/orders", {"note": "x" * (most - 1000)}).status == 200


def test_a_body_that_is_too_large_for_grpc_is_resource_exhausted(edge: Edge) -> None:
    body = "x" * edge.settings.limits.request_bytes

    answer = edge.call(
        "POST",
        "/trackops.order.v1.OrderService/GetOrder",
        {"note": body},
        headers={"content-type": "application/grpc"},
    )

    assert answer.headers["grpc-status"] == "8"
    assert edge.services.calls == []


def test_headers_that_are_too_large_or_too_many_are_a_problem(edge: Edge) -> None:
    limits = edge.settings.limits
    large = {"x-large": "x" * limits.header_kibibytes * 1024}
    many = {f"x-{number}": "" for number in range(limits.headers)}

    for headers in (large, many):
        answer = edge.call("GET", "/v1/orders", headers=headers)
        assert_is_problem(answer)
        assert answer.status == 431
    assert edge.services.calls == []


@pytest.fixture
def hasty_edge(tmp_path: Path, ports: Iterator[int]) -> Iterator[Edge]:
    with run_edge(tmp_path, ports, limits=replace(PLENTY, call_seconds=1)) as edge:
        yield edge


def test_a_service_that_takes_too_long_or_is_away_is_a_problem(hasty_edge: Edge) -> None:
    edge = hasty_edge
    edge.services.behaviours["CancelOrder"] = lambda *_: edge.services.released.wait(20)
    late = edge.call("POST", f"/v1/orders/{ORDER}:cancel", {})
    edge.services.released.set()
    edge.services.stop()
    away = edge.call("GET", f"/v1/orders/{ORDER}")

    for answer, status in ((late, 504), (away, 503)):
        assert_is_problem(answer)
        assert answer.status == status
    assert away.json["detail"] == "the service behind the edge is away; try again"
