"""The state machine of an order, as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

__all__ = ["FINAL_STATES", "TRANSITIONS", "OrderState"]


class OrderState(StrEnum):
    """Where an order stands in its lifecycle."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    REJECTED = "REJECTED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    FULFILLING = "FULFILLING"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    PARTIALLY_RETURNED = "PARTIALLY_RETURNED"
    RETURNED = "RETURNED"


TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.PENDING: frozenset(
        {OrderState.CONFIRMED, OrderState.REJECTED, OrderState.CANCELLING}
    ),
    OrderState.CONFIRMED: frozenset(
        {OrderState.CANCELLING, OrderState.FULFILLING, OrderState.SHIPPED}
    ),
    OrderState.REJECTED: frozenset(),
    OrderState.CANCELLING: frozenset({OrderState.CANCELLED}),
    OrderState.CANCELLED: frozenset(),
    OrderState.FULFILLING: frozenset({OrderState.FULFILLING, OrderState.SHIPPED}),
    OrderState.SHIPPED: frozenset(
        {OrderState.DELIVERED, OrderState.PARTIALLY_RETURNED, OrderState.RETURNED}
    ),
    OrderState.DELIVERED: frozenset({OrderState.PARTIALLY_RETURNED, OrderState.RETURNED}),
    OrderState.PARTIALLY_RETURNED: frozenset({OrderState.PARTIALLY_RETURNED, OrderState.RETURNED}),
    OrderState.RETURNED: frozenset(),
}
"""The state machine, once: from each state, the states that may follow.

One change is one version, one entry of the timeline and one event. So a
shipment of everything goes straight to SHIPPED, and one more part of many
enters FULFILLING again; returns are alike. An order of which only a part is
shipped also becomes SHIPPED when an operator decides that the rest stays.
"""

FINAL_STATES = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""Nothing follows any of these."""
