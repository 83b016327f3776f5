"""How much one caller may take, and all together."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.testing import wait_for
from trackops_common.testing import error_details
from trackops_edge.settings import Rate

from .edge_harness import PLENTY, Answer, Edge, run_edge

BURST = 5
FEW = Rate(burst=BURST, per_second=1)


@pytest.fixture
def strict_edge(tmp_path: Path, ports: Iterator[int]) -> Iterator[Edge]:
    with run_edge(tmp_path, ports, limits=replace(PLENTY, per_client=FEW)) as edge:
        yield edge


@pytest.fixture
def crowded_edge(tmp_path: Path, ports: Iterator[int]) -> Iterator[Edge]:
    with run_edge(tmp_path, ports, limits=replace(PLENTY, together=FEW)) as edge:
        yield edge


@pytest.fixture
def edge_behind_a_proxy(tmp_path: Path, ports: Iterator[int]) -> Iterator[Edge]:
    limits = replace(PLENTY, per_client=FEW)
    with run_edge(tmp_path, ports, limits=limits, trusted_hops=1) as edge:
        yield edge


@pytest.fixture
def edge_for_two_orders(tmp_path: Path, ports: Iterator[int]) -> Iterator[Edge]:
    with run_edge(tmp_path, ports, limits=replace(PLENTY, creations=2)) as edge:
        yield edge


def take_all(edge: Edge, *, source: str = "127.0.0.1", forwarded_for: str = "") -> Answer:
    """Calls until it is refused, each time saying to come from another address; the refusal."""
    for _ in range(100):
        said = forwarded_for or f"203.0.113.{uuid.uuid4().int % 250}"
        answer = edge.call("GET", "/v1/orders", source=source, headers={"x-forwarded-for": said})
        if answer.status != 200:
            return answer
    raise AssertionError("never refused")


def test_a_caller_who_takes_too_much_is_told_when_to_come_back(strict_edge: Edge) -> None:
    refusal = take_all(strict_edge)

    assert refusal.status == 429
    assert refusal.headers["content-type"] == "application/problem+json"
    assert refusal.json["reason"] == "OVERLOADED"
    assert refusal.headers["retry-after"] == "1"
    assert refusal.headers["x-ratelimit-limit"] == str(BURST)
    assert refusal.headers["x-ratelimit-remaining"] == "0"
    served = len(strict_edge.services.calls)
    assert BURST <= served < BURST + 20


def test_another_caller_has_a_bucket_of_its_own(strict_edge: Edge) -> None:
    assert take_all(strict_edge).status == 429

    assert strict_edge.call("GET", "/v1/orders", source="127.0.0.2").status == 200
    assert take_all(strict_edge, source="127.0.0.2").status == 429


def test_who_has_no_token_is_counted_too(strict_edge: Edge) -> None:
    statuses = [strict_edge.call("GET", "/v1/orders", token=None).status for _ in range(30)]

    assert set(statuses) == {401, 429}


def test_all_callers_together_are_limited(crowded_edge: Edge) -> None:
    statuses = [
        crowded_edge.call("GET", "/v1/orders", source=f"127.0.1.{number}").status
        for number in range(1, 31)
    ]

    assert set(statuses) == {200, 429}
    assert statuses[:BURST] == [200] * BURST


def test_behind_a_proxy_its_callers_are_told_apart(edge_behind_a_proxy: Edge) -> None:
    edge = edge_behind_a_proxy

    assert take_all(edge, forwarded_for="203.0.113.7").status == 429
    first_of_another = edge.call(
        "GET", "/v1/orders", headers={"x-forwarded-for": "203.0.113.7, 203.0.113.8"}
    )
    assert first_of_another.status == 200


def test_an_order_too_many_is_refused_while_others_are_in_the_making(
    edge_for_two_orders: Edge,
) -> None:
    edge, request = edge_for_two_orders, order_service_pb2.CreateOrderRequest()
    edge.services.behaviours["CreateOrder"] = lambda *_: _once_released(edge)
    with edge.channel() as channel:
        orders = OrderServiceStub(channel)
        making = [
            orders.CreateOrder.future(request, metadata=edge.metadata, timeout=20) for _ in range(2)
        ]
        wait_for(lambda: len(edge.services.calls) == 2, what="both orders to be in the making")

        refusal = edge.call("POST", "/v1/orders", {})
        with pytest.raises(grpc.RpcError) as refused:
            orders.CreateOrder(request, metadata=edge.metadata, timeout=20)
        other = edge.call("GET", "/v1/orders")
        edge.services.released.set()
        made = [one.result() for one in making]
        next_one = edge.call("POST", "/v1/orders", {})

    assert (refusal.status, refusal.headers["retry-after"]) == (429, "1")
    assert refusal.headers["content-type"] == "application/problem+json"
    assert refusal.json["reason"] == "OVERLOADED"
    details = error_details(refused.value)
    assert (details.code, details.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert details.retry_after_seconds == 1
    assert other.status == 200
    assert made == [order_service_pb2.CreateOrderResponse()] * 2
    assert next_one.status == 200


def _once_released(edge: Edge) -> order_service_pb2.CreateOrderResponse:
    assert edge.services.released.wait(20)
    return order_service_pb2.CreateOrderResponse()
