"""Where calls go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import grpc
import pytest
from trackops.order.v1.order_service_pb2 import DESCRIPTOR, GetOrderRequest
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_client import open_aio_channel, open_channel
from trackops_client.testing import FakeServer

_CALLS = 5_000
"""Far more than it takes; a call is a fraction of a millisecond."""
_IN_A_ROW = 20


def _call_until(orders: OrderServiceStub, reached: Callable[[], bool]) -> None:
    for _ in range(_CALLS):
        orders.GetOrder(GetOrderRequest())
        if reached():
            return
    raise AssertionError(f"not within {_CALLS} calls")


def test_calls_go_round_every_healthy_server(server: FakeServer, other_server: FakeServer) -> None:
    target = f"ipv4:{server.target},{other_server.target}"
    with open_channel(target, wait_for_ready=True) as channel:
        orders = OrderServiceStub(channel)
        _call_until(orders, lambda: bool(server.received and other_server.received))

        other_server.set_serving(False)

        def left_alone() -> bool:
            if other_server.received:
                server.received.clear()
                other_server.received.clear()
            return len(server.received) >= _IN_A_ROW

        _call_until(orders, left_alone)

        other_server.set_serving(True)
        _call_until(orders, lambda: bool(other_server.received))


@pytest.fixture
def secure_server() -> Iterator[FakeServer]:
    service = DESCRIPTOR.services_by_name["OrderService"]
    with closing(FakeServer(service, credentials=grpc.local_server_credentials())) as made:
        yield made


def test_credentials_make_a_channel_secure(secure_server: FakeServer) -> None:
    local = grpc.local_channel_credentials()
    with open_channel(secure_server.target, credentials=local) as channel:
        OrderServiceStub(channel).GetOrder(GetOrderRequest())

    assert len(secure_server.received) == 1


async def test_credentials_make_an_aio_channel_secure(secure_server: FakeServer) -> None:
    local = grpc.local_channel_credentials()
    async with open_aio_channel(secure_server.target, credentials=local) as channel:
        await OrderServiceStub(channel).GetOrder(GetOrderRequest())

    assert len(secure_server.received) == 1
