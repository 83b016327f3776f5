from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import pytest

from trackops_order.domain.details import OrderDetails
from trackops_order.domain.errors import ForbiddenTransition, InvalidOrder, TooManyPieces
from trackops_order.domain.events import (
    OrderCancelled,
    OrderEvent,
    OrderPlaced,
    OrderReturned,
    OrderShipped,
)
from trackops_order.domain.goods import OrderLine, Pieces, ReturnedLine, Shipment
from trackops_order.domain.order import Order, Rejection
from trackops_order.domain.states import TRANSITIONS, OrderState
from trackops_order.testing import placed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
REJECTION = Rejection("PAYMENT_DECLINED", "the card was declined")

Change = Callable[[Order, datetime], OrderEvent]


def _rest(order: Order, left: Callable[[OrderLine], int]) -> list[Pieces]:
    """All that is left, or everything where nothing is."""
    rest = [Pieces(line.sku, left(line)) for line in order.lines if left(line)]
    return rest or [Pieces(line.sku, line.quantity) for line in order.lines]


def _ship(order: Order, pieces: Sequence[Pieces], now: datetime = NOW) -> OrderShipped:
    return order.ship(Shipment(uuid.uuid4(), "UPS", "1Z", pieces), now)


def _take_back(order: Order, pieces: Sequence[Pieces], now: datetime = NOW) -> OrderReturned:
    return order.take_back(uuid.uuid4(), pieces, reason="broken", now=now)


ONE = [Pieces("TEA-1", 1)]
CHANGES: dict[OrderState, Change] = {
    OrderState.CONFIRMED: lambda order, now: order.confirm(now),
    OrderState.REJECTED: lambda order, now: order.close(REJECTION, now),
    OrderState.CANCELLING: lambda order, now: order.cancel("a change of mind", now),
    OrderState.FULFILLING: lambda order, now: _ship(order, ONE, now),
    OrderState.SHIPPED: lambda order, now: _ship(order, _rest(order, lambda x: x.to_ship), now),
    OrderState.DELIVERED: lambda order, now: order.deliver(now),
    OrderState.PARTIALLY_RETURNED: lambda order, now: _take_back(order, ONE, now),
    OrderState.RETURNED: lambda order, now: _take_back(
        order, _rest(order, lambda line: line.to_return), now
    ),
}
"""What takes an order into each state."""

PATHS: dict[OrderState, Sequence[OrderState]] = {
    OrderState.PENDING: [],
    OrderState.CONFIRMED: [OrderState.CONFIRMED],
    OrderState.REJECTED: [OrderState.REJECTED],
    OrderState.CANCELLING: [OrderState.CANCELLING],
    OrderState.FULFILLING: [OrderState.CONFIRMED, OrderState.FULFILLING],
    OrderState.SHIPPED: [OrderState.CONFIRMED, OrderState.SHIPPED],
    OrderState.DELIVERED: [OrderState.CONFIRMED, OrderState.SHIPPED, OrderState.DELIVERED],
    OrderState.PARTIALLY_RETURNED: [
        OrderState.CONFIRMED,
        OrderState.SHIPPED,
        OrderState.PARTIALLY_RETURNED,
    ],
    OrderState.RETURNED: [OrderState.CONFIRMED, OrderState.SHIPPED, OrderState.RETURNED],
}
"""How each state is reached."""

CANCELLED_BY_CLOSING = (OrderState.CANCELLING, OrderState.REJECTED)
"""No transition of its own: to close an order that is being cancelled is to cancel it."""

ASKED = {
    OrderState.FULFILLING: OrderState.SHIPPED,
    OrderState.PARTIALLY_RETURNED: OrderState.RETURNED,
}
"""What a refusal names, since a part is refused in the states where all is."""

EDGES = [edge for edge in product(PATHS, CHANGES) if edge != CANCELLED_BY_CLOSING]
ALLOWED = [(frm, to) for frm, to in EDGES if to in TRANSITIONS[frm]]
FORBIDDEN = [(frm, to) for frm, to in EDGES if to not in TRANSITIONS[frm]]


