"""What a call carries when it leaves, over `grpc` and `grpc.aio`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Protocol

import grpc
import pytest
from trackops.order.v1 import order_service_pb2 as orders
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_client import open_aio_channel, open_channel
from trackops_client.testing import FakeServer, failing

OTHER_CODES = [
    code
    for code in grpc.StatusCode
    if code not in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
]


class Caller(Protocol):
    """Makes calls on a channel of its own, opened with `options`."""

    def call(
        self, server: FakeServer, rpc: str, *requests: Any, own: Any = None, **options: Any
    ) -> None:
        """Sends `requests` one after the other, each with the arguments `own`."""

    def stream(self, target: str, **options: Any) -> list[bytes]:
        """The responses of one call of a stream."""


class SyncCaller:
    def call(
        self, server: FakeServer, rpc: str, *requests: Any, own: Any = None, **options: Any
    ) -> None:
        with open_channel(server.target, **options) as channel:
            method = getattr(OrderServiceStub(channel), rpc)
            for request in requests:
                method(request, **(own or {}))

    def stream(self, target: str, **options: Any) -> list[bytes]:
        with open_channel(target, **options) as channel:
            return list(channel.unary_stream("/any/Stream", _encode)(orders.GetOrderRequest()))


class AioCaller:
    def call(
        self, server: FakeServer, rpc: str, *requests: Any, own: Any = None, **options: Any
    ) -> None:
        async def run() -> None:
            async with open_aio_channel(server.target, **_awaited(options)) as channel:
                method = getattr(OrderServiceStub(channel), rpc)
                for request in requests:
                    await method(request, **(own or {}))

        asyncio.run(run())

    def stream(self, target: str, **options: Any) -> list[bytes]:
        async def run() -> list[bytes]:
            async with open_aio_channel(target, **_awaited(options)) as channel:
                method: Any = channel.unary_stream("/any/Stream", _encode)
                return [one async for one in method(orders.GetOrderRequest())]

        return asyncio.run(run())


def _awaited(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a `grpc` channel as one of `grpc.aio` takes them."""
    token = options.get("token")
    if token is None:
        return options

    async def awaited() -> str:
        return str(token())

    return options | {"token": awaited}


def _encode(message: orders.GetOrderRequest) -> bytes:
    return message.SerializeToString()


@pytest.fixture(params=[SyncCaller, AioCaller], ids=["grpc", "grpc.aio"])
def caller(request: pytest.FixtureRequest) -> Caller:
    made: Caller = request.param()
    return made


class Streams(grpc.GenericRpcHandler):
    """Answers every call with two responses."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, str | bytes]] = []
        self.seconds_left: list[float] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if "Health" in handler_call_details.method:
            return None
        return grpc.unary_stream_rpc_method_handler(self._answer)

    def _answer(self, _: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.metadata.append(dict(context.invocation_metadata()))
        self.seconds_left.append(context.time_remaining())
        yield b"one"
        yield b"two"


@pytest.fixture
def streams() -> Iterator[tuple[Streams, str]]:
    """Streams, and where they are served."""
    handler = Streams()
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


class Tokens:
    """A new token each time."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self) -> str:
        return f"token-{next(self._numbers)}"


def _ids(server: FakeServer) -> list[str]:
    return [received.request.request_id for received in server.received]


def test_a_call_without_a_timeout_gets_the_channels(server: FakeServer, caller: Caller) -> None:
    caller.call(server, "GetOrder", orders.GetOrderRequest(), timeout_seconds=30)

    left = server.received[0].seconds_left
    assert left is not None
    assert left == pytest.approx(30, abs=5)


def test_a_calls_own_timeout_stays(server: FakeServer, caller: Caller) -> None:
    caller.call(server, "GetOrder", orders.GetOrderRequest(), own={"timeout": 60})

    left = server.received[0].seconds_left
    assert left is not None
    assert left == pytest.approx(60, abs=5)


def test_a_stream_lasts_until_its_end_and_carries_what_a_call_does(
    streams: tuple[Streams, str], caller: Caller
) -> None:
    handler, target = streams
    responses = caller.stream(target, token=lambda: "t", traceparent=lambda: "00-1-2-01")

    assert responses == [b"one", b"two"]
    assert handler.metadata[0]["authorization"] == "Bearer t"
    assert handler.metadata[0]["traceparent"] == "00-1-2-01"
    assert handler.seconds_left[0] is None or handler.seconds_left[0] > 1e9


