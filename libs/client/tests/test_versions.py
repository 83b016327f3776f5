"""Callers read their own writes, over `grpc`, its futures and `grpc.aio`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from queue import Queue
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from trackops.order.v1 import order_saga_service_pb2 as sagas
from trackops.order.v1 import order_service_pb2 as orders
from trackops.order.v1.order_pb2 import Order
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_client import open_aio_channel, open_channel
from trackops_client.testing import FakeServer, failing
from trackops_client.versions import SeenVersions

ID, OTHER = str(uuid.uuid4()), str(uuid.uuid4())

Call = Callable[[str, Message], Any]
"""The response of an RPC, by its name, on one and the same channel."""


@pytest.fixture(params=["grpc", "grpc's futures", "grpc.aio"])
def call(request: pytest.FixtureRequest, server: FakeServer) -> Iterator[Call]:
    if request.param == "grpc.aio":
        yield from _aio_call(server)
        return
    with open_channel(server.target) as channel:
        stub = OrderServiceStub(channel)
        if request.param == "grpc":
            yield lambda rpc, message: getattr(stub, rpc)(message)
        else:
            yield lambda rpc, message: getattr(stub, rpc).future(message).result()


def _aio_call(server: FakeServer) -> Iterator[Call]:
    async def opened() -> grpc.aio.Channel:
        return open_aio_channel(server.target)

    async def awaited(call: Awaitable[Any]) -> Any:
        return await call

    with asyncio.Runner() as runner:
        channel = runner.run(opened())
        stub: Any = OrderServiceStub(channel)

        async def call(rpc: str, message: Message) -> Any:
            return await getattr(stub, rpc)(message)

        yield lambda rpc, message: runner.run(call(rpc, message))
        runner.run(awaited(channel.close(None)))


def _answer(server: FakeServer, response: Message) -> None:
    server.answers.append(lambda _: response)


def _cancelled(order_id: str, version: int) -> orders.CancelOrderResponse:
    return orders.CancelOrderResponse(order=Order(order_id=order_id, version=version))


def _last(server: FakeServer) -> Any:
    return server.received[-1].request


def test_a_read_asks_for_what_the_last_change_answered(server: FakeServer, call: Call) -> None:
    request = orders.GetOrderRequest(order_id=ID)
    call("GetOrder", request)
    assert _last(server).min_version == 0

    for version in (2, 3):
        _answer(server, _cancelled(ID, version))
        call("CancelOrder", orders.CancelOrderRequest(order_id=ID))
        call("GetOrder", request)
        assert _last(server).min_version == version

    call("GetOrder", orders.GetOrderRequest(order_id=ID.upper()))
    assert _last(server).min_version == 3
    call("GetOrder", orders.GetOrderRequest(order_id=OTHER))
    assert _last(server).min_version == 0
    assert request == orders.GetOrderRequest(order_id=ID)


def test_the_stored_response_of_a_repeat_takes_nothing_back(server: FakeServer, call: Call) -> None:
    for version in (3, 2):
        _answer(server, _cancelled(ID, version))
        call("CancelOrder", orders.CancelOrderRequest(order_id=ID))

    call("GetOrder", orders.GetOrderRequest(order_id=ID))

    assert _last(server).min_version == 3


def test_a_minimum_of_the_callers_own_stays(server: FakeServer, call: Call) -> None:
    _answer(server, _cancelled(ID, 5))
    call("CancelOrder", orders.CancelOrderRequest(order_id=ID))

    call("GetOrder", orders.GetOrderRequest(order_id=ID, min_version=1))

    assert _last(server).min_version == 1


def test_each_order_of_a_batch_gets_what_it_lacks(server: FakeServer, call: Call) -> None:
    results = [
        orders.CancelOrderResult(response=_cancelled(ID, 5)),
        orders.CancelOrderResult(),
        orders.CancelOrderResult(response=_cancelled(OTHER, 7)),
    ]
    _answer(server, orders.BatchCancelOrdersResponse(results=results))
    call("BatchCancelOrders", orders.BatchCancelOrdersRequest())

    request = orders.BatchGetOrdersRequest(
        order_ids=[ID, OTHER, str(uuid.uuid4())], min_versions={ID: 1}
    )
    call("BatchGetOrders", request)

    assert dict(_last(server).min_versions) == {ID: 1, OTHER: 7}
    assert dict(request.min_versions) == {ID: 1}


def test_a_version_that_was_never_reached_is_told_once(server: FakeServer, call: Call) -> None:
    _answer(server, _cancelled(ID, 5))
    call("CancelOrder", orders.CancelOrderRequest(order_id=ID))
    server.answers.append(failing(grpc.StatusCode.FAILED_PRECONDITION))

    with pytest.raises(grpc.RpcError):
        call("GetOrder", orders.GetOrderRequest(order_id=ID))
    call("GetOrder", orders.GetOrderRequest(order_id=ID))

    assert [one.request.min_version for one in server.received[1:]] == [5, 0]


def test_any_other_failure_forgets_nothing(server: FakeServer, call: Call) -> None:
    _answer(server, _cancelled(ID, 5))
    call("CancelOrder", orders.CancelOrderRequest(order_id=ID))
    for rpc, request, code in [
        ("GetOrder", orders.GetOrderRequest(order_id=ID), grpc.StatusCode.NOT_FOUND),
        (
            "CancelOrder",
            orders.CancelOrderRequest(order_id=ID),
            grpc.StatusCode.FAILED_PRECONDITION,
        ),
    ]:
        server.answers.append(failing(code))
        with pytest.raises(grpc.RpcError) as failed:
            call(rpc, request)
        error: Any = failed.value
        assert (error.code(), error.details()) == (code, "told so")

    call("GetOrder", orders.GetOrderRequest(order_id=ID))

    assert _last(server).min_version == 5


def test_a_future_is_learnt_from_by_those_who_wait_and_those_who_are_called_back(
    server: FakeServer,
) -> None:
    with open_channel(server.target) as channel:
        stub = OrderServiceStub(channel)
        _answer(server, _cancelled(ID, 5))
        future: Any = stub.CancelOrder.future(orders.CancelOrderRequest(order_id=ID))
        assert future.exception() is None
        stub.GetOrder(orders.GetOrderRequest(order_id=ID))
        assert _last(server).min_version == 5

        _answer(server, _cancelled(ID, 6))
        done: Queue[Any] = Queue()
        future = stub.CancelOrder.future(orders.CancelOrderRequest(order_id=ID))
        future.add_done_callback(lambda call: done.put(call.result()))
        assert done.get(timeout=30) == _cancelled(ID, 6)
        assert future.code() is grpc.StatusCode.OK
        stub.GetOrder(orders.GetOrderRequest(order_id=ID))
        assert _last(server).min_version == 6


def test_a_channel_remembers_the_orders_changed_last() -> None:
    versions = SeenVersions(limit=2)
    ids = [str(uuid.uuid4()) for _ in range(3)]
    for order_id in (ids[0], ids[1], ids[0], ids[2]):
        versions.answered(orders.CancelOrderRequest(), _cancelled(order_id, 4))

    assert _asked_for(versions, *ids) == {ids[0]: 4, ids[2]: 4}


def _asked_for(versions: SeenVersions, *order_ids: str) -> dict[str, int]:
    request = versions.asked_for(orders.BatchGetOrdersRequest(order_ids=order_ids))
    return dict(request.min_versions)


CHANGES = [
    method
    for file, service in ((orders, "OrderService"), (sagas, "OrderSagaService"))
    for method in file.DESCRIPTOR.services_by_name[service].methods
    if "request_id" in method.input_type.fields_by_name
]


def test_there_are_changes() -> None:
    assert {"CreateOrder", "ShipOrder", "ConfirmOrder"} <= {method.name for method in CHANGES}


@pytest.mark.parametrize("method", CHANGES, ids=lambda method: method.name)
def test_every_change_of_the_contract_is_learnt_from(method: MethodDescriptor) -> None:
    request, response = GetMessageClass(method.input_type)(), _shown_by(method)
    versions = SeenVersions()

    assert versions.watches(request)
    versions.answered(request, response)

    assert _asked_for(versions, ID) == {ID: 9}


def _shown_by(method: MethodDescriptor) -> Message:
    response = GetMessageClass(method.output_type)
    if "order" in method.output_type.fields_by_name:
        return response(order=Order(order_id=ID, version=9))
    return response(order_id=ID, version=9)


def test_what_changes_no_order_is_not_watched() -> None:
    versions = SeenVersions()

    assert not versions.watches(orders.ListOrdersRequest())
    assert not versions.watches(orders.GetOrderTimelineRequest())
    versions.answered(
        orders.GetOrderRequest(), orders.GetOrderResponse(order=Order(order_id=ID, version=3))
    )
    assert _asked_for(versions, ID) == {}
