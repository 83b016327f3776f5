from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from trackops_order.domain.errors import ForbiddenTransition, InvalidOrder
from trackops_order.domain.events import OrderEvent, OrderPlaced
from trackops_order.domain.order import Order, OrderLine, Rejection
from trackops_order.domain.states import TRANSITIONS, OrderState
from trackops_order.testing import placed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
REJECTION = Rejection("PAYMENT_DECLINED", "the card was declined")

Change = Callable[[Order, datetime], OrderEvent]
CHANGES: dict[OrderState, Change] = {
    OrderState.CONFIRMED: lambda order, now: order.confirm(now),
    OrderState.REJECTED: lambda order, now: order.close(REJECTION, now),
}
"""What takes an order into each state."""

EDGES = [(frm, to) for frm, to in product([OrderState.PENDING, *CHANGES], CHANGES)]
ALLOWED = [(frm, to) for frm, to in EDGES if to in TRANSITIONS[frm]]
FORBIDDEN = [(frm, to) for frm, to in EDGES if to not in TRANSITIONS[frm]]


def _order_in(state: OrderState) -> Order:
    order = placed(now=NOW).order
    if state is not OrderState.PENDING:
        CHANGES[state](order, NOW)
    return order


def test_the_state_machine_is_the_one_in_the_contract() -> None:
    assert {frm.value: " ".join(sorted(to)) for frm, to in TRANSITIONS.items()} == {
        "PENDING": "CANCELLING CONFIRMED REJECTED",
        "CONFIRMED": "FULFILLING SHIPPED",
        "REJECTED": "",
        "CANCELLING": "CANCELLED",
        "CANCELLED": "",
        "FULFILLING": "FULFILLING SHIPPED",
        "SHIPPED": "DELIVERED PARTIALLY_RETURNED RETURNED",
        "DELIVERED": "PARTIALLY_RETURNED RETURNED",
        "PARTIALLY_RETURNED": "PARTIALLY_RETURNED RETURNED",
        "RETURNED": "",
    }


def test_every_state_but_the_first_has_a_way_into_it() -> None:
    assert TRANSITIONS.keys() == set(OrderState)
    assert set().union(*TRANSITIONS.values()) == set(OrderState) - {OrderState.PENDING}


@pytest.mark.parametrize(("frm", "to"), ALLOWED)
def test_an_allowed_transition_is_made_and_told(frm: OrderState, to: OrderState) -> None:
    order = _order_in(frm)
    before = order.version

    event = CHANGES[to](order, LATER)

    assert order.state is to
    assert order.version == before + 1
    assert order.update_time == LATER
    assert order.create_time == NOW
    assert event.order is order


@pytest.mark.parametrize(("frm", "to"), FORBIDDEN)
def test_a_forbidden_transition_names_both_states_and_changes_nothing(
    frm: OrderState, to: OrderState
) -> None:
    order = _order_in(frm)
    before = replace(order)

    with pytest.raises(ForbiddenTransition) as refused:
        CHANGES[to](order, LATER)

    assert (refused.value.order_id, refused.value.frm, refused.value.to) == (
        order.order_id,
        frm,
        to,
    )
    assert order == before


def test_a_new_order_is_pending_in_its_first_version() -> None:
    order_id = uuid.uuid4()

    fact = placed(order_id=order_id, customer_id="c-9", now=NOW)

    order = fact.order
    assert isinstance(fact, OrderPlaced)
    assert fact.payment_method_token == "tok_ok"
    assert (order.order_id, order.customer_id) == (order_id, "c-9")
    assert (order.state, order.version, order.rejection) == (OrderState.PENDING, 1, None)
    assert order.create_time == order.update_time == NOW


def test_the_total_is_computed_from_the_lines() -> None:
    lines = [OrderLine("A", 3, 250), OrderLine("B", 1, 0), OrderLine("C", 2, 1)]

    assert placed(lines=lines).order.total_minor == 752


def test_the_largest_total_of_64_bits_is_accepted_and_one_more_is_not() -> None:
    largest = [OrderLine("A", 1, 2**63 - 2), OrderLine("B", 1, 1)]
    assert placed(lines=largest).order.total_minor == 2**63 - 1

    with pytest.raises(InvalidOrder, match="64 bits") as refused:
        placed(lines=[*largest, OrderLine("C", 1, 1)])
    assert refused.value.field == "lines"


def test_an_order_has_at_least_one_line() -> None:
    with pytest.raises(InvalidOrder, match="at least one line") as refused:
        placed(lines=[])
    assert refused.value.field == "lines"


def test_a_sku_stands_in_one_line_only() -> None:
    with pytest.raises(InvalidOrder, match="one line only") as refused:
        placed(lines=[OrderLine("A", 1, 1), OrderLine("B", 1, 1), OrderLine("A", 2, 1)])
    assert refused.value.field == "lines"


def test_a_closed_order_says_why() -> None:
    order = placed().order

    order.close(REJECTION, LATER)

    assert order.rejection == REJECTION


def test_a_clock_that_went_back_does_not_take_the_update_time_along() -> None:
    order = placed(now=NOW).order

    order.confirm(NOW - timedelta(days=1))

    assert order.update_time == NOW


def test_a_stored_order_comes_back_as_it_was() -> None:
    order = _order_in(OrderState.REJECTED)

    again = Order.rehydrate(
        order_id=order.order_id,
        customer_id=order.customer_id,
        state=str(order.state),
        lines=order.lines,
        currency_code=order.currency_code,
        total_minor=order.total_minor,
        version=order.version,
        create_time=order.create_time,
        update_time=order.update_time,
        rejection=order.rejection,
    )

    assert again == order
    assert again.state is OrderState.REJECTED
