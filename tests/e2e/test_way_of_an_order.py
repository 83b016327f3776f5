"""What a user does, over gRPC, with every service and server running for real."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterator, Sequence
from contextlib import aclosing, closing

import pytest
from trackops.inventory.v1 import inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_pb2 import OrderLine
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub
from trackops.relay.v1 import relay_service_pb2
from trackops.relay.v1.relay_service_pb2_grpc import RelayServiceStub

from trackops_cli.demo import checks
from trackops_cli.demo.client import DemoClient
from trackops_cli.demo.log import EventLog
from trackops_cli.demo.plan import Ending, make_plan
from trackops_cli.testing import Mesh, wait_for
from trackops_common.testing_tokens import authorized_channel

_SKU = "E2E-TEA"
_CALL_SECONDS = 10


@pytest.fixture(scope="module")
def orders(mesh: Mesh) -> Iterator[OrderServiceStub]:
    with authorized_channel(mesh.target("order"), mesh.token) as channel:
        yield OrderServiceStub(channel)


@pytest.fixture(scope="module")
def inventory(mesh: Mesh) -> Iterator[InventoryServiceStub]:
    with authorized_channel(mesh.target("inventory"), mesh.token) as channel:
        stub = InventoryServiceStub(channel)
        stub.AdjustStock(
            inventory_service_pb2.AdjustStockRequest(
                request_id=str(uuid.uuid4()), sku=_SKU, delta=1_000_000
            ),
            timeout=_CALL_SECONDS,
        )
        yield stub


def create_request(
    *, sku: str = _SKU, quantity: int = 2, token: str = "tok_visa"
) -> order_service_pb2.CreateOrderRequest:
    return order_service_pb2.CreateOrderRequest(
        request_id=str(uuid.uuid4()),
        customer_id="customer-1",
        currency_code="EUR",
        lines=[OrderLine(sku=sku, quantity=quantity, unit_price_minor=250)],
        payment_method_token=token,
    )


def end_of(orders: OrderServiceStub, order_id: str) -> tuple[str, str]:
    """State and reason of an order, once it is not PENDING any more."""
    seen: list[tuple[str, str]] = []

    def ended() -> bool:
        request = order_service_pb2.GetOrderRequest(order_id=order_id)
        seen.append(checks.end_of(orders.GetOrder(request, timeout=_CALL_SECONDS).order))
        return seen[-1][0] != "PENDING"

    wait_for(ended, what=f"order {order_id} to come to an end")
    return seen[-1]


@pytest.mark.usefixtures("inventory")
def test_an_order_in_stock_and_paid_is_confirmed(orders: OrderServiceStub) -> None:
    order = orders.CreateOrder(create_request(), timeout=_CALL_SECONDS).order
    assert order.total_minor == 500
    assert end_of(orders, order.order_id) == ("CONFIRMED", "")


@pytest.mark.usefixtures("inventory")
def test_a_declined_card_rejects_the_order(orders: OrderServiceStub) -> None:
    request = create_request(token="tok_declined")
    order_id = orders.CreateOrder(request, timeout=_CALL_SECONDS).order.order_id
    assert end_of(orders, order_id) == ("REJECTED", "PAYMENT_DECLINED")


@pytest.mark.parametrize(
    ("sku", "quantity", "reason"),
    [(_SKU, 1_000_000, "INSUFFICIENT_STOCK"), ("E2E-UNKNOWN", 1, "SKU_NOT_FOUND")],
)
@pytest.mark.usefixtures("inventory")
def test_missing_stock_rejects_the_order(
    orders: OrderServiceStub, sku: str, quantity: int, reason: str
) -> None:
    first = orders.CreateOrder(create_request(), timeout=_CALL_SECONDS).order.order_id
    assert end_of(orders, first) == ("CONFIRMED", "")  # so that a million is too many
    request = create_request(sku=sku, quantity=quantity)
    order_id = orders.CreateOrder(request, timeout=_CALL_SECONDS).order.order_id
    assert end_of(orders, order_id) == ("REJECTED", reason)


def test_a_whole_demo_is_sound(mesh: Mesh) -> None:
    asyncio.run(_walk_and_check(mesh, kill=()))


@pytest.mark.parametrize(
    "kill",
    [["saga_orchestrator"], ["outbox_relay"], ["inventory", "payment"], ["order"]],
    ids="+".join,
)
def test_a_killed_service_loses_and_doubles_nothing(mesh: Mesh, kill: Sequence[str]) -> None:
    asyncio.run(_walk_and_check(mesh, kill=kill))


async def _walk_and_check(mesh: Mesh, *, kill: Sequence[str]) -> None:
    """Place a demo's orders, kill services under them, start these again, and check every trace."""
    plan = make_plan(uuid.uuid4().hex[:6].upper(), random.Random(7))
    planned = [one for one in plan.orders if one.ending is not Ending.INVALID]
    with closing(EventLog(mesh.kafka)) as log:
        async with aclosing(DemoClient(mesh.addresses.services, mesh.token)) as client:
            await client.fill_shelves(plan.stock)
            placed = await client.place(planned, lambda: None)
            for name in kill:
                mesh.stack.services[name].stop(grace_seconds=0)
            for name in kill:
                await asyncio.to_thread(mesh.stack.services[name].start)
            ids = [one.order_id for one in placed]
            orders = await client.follow(ids, lambda _: None, timeout_seconds=60)
            events = await asyncio.to_thread(
                log.read,
                orders.keys(),
                enough=lambda events: checks.events_complete(orders, events),
                timeout_seconds=30,
            )
            levels = await client.stock(list(plan.stock))
    assert list(checks.check_answers(placed)) == []
    assert list(checks.check_outcomes(plan, placed, orders)) == []
    assert list(checks.check_stock(plan, orders, levels)) == []
    assert list(checks.check_events(orders, events)) == []


def test_the_relay_leaves_nothing_behind(mesh: Mesh) -> None:
    with authorized_channel(mesh.target("outbox_relay"), mesh.token) as channel:
        stub = RelayServiceStub(channel)

        def drained() -> bool:
            request = relay_service_pb2.ListSourcesRequest()
            sources = stub.ListSources(request, timeout=_CALL_SECONDS).sources
            names = [source.name for source in sources]
            services = ("identity", "inventory", "order", "payment", "saga_orchestrator")
            assert names == [f"trackops_{service}" for service in services]
            return all(source.rows_behind == 0 for source in sources)

        wait_for(drained, what="the outboxes to be published")
