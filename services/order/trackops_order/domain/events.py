"""Facts about orders, named in the past tense; `order` is the order as it was then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackops_order.domain.goods import GoodsReturn, Pieces, Shipment
    from trackops_order.domain.order import Order
    from trackops_order.domain.states import OrderState

__all__ = [
    "OrderCancellationRequested",
    "OrderCancelled",
    "OrderClosedShort",
    "OrderConfirmed",
    "OrderDelivered",
    "OrderEvent",
    "OrderPlaced",
    "OrderRejected",
    "OrderReturned",
    "OrderShipped",
    "reason_of",
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

    @property
    def amount_minor(self) -> int:
        """What these pieces cost."""
        prices = {line.sku: line.unit_price_minor for line in self.order.lines}
        return sum(one.quantity * prices[one.sku] for one in self.shipment.lines)


@dataclass(frozen=True, slots=True)
class OrderClosedShort:
    """The rest of the order will not be shipped: it is SHIPPED without `pieces`."""

    order: Order
    pieces: Sequence[Pieces]
    """Those that were ordered and stay."""
    reason: str


@dataclass(frozen=True, slots=True)
class OrderDelivered:
    """All of its pieces that were shipped arrived."""

    order: Order
    reason: str = ""
    """Why, for people, where an operator said so."""


@dataclass(frozen=True, slots=True)
class OrderReturned:
    """Pieces came back; the last ones where the order is RETURNED."""

    order: Order
    goods_return: GoodsReturn


@dataclass(frozen=True, slots=True)
class OrderCancellationRequested:
    """The order will not be served; what was arranged for it is being undone."""

    order: Order
    from_state: OrderState
    """PENDING or CONFIRMED: whose saga undoes it depends on that."""

    @property
    def reason(self) -> str:
        """For people; empty where none was given."""
        return self.order.cancellation_reason


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """Nothing is reserved or authorised for the order any more."""

    order: Order


OrderEvent = (
    OrderCancellationRequested
    | OrderCancelled
    | OrderClosedShort
    | OrderPlaced
    | OrderConfirmed
    | OrderRejected
    | OrderShipped
    | OrderDelivered
    | OrderReturned
)


def reason_of(event: OrderEvent) -> str:
    """Why it happened, for people, as whoever asked for it has said; empty where nobody did."""
    match event:
        case OrderCancellationRequested() | OrderClosedShort() | OrderDelivered():
            return event.reason
        case _:
            return ""