def test_unavailable_is_tried_again_as_the_same_call(server: FakeServer, caller: Caller) -> None:
    server.answers = [failing(grpc.StatusCode.UNAVAILABLE)] * 2
    request = orders.CreateOrderRequest(customer_id="ada")

    caller.call(server, "CreateOrder", request, token=Tokens())

    assert _ids(server) == [request.request_id] * 3
    tokens = [received.metadata["authorization"] for received in server.received]
    assert tokens == ["Bearer token-1"] * 3


def test_unavailable_is_given_up_after_four_attempts(server: FakeServer, caller: Caller) -> None:
    server.answers = [failing(grpc.StatusCode.UNAVAILABLE)] * 9

    with pytest.raises(grpc.RpcError):
        caller.call(server, "CreateOrder", orders.CreateOrderRequest())

    assert len(server.received) == 4


@pytest.mark.parametrize("code", OTHER_CODES, ids=lambda code: code.name)
def test_no_other_failure_is_tried_again(
    server: FakeServer, caller: Caller, code: grpc.StatusCode
) -> None:
    server.answers = [failing(code)]

    with pytest.raises(grpc.RpcError) as failed:
        caller.call(server, "CreateOrder", orders.CreateOrderRequest())

    error: Any = failed.value
    assert error.code() is code
    assert len(server.received) == 1


def test_an_empty_request_id_is_filled_and_a_message_sent_again_is_the_same_call(
    server: FakeServer, caller: Caller
) -> None:
    request = orders.CreateOrderRequest(customer_id="ada")

    caller.call(server, "CreateOrder", request, request)

    assert _ids(server) == [request.request_id] * 2
    assert uuid.UUID(request.request_id).version == 4


def test_two_requests_get_two_ids(server: FakeServer, caller: Caller) -> None:
    caller.call(server, "CreateOrder", orders.CreateOrderRequest(), orders.CreateOrderRequest())

    assert len(set(_ids(server))) == 2


def test_a_request_id_that_is_there_stays(server: FakeServer, caller: Caller) -> None:
    caller.call(server, "CreateOrder", orders.CreateOrderRequest(request_id="mine"))

    assert _ids(server) == ["mine"]


def test_each_request_of_a_batch_gets_an_id(server: FakeServer, caller: Caller) -> None:
    mine = orders.CreateOrderRequest(request_id="mine")
    batch = orders.BatchCreateOrdersRequest(
        requests=[mine, orders.CreateOrderRequest(), orders.CreateOrderRequest()]
    )

    caller.call(server, "BatchCreateOrders", batch)

    ids = [one.request_id for one in server.received[0].request.requests]
    assert ids[0] == "mine"
    assert len(set(ids)) == 3


def test_a_request_without_the_field_is_sent_as_it_is(server: FakeServer, caller: Caller) -> None:
    request = orders.GetOrderRequest(order_id="some")

    caller.call(server, "GetOrder", request)

    assert server.received[0].request == orders.GetOrderRequest(order_id="some")


def test_each_call_asks_for_its_token(server: FakeServer, caller: Caller) -> None:
    request = orders.GetOrderRequest()

    caller.call(server, "GetOrder", request, request, token=Tokens())

    tokens = [received.metadata["authorization"] for received in server.received]
    assert tokens == ["Bearer token-1", "Bearer token-2"]


def test_each_call_asks_for_its_trace_context(server: FakeServer, caller: Caller) -> None:
    parents: Iterator[str | None] = iter(["00-aa-bb-01", None])
    request = orders.GetOrderRequest()

    caller.call(server, "GetOrder", request, request, traceparent=lambda: next(parents))

    found = [received.metadata.get("traceparent") for received in server.received]
    assert found == ["00-aa-bb-01", None]


def test_a_calls_own_metadata_stays(server: FakeServer, caller: Caller) -> None:
    own = (("authorization", "Bearer mine"), ("traceparent", "00-m-m-01"), ("x-tag", "1"))

    caller.call(
        server,
        "GetOrder",
        orders.GetOrderRequest(),
        token=lambda: "other",
        traceparent=lambda: "00-o-o-01",
        own={"metadata": own},
    )

    sent = server.received[0].metadata
    assert {key: sent[key] for key, _ in own} == dict(own)


def test_nothing_is_attached_that_was_not_asked_for(server: FakeServer, caller: Caller) -> None:
    caller.call(server, "GetOrder", orders.GetOrderRequest())

    assert not {"authorization", "traceparent"} & server.received[0].metadata.keys()


def test_a_token_that_cannot_be_had_is_the_callers_error(
    server: FakeServer, caller: Caller
) -> None:
    def refuse() -> str:
        raise PermissionError("no login")

    with pytest.raises(PermissionError, match="no login"):
        caller.call(server, "GetOrder", orders.GetOrderRequest(), token=refuse)

    assert server.received == []
