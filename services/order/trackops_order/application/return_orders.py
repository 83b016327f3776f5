"""Take back some or all shipped pieces of orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from trackops_common.idempotency import fingerprint
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.commands import OrderChange
from trackops_order.domain.events import OrderReturned
from trackops_order.domain.goods import Pieces
from trackops_order.domain.order import Order

__all__ = ["ReturnOrder", "ReturnOrders"]


@dataclass(frozen=True)
class ReturnOrder(OrderChange):
    """Take back pieces of one order. The request's key is the new return's id."""

    reason: str
    lines: Sequence[Pieces]

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint(
            [
                str(self.order_id),
                self.etag,
                self.reason,
                [[line.sku, line.quantity] for line in self.lines],
            ]
        )


@dataclass(frozen=True)
class ReturnOrders:
    """Takes back pieces of many orders in one transaction; each succeeds or fails alone."""

    change_orders: ChangeOrders

    def __call__(self, commands: Sequence[ReturnOrder]) -> Sequence[ChangeOutcome]:
        return self.change_orders(commands, _take_back)


def _take_back(order: Order, command: ReturnOrder, now: datetime) -> OrderReturned:
    return order.take_back(command.request_key, command.lines, reason=command.reason, now=now)
