"""Cancel orders of which nothing is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from trackops_common.idempotency import fingerprint
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.commands import OrderChange

__all__ = ["CancelOrder", "CancelOrders"]


@dataclass(frozen=True)
class CancelOrder(OrderChange):
    """Cancel one order."""

    reason: str = field(default="", kw_only=True)

    @cached_property
    def request_hash(self) -> bytes:
        said = [self.reason] if self.reason else []  # as before there were reasons
        return fingerprint([str(self.order_id), self.etag, *said])


@dataclass(frozen=True)
class CancelOrders:
    """Cancels many orders in one transaction; each succeeds or fails alone."""

    change_orders: ChangeOrders

    def __call__(self, commands: Sequence[CancelOrder]) -> Sequence[ChangeOutcome]:
        return self.change_orders(
            commands, lambda order, command, now: order.cancel(command.reason, now)
        )