def _order_in(state: OrderState) -> Order:
    order = placed(now=NOW, lines=[OrderLine("TEA-1", 3, 350), OrderLine("CUP-1", 1, 1200)]).order
    for step in PATHS[state]:
        CHANGES[step](order, NOW)
    return order


def test_the_state_machine_is_the_one_in_the_contract() -> None:
    assert {frm.value: " ".join(sorted(to)) for frm, to in TRANSITIONS.items()} == {
        "PENDING": "CANCELLING CONFIRMED REJECTED",
        "CONFIRMED": "CANCELLING FULFILLING SHIPPED",
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
    assert event.order == order
    assert event.order is not order


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
        ASKED.get(to, to),
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


def test_an_order_that_is_being_cancelled_ends_cancelled_and_not_rejected() -> None:
    order = _order_in(OrderState.CANCELLING)

    fact = order.close(REJECTION, LATER)

    assert isinstance(fact, OrderCancelled)
    assert (order.state, order.rejection, order.version) == (OrderState.CANCELLED, None, 3)
    with pytest.raises(ForbiddenTransition):
        order.close(REJECTION, LATER)


def test_a_part_and_then_the_rest_are_shipped() -> None:
    order = _order_in(OrderState.CONFIRMED)

    first = _ship(order, [Pieces("TEA-1", 2)])
    second = _ship(order, [Pieces("TEA-1", 1)])
    third = _ship(order, [Pieces("CUP-1", 1)])

    states = [event.order.state for event in (first, second, third)]
    assert states == [OrderState.FULFILLING, OrderState.FULFILLING, OrderState.SHIPPED]
    assert [event.order.lines[0].shipped_quantity for event in (first, second)] == [2, 3]
    assert [event.order.version for event in (first, second, third)] == [3, 4, 5]


@pytest.mark.parametrize(
    ("pieces", "sku", "requested", "available"),
    [
        ([Pieces("CUP-1", 1), Pieces("TEA-1", 4)], "TEA-1", 4, 3),
        ([Pieces("POT-1", 1)], "POT-1", 1, 0),
    ],
)
def test_more_than_is_left_to_ship_is_refused_and_changes_nothing(
    pieces: list[Pieces], sku: str, requested: int, available: int
) -> None:
    order = _order_in(OrderState.CONFIRMED)
    before = replace(order)

    with pytest.raises(TooManyPieces) as refused:
        _ship(order, pieces)

    error = refused.value
    assert (error.order_id, error.sku) == (order.order_id, sku)
    assert (error.requested, error.available) == (requested, available)
    assert order == before


def test_more_than_is_not_yet_returned_is_refused_and_changes_nothing() -> None:
    order = _order_in(OrderState.SHIPPED)
    _take_back(order, [Pieces("TEA-1", 2)])
    before = replace(order)

    with pytest.raises(TooManyPieces, match="has 1 of TEA-1 left, not 2"):
        _take_back(order, [Pieces("TEA-1", 2)])

    assert order == before


@pytest.mark.parametrize(
    "pieces", [[], [Pieces("TEA-1", 0)], [Pieces("TEA-1", -1)], [Pieces("TEA-1", 1)] * 2], ids=repr
)
def test_pieces_that_make_no_shipment_and_no_return_are_refused(pieces: list[Pieces]) -> None:
    with pytest.raises(InvalidOrder) as unshipped:
        _ship(_order_in(OrderState.CONFIRMED), pieces)
    with pytest.raises(InvalidOrder) as unreturned:
        _take_back(_order_in(OrderState.SHIPPED), pieces)

    assert unshipped.value.field == unreturned.value.field == "lines"


def test_each_piece_is_refunded_at_its_price_in_the_order_of_the_lines() -> None:
    order = _order_in(OrderState.DELIVERED)

    fact = _take_back(order, [Pieces("CUP-1", 1), Pieces("TEA-1", 2)])

    assert fact.goods_return.lines == [
        ReturnedLine("TEA-1", 2, 700),
        ReturnedLine("CUP-1", 1, 1200),
    ]
    assert fact.goods_return.refund_minor == order.refunded_minor == 1900


@pytest.mark.parametrize("parts", list(permutations(["TEA-1", "TEA-1", "TEA-1", "CUP-1"])), ids=str)
def test_the_refunds_come_to_the_total_in_whatever_order(parts: Sequence[str]) -> None:
    order = _order_in(OrderState.DELIVERED)

    facts = [_take_back(order, [Pieces(sku, 1)]) for sku in parts]

    assert sum(fact.goods_return.refund_minor for fact in facts) == order.total_minor
    assert (order.state, order.refunded_minor) == (OrderState.RETURNED, order.total_minor)


@pytest.mark.parametrize("state", [OrderState.REJECTED, OrderState.CANCELLING])
def test_a_stored_order_comes_back_as_it_was(state: OrderState) -> None:
    order = _order_in(state)
    order.details = OrderDetails(note="ring twice")

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
        cancellation_reason=order.cancellation_reason,
        details=order.details,
    )

    assert again == order
    assert again.state is state


