"""What happens to an order once it is confirmed moves its stock and its money with it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from trackops.inventory.v1 import inventory_service_pb2
from trackops.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from trackops.order.v1 import order_pb2, order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub
from trackops.payment.v1 import payment_pb2, payment_service_pb2
from trackops.payment.v1.payment_service_pb2_grpc import PaymentServiceStub

from trackops_cli.testing import Mesh, wait_for
from trackops_client import open_channel

_STOCK = 10
_PRICE_MINOR = 250


@dataclass(frozen=True)
class Books:
    """An order's part of the stock and of the money."""

    on_hand: int
    reserved: int
    captured_minor: int
    refunded_minor: int
    payment: str


class Shop:
    """One confirmed order of three pieces of a sku of its own."""

    def __init__(self, mesh: Mesh, stack: ExitStack) -> None:
        channel = {
            name: stack.enter_context(open_channel(mesh.target(name), token=mesh.token))
            for name in ("order", "inventory", "payment")
        }
        self.orders = OrderServiceStub(channel["order"])
        self._inventory = InventoryServiceStub(channel["inventory"])
        self._payments = PaymentServiceStub(channel["payment"])
        self.sku = f"E2E-{uuid.uuid4().hex[:8].upper()}"
        self._inventory.AdjustStock(
            inventory_service_pb2.AdjustStockRequest(sku=self.sku, delta=_STOCK)
        )
        request = order_service_pb2.CreateOrderRequest(
            customer_id="customer-1",
            currency_code="EUR",
            lines=[order_pb2.OrderLine(sku=self.sku, quantity=3, unit_price_minor=_PRICE_MINOR)],
            payment_method_token="tok_visa",
        )
        self.order_id = self.orders.CreateOrder(request).order.order_id
        self.becomes("CONFIRMED")

    def becomes(self, state: str) -> None:
        """Returns once the order is in `state`."""
        wait_for(lambda: self._state() == state, what=f"the order to be {state}")

    def ship(self, pieces: int) -> None:
        self.orders.ShipOrder(
            order_service_pb2.ShipOrderRequest(
                order_id=self.order_id,
                lines=[order_pb2.Pieces(sku=self.sku, quantity=pieces)],
                carrier="DHL",
                tracking_number="T-1",
            )
        )

    def take_back(self, pieces: int) -> None:
        self.orders.ReturnOrder(
            order_service_pb2.ReturnOrderRequest(
                order_id=self.order_id,
                lines=[order_pb2.Pieces(sku=self.sku, quantity=pieces)],
                reason="too small",
            )
        )

    def close_short(self) -> None:
        self.orders.UpdateOrderStatus(
            order_service_pb2.UpdateOrderStatusRequest(
                order_id=self.order_id,
                state=order_pb2.ORDER_STATE_SHIPPED,
                reason="the last pieces are broken",
            )
        )

    def books_become(self, wanted: Books) -> None:
        """Returns once stock and money are as `wanted`."""
        wait_for(lambda: self._books() == wanted, what=f"{wanted}; it is {self._books()}")

    def _state(self) -> str:
        request = order_service_pb2.GetOrderRequest(order_id=self.order_id)
        state = self.orders.GetOrder(request).order.state
        return order_pb2.OrderState.Name(state).removeprefix("ORDER_STATE_")

    def _books(self) -> Books:
        stock = self._inventory.BatchGetStock(
            inventory_service_pb2.BatchGetStockRequest(skus=[self.sku])
        ).stock_levels[0]
        payment = self._payments.GetPayment(
            payment_service_pb2.GetPaymentRequest(order_id=self.order_id)
        ).payment
        return Books(
            stock.on_hand,
            stock.reserved,
            payment.captured_minor,
            payment.refunded_minor,
            payment_pb2.PaymentState.Name(payment.state).removeprefix("PAYMENT_STATE_"),
        )


@pytest.fixture
def shop(mesh: Mesh) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(mesh, stack)


def test_a_cancelled_order_gives_back_stock_and_money(shop: Shop) -> None:
    shop.books_become(Books(_STOCK, 3, 0, 0, "AUTHORIZED"))

    shop.orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=shop.order_id))

    shop.becomes("CANCELLED")
    shop.books_become(Books(_STOCK, 0, 0, 0, "VOIDED"))


def test_each_shipment_is_captured_and_each_return_refunded(shop: Shop) -> None:
    shop.ship(2)
    shop.books_become(Books(_STOCK - 2, 1, 2 * _PRICE_MINOR, 0, "PARTIALLY_CAPTURED"))

    shop.ship(1)
    shop.take_back(1)  # before the capture may be through
    shop.books_become(Books(_STOCK - 2, 0, 3 * _PRICE_MINOR, _PRICE_MINOR, "CAPTURED"))

    shop.take_back(2)
    shop.becomes("RETURNED")
    shop.books_become(Books(_STOCK, 0, 3 * _PRICE_MINOR, 3 * _PRICE_MINOR, "CAPTURED"))


def test_what_is_not_shipped_any_more_is_let_go(shop: Shop) -> None:
    shop.ship(2)
    shop.close_short()  # before the capture may be through

    shop.becomes("SHIPPED")
    shop.books_become(Books(_STOCK - 2, 0, 2 * _PRICE_MINOR, 0, "CAPTURED"))
