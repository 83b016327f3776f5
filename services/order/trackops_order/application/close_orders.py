"""Close orders that cannot be served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from trackops_common.idempotency import fingerprint, request_key
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.domain.order import Rejection

__all__ = ["CloseOrder", "CloseOrders"]


@dataclass(frozen=True)
class CloseOrder:
    """Close one order, saying why."""

    principal: str
    request_id: str
    order_id: UUID
    rejection: Rejection

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method="CloseOrder")

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
