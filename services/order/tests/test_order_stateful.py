"""Whatever is asked of an order in whatever order, it stays one that its rules allow."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from trackops_order.domain.errors import ForbiddenTransition
from trackops_order.domain.events import OrderConfirmed, OrderEvent, OrderRejected
from trackops_order.domain.order import Order, OrderLine, Rejection
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
REJECTIONS = some.builds(Rejection, some.text(min_size=1, max_size=8), some.text(max_size=8))


class OrderLifecycle(RuleBasedStateMachine):
    order: Order

    @initialize(lines=LINES, now=MOMENTS)
    def place(self, lines: list[OrderLine], now: datetime) -> None:
        self.order = placed(lines=lines, now=now).order
        self.entered = [OrderState.PENDING]
        self.moments = [now]
        self.rejection: Rejection | None = None
        self.first = deepcopy(self.order)

    @rule(now=MOMENTS)
    def confirm(self, now: datetime) -> None:
        self._ask(OrderState.CONFIRMED, now, lambda: self.order.confirm(now), OrderConfirmed)

    @rule(now=MOMENTS, rejection=REJECTIONS)
    def close(self, now: datetime, rejection: Rejection) -> None:
        def ask() -> OrderEvent:
            return self.order.close(rejection, now)

        if self._ask(OrderState.REJECTED, now, ask, OrderRejected):
            self.rejection = rejection

    def _ask(
        self,
        state: OrderState,
        now: datetime,
        ask: Callable[[], OrderEvent],
        kind: type[OrderEvent],
    ) -> bool:
        """Whether it was allowed; a refusal must leave no trace."""
        before = deepcopy(self.order)
        try:
            event = ask()
        except ForbiddenTransition as refused:
            assert state not in TRANSITIONS[before.state]
            assert (refused.frm, refused.to) == (before.state, state)
            assert self.order == before
            return False
        assert isinstance(event, kind)
        assert event.order is self.order
        self.entered.append(state)
        self.moments.append(now)
        return True

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
        for name in ("order_id", "customer_id", "lines", "currency_code", "total_minor"):
            assert getattr(self.order, name) == getattr(self.first, name)
        assert self.order.total_minor == sum(
            line.quantity * line.unit_price_minor for line in self.order.lines
        )

    @invariant()
    def a_rejected_order_and_no_other_says_why(self) -> None:
        assert self.order.rejection == self.rejection
        assert (self.order.state is OrderState.REJECTED) == (self.rejection is not None)


TestOrderLifecycle = OrderLifecycle.TestCase
TestOrderLifecycle.settings = settings(deadline=None, max_examples=60, stateful_step_count=12)
