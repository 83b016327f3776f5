from __future__ import annotations

import gc
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs
from trackops.order.v1 import order_pb2, order_service_pb2
from trackops.order.v1.order_service_pb2 import CreateOrderRequest
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_common.auth import Caller, Principal, enter_call
from trackops_common.batching import Batcher
from trackops_common.errors import Overloaded, RequestIdReused
from trackops_common.grpc.command_rpc import CommandRpc
from trackops_common.grpc.endpoints import (
    Context,
    MissingHandler,
    RpcService,
    handlers_of,
    unwrap,
)
from trackops_common.grpc.server import Application
from trackops_common.testing import ErrorDetails, error_details, serving
from trackops_common.testing_tokens import access_for_tests

DESCRIPTOR = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
ORDER_ID = "6f1c0000-0000-4000-8000-00000000000a"
REQUEST = order_service_pb2.GetOrderRequest(order_id=ORDER_ID)
RESPONSE = order_service_pb2.GetOrderResponse(order=order_pb2.Order(order_id=ORDER_ID))


class Servicer:
    """Answers every RPC with `answer`, or raises it."""

    def __init__(self) -> None:
        self.answer: Any = RESPONSE
        self.requests: list[object] = []

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)
        return self._call

    async def _call(self, request: object, _: Context) -> Any:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
async def stub(servicer: Servicer) -> AsyncIterator[Any]:
    async with serving(Application([RpcService(DESCRIPTOR, servicer)])) as channel:
        yield OrderServiceStub(channel)


async def _failure(call: Any) -> ErrorDetails:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return error_details(failed.value)


async def test_a_message_and_its_wire_form_are_the_same_answer(
    stub: Any, servicer: Servicer
) -> None:
    assert await stub.GetOrder(REQUEST) == RESPONSE

    servicer.answer = RESPONSE.SerializeToString()

    assert await stub.GetOrder(REQUEST) == RESPONSE
    assert servicer.requests == [REQUEST, REQUEST]


async def test_a_request_that_breaks_the_contract_never_reaches_the_servicer(
    stub: Any, servicer: Servicer
) -> None:
    details = await _failure(stub.GetOrder(order_service_pb2.GetOrderRequest(order_id="x")))

    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert list(details.violations) == ["order_id"]
    assert servicer.requests == []


@pytest.mark.parametrize(
    "body", [b"\x0a\xff", b"\x0a\x01\xff", b"\x0b" * 5_000], ids=["cut off", "no UTF-8", "groups"]
)
@pytest.mark.parametrize("rpc", ["GetOrder", "WatchOrder"])
async def test_bytes_that_are_no_request_are_the_callers_mistake(
    servicer: Servicer, rpc: str, body: bytes
) -> None:
    channel: Any
    async with serving(Application([RpcService(DESCRIPTOR, servicer)])) as channel:
        path = f"/{DESCRIPTOR.full_name}/{rpc}"
        if rpc == "WatchOrder":
            details = await _failure(channel.unary_stream(path)(body).read())
        else:
            details = await _failure(channel.unary_unary(path)(body))

    assert (details.code, details.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "MALFORMED_REQUEST",
    )
    assert servicer.requests == []


async def test_a_failure_with_a_thousand_violations_arrives(stub: Any) -> None:
    lines = [order_pb2.OrderLine(sku="bad", quantity=-1)] * 400
    request = order_service_pb2.CreateOrderRequest(lines=lines, metadata={"k" * 60_000: "v"})

    details = await _failure(stub.CreateOrder(request))

    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert {"request_id", "customer_id", "lines[0].sku"} <= set(details.violations)
    assert list(details.violations.values())[-1].endswith(" more violations")


