from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from trackops_common.grpc import accepting
from trackops_common.testing import eventually

CALLS = 3 * accepting.ASKED
GRACE_SECONDS = 30


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
async def served(echo: Echo) -> AsyncIterator[tuple[Any, str]]:
    server = accepting.Server()
    handler: Any = grpc.unary_unary_rpc_method_handler(echo.answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Echo", {"Echo": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield server, f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture
def server(served: tuple[Any, str]) -> Any:
    return served[0]


@pytest.fixture
async def call(served: tuple[Any, str]) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(served[1], [("grpc.enable_http_proxy", 0)]) as channel:
        yield channel.unary_unary("/test.Echo/Echo")


@pytest.fixture
def call_of_a_thread(served: tuple[Any, str]) -> Iterator[Any]:
    """Goes on while the event loop stands."""
    with grpc.insecure_channel(served[1], [("grpc.enable_http_proxy", 0)]) as channel:
        yield channel.unary_unary("/test.Echo/Echo")


async def test_more_calls_than_are_asked_for_at_once_are_all_served(call: Any, echo: Echo) -> None:
    requests = [str(number).encode() for number in range(CALLS)]
    calls = [asyncio.ensure_future(_answer(call, request)) for request in requests]

    await eventually(lambda: echo.begun == CALLS)
    echo.gate.set()

    assert await asyncio.gather(*calls) == requests


async def test_many_calls_are_asked_for_before_they_come(
    server: Any, call: Any, echo: Echo
) -> None:
    echo.gate.set()

    await _answer(call, b"first")

    assert len(server._server.asked) >= accepting.ASKED - 1


async def test_a_server_that_winds_down_serves_and_soon_asks_for_one_call_at_a_time(
    server: Any, call: Any, echo: Echo
) -> None:
    echo.gate.set()
    await _answer(call, b"first")

    server.wind_down()
    answers = [await _answer(call, b"more") for _ in range(accepting.ASKED + 10)]

    assert answers == [b"more"] * len(answers)
    assert len(server._server.asked) <= 1


async def test_a_stop_waits_for_the_calls_that_it_has_and_takes_no_more(
    server: Any, call: Any, echo: Echo
) -> None:
    calls = [asyncio.ensure_future(_answer(call, b"kept")) for _ in range(10)]
    await eventually(lambda: echo.begun == 10)

    stop = asyncio.create_task(server.stop(GRACE_SECONDS))
    with pytest.raises(grpc.aio.AioRpcError):
        await call(b"late", timeout=10)
    echo.gate.set()
    await stop

    assert await asyncio.gather(*calls) == [b"kept"] * 10
    assert echo.begun == 10


async def test_calls_that_a_stop_finds_handed_over_are_answered_or_sent_elsewhere_at_once(
    server: Any, call_of_a_thread: Any, echo: Echo
) -> None:
    echo.gate.set()
    await asyncio.to_thread(call_of_a_thread, b"first")
    began = time.monotonic()

    calls = [call_of_a_thread.future(b"more", timeout=GRACE_SECONDS) for _ in range(50)]
    time.sleep(0.5)  # noqa: ASYNC251 - the loop sees none of them before the stop
    await server.stop(GRACE_SECONDS)

    codes = Counter([await asyncio.to_thread(one.code) for one in calls])
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert time.monotonic() - began < GRACE_SECONDS / 2
    assert echo.begun == 1 + codes[grpc.StatusCode.OK]


async def _answer(call: Any, request: bytes) -> bytes:
    answer: bytes = await call(request)
    return answer
