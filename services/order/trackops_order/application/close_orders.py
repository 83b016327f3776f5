"""Close orders that cannot be served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from trackops_common.idempotency import fingerprint
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.commands import OrderChange
from trackops_order.domain.order import Rejection

__all__ = ["CloseOrder", "CloseOrders"]


@dataclass(frozen=True)
class CloseOrder(OrderChange):
    """Close one order, saying why."""

    rejection: Rejection

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id), self.rejection.reason, self.rejection.message])


@dataclass(frozen=True)
class CloseOrders:
    """Closes many orders in one transaction; each succeeds or fails alone."""

    change_orders: ChangeOrders

    def __call__(self, commands: Sequence[CloseOrder]) -> Sequence[ChangeOutcome]:
        return self.change_orders(
            commands, lambda order, command, now: order.close(command.rejection, now)
        )
