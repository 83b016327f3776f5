"""An order is cancelled while its saga runs: exactly one of the two wins; nothing stays held."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack

import grpc
import pytest
from trackops.inventory.v1 import inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_pb2, order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub
from trackops.payment.v1 import payment_pb2, payment_service_pb2
from trackops.payment.v1.payment_service_pb2_grpc import PaymentServiceStub

from trackops_cli.testing import Mesh, wait_for
from trackops_client import TrackOpsError, open_channel, typed_errors

_ORDERS = 80
_AS_PLACED = "v1"
_UNDER_WAY = (
    order_pb2.OrderState.ORDER_STATE_PENDING,
    order_pb2.OrderState.ORDER_STATE_CANCELLING,
)


class Shop:
    """What a customer and a stock clerk can do, on a sku of the test's own."""

    def __init__(self, mesh: Mesh, stack: ExitStack) -> None:
        channel = {
            name: stack.enter_context(open_channel(mesh.target(name), token=mesh.token))
            for name in ("order", "inventory", "payment")
        }
        self._orders = OrderServiceStub(channel["order"])
        self._inventory = InventoryServiceStub(channel["inventory"])
        self._payments = PaymentServiceStub(channel["payment"])
        self._sku = f"E2E-{uuid.uuid4().hex[:8].upper()}"
        self._inventory.AdjustStock(
            inventory_service_pb2.AdjustStockRequest(sku=self._sku, delta=1000)
        )

    def order(self) -> str:
        request = order_service_pb2.CreateOrderRequest(
            customer_id="customer-1",
            currency_code="EUR",
            lines=[order_pb2.OrderLine(sku=self._sku, quantity=1, unit_price_minor=100)],
            payment_method_token="tok_visa",
        )
        return self._orders.CreateOrder(request).order.order_id

    def cancel(self, order_id: str) -> bool:
        """Whether the order was still as it was placed, and is cancelled."""
        request = order_service_pb2.CancelOrderRequest(order_id=order_id, etag=_AS_PLACED)
        try:
            with typed_errors():
                self._orders.CancelOrder(request)
        except TrackOpsError as error:
            assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
            return False
        return True

    def states(self, order_ids: Collection[str]) -> dict[str, order_pb2.OrderState.ValueType]:
        request = order_service_pb2.BatchGetOrdersRequest(order_ids=order_ids)
        return {one.order_id: one.state for one in self._orders.BatchGetOrders(request).orders}

    def reserved(self) -> int:
        request = inventory_service_pb2.BatchGetStockRequest(skus=[self._sku])
        return self._inventory.BatchGetStock(request).stock_levels[0].reserved

    def authorised(self, order_id: str) -> bool:
        request = payment_service_pb2.GetPaymentRequest(order_id=order_id)
        try:
            with typed_errors():
                payment = self._payments.GetPayment(request).payment
        except TrackOpsError as error:
            assert error.reason == "PAYMENT_NOT_FOUND"
            return False
        return payment.state == payment_pb2.PaymentState.PAYMENT_STATE_AUTHORIZED


@pytest.fixture
def shop(mesh: Mesh) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(mesh, stack)


def test_nothing_stays_reserved_or_authorised_for_a_cancelled_order(shop: Shop) -> None:
    first = shop.order()
    wait_for(lambda: shop.states([first])[first] not in _UNDER_WAY, what="the sagas to be warm")
    placed = [first, *(shop.order() for _ in range(_ORDERS))]
    cancelled = {order_id for order_id in reversed(placed) if shop.cancel(order_id)}
    confirmed = set(placed) - cancelled

    wait_for(
        lambda: not any(state in _UNDER_WAY for state in shop.states(placed).values()),
        what="every order to come to its end",
    )

    ended = shop.states(placed)
    assert {ended[id_] for id_ in cancelled} <= {order_pb2.OrderState.ORDER_STATE_CANCELLED}
    assert {ended[id_] for id_ in confirmed} <= {order_pb2.OrderState.ORDER_STATE_CONFIRMED}
    assert shop.reserved() == len(confirmed)
    assert {order_id for order_id in placed if shop.authorised(order_id)} == confirmed
