"""Facts about reservations and stock, named in the past tense.

Each keeps what was so when it happened: its aggregate may change again before
the facts of a batch leave together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from trackops_inventory.domain.stock import StockItem

__all__ = [
    "InventoryEvent",
    "ReservationEvent",
    "StockAdjusted",
    "StockCommitted",
    "StockReleased",
    "StockReserved",
    "StockRestocked",
]


@dataclass(frozen=True, slots=True)
class _OfReservation:
    order_id: UUID
    version: int
    """The reservation's, after the event."""
    time: datetime
    items: tuple[StockItem, ...]
    """The pieces that it is about."""


@dataclass(frozen=True, slots=True)
class StockReserved(_OfReservation):
    """Every item is held for the order."""


@dataclass(frozen=True, slots=True)
class StockReleased(_OfReservation):
    """What was still held for the order is free again."""

    expired: bool = False
    """Nobody asked for it: the time of the reservation was over."""


@dataclass(frozen=True, slots=True)
class StockCommitted(_OfReservation):
    """Reserved pieces left the house."""


@dataclass(frozen=True, slots=True)
class StockRestocked(_OfReservation):
    """Pieces that had left came back."""


@dataclass(frozen=True, slots=True)
class StockAdjusted:
    """Somebody counted, bought or threw away."""

    sku: str
    version: int
    """The sku's, after the event."""
    time: datetime
    delta: int
    on_hand: int
    """Pieces in the house from now on."""


ReservationEvent = StockReserved | StockReleased | StockCommitted | StockRestocked
InventoryEvent = ReservationEvent | StockAdjusted
