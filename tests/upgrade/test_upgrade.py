"""From the previous release to this one and half-way back, under load: nobody notices."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from typing import Any

import grpc
import pytest
from trackops.inventory.v1.inventory_service_pb2 import AdjustStockRequest
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_service_pb2 as pb
from trackops.order.v1.order_pb2 import Order, OrderLine, OrderState
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub
from trackops.saga.v1.saga_pb2 import Saga, SagaState, SagaStep
from trackops.saga.v1.saga_service_pb2 import GetSagaRequest, ListSagasRequest
from trackops.saga.v1.saga_service_pb2_grpc import SagaServiceStub

from trackops_cli.demo import checks
from trackops_cli.demo.log import EventLog
from trackops_cli.testing import Mesh, temporary_stack
from trackops_client import open_aio_channel

from .release import Release
from .replicas import Replica, Replicas

_SKU = "ROLLING-TEA"
_ORDERS_PER_S = 20
_MOST_ORDERS = 6_000
_DECLINED_ONE_IN = 8
_PAYMENT = "authorize-payment"


@pytest.fixture(scope="module")
def replicas(previous: Release) -> Iterator[Replicas]:
    """Servers as the previous release has them, and no service yet."""
    with temporary_stack() as stack, ExitStack() as started:
        made = Replicas(stack, started)
        made.prepare(previous)
        yield made


@pytest.fixture(scope="module")
def replicated_mesh(replicas: Replicas) -> Mesh:
    return Mesh(replicas.stack)


@asynccontextmanager
async def stub_of(mesh: Mesh, target: str, stub: Any) -> AsyncIterator[Any]:
    """A stub at `target` that calls as an administrator."""

    async def token() -> str:
        return await asyncio.to_thread(mesh.token)

    async with open_aio_channel(target, token=token) as channel:
        yield stub(channel)


async def fill_shelf(mesh: Mesh, replicas: Replicas) -> None:
    async with stub_of(mesh, replicas.targets["inventory"], InventoryServiceStub) as stock:
        request_id = str(uuid.uuid4())
        await stock.AdjustStock(
            AdjustStockRequest(request_id=request_id, sku=_SKU, delta=_MOST_ORDERS)
        )


def order(*, declined: bool = False) -> pb.CreateOrderRequest:
    return pb.CreateOrderRequest(
        request_id=str(uuid.uuid4()),
        customer_id="customer-1",
        currency_code="EUR",
        lines=[OrderLine(sku=_SKU, quantity=1, unit_price_minor=250)],
        payment_method_token="tok_declined" if declined else "tok_visa",
    )


async def place_until(stop: asyncio.Event, orders: Any) -> dict[str, tuple[str, str]]:
    """By order: the end it has to come to. A call that fails is an error."""
    calls: list[Any] = []
    while not stop.is_set() and len(calls) < _MOST_ORDERS:
        declined = len(calls) % _DECLINED_ONE_IN == 0
        calls.append(orders.CreateOrder(order(declined=declined)))
        await asyncio.wait([asyncio.create_task(stop.wait())], timeout=1 / _ORDERS_PER_S)
    placed = [answer.order.order_id for answer in await asyncio.gather(*calls)]
    declined_end = ("REJECTED", "PAYMENT_DECLINED")
    return {
        order_id: ("CONFIRMED", "") if number % _DECLINED_ONE_IN else declined_end
        for number, order_id in enumerate(placed)
    }


async def until_decided(orders: Any, order_ids: Sequence[str]) -> dict[str, Order]:
    async with asyncio.timeout(120):
        return {order_id: await decided(orders, order_id) for order_id in order_ids}


async def decided(orders: Any, order_id: str) -> Order:
    """The order once it is not PENDING any more."""
    async for change in orders.WatchOrder(pb.WatchOrderRequest(order_id=order_id)):
        if change.entry.state != OrderState.ORDER_STATE_PENDING:
            wanted = pb.GetOrderRequest(order_id=order_id, min_version=change.entry.version)
            found: Order = (await orders.GetOrder(wanted)).order
            return found
    raise AssertionError(f"nobody decided {order_id}")


async def sagas_at(mesh: Mesh, replica: Replica, subjects: Sequence[str]) -> list[Saga]:
    """Those about each of the orders, as that orchestrator reads them, attempts included."""
    async with stub_of(mesh, replica.address, SagaServiceStub) as sagas:
        found = [
            one
            for subject in subjects
            for one in (await sagas.ListSagas(ListSagasRequest(subject=subject))).sagas
        ]
        wanted = [GetSagaRequest(saga_id=one.saga_id) for one in found]
        return [(await sagas.GetSaga(one)).saga for one in wanted]


class Ailing(grpc.GenericRpcHandler):
    """A payment service that answers every call with a fault of its own."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        asked = handler_call_details.method.startswith("/trackops.payment.")
        return grpc.unary_unary_rpc_method_handler(self._fail) if asked else None

    @staticmethod
    async def _fail(_request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.abort(grpc.StatusCode.INTERNAL, "ailing")
        raise AssertionError


@asynccontextmanager
async def ailing_at(address: str) -> AsyncIterator[None]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Ailing(),))
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace=None)


