"""What is counted of calls is what their callers got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_common.errors import Overloaded
from trackops_common.grpc.endpoints import Context, RpcService
from trackops_common.grpc.server import Application
from trackops_common.testing import eventually, serving
from trackops_common.testing_http import numbers
from trackops_common.vitals import Vitals

SERVICE = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
ORDER_ID = "6f1c0000-0000-4000-8000-00000000000a"
GET = order_service_pb2.GetOrderRequest(order_id=ORDER_ID)
WATCH = order_service_pb2.WatchOrderRequest(order_id=ORDER_ID)


class Servicer:
    """GetOrder and WatchOrder do what `act` does; a stream gives one response before."""

    def __init__(self) -> None:
        self.act: Any = lambda: None
        self.entered = 0
        self.response = order_service_pb2.GetOrderResponse()

    async def GetOrder(self, _: Any, __: Context) -> Any:
        await self._act()
        return self.response

    async def WatchOrder(self, _: Any, __: Context) -> AsyncIterator[Any]:
        yield order_service_pb2.WatchOrderResponse()
        await self._act()

    async def _act(self) -> None:
        self.entered += 1
        if (doing := self.act()) is not None:
            await doing

    async def _unused(self, _: Any, __: Context) -> bytes:
        return b""

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)
        return self._unused


class Served(SimpleNamespace):
    servicer: Servicer
    stub: Any
    registry: CollectorRegistry

    def count(self, name: str, method: str, **labels: str) -> float:
        kind = "server_stream" if method == "WatchOrder" else "unary"
        wanted = {"grpc_type": kind, "grpc_service": SERVICE.full_name, "grpc_method": method}
        key = frozenset(f"{label}={value}" for label, value in (wanted | labels).items())
        return numbers(generate_latest(self.registry).decode()).get((name, key), 0)

    def handled(self, method: str) -> dict[str, float]:
        counts = {
            code.name: self.count("grpc_server_handled_total", method, grpc_code=code.name)
            for code in grpc.StatusCode
        }
        return {code: count for code, count in counts.items() if count}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    servicer, registry = Servicer(), CollectorRegistry()
    application = Application([RpcService(SERVICE, servicer)], vitals=Vitals(registry))
    async with serving(application) as channel:
        yield Served(servicer=servicer, stub=OrderServiceStub(channel), registry=registry)


def _raise(error: Exception) -> Any:
    def act() -> None:
        raise error

    return act


async def test_calls_are_counted_by_the_status_that_their_callers_got(served: Served) -> None:
    for _ in range(3):
        await served.stub.GetOrder(GET)
    for error in (Overloaded(retry_after_seconds=1), ValueError("a defect")):
        served.servicer.act = _raise(error)
        with pytest.raises(grpc.aio.AioRpcError):
            await served.stub.GetOrder(GET)
    with pytest.raises(grpc.aio.AioRpcError):
        await served.stub.GetOrder(order_service_pb2.GetOrderRequest(order_id="x"))

    handled = {"OK": 3, "RESOURCE_EXHAUSTED": 1, "INTERNAL": 1, "INVALID_ARGUMENT": 1}
    # A call is counted when its handler ends, which may be after its caller has been told.
    await eventually(lambda: served.handled("GetOrder") == handled, what=f"{handled} handled")
    assert served.count("grpc_server_started_total", "GetOrder") == 6
    wrong = order_service_pb2.GetOrderRequest(order_id="x").ByteSize()
    received = served.count("grpc_server_received_bytes_total", "GetOrder")
    assert received == 5 * GET.ByteSize() + wrong
    assert served.count("grpc_server_handling_seconds_count", "GetOrder") == 6


async def test_the_bytes_of_responses_are_counted(served: Served) -> None:
    response = order_service_pb2.GetOrderResponse()
    response.order.note = "a note"
    served.servicer.response = response

    await served.stub.GetOrder(GET)
    await served.stub.GetOrder(GET)

    assert served.count("grpc_server_sent_bytes_total", "GetOrder") == 2 * response.ByteSize()


async def test_faults_are_shown_before_there_are_any(served: Served) -> None:
    shown = numbers(generate_latest(served.registry).decode())

    codes = {
        code
        for name, labels in shown
        if name == "grpc_server_handled_total" and "grpc_method=CancelOrder" in labels
        for code in labels
        if code.startswith("grpc_code=")
    }
    assert codes == {
        f"grpc_code={code}"
        for code in ("OK", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN")
    }


async def test_a_stream_counts_once_it_has_ended(served: Served) -> None:
    finish = asyncio.Event()
    served.servicer.act = finish.wait
    call = served.stub.WatchOrder(WATCH)
    await call.read()
    assert served.count("grpc_server_started_total", "WatchOrder") == 1
    assert served.handled("WatchOrder") == {}

    finish.set()

    assert await call.read() is grpc.aio.EOF
    await eventually(lambda: served.handled("WatchOrder") == {"OK": 1})


async def test_a_stream_that_fails_counts_under_its_status(served: Served) -> None:
    served.servicer.act = _raise(Overloaded(retry_after_seconds=1))
    call = served.stub.WatchOrder(WATCH)
    await call.read()
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()

    await eventually(lambda: served.handled("WatchOrder") == {"RESOURCE_EXHAUSTED": 1})


@pytest.mark.parametrize(("method", "request_"), [("GetOrder", GET), ("WatchOrder", WATCH)])
async def test_a_caller_that_leaves_counts_as_cancelled(
    served: Served, method: str, request_: Any
) -> None:
    served.servicer.act = asyncio.Event().wait
    call = getattr(served.stub, method)(request_)
    if method == "WatchOrder":
        await call.read()
    await eventually(lambda: served.servicer.entered)

    call.cancel()

    await eventually(lambda: served.handled(method) == {"CANCELLED": 1})


async def test_a_deadline_that_passes_counts_as_cancelled_by_the_caller(served: Served) -> None:
    served.servicer.act = asyncio.Event().wait
    with pytest.raises(grpc.aio.AioRpcError):
        await served.stub.GetOrder(GET, timeout=0.1)

    await eventually(lambda: served.handled("GetOrder") == {"CANCELLED": 1})
