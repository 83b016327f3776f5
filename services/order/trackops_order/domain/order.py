"""The order aggregate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from trackops_order.domain.codes import COUNTRY_CODES, CURRENCY_CODES
from trackops_order.domain.details import Address, OrderDetails
from trackops_order.domain.errors import (
    EtagMismatch,
    ForbiddenTransition,
    InvalidOrder,
    TooManyPieces,
)
from trackops_order.domain.events import (
    OrderCancellationRequested,
    OrderCancelled,
    OrderClosedShort,
    OrderConfirmed,
    OrderDelivered,
    OrderPlaced,
    OrderRejected,
    OrderReturned,
    OrderShipped,
)
from trackops_order.domain.goods import GoodsReturn, OrderLine, Pieces, ReturnedLine, Shipment
from trackops_order.domain.states import TRANSITIONS, OrderState

__all__ = ["Order", "Rejection"]

_MAX_TOTAL_MINOR = 2**63 - 1


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
    cancellation_reason: str = ""
    """For people; empty where none was given, and while nobody has cancelled it."""
    details: OrderDetails | None = None

    @classmethod
    def place(
        cls,
        order_id: UUID,
        *,
        customer_id: str,
        currency_code: str,
        lines: Sequence[OrderLine],
        payment_method_token: str,
        details: OrderDetails | None = None,
        now: datetime,
    ) -> OrderPlaced:
        """A new order, PENDING, with its total computed from its lines.

        Raises:
            InvalidOrder: no line, a sku in two lines, a total beyond 64 bits; a currency or
                a country that ISO does not list.
        """
        if currency_code not in CURRENCY_CODES:
            raise InvalidOrder("currency_code", "must be an active currency of ISO 4217")
        if details is not None:
            _check_country("shipping_address", details.shipping_address)
            _check_country("billing_address", details.billing_address)
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
            details=details,
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
        cancellation_reason: str,
        details: OrderDetails | None,
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
            cancellation_reason,
            details,
        )

    def confirm(self, now: datetime) -> OrderConfirmed:
        """Stock and payment are arranged.

        Raises:
            ForbiddenTransition: the order is not PENDING.
        """
        self._enter(OrderState.CONFIRMED, now)
        return OrderConfirmed(replace(self))

    def cancel(self, reason: str, now: datetime) -> OrderCancellationRequested:
        """The order is not wanted any more; it is neither confirmed nor shipped from now on.

        Raises:
            ForbiddenTransition: the order is neither PENDING nor CONFIRMED.
        """
        from_state = self.state
        self._enter(OrderState.CANCELLING, now)
        self.cancellation_reason = reason
        return OrderCancellationRequested(replace(self), from_state)

    def close(self, rejection: Rejection, now: datetime) -> OrderRejected | OrderCancelled:
        """The order ends unserved: REJECTED, or CANCELLED where that was asked for.

        Raises:
            ForbiddenTransition: the order is neither PENDING nor CANCELLING.
        """
        if self.state is OrderState.CANCELLING:
            self._enter(OrderState.CANCELLED, now)
            return OrderCancelled(replace(self))
        self._enter(OrderState.REJECTED, now)
        self.rejection = rejection
        return OrderRejected(replace(self))

    @property
    def etag(self) -> str:
        """Names this version of the order (AIP-154)."""
        return f"v{self.version}"

    def expect(self, etag: str) -> None:
        """Go on only if this is the order that the caller has seen; an empty `etag` asks nothing.

        Raises:
            EtagMismatch: it is another version.
        """
        if etag and etag != self.etag:
            raise EtagMismatch(self.order_id, etag=etag, current=self.etag)

    @property
    def refunded_minor(self) -> int:
        """What is refunded for all pieces that came back; the same however they came."""
        return sum(line.returned_quantity * line.unit_price_minor for line in self.lines)

    def ship(self, shipment: Shipment, now: datetime) -> OrderShipped:
        """Pieces leave.

        Raises:
            ForbiddenTransition: the order is neither CONFIRMED nor FULFILLING.
            TooManyPieces: more of a sku than is left to ship.
            InvalidOrder: no pieces, or a sku in two lines.
        """
        self._guard(OrderState.SHIPPED)
        leaving = self._taken(shipment.lines, {line.sku: line.to_ship for line in self.lines})
        self.lines = [
            replace(line, shipped_quantity=line.shipped_quantity + leaving.get(line.sku, 0))
            for line in self.lines
        ]
        all_left = all(line.to_ship == 0 for line in self.lines)
        self._enter(OrderState.SHIPPED if all_left else OrderState.FULFILLING, now)
        return OrderShipped(replace(self), shipment)

    def close_short(self, reason: str, now: datetime) -> OrderClosedShort:
        """What has not left will not leave; the order is as good as shipped.

        Raises:
            ForbiddenTransition: the order is not FULFILLING.
        """
        if self.state is not OrderState.FULFILLING:
            raise ForbiddenTransition(self.order_id, frm=self.state, to=OrderState.SHIPPED)
        staying = [Pieces(line.sku, line.to_ship) for line in self.lines if line.to_ship]
        self._enter(OrderState.SHIPPED, now)
        return OrderClosedShort(replace(self), staying, reason)

    def deliver(self, now: datetime, *, reason: str = "") -> OrderDelivered:
        """All of its pieces that were shipped arrived.

        Raises:
            ForbiddenTransition: the order is not SHIPPED.
        """
        self._enter(OrderState.DELIVERED, now)
        return OrderDelivered(replace(self), reason)

    def take_back(
        self, return_id: UUID, pieces: Sequence[Pieces], *, reason: str, now: datetime
    ) -> OrderReturned:
        """Pieces come back and are refunded at their price.

        Raises:
            ForbiddenTransition: more is still to be shipped, or all that was shipped came back.
            TooManyPieces: more of a sku than is shipped and not returned.
            InvalidOrder: no pieces, or a sku in two lines.
        """
        self._guard(OrderState.RETURNED)
        coming = self._taken(pieces, {line.sku: line.to_return for line in self.lines})
        refunds = [
            ReturnedLine(line.sku, coming[line.sku], coming[line.sku] * line.unit_price_minor)
            for line in self.lines
            if line.sku in coming
        ]
        self.lines = [
            replace(line, returned_quantity=line.returned_quantity + coming.get(line.sku, 0))
            for line in self.lines
        ]
        all_back = all(line.to_return == 0 for line in self.lines)
        self._enter(OrderState.RETURNED if all_back else OrderState.PARTIALLY_RETURNED, now)
        return OrderReturned(replace(self), GoodsReturn(return_id, reason, refunds))

    def _taken(self, pieces: Sequence[Pieces], left: Mapping[str, int]) -> Mapping[str, int]:
        """How many of each sku are taken, where `left` allows it."""
        taken = {one.sku: one.quantity for one in pieces}
        if not taken or min(taken.values()) < 1:
            raise InvalidOrder("lines", "at least one line, and one piece in each, is needed")
        if len(taken) < len(pieces):
            raise InvalidOrder("lines", "a sku may stand in one line only")
        for sku, quantity in taken.items():
            if quantity > (available := left.get(sku, 0)):
                raise TooManyPieces(self.order_id, sku=sku, requested=quantity, available=available)
        return taken

    def _guard(self, state: OrderState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise ForbiddenTransition(self.order_id, frm=self.state, to=state)

    def _enter(self, state: OrderState, now: datetime) -> None:
        self._guard(state)
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


def _check_country(field: str, address: Address | None) -> None:
    if address is not None and address.country_code not in COUNTRY_CODES:
        raise InvalidOrder(f"{field}.country_code", "must be an assigned code of ISO 3166-1")
