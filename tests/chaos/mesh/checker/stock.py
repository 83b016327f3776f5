"""Stock: pieces are where the orders say, at the end and at every moment before."""

from __future__ import annotations

from collections import Counter

from .facts import Facts, OrderRow, OutboxRow, Reservation, Violation, Violations

__all__ = ["reservations_match_orders", "stock_adds_up", "stock_never_below_zero"]

_FREE = {"REJECTED", "CANCELLED"}
_SIGNS = {
    # on hand, reserved
    "StockAdjusted": (1, 0),
    "StockReserved": (0, 1),
    "StockReleased": (0, -1),
    "StockCommitted": (-1, -1),
    "StockRestocked": (1, 0),
}


def stock_adds_up(facts: Facts) -> Violations:
    """On hand, and what left and did not come back, is what there was; reserved is what is held."""
    name = "stock adds up"
    away: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for order in facts.orders.values():
        for sku, line in order.lines.items():
            away[sku] += line.shipped - line.returned
    for reservation in facts.reservations.values():
        if reservation.state == "HELD":
            for sku, item in reservation.items.items():
                held[sku] += item.quantity - item.committed
    for sku, stocked in facts.stocked.items():
        found = facts.stock.get(sku, (0, 0))
        if found != (wanted := (stocked - away[sku], held[sku])):
            yield Violation(name, f"{sku}: on hand and reserved are {found}, not {wanted}")


def stock_never_below_zero(facts: Facts) -> Violations:
    """Inventory's own events, replayed: at no moment was there less than nothing to promise."""
    name = "stock never below zero"
    on_hand: Counter[str] = Counter()
    reserved: Counter[str] = Counter()
    for row in facts.outbox:
        for sku, pieces in _moved(row):
            sign_on_hand, sign_reserved = _SIGNS[row.name]
            on_hand[sku] += sign_on_hand * pieces
            reserved[sku] += sign_reserved * pieces
            if not 0 <= reserved[sku] <= on_hand[sku]:
                text = f"{sku}: {reserved[sku]} reserved of {on_hand[sku]} on hand at #{row.seq}"
                yield Violation(name, text, row.key)
    for sku, (there, promised) in facts.stock.items():
        if (there, promised) != (on_hand[sku], reserved[sku]):
            told = (on_hand[sku], reserved[sku])
            yield Violation(name, f"{sku}: the events tell of {told}, not {(there, promised)}")


def _moved(row: OutboxRow) -> list[tuple[str, int]]:
    return list(row.items.items()) if row.name in _SIGNS else []


def reservations_match_orders(facts: Facts) -> Violations:
    """What is held, gone and back of each order is what its lines say."""
    for order in facts.orders.values():
        reservation = facts.reservations.get(order.order_id)
        if problem := _problem(order, reservation):
            yield Violation("reservations match orders", problem, order.order_id)


def _problem(order: OrderRow, reservation: Reservation | None) -> str:
    if order.state in _FREE:
        gone = reservation is not None and (
            reservation.state != "RELEASED" or any(i.committed for i in reservation.items.values())
        )
        return f"{order.state}, and its reservation is {reservation}" if gone else ""
    if reservation is None:
        return f"{order.state} without a reservation"
    kept = {"CONFIRMED": {"HELD"}, "FULFILLING": {"HELD"}}.get(order.state, {"COMMITTED"})
    if reservation.state not in kept:
        return f"{order.state}, and its reservation is {reservation.state}"
    wanted = {sku: (li.quantity, li.shipped, li.returned) for sku, li in order.lines.items()}
    found = {
        sku: (item.quantity, item.committed, item.restocked)
        for sku, item in reservation.items.items()
    }
    return "" if wanted == found else f"ordered, gone, back: {wanted}; reserved {found}"
