"""Set the states of orders, as far as that is an operator's to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from trackops_common.idempotency import fingerprint
from trackops_order.application.change_orders import ChangeOrders, ChangeOutcome
from trackops_order.application.commands import OrderChange
from trackops_order.domain.errors import ForbiddenTransition
from trackops_order.domain.events import OrderEvent
from trackops_order.domain.order import Order
from trackops_order.domain.states import OrderState

__all__ = ["UpdateOrderStatus", "UpdateOrderStatuses"]


@dataclass(frozen=True)
class UpdateOrderStatus(OrderChange):
    """Bring one order into a state, saying why."""

    state: OrderState
    reason: str

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.order_id), self.etag, self.state, self.reason])


@dataclass(frozen=True)
class UpdateOrderStatuses:
    """Sets the states of many orders in one transaction; each succeeds or fails alone."""

    change_orders: ChangeOrders

    def __call__(self, commands: Sequence[UpdateOrderStatus]) -> Sequence[ChangeOutcome]:
        return self.change_orders(commands, _enter)


def _enter(order: Order, command: UpdateOrderStatus, now: datetime) -> OrderEvent:
    """Only the states that no saga decides on and no goods have to move for."""
    match command.state:
        case OrderState.CANCELLING:
            return order.cancel(command.reason, now)
        case OrderState.SHIPPED:
            return order.close_short(command.reason, now)
        case OrderState.DELIVERED:
            return order.deliver(now, reason=command.reason)
        case _:
            raise ForbiddenTransition(order.order_id, frm=order.state, to=command.state)
