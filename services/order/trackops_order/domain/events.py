"""Facts about orders, named in the past tense; `order` is the order as it was then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackops_order.domain.goods import GoodsReturn, Shipment
    from trackops_order.domain.order import Order

__all__ = [
    "OrderCancellationRequested",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderDelivered",
    "OrderEvent",
    "OrderPlaced",
    "OrderRejected",
    "OrderReturned",
    "OrderShipped",
]


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


@dataclass(frozen=True, slots=True)
class OrderShipped:
    """Pieces left; the last ones where the order is SHIPPED."""

    order: Order
    shipment: Shipment


@dataclass(frozen=True, slots=True)
class OrderDelivered:
    """All of its pieces arrived."""

    order: Order


@dataclass(frozen=True, slots=True)
class OrderReturned:
    """Pieces came back; the last ones where the order is RETURNED."""

    order: Order
    goods_return: GoodsReturn


@dataclass(frozen=True, slots=True)
class OrderCancellationRequested:
    """The order will not be served; what was arranged for it is being undone."""

    order: Order


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """Nothing is reserved or authorised for the order any more."""

    order: Order


OrderEvent = (
    OrderCancellationRequested
    | OrderCancelled
    | OrderPlaced
    | OrderConfirmed
    | OrderRejected
    | OrderShipped
    | OrderDelivered
    | OrderReturned
)