async def until_it_failed(
    mesh: Mesh, replica: Replica, subjects: Sequence[str], *, more_than: int = 0
) -> int:
    """Waits until the payment of each order was tried in vain `more_than` so many times.

    Returns how often it was tried, for the order where that is least.
    """
    async with asyncio.timeout(60):
        while True:
            steps = [payment_of(saga) for saga in await sagas_at(mesh, replica, subjects)]
            tries = min((one.attempts for one in steps if one.error), default=0)
            if len(steps) == len(subjects) and tries > more_than and all(o.error for o in steps):
                return tries
            await asyncio.sleep(0.1)


def payment_of(saga: Saga) -> SagaStep:
    (step,) = (one for one in saga.steps if one.name == _PAYMENT)
    return step


@pytest.mark.alone
async def test_a_saga_goes_on_with_the_other_release_both_ways(
    previous: Release, replicas: Replicas, replicated_mesh: Mesh
) -> None:
    """It is begun by the previous release, tried by this one and ended by the previous one.

    Payment fails until then, so each stores attempts that were in vain.
    """
    mesh = replicated_mesh
    saga, other_saga = replicas.of("saga_orchestrator")
    payments = replicas.of("payment")
    replicas.start(previous, without=[*payments, other_saga])
    await fill_shelf(mesh, replicas)
    async with stub_of(mesh, replicas.targets["order"], OrderServiceStub) as orders:
        async with ailing_at(payments[0].address):
            placed = [(await orders.CreateOrder(order())).order.order_id for _ in range(3)]
            tried = await until_it_failed(mesh, saga, placed)

            await asyncio.to_thread(replicas.migrate)
            await asyncio.to_thread(hand_over, saga, None)
            tried = await until_it_failed(mesh, saga, placed, more_than=tried)
            for one in await sagas_at(mesh, saga, placed):
                numbers = [attempt.number for attempt in payment_of(one).attempt_log]
                assert numbers[:tried] == list(range(1, tried + 1)), "some are not in the books"

            await asyncio.to_thread(hand_over, saga, previous)
            await until_it_failed(mesh, saga, placed, more_than=tried)
        await asyncio.to_thread(replicas.start, previous)
        ended = await until_decided(orders, placed)
    assert {checks.end_of(one) for one in ended.values()} == {("CONFIRMED", "")}


def hand_over(saga: Replica, release: Release | None) -> None:
    saga.stop()
    saga.start(release)
    saga.wait_serving()


@pytest.mark.alone
async def test_every_service_is_upgraded_under_load_and_half_of_them_rolled_back(
    previous: Release, replicas: Replicas, replicated_mesh: Mesh
) -> None:
    """No call fails, no event is lost or doubled, and every order is decided as it must be."""
    mesh = replicated_mesh
    replicas.start(previous)
    await fill_shelf(mesh, replicas)
    with closing(EventLog(mesh.kafka)) as log:
        async with stub_of(mesh, replicas.targets["order"], OrderServiceStub) as orders:
            stop = asyncio.Event()
            placing = asyncio.create_task(place_until(stop, orders))
            await asyncio.to_thread(replicas.migrate)
            for number, release in ((0, None), (1, None), (0, previous)):
                await asyncio.to_thread(replicas.replace, number, release)
            stop.set()
            wanted = await placing
            ended = await until_decided(orders, list(wanted))
        events = await asyncio.to_thread(
            log.read,
            ended.keys(),
            enough=lambda events: checks.events_complete(ended, events),
            timeout_seconds=60,
        )
    sys.stdout.write(f"{len(ended)} orders while 18 processes were replaced\n")
    assert {one: checks.end_of(ended[one]) for one in ended} == wanted
    assert list(checks.check_events(ended, events)) == []
    await both_read_the_same(replicas, mesh, list(wanted)[:: max(1, len(wanted) // 40)])


async def both_read_the_same(replicas: Replicas, mesh: Mesh, subjects: Sequence[str]) -> None:
    """The orchestrators of both releases tell the same of sagas that either may have written."""
    told = [
        [summary(one) for one in await sagas_at(mesh, replica, subjects)]
        for replica in replicas.of("saga_orchestrator")
    ]
    ended = {SagaState.SAGA_STATE_COMPLETED, SagaState.SAGA_STATE_COMPENSATED}
    assert len(told[0]) == len(subjects)
    assert told[0] == told[1]
    assert {state for state, _ in told[0]} <= ended


def summary(saga: Saga) -> tuple[int, list[tuple[str, int, int]]]:
    return saga.state, [(step.name, step.state, step.attempts) for step in saga.steps]
