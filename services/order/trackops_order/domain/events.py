"""Facts about orders, named in the past tense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackops_order.domain.order import Order

__all__ = ["OrderConfirmed", "OrderEvent", "OrderPlaced", "OrderRejected"]


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """The order was accepted."""

    order: Order
    payment_method_token: str


@dataclass(frozen=True, slots=True)
class OrderConfirmed:
    """Stock is reserved and payment authorised."""

    order: Order


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """The order could not be served; `order.rejection` says why."""

    order: Order


OrderEvent = OrderPlaced | OrderConfirmed | OrderRejected
