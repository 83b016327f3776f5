"""The order aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from trackops_order.domain.errors import ForbiddenTransition, InvalidOrder
from trackops_order.domain.events import OrderConfirmed, OrderPlaced, OrderRejected
from trackops_order.domain.states import TRANSITIONS, OrderState

__all__ = ["Order", "OrderLine", "Rejection"]

_MAX_TOTAL_MINOR = 2**63 - 1


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One product of an order."""

    sku: str
    quantity: int
    unit_price_minor: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an order was rejected: for programs, and for people."""

    reason: str
    message: str


@dataclass(slots=True)
class Order:
    """An order. Its state changes through its methods only, each of which returns the fact."""

    order_id: UUID
    customer_id: str
    state: OrderState
    lines: Sequence[OrderLine]
    currency_code: str
    total_minor: int
    version: int
    create_time: datetime
    update_time: datetime
    rejection: Rejection | None = None

    @classmethod
    def place(
        cls,
        order_id: UUID,
        *,
        customer_id: str,
        currency_code: str,
        lines: Sequence[OrderLine],
        payment_method_token: str,
        now: datetime,
    ) -> OrderPlaced:
        """A new order, PENDING, with its total computed from its lines.

        Raises:
            InvalidOrder: no line, a sku in two lines, or a total beyond 64 bits.
        """
        order = cls(
            order_id=order_id,
            customer_id=customer_id,
            state=OrderState.PENDING,
            lines=lines,
            currency_code=currency_code,
            total_minor=_checked_total(lines),
            version=1,
            create_time=now,
            update_time=now,
        )
        return OrderPlaced(order, payment_method_token)

    @classmethod
    def rehydrate(
        cls,
        *,
        order_id: UUID,
        customer_id: str,
        state: str,
        lines: Sequence[OrderLine],
        currency_code: str,
        total_minor: int,
        version: int,
        create_time: datetime,
        update_time: datetime,
        rejection: Rejection | None,
    ) -> Order:
        """An order as it was stored, unchecked. For repositories only."""
        return cls(
            order_id,
            customer_id,
            OrderState(state),
            lines,
            currency_code,
            total_minor,
            version,
            create_time,
            update_time,
            rejection,
        )

    def confirm(self, now: datetime) -> OrderConfirmed:
        """Stock and payment are arranged.

        Raises:
            ForbiddenTransition: the order is not PENDING.
        """
        self._enter(OrderState.CONFIRMED, now)
        return OrderConfirmed(self)

    def close(self, rejection: Rejection, now: datetime) -> OrderRejected:
        """The order cannot be served.

        Raises:
            ForbiddenTransition: the order is not PENDING.
        """
        self._enter(OrderState.REJECTED, now)
        self.rejection = rejection
        return OrderRejected(self)

    def _enter(self, state: OrderState, now: datetime) -> None:
        if state not in TRANSITIONS[self.state]:
            raise ForbiddenTransition(self.order_id, frm=self.state, to=state)
        self.state = state
        self.version += 1
        self.update_time = max(now, self.update_time)


def _checked_total(lines: Sequence[OrderLine]) -> int:
    if not lines:
        raise InvalidOrder("lines", "an order has at least one line")
    if len({line.sku for line in lines}) < len(lines):
        raise InvalidOrder("lines", "a sku may stand in one line only")
    total = sum(line.quantity * line.unit_price_minor for line in lines)
    if total > _MAX_TOTAL_MINOR:
        raise InvalidOrder("lines", "the total does not fit 64 bits")
    return total