async def test_an_error_that_quotes_a_long_text_arrives(stub: Any, servicer: Servicer) -> None:
    servicer.answer = RequestIdReused("\N{PILE OF POO}" * 5_000)

    details = await _failure(stub.GetOrder(REQUEST))

    assert (details.code, details.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
    assert details.metadata["request_id"].endswith("…")


async def test_an_error_arrives_as_the_status_it_stands_for(stub: Any, servicer: Servicer) -> None:
    servicer.answer = Overloaded(retry_after_seconds=0.5)

    details = await _failure(stub.GetOrder(REQUEST))

    assert details.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details.retry_after_seconds == 0.5


async def test_a_shut_door_refuses_before_anything_is_done_for_a_call(servicer: Servicer) -> None:
    shut = True

    def door() -> None:
        if shut:
            raise Overloaded(retry_after_seconds=0.5)

    channel: Any
    service = RpcService(DESCRIPTOR, servicer, doors={"GetOrder": door})
    async with serving(Application([service]), token="") as channel:
        calls = channel.unary_unary(f"/{DESCRIPTOR.full_name}/GetOrder")
        refused = await _failure(calls(b"no message, of nobody"))
        beside = await _failure(channel.unary_unary(f"/{DESCRIPTOR.full_name}/CreateOrder")(b""))
        shut = False
        admitted = await _failure(calls(b"no message, of nobody"))

    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert refused.retry_after_seconds == 0.5
    assert [beside.reason, admitted.reason] == ["TOKEN_MISSING"] * 2
    assert servicer.requests == []


async def test_a_defect_tells_the_log_and_not_the_caller(stub: Any, servicer: Servicer) -> None:
    servicer.answer = RuntimeError("password=hunter2")

    with capture_logs() as logs:
        details = await _failure(stub.GetOrder(REQUEST))

    assert (details.code, details.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "hunter2" not in details.message
    assert [line["exc_info"] for line in logs] == [servicer.answer]


async def test_a_message_with_letters_of_any_script_survives_the_way(
    stub: Any, servicer: Servicer
) -> None:
    servicer.answer = RequestIdReused("ü\n漢字")

    details = await _failure(stub.GetOrder(REQUEST))

    assert details.metadata == {"request_id": "ü\n漢字"}


@pytest.mark.parametrize("request_id", [ORDER_ID, "not a UUID"])
async def test_a_call_that_is_refused_leaves_no_request_in_memory(
    servicer: Servicer, request_id: str
) -> None:
    """Also before the next garbage collection, which may be thousands of large requests away."""
    servicer.answer = Overloaded(retry_after_seconds=1)
    line = order_pb2.OrderLine(sku="A-1", quantity=1, unit_price_minor=1)
    customer = f"only here: {uuid.uuid4()}"
    request = CreateOrderRequest(request_id=request_id, customer_id=customer, lines=[line])
    body = request.SerializeToString()
    del request
    async with serving(Application([RpcService(DESCRIPTOR, servicer)])) as channel:
        create: Any = channel.unary_unary(f"/{DESCRIPTOR.full_name}/CreateOrder")
        with _no_garbage_collection():
            for _ in range(10):
                await _failure(create(body))
            servicer.requests.clear()
            requests = [one for one in gc.get_objects() if isinstance(one, CreateOrderRequest)]
            kept = [one for one in requests if one.customer_id == customer]

    assert kept == []


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_servicer_that_lacks_an_rpc_is_refused_at_start() -> None:
    lacking = SimpleNamespace(
        **{method.name: lambda: None for method in DESCRIPTOR.methods if method.name != "GetOrder"}
    )

    with pytest.raises(MissingHandler, match=r"trackops\.order\.v1\.OrderService\.GetOrder$"):
        handlers_of(RpcService(DESCRIPTOR, lacking), access_for_tests())


PATIENT: Any = SimpleNamespace(time_remaining=lambda: None)
"""The context of a call without a deadline."""


def create_rpc(
    batcher: Batcher[str, Any],
) -> CommandRpc[order_service_pb2.CreateOrderRequest, str]:
    enter_call(Caller(Principal("somebody")))
    return CommandRpc(
        batcher,
        lambda request, _: request.customer_id,
        order_service_pb2.BatchCreateOrdersResponse,
        lambda _: None,
    )


async def test_each_command_of_a_batch_is_answered_or_fails_alone() -> None:
    created = order_service_pb2.CreateOrderResponse(order=order_pb2.Order(order_id=ORDER_ID))

    async def run(commands: Sequence[str]) -> Sequence[bytes | RequestIdReused]:
        good = created.SerializeToString()
        return [good if command == "good" else RequestIdReused(command) for command in commands]

    rpc = create_rpc(Batcher(run))
    request = order_service_pb2.BatchCreateOrdersRequest(
        requests=[
            order_service_pb2.CreateOrderRequest(customer_id=customer_id)
            for customer_id in ("good", "bad", "good")
        ]
    )

    batch: Any = await rpc.many(request, PATIENT)

    results = batch.results
    assert [result.WhichOneof("result") for result in results] == ["response", "error", "response"]
    assert results[0].response == created
    assert ErrorDetails.of_status(results[1].error).reason == "REQUEST_ID_REUSED"


async def test_an_empty_response_is_a_response() -> None:
    async def run(commands: Sequence[str]) -> Sequence[bytes]:
        return [b"" for _ in commands]

    rpc = create_rpc(Batcher(run))
    request = order_service_pb2.BatchCreateOrdersRequest(
        requests=[order_service_pb2.CreateOrderRequest()]
    )

    batch: Any = await rpc.many(request, PATIENT)

    assert batch.results[0].WhichOneof("result") == "response"


def test_a_result_is_itself_and_an_error_is_raised() -> None:
    assert unwrap(b"fine") == b"fine"
    with pytest.raises(LookupError):
        unwrap(LookupError())
