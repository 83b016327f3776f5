"""Streams of responses, as a server answers them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_common.errors import DependencyUnavailable, ServerStopping, TokenExpired
from trackops_common.grpc.endpoints import Context, RpcService, write_all
from trackops_common.grpc.server import Application
from trackops_common.grpc.streams import OpenStreams
from trackops_common.testing import ErrorDetails, error_details, eventually, serving
from trackops_common.testing_tokens import access_for_tests, access_token

DESCRIPTOR = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
REQUEST = order_service_pb2.WatchOrderRequest(order_id="6f1c0000-0000-4000-8000-00000000000a")
FIRST, SECOND = (
    order_service_pb2.WatchOrderResponse(entry=order_service_pb2.TimelineEntry(version=version))
    for version in (1, 2)
)


class Servicer:
    """WatchOrder gives `responses`; one that is an error is raised. `forever`: then it waits."""

    def __init__(self) -> None:
        self.responses: list[Message | bytes | Exception] = [FIRST]
        self.forever = False
        self.given = 0
        self.open = 0

    async def WatchOrder(self, _: Any, __: Context) -> AsyncGenerator[Message | bytes, None]:
        self.open += 1
        try:
            for response in self.responses:
                if isinstance(response, Exception):
                    raise response
                self.given += 1
                yield response
            if self.forever:
                await asyncio.Event().wait()
        finally:
            self.open -= 1

    async def _unused(self, _: Any, __: Context) -> bytes:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)
        return self._unused


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
def streams() -> OpenStreams:
    return OpenStreams(limit=2)


@pytest.fixture
async def stub(servicer: Servicer, streams: OpenStreams) -> AsyncIterator[Any]:
    async with serving(Application([RpcService(DESCRIPTOR, servicer)]), streams) as channel:
        yield OrderServiceStub(channel)


async def _drain(call: Any) -> list[Message]:
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses


async def _failure(call: Any) -> ErrorDetails:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await _drain(call)
    return error_details(failed.value)


async def test_messages_and_their_wire_form_arrive_in_order(stub: Any, servicer: Servicer) -> None:
    servicer.responses = [FIRST, SECOND.SerializeToString()]

    assert await _drain(stub.WatchOrder(REQUEST)) == [FIRST, SECOND]


async def test_a_request_that_breaks_the_contract_never_reaches_the_servicer(
    stub: Any, servicer: Servicer
) -> None:
    details = await _failure(stub.WatchOrder(order_service_pb2.WatchOrderRequest(order_id="x")))

    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert list(details.violations) == ["order_id"]
    assert servicer.given == 0


async def test_an_error_in_the_middle_arrives_as_the_status_it_stands_for(
    stub: Any, servicer: Servicer
) -> None:
    servicer.responses = [FIRST, DependencyUnavailable("Postgres"), SECOND]
    call = stub.WatchOrder(REQUEST)

    assert await call.read() == FIRST
    details = await _failure(call)

    assert details.code is grpc.StatusCode.UNAVAILABLE
    assert details.message == "Postgres is not available"


async def test_a_stream_whose_caller_leaves_is_closed(stub: Any, servicer: Servicer) -> None:
    servicer.forever = True
    call = stub.WatchOrder(REQUEST)
    await call.read()
    assert servicer.open == 1

    call.cancel()

    await eventually(lambda: servicer.open == 0, what="the stream to be closed")


async def test_a_deadline_ends_a_stream(stub: Any, servicer: Servicer) -> None:
    servicer.forever = True

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await _drain(stub.WatchOrder(REQUEST, timeout=0.1))

    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: servicer.open == 0, what="the stream to be closed")


async def test_nothing_is_made_for_a_reader_that_does_not_read(
    stub: Any, servicer: Servicer
) -> None:
    large = order_service_pb2.WatchOrderResponse()
    large.entry.rejection.message = "x" * 60_000
    servicer.responses = [large] * 4000
    call = stub.WatchOrder(REQUEST)
    await call.read()

    with pytest.raises(TimeoutError):
        await eventually(lambda: servicer.given > 500, seconds=1)

    call.cancel()
    await eventually(lambda: servicer.open == 0, what="the stream to be closed")


async def test_a_stream_too_many_is_refused_and_a_place_that_is_left_is_taken(
    stub: Any, servicer: Servicer
) -> None:
    servicer.forever = True
    first, second = stub.WatchOrder(REQUEST), stub.WatchOrder(REQUEST)
    await first.read()
    await second.read()

    details = await _failure(stub.WatchOrder(REQUEST))

    assert (details.code, details.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert details.retry_after_seconds
    first.cancel()
    await eventually(lambda: servicer.open == 1, what="the stream to be closed")
    assert await stub.WatchOrder(REQUEST).read() == FIRST


async def test_a_server_that_stops_ends_its_streams_and_takes_no_more(
    stub: Any, servicer: Servicer, streams: OpenStreams
) -> None:
    servicer.forever = True
    call = stub.WatchOrder(REQUEST)
    await call.read()

    streams.end()

    for ended in (call, stub.WatchOrder(REQUEST)):
        details = await _failure(ended)
        assert details.code is grpc.StatusCode.UNAVAILABLE
        assert details.message == "the server is stopping"
    assert servicer.open == 0


async def test_a_stop_leaves_the_write_that_is_under_way_alone() -> None:
    streams = OpenStreams()
    servicer = Servicer()
    servicer.responses = [FIRST, SECOND]
    written: list[Message | bytes] = []
    begun, leave = asyncio.Event(), asyncio.Event()

    class SlowCaller:
        async def write(self, response: Message | bytes) -> None:
            begun.set()
            await leave.wait()
            written.append(response)

    async def stream() -> None:
        context: Any = SlowCaller()
        with streams.entered():
            await write_all(servicer.WatchOrder(REQUEST, context), context, streams)

    task = asyncio.create_task(stream())
    await begun.wait()
    streams.end()
    leave.set()

    with pytest.raises(ServerStopping):
        await task
    assert (written, servicer.open) == ([FIRST], 0)


@asynccontextmanager
async def _stub_whose_token_lasts(seconds: float, servicer: Servicer) -> AsyncIterator[Any]:
    access = access_for_tests(leeway=timedelta())
    token = access_token(lifetime=timedelta(seconds=seconds))
    application = Application([RpcService(DESCRIPTOR, servicer)])
    async with serving(application, access=access, token=token) as channel:
        yield OrderServiceStub(channel)


async def test_a_stream_that_waits_ends_with_its_token(servicer: Servicer) -> None:
    servicer.forever = True
    async with _stub_whose_token_lasts(2, servicer) as stub:
        call = stub.WatchOrder(REQUEST)
        assert await call.read() == FIRST

        details = await _failure(call)

    assert (details.code, details.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
    assert servicer.open == 0


async def test_a_stream_that_never_waits_ends_with_its_token_too() -> None:
    async def responses() -> AsyncGenerator[bytes, None]:
        while True:
            yield b""

    class Context:
        async def write(self, _: object) -> None: ...

    with pytest.raises(TokenExpired):
        await write_all(responses(), cast("Any", Context()), OpenStreams(), 0.01)


async def test_a_time_out_of_the_stream_itself_is_no_expired_token() -> None:
    async def responses() -> AsyncGenerator[bytes, None]:
        for error in (TimeoutError("the stream's own"),):
            raise error
        yield b""

    with pytest.raises(TimeoutError, match="own"):
        await write_all(responses(), cast("Any", None), OpenStreams(), 60)
