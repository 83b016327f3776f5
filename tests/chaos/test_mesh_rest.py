"""What a call over REST sends, and what its end means."""

from __future__ import annotations

import json
import random
import socket
import uuid
from collections.abc import Callable

import grpc
import httpx
import pytest
from trackops.order.v1 import order_service_pb2 as pb

from .mesh.history import History, Outcome, outcome_of, outcome_of_http
from .mesh.plans import draw
from .mesh.rest import RestError, RestOrders
from .mesh.shop import Shop

ORDER = "0b0e7a36-5d3c-5a55-8d0a-0d7a3f0f9d10"

Answer = Callable[[httpx.Request], httpx.Response]


async def a_token() -> str:
    return "t"


def orders(answer: Answer) -> RestOrders:
    """Before an edge that answers so."""
    client = httpx.AsyncClient(base_url="https://edge", transport=httpx.MockTransport(answer))
    return RestOrders(client, a_token)


def shown(version: int) -> httpx.Response:
    order = {"order_id": ORDER, "version": str(version), "state": "ORDER_STATE_PENDING"}
    return httpx.Response(200, json={"order": order})


def problem(status: int, reason: str) -> httpx.Response:
    body = json.dumps({"status": status, "reason": reason})
    return httpx.Response(status, text=body, headers={"content-type": "application/problem+json"})


async def test_a_change_is_posted_without_what_its_path_says() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return shown(3)

    asked = pb.CancelOrderRequest(request_id="r", order_id=ORDER, reason="no")
    answered = await orders(answer).CancelOrder(asked, timeout=5)

    assert (answered.order.order_id, answered.order.version) == (ORDER, 3)
    (request,) = seen
    assert (request.method, request.url.path) == ("POST", f"/v1/orders/{ORDER}:cancel")
    assert json.loads(request.content) == {"request_id": "r", "reason": "no"}
    assert request.headers["authorization"] == "Bearer t"


async def test_a_read_asks_for_what_was_changed() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return shown(4)

    rest = orders(answer)
    await rest.GetOrder(pb.GetOrderRequest(order_id=ORDER), timeout=5)
    await rest.CancelOrder(pb.CancelOrderRequest(request_id="r", order_id=ORDER), timeout=5)
    await rest.GetOrder(pb.GetOrderRequest(order_id=ORDER), timeout=5)

    reads = [one.url for one in seen if one.method == "GET"]
    assert [one.path for one in reads] == [f"/v1/orders/{ORDER}"] * 2
    assert [dict(one.params) for one in reads] == [{}, {"min_version": "4"}]


async def test_a_refusal_has_its_reason() -> None:
    with pytest.raises(RestError) as failed:
        await orders(lambda _: problem(404, "ORDER_NOT_FOUND")).GetOrder(
            pb.GetOrderRequest(order_id=ORDER), timeout=5
        )

    assert (failed.value.status, failed.value.reason) == (404, "ORDER_NOT_FOUND")


async def test_no_answer_and_half_of_one_have_no_status() -> None:
    def gone(_: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("cut")

    with pytest.raises(RestError) as failed:
        await orders(gone).GetOrder(pb.GetOrderRequest(order_id=ORDER), timeout=5)

    assert (failed.value.status, failed.value.reason) == (0, "RemoteProtocolError")


async def test_a_caller_gives_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with client:
            with pytest.raises(RestError) as failed:
                await RestOrders(client, a_token).GetOrder(
                    pb.GetOrderRequest(order_id=ORDER), timeout=0.01
                )

    assert (failed.value.status, failed.value.reason) == (0, "ReadTimeout")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (200, grpc.StatusCode.OK),
        (400, grpc.StatusCode.INVALID_ARGUMENT),
        (401, grpc.StatusCode.UNAUTHENTICATED),
        (403, grpc.StatusCode.PERMISSION_DENIED),
        (404, grpc.StatusCode.NOT_FOUND),
        (409, grpc.StatusCode.ABORTED),
        (429, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (499, grpc.StatusCode.CANCELLED),
        (500, grpc.StatusCode.INTERNAL),
        (503, grpc.StatusCode.UNAVAILABLE),
        (504, grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_a_status_means_what_the_edge_made_it_of(status: int, code: grpc.StatusCode) -> None:
    assert outcome_of_http(status) is outcome_of(code)


@pytest.mark.parametrize("status", [0, 408, 502])
def test_what_only_http_has_is_in_doubt(status: int) -> None:
    assert outcome_of_http(status) is Outcome.UNKNOWN


async def test_what_came_of_it_stands_in_the_history() -> None:
    answers = iter([problem(503, ""), problem(400, "REQUEST_ID_REUSED"), shown(1)])
    history = History()
    rest = orders(lambda _: next(answers))
    shop = Shop(rest, history, "ada", random.Random(1))
    request = pb.CreateOrderRequest(request_id=str(uuid.uuid4()))

    for _ in range(3):
        await shop.call("create", rest.CreateOrder, request, 5.0)

    assert [(one.outcome, one.code, one.reason, one.version) for one in history.calls] == [
        (Outcome.UNKNOWN, "HTTP 503", "", 0),
        (Outcome.REFUSED, "HTTP 400", "REQUEST_ID_REUSED", 0),
        (Outcome.ACKNOWLEDGED, "HTTP 200", "", 1),
    ]


def test_a_fifth_of_the_customers_come_by_rest() -> None:
    rng = random.Random(1)

    assert 350 < sum(draw(rng).comes_by_rest for _ in range(2_000)) < 450
