"""Whatever is asked of an order in whatever order, it stays one that its rules allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from trackops_order.domain.errors import ForbiddenTransition, TooManyPieces
from trackops_order.domain.events import (
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderEvent,
    OrderRejected,
    OrderReturned,
    OrderShipped,
)
from trackops_order.domain.goods import OrderLine, Pieces, Shipment
from trackops_order.domain.order import Order, Rejection
from trackops_order.domain.states import TRANSITIONS, OrderState
from trackops_order.testing import placed

MOMENTS = some.datetimes(
    min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1), timezones=some.just(UTC)
)
LINES = some.lists(
    some.builds(
        OrderLine,
        some.sampled_from([f"SKU-{number}" for number in range(20)]),
        some.integers(1, 1_000_000),
        some.integers(0, 10**12),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda line: line.sku,
)
WHOLE = {
    OrderState.FULFILLING: OrderState.SHIPPED,
    OrderState.PARTIALLY_RETURNED: OrderState.RETURNED,
}
"""What a refusal names, since a part is refused in the states where all is."""

Choices = list[tuple[int, float]]
REJECTIONS = some.builds(Rejection, some.text(min_size=1, max_size=8), some.text(max_size=8))


CHOICES = some.lists(
    some.tuples(some.integers(0, 7), some.sampled_from([0.3, 0.5, 1.0, 1.0, 1.1])),
    min_size=1,
    max_size=8,
)
"""Which lines move, and how much of what is left of each."""


class OrderLifecycle(RuleBasedStateMachine):
    order: Order

    @initialize(
        lines=LINES,
        now=MOMENTS,
        way=some.sampled_from(["", "c", "cp", "cps", "cpsd", "cpsr", "ca"]),
    )
    def place(self, lines: list[OrderLine], now: datetime, way: str) -> None:
        """A new order; then some way on, since by chance few orders would come far."""
        self.order = placed(lines=lines, now=now).order
        self.entered = [OrderState.PENDING]
        self.moments = [now]
        self.rejection: Rejection | None = None
        self.first = deepcopy(self.order)
        self.shipped: Counter[str] = Counter()
        self.returned: Counter[str] = Counter()
        self.refunds_minor = 0
        self.cancelled = self.short = False
        for step in way:
            self._walk(step, now)

    def _walk(self, step: str, now: datetime) -> None:
        everything = [(at, 1.0) for at in range(len(self.order.lines))]
        match step:
            case "c":
                self.confirm(now)
            case "p":
                self.ship(now, [(0, 0.5)])
            case "a":
                self.ship(now, everything)
            case "s":
                self.close_short(now)
            case "d":
                self.deliver(now)
            case "r":
                self.take_back(now, [(0, 1.0)])

    @rule(now=MOMENTS)
    def confirm(self, now: datetime) -> None:
        self._ask(OrderState.CONFIRMED, now, lambda: self.order.confirm(now), OrderConfirmed)

    @rule(now=MOMENTS, rejection=REJECTIONS)
    def close(self, now: datetime, rejection: Rejection) -> None:
        def ask() -> OrderEvent:
            return self.order.close(rejection, now)

        if self.order.state is OrderState.CANCELLING:
            assert self._ask(OrderState.CANCELLED, now, ask, OrderCancelled)
        elif self._ask(OrderState.REJECTED, now, ask, OrderRejected):
            self.rejection = rejection

    @rule(now=MOMENTS)
    def cancel(self, now: datetime) -> None:
        kind = OrderCancellationRequested
        if self._ask(OrderState.CANCELLING, now, lambda: self.order.cancel("why", now), kind):
            self.cancelled = True

    @rule(now=MOMENTS, choices=CHOICES)
    def ship(self, now: datetime, choices: Choices) -> None:
        pieces = self._pieces(choices, lambda line: line.to_ship)
        all_left = self._takes_the_rest(pieces, lambda line: line.to_ship)
        self._move(
            pieces,
            self.shipped,
            OrderState.SHIPPED if all_left else OrderState.FULFILLING,
            now,
            lambda: self.order.ship(Shipment(uuid4(), "UPS", "1Z", pieces), now),
        )

    @rule(now=MOMENTS)
    def close_short(self, now: datetime) -> None:
        """Allowed from one of the states only from which an order becomes SHIPPED."""
        before = deepcopy(self.order)
        if before.state is OrderState.FULFILLING:
            fact = self.order.close_short("sold out", now)
            assert {one.sku: one.quantity for one in fact.pieces} == {
                line.sku: line.to_ship for line in before.lines if line.to_ship
            }
            self.entered.append(OrderState.SHIPPED)
            self.moments.append(now)
            self.short = True
        else:
            with pytest.raises(ForbiddenTransition):
                self.order.close_short("sold out", now)
            assert self.order == before

    @rule(now=MOMENTS)
    def deliver(self, now: datetime) -> None:
        self._ask(OrderState.DELIVERED, now, lambda: self.order.deliver(now), OrderDelivered)

    @rule(now=MOMENTS, choices=CHOICES)
    def take_back(self, now: datetime, choices: Choices) -> None:
        pieces = self._pieces(choices, lambda line: line.to_return)
        all_back = self._takes_the_rest(pieces, lambda line: line.to_return)
        self._move(
            pieces,
            self.returned,
            OrderState.RETURNED if all_back else OrderState.PARTIALLY_RETURNED,
            now,
            lambda: self.order.take_back(uuid4(), pieces, reason="broken", now=now),
        )

    def _pieces(self, choices: Choices, left: Callable[[OrderLine], int]) -> list[Pieces]:
        chosen = {self.order.lines[at % len(self.order.lines)]: share for at, share in choices}
        return [
            Pieces(line.sku, max(1, ceil(left(line) * share))) for line, share in chosen.items()
        ]

    def _takes_the_rest(self, pieces: list[Pieces], left: Callable[[OrderLine], int]) -> bool:
        taken = {one.sku: one.quantity for one in pieces}
        return all(taken.get(line.sku, 0) == left(line) for line in self.order.lines)

    def _move(
        self,
        pieces: list[Pieces],
        moved: Counter[str],
        state: OrderState,
        now: datetime,
        ask: Callable[[], OrderShipped | OrderReturned],
    ) -> None:
        """Too many pieces are refused; what was accepted is counted."""
        before = deepcopy(self.order)

        def ask_and_count() -> OrderEvent:
            event = ask()
            moved.update({one.sku: one.quantity for one in pieces})
            if isinstance(event, OrderReturned):
                self.refunds_minor += event.goods_return.refund_minor
            return event

        try:
            self._ask(state, now, ask_and_count, (OrderShipped, OrderReturned))
        except TooManyPieces as refused:
            assert refused.requested > refused.available
            assert self.order == before

    def _ask(
        self,
        state: OrderState,
        now: datetime,
        ask: Callable[[], OrderEvent],
        kind: type[OrderEvent] | tuple[type[OrderEvent], ...],
    ) -> bool:
        """Whether it was allowed; a refusal must leave no trace."""
        before = deepcopy(self.order)
        assert _closes_short(before) == (before.state is OrderState.FULFILLING)
        try:
            event = ask()
        except ForbiddenTransition as refused:
            assert state not in TRANSITIONS[before.state]
            assert (refused.frm, refused.to) == (before.state, WHOLE.get(state, state))
            assert self.order == before
            return False
        assert isinstance(event, kind)
        assert event.order == self.order
        self.entered.append(state)
        self.moments.append(now)
        return True

    def _goods_are_out(self) -> bool:
        return self.order.state in (
            OrderState.SHIPPED,
            OrderState.DELIVERED,
            OrderState.PARTIALLY_RETURNED,
            OrderState.RETURNED,
        )

    @invariant()
    def each_state_followed_from_the_one_before(self) -> None:
        assert self.order.state is self.entered[-1]
        for frm, to in zip(self.entered, self.entered[1:], strict=False):
            assert to in TRANSITIONS[frm]

    @invariant()
    def the_version_counts_the_states(self) -> None:
        assert self.order.version == len(self.entered)

    @invariant()
    def time_never_goes_back(self) -> None:
        assert self.order.create_time == self.moments[0]
        assert self.order.update_time == max(self.moments)

    @invariant()
    def what_was_ordered_stays_what_it_was(self) -> None:
        for name in ("order_id", "customer_id", "currency_code", "total_minor"):
            assert getattr(self.order, name) == getattr(self.first, name)
        assert self.order.total_minor == sum(
            line.quantity * line.unit_price_minor for line in self.order.lines
        )

    @invariant()
    def pieces_leave_and_come_back_once(self) -> None:
        for line, first in zip(self.order.lines, self.first.lines, strict=True):
            assert 0 <= line.returned_quantity <= line.shipped_quantity <= line.quantity
            assert line.shipped_quantity == self.shipped[line.sku]
            assert line.returned_quantity == self.returned[line.sku]
            assert replace(line, shipped_quantity=0, returned_quantity=0) == first

    @invariant()
    def what_is_refunded_is_the_price_of_what_came_back(self) -> None:
        assert self.order.refunded_minor == self.refunds_minor <= self.order.total_minor
        assert (self.order.state is OrderState.RETURNED) == (
            self.shipped.total() > 0 and self.returned == self.shipped and self._goods_are_out()
        )

    @invariant()
    def an_order_is_shipped_when_all_of_it_left_or_the_rest_will_not(self) -> None:
        left = {line.to_ship for line in self.order.lines} == {0}
        assert not (left and self.short)
        assert (left or self.short) == self._goods_are_out()

    @invariant()
    def a_cancelled_order_and_no_other_says_why(self) -> None:
        assert self.order.cancellation_reason == ("why" if self.cancelled else "")
        assert self.cancelled == (self.order.state in (OrderState.CANCELLING, OrderState.CANCELLED))

    @invariant()
    def a_rejected_order_and_no_other_says_why(self) -> None:
        assert self.order.rejection == self.rejection
        assert (self.order.state is OrderState.REJECTED) == (self.rejection is not None)


def _closes_short(order: Order) -> bool:
    """Whether it would, were it asked to now."""
    try:
        deepcopy(order).close_short("sold out", order.update_time)
    except ForbiddenTransition:
        return False
    return True


TestOrderLifecycle = OrderLifecycle.TestCase
TestOrderLifecycle.settings = settings(deadline=None, max_examples=60, stateful_step_count=20)
