"""Two replicas of every service, replaced one after the other under load: nobody notices."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from trackops.inventory.v1.inventory_service_pb2 import AdjustStockRequest
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_service_pb2 as pb
from trackops.order.v1.order_pb2 import Order, OrderLine, OrderState
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.demo import checks
from trackops_cli.demo.log import EventLog
from trackops_cli.local.ports import HOST, Ports
from trackops_cli.local.stack import LocalStack
from trackops_cli.testing import Mesh, temporary_stack, wait_for
from trackops_client import open_aio_channel
from trackops_common.testing import ServiceProcess

_SKU = "ROLLING-TEA"
_REPLACED = ("inventory", "payment", "order", "saga_orchestrator", "outbox_relay")
_CALLED = {
    "inventory": "BatchReserveStock",
    "payment": "BatchAuthorizePayments",
    "order": "CreateOrder",
}
"""A call of each service that tells that its caller has found the new process."""
_ORDERS_PER_S = 20
_MOST_ORDERS = 6_000


class Replica:
    """One of the two processes of a service, which is replaced in its place."""

    def __init__(self, name: str, stack: LocalStack, ports: Ports, targets: Mapping[str, str]):
        self._name = name
        self.address = f"{HOST}:{getattr(ports, name)}"
        self._http = f"{HOST}:{getattr(ports, f'{name}_http')}"
        self._environment = {
            **stack.services[name].command().environment,
            **{f"TRACKOPS_{other.upper()}_TARGET": target for other, target in targets.items()},
            "TRACKOPS_LISTEN": self.address,
            "TRACKOPS_HTTP_LISTEN": self._http,
        }
        self._logs = stack.context.home.logs
        self._process: ServiceProcess | None = None

    def replace(self) -> None:
        """A new process once the old one has ended in order.

        The clients have found it before the next is replaced, as a cluster has them do with
        `minReadySeconds`: they may still wait with their next attempt to connect.
        """
        self._stop()
        self.start()
        self.wait_serving()
        if self._name in _CALLED:
            called = _CALLED[self._name]
            wait_for(lambda: self._heard(called), what=f"the first {called} to {self._name}")

    def wait_serving(self) -> None:
        assert self._process is not None
        self._process.wait_logged("serving", seconds=180)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(seconds=60) == 0, self._process.output[-5:]

    def start(self) -> None:
        log = Path(self._logs, f"{self._name}-{uuid.uuid4().hex[:6]}.log")
        self._process = ServiceProcess(f"trackops_{self._name}", self._environment, log)

    def _heard(self, method: str) -> bool:
        with urlopen(f"http://{self._http}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        calls = [one for one in lines if one.startswith("grpc_server_started_total{")]
        return any(
            float(one.rsplit(" ", 1)[1]) > 0 for one in calls if f'grpc_method="{method}"' in one
        )


class Replicas:
    """Both of each service, on one stack's servers."""

    def __init__(self, stack: LocalStack, started: ExitStack) -> None:
        """`started` ends them."""
        self.stack = stack
        sets = (Ports.free(), Ports.free())
        self.targets = {
            name: "ipv4:" + ",".join(f"{HOST}:{getattr(ports, name)}" for ports in sets)
            for name in _REPLACED
        }
        self._all = {
            name: [Replica(name, stack, ports, self.targets) for ports in sets]
            for name in _REPLACED
        }
        for replica in self:
            started.callback(replica.kill)
            replica.start()
        for replica in self:
            replica.wait_serving()

    def __iter__(self) -> Iterator[Replica]:
        return (replica for name in _REPLACED for replica in self._all[name])


@pytest.fixture(scope="module")
def replicas() -> Iterator[Replicas]:
    with temporary_stack() as stack:
        stack.start_servers()
        stack.provision()
        stack.services["identity"].start()
        with ExitStack() as started:
            yield Replicas(stack, started)


def order() -> pb.CreateOrderRequest:
    return pb.CreateOrderRequest(
        request_id=str(uuid.uuid4()),
        customer_id="customer-1",
        currency_code="EUR",
        lines=[OrderLine(sku=_SKU, quantity=1, unit_price_minor=250)],
        payment_method_token="tok_visa",
    )


async def place_until(stop: asyncio.Event, orders: Any) -> list[str]:
    """Ids of the orders that were placed meanwhile; a call that fails is an error."""
    calls: list[Any] = []
    while not stop.is_set() and len(calls) < _MOST_ORDERS:
        calls.append(orders.CreateOrder(order()))
        await asyncio.wait([asyncio.create_task(stop.wait())], timeout=1 / _ORDERS_PER_S)
    return [answer.order.order_id for answer in await asyncio.gather(*calls)]


async def until_decided(orders: Any, order_ids: list[str]) -> dict[str, Order]:
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


@pytest.mark.alone
async def test_every_service_is_replaced_under_load_and_no_call_and_no_event_is_lost(
    replicas: Replicas,
) -> None:
    mesh = Mesh(replicas.stack)

    async def token() -> str:
        return await asyncio.to_thread(mesh.token)

    with closing(EventLog(mesh.kafka)) as log:
        async with (
            open_aio_channel(replicas.targets["inventory"], token=token) as inventory,
            open_aio_channel(replicas.targets["order"], token=token) as channel,
        ):
            stock: Any = InventoryServiceStub(inventory)
            orders: Any = OrderServiceStub(channel)
            await stock.AdjustStock(
                AdjustStockRequest(request_id=str(uuid.uuid4()), sku=_SKU, delta=_MOST_ORDERS)
            )
            stop = asyncio.Event()
            placing = asyncio.create_task(place_until(stop, orders))
            for replica in replicas:
                await asyncio.to_thread(replica.replace)
            stop.set()
            ended = await until_decided(orders, await placing)
        events = await asyncio.to_thread(
            log.read,
            ended.keys(),
            enough=lambda events: checks.events_complete(ended, events),
            timeout_seconds=60,
        )
    sys.stdout.write(f"{len(ended)} orders while {len(list(replicas))} processes were replaced\n")
    assert {checks.end_of(one) for one in ended.values()} == {("CONFIRMED", "")}
    assert list(checks.check_events(ended, events)) == []
