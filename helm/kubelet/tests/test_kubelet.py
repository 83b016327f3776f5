"""The images run as the chart's pods, ready by their own probes, and an order goes through them."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from trackops.inventory.v1.inventory_service_pb2 import AdjustStockRequest
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_service_pb2 as pb
from trackops.order.v1.order_pb2 import Order, OrderLine, OrderState
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.demo import checks
from trackops_cli.demo.log import EventLog
from trackops_cli.testing import Mesh, temporary_stack
from trackops_client import open_channel, watch_order

from .pods import Pods, in_a_namespace

_SKU = "KUBELET-TEA"


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    """Servers of this machine, and no service yet."""
    with temporary_stack(kafka_protocol="SASL_PLAINTEXT") as stack:
        stack.start_servers()
        stack.provision_schemas()
        stack.provision_kafka()
        with in_a_namespace(stack) as made:
            yield made


def test_pods_become_ready_and_confirm_orders(pods: Pods) -> None:
    mesh = Mesh(pods.stack)
    pods.migrate()
    pods.start()
    try:
        pods.wait_ready()
    finally:
        tell(pods.show(), pods.logs())
    fill_shelf(mesh)
    with closing(EventLog(mesh.kafka)) as log:
        ended = {one.order_id: one for one in (order_to_its_end(mesh) for _ in range(5))}

        pods.replace("saga-orchestrator")
        last = order_to_its_end(mesh)
        ended[last.order_id] = last
        events = log.read(
            ended.keys(),
            enough=lambda events: checks.events_complete(ended, events),
            timeout_seconds=60,
        )
    tell(*(f"{one.order_id} {checks.end_of(one)[0]}" for one in ended.values()))
    assert {checks.end_of(one) for one in ended.values()} == {("CONFIRMED", "")}
    assert list(checks.check_events(ended, events)) == []

    lose_postgres(pods)
    assert checks.end_of(order_to_its_end(mesh)) == ("CONFIRMED", "")
    assert set(pods.restarts().values()) == {0}, "the kubelet started one anew"


def lose_postgres(pods: Pods) -> None:
    """Without it they are not ready, but they live, and they are ready again with it."""
    pods.stack.postgres.stop()
    pods.wait_ready(ready=False)
    tell(pods.kubectl("get", "pods"))
    pods.stack.postgres.start()
    pods.wait_ready()
    tell(pods.kubectl("get", "pods"))


def fill_shelf(mesh: Mesh) -> None:
    with open_channel(mesh.target("inventory"), token=mesh.token) as channel:
        request_id = str(uuid.uuid4())
        stock: Any = InventoryServiceStub(channel)
        stock.AdjustStock(AdjustStockRequest(request_id=request_id, sku=_SKU, delta=100))


def order_to_its_end(mesh: Mesh) -> Order:
    """An order once it is not PENDING any more."""
    with open_channel(mesh.target("order"), token=mesh.token) as channel:
        orders: Any = OrderServiceStub(channel)
        request = pb.CreateOrderRequest(
            request_id=str(uuid.uuid4()),
            customer_id="customer-1",
            currency_code="EUR",
            lines=[OrderLine(sku=_SKU, quantity=1, unit_price_minor=250)],
            payment_method_token="tok_visa",
        )
        order_id = orders.CreateOrder(request).order.order_id
        for change in watch_order(channel, order_id):
            if change.entry.state != OrderState.ORDER_STATE_PENDING:
                break
        wanted = pb.GetOrderRequest(order_id=order_id, min_version=change.entry.version)
        found: Order = orders.GetOrder(wanted).order
        return found


def tell(*texts: str) -> None:
    sys.stdout.write("\n" + "\n".join(texts) + "\n")
