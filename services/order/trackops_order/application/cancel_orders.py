"""Cancel orders that are not confirmed yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from trackops_common.idempotency import fingerprint
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.commands import OrderChange

__all__ = ["CancelOrder", "CancelOrders"]


@dataclass(frozen=True)
class CancelOrder(OrderChange):
    """Cancel one order."""

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id), self.etag])


@dataclass(frozen=True)
class CancelOrders:
    """Cancels many orders in one transaction; each succeeds or fails alone."""

    change_orders: ChangeOrders

    def __call__(self, commands: Sequence[CancelOrder]) -> Sequence[ChangeOutcome]:
        return self.change_orders(commands, lambda order, _, now: order.cancel(now))