@pytest.mark.parametrize("frm", [OrderState.PENDING, OrderState.CONFIRMED])
def test_a_cancelled_order_says_from_where_and_why_until_its_end(frm: OrderState) -> None:
    order = _order_in(frm)

    fact = order.cancel("too slow", LATER)
    order.close(REJECTION, LATER)

    assert (fact.from_state, fact.reason) == (frm, "too slow")
    assert (order.state, order.cancellation_reason) == (OrderState.CANCELLED, "too slow")


def test_a_shipment_costs_what_its_pieces_cost() -> None:
    order = _order_in(OrderState.CONFIRMED)

    facts = [
        _ship(order, pieces)
        for pieces in ([Pieces("CUP-1", 1), Pieces("TEA-1", 1)], [Pieces("TEA-1", 2)])
    ]

    assert [fact.amount_minor for fact in facts] == [1550, 700]
    assert order.total_minor == 2250


def test_an_order_that_is_closed_short_keeps_its_total_and_says_what_stays() -> None:
    order = _order_in(OrderState.FULFILLING)

    fact = order.close_short("sold out", LATER)

    assert (order.state, order.version, order.update_time) == (OrderState.SHIPPED, 4, LATER)
    assert list(fact.pieces) == [Pieces("TEA-1", 2), Pieces("CUP-1", 1)]
    assert (fact.reason, fact.order) == ("sold out", order)
    assert order.total_minor == 2250


def test_of_an_order_that_was_closed_short_what_was_shipped_comes_back_and_no_more() -> None:
    order = placed(now=NOW, lines=[OrderLine("TEA-1", 3, 350), OrderLine("CUP-1", 1, 1200)]).order
    order.confirm(NOW)
    _ship(order, [Pieces("TEA-1", 2)])
    order.close_short("sold out", NOW)

    for sku, requested, available in (("TEA-1", 3, 2), ("CUP-1", 1, 0)):
        with pytest.raises(TooManyPieces) as refused:
            _take_back(order, [Pieces(sku, requested)])
        assert refused.value.available == available
    first, second = (_take_back(order, [Pieces("TEA-1", 1)]) for _ in range(2))

    assert first.order.state is OrderState.PARTIALLY_RETURNED
    assert second.order.state is OrderState.RETURNED
    assert order.refunded_minor == 700


@pytest.mark.parametrize("state", sorted(set(PATHS) - {OrderState.FULFILLING}))
def test_only_an_order_of_which_a_part_is_shipped_is_closed_short(state: OrderState) -> None:
    order = _order_in(state)
    before = replace(order)

    with pytest.raises(ForbiddenTransition) as refused:
        order.close_short("sold out", LATER)

    assert (refused.value.frm, refused.value.to) == (state, OrderState.SHIPPED)
    assert order == before
