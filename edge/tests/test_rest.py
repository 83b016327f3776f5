"""RPCs called as REST, and what comes back."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path

import grpc
import pytest
from trackops.common.v1.error_reason_pb2 import ErrorReason
from trackops.order.v1 import order_pb2, order_service_pb2

from trackops_common.grpc.failures import Failure
from trackops_edge.contract import EdgeRpc, edge_rpcs

from .edge_harness import PLENTY, Edge, Refused, run_edge

ORDER = str(uuid.uuid4())
AWAY = Failure(
    grpc.StatusCode.UNAVAILABLE, ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE, "try again"
)


def change(version: int) -> order_service_pb2.WatchOrderResponse:
    return order_service_pb2.WatchOrderResponse(
        entry=order_service_pb2.TimelineEntry(version=version)
    )


@pytest.mark.parametrize("rpc", edge_rpcs(), ids=lambda rpc: rpc.method.name)
def test_every_rpc_on_the_edge_is_reached_by_its_path(edge: Edge, rpc: EdgeRpc) -> None:
    path = rpc.template.replace("{order_id}", ORDER).replace("{user_id}", ORDER)

    answer = edge.call(rpc.verb, path, {} if rpc.verb == "POST" else None)

    assert answer.status == 200, answer.body
    assert [call.rpc for call in edge.services.calls] == [rpc.method.name]
    request = edge.services.calls[0].request
    in_path = [name for name in ("order_id", "user_id") if f"{{{name}}}" in rpc.template]
    assert [getattr(request, name) for name in in_path] == [ORDER] * len(in_path)


def test_a_body_becomes_the_request_and_the_response_a_body(edge: Edge) -> None:
    order = order_pb2.Order(order_id=ORDER, total_minor=900, state=order_pb2.ORDER_STATE_PENDING)
    edge.services.behaviours["CreateOrder"] = lambda *_: order_service_pb2.CreateOrderResponse(
        order=order
    )
    body = {
        "request_id": ORDER,
        "customer_id": "ada",
        "lines": [{"sku": "TEA-1", "quantity": 2, "unit_price_minor": "450"}],
        "metadata": {"channel": "wéb"},
    }

    answer = edge.call("POST", "/v1/orders", body)

    (call,) = edge.services.calls
    assert call.request == order_service_pb2.CreateOrderRequest(
        request_id=ORDER,
        customer_id="ada",
        lines=[order_pb2.OrderLine(sku="TEA-1", quantity=2, unit_price_minor=450)],
        metadata={"channel": "wéb"},
    )
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "order": {"order_id": ORDER, "total_minor": "900", "state": "ORDER_STATE_PENDING"}
    }


def test_a_query_becomes_the_request(edge: Edge) -> None:
    query = (
        "customer_id=ada&states=ORDER_STATE_PENDING&states=ORDER_STATE_CONFIRMED"
        "&create_time_from=2026-11-23T10:00:00Z&page_size=7&page_token=a%2Bb"
    )

    assert edge.call("GET", f"/v1/orders?{query}").status == 200

    request = edge.services.calls[0].request
    assert (request.customer_id, request.page_size, request.page_token) == ("ada", 7, "a+b")
    assert list(request.states) == [order_pb2.ORDER_STATE_PENDING, order_pb2.ORDER_STATE_CONFIRMED]
    assert request.create_time_from.ToJsonString() == "2026-11-23T10:00:00Z"


def test_the_token_reaches_the_service_and_the_deadline_too(edge: Edge) -> None:
    edge.call("GET", f"/v1/orders/{ORDER}")

    (call,) = edge.services.calls
    assert call.metadata["authorization"] == f"Bearer {edge.token}"
    assert call.seconds_left is not None
    assert 5 < call.seconds_left <= edge.settings.limits.call_seconds


def test_a_read_is_tried_again_while_its_service_is_away(edge: Edge) -> None:
    def away_twice(*_: object) -> order_service_pb2.GetOrderResponse:
        if len(edge.services.calls) < 3:
            raise Refused(AWAY)
        return order_service_pb2.GetOrderResponse()

    edge.services.behaviours["GetOrder"] = away_twice

    assert edge.call("GET", f"/v1/orders/{ORDER}").status == 200
    assert len(edge.services.calls) == 3


def test_a_change_is_sent_once(edge: Edge) -> None:
    def away(*_: object) -> None:
        raise Refused(AWAY)

    edge.services.behaviours["CancelOrder"] = away

    assert edge.call("POST", f"/v1/orders/{ORDER}:cancel", {}).status == 503
    assert len(edge.services.calls) == 1


def test_an_answer_of_megabytes_arrives_whole(edge: Edge) -> None:
    orders = [order_pb2.Order(order_id=ORDER, note="x" * 2000) for _ in range(1000)]
    edge.services.behaviours["ListOrders"] = lambda *_: order_service_pb2.ListOrdersResponse(
        orders=orders
    )

    assert len(edge.call("GET", "/v1/orders").json["orders"]) == 1000


def test_a_watch_sends_each_change_as_a_line_when_it_happens(edge: Edge) -> None:
    read = threading.Event()

    def changes(*_: object) -> Iterator[order_service_pb2.WatchOrderResponse]:
        for version in (1, 2, 3):
            yield change(version)
            assert read.wait(10), "the line before did not arrive while the stream was open"
            read.clear()

    edge.services.behaviours["WatchOrder"] = changes
    with _open(edge, f"/v1/orders/{ORDER}:watch?after_version=0") as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        for version in ("1", "2", "3"):
            assert json.loads(answer.readline()) == {"entry": {"version": version}}
            read.set()
        assert answer.read() == b""
    left = edge.services.calls[0].seconds_left
    assert left is None or left > edge.settings.limits.call_seconds


def test_a_watch_on_which_nothing_happens_stays_open(tmp_path: Path, ports: Iterator[int]) -> None:
    limits = replace(PLENTY, idle_seconds=1)
    with run_edge(tmp_path, ports, limits=limits) as edge:
        happened = threading.Event()

        def changes(*_: object) -> Iterator[order_service_pb2.WatchOrderResponse]:
            yield change(1)
            assert happened.wait(20)
            yield change(2)

        edge.services.behaviours["WatchOrder"] = changes
        edge.services.behaviours["CancelOrder"] = lambda *_: edge.services.released.wait(20)
        with _open(edge, f"/v1/orders/{ORDER}:watch") as answer:
            answer.readline()
            # A call that is cut off for its idleness says that the time has passed.
            assert edge.call("POST", f"/v1/orders/{ORDER}:cancel", {}).status == 504
            happened.set()
            assert json.loads(answer.readline()) == {"entry": {"version": "2"}}
        edge.services.released.set()


def test_a_watch_that_breaks_off_ends_after_what_it_told(edge: Edge) -> None:
    def changes(*_: object) -> Iterator[order_service_pb2.WatchOrderResponse]:
        yield change(1)
        raise Refused(AWAY)

    edge.services.behaviours["WatchOrder"] = changes
    with _open(edge, f"/v1/orders/{ORDER}:watch") as answer:
        assert [json.loads(line) for line in answer] == [{"entry": {"version": "1"}}]


def test_a_watch_that_its_reader_leaves_ends_at_the_service(edge: Edge) -> None:
    ended = threading.Event()

    def changes(
        _: object, context: grpc.ServicerContext
    ) -> Iterator[order_service_pb2.WatchOrderResponse]:
        context.add_callback(ended.set)
        yield change(1)
        ended.wait(20)

    edge.services.behaviours["WatchOrder"] = changes
    with _open(edge, f"/v1/orders/{ORDER}:watch") as answer:
        assert json.loads(answer.readline()) == {"entry": {"version": "1"}}
        assert not ended.is_set()

    assert ended.wait(10)


@contextmanager
def _open(edge: Edge, path: str) -> Iterator[HTTPResponse]:
    """An answer that is read as it comes; the connection is closed at the end."""
    with closing(edge.connection()) as connection:
        connection.request("GET", path, headers={"authorization": f"Bearer {edge.token}"})
        answer = connection.getresponse()
        assert answer.status == 200
        yield answer
