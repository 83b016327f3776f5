from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from trackops_common.grpc import accepting
from trackops_common.testing import eventually

CALLS = 3 * accepting.ASKED


class Echo:
    """Answers a call with its request, once its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = 0

    async def answer(self, request: bytes, _: Any) -> bytes:
        self.begun += 1
        await self.gate.wait()
        return request


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def served(echo: Echo) -> AsyncIterator[tuple[grpc.aio.Server, Any]]:
    server = accepting.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(echo.answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Echo", {"Echo": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        yield server, channel.unary_unary("/test.Echo/Echo")
    await server.stop(None)


async def test_more_calls_than_are_asked_for_at_once_are_all_served(
    served: tuple[grpc.aio.Server, Any], echo: Echo
) -> None:
    _, call = served
    requests = [str(number).encode() for number in range(CALLS)]
    calls = [asyncio.ensure_future(_answer(call, request)) for request in requests]

    await eventually(lambda: echo.begun == CALLS)
    echo.gate.set()

    assert await asyncio.gather(*calls) == requests


async def test_many_calls_are_asked_for_before_they_come(
    served: tuple[grpc.aio.Server, Any], echo: Echo
) -> None:
    server: Any
    server, call = served
    echo.gate.set()

    await _answer(call, b"first")

    assert len(server._server.asked) >= accepting.ASKED - 1


async def test_a_stop_waits_for_the_calls_that_it_has_and_takes_no_more(
    served: tuple[grpc.aio.Server, Any], echo: Echo
) -> None:
    server, call = served
    calls = [asyncio.ensure_future(_answer(call, b"kept")) for _ in range(10)]
    await eventually(lambda: echo.begun == 10)

    stop = asyncio.create_task(server.stop(30))
    with pytest.raises(grpc.aio.AioRpcError):
        await call(b"late", timeout=10)
    echo.gate.set()
    await stop

    assert await asyncio.gather(*calls) == [b"kept"] * 10
    assert echo.begun == 10


async def _answer(call: Any, request: bytes) -> bytes:
    answer: bytes = await call(request)
    return answer
