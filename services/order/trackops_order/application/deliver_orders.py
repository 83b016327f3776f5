"""Record that orders arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from trackops_common.idempotency import fingerprint
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.commands import OrderChange

__all__ = ["DeliverOrder", "DeliverOrders"]


@dataclass(frozen=True)
class DeliverOrder(OrderChange):
    """All pieces of one order arrived."""

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id), self.etag])


@dataclass(frozen=True)
class DeliverOrders:
    """Delivers many orders in one transaction; each succeeds or fails alone."""

    change_orders: ChangeOrders

    def __call__(self, commands: Sequence[DeliverOrder]) -> Sequence[ChangeOutcome]:
        return self.change_orders(commands, lambda order, _, now: order.deliver(now))
