"""Facts about reservations, named in the past tense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackops_inventory.domain.reservation import Reservation

__all__ = ["ReservationEvent", "StockReleased", "StockReserved"]


@dataclass(frozen=True, slots=True)
class StockReserved:
    """Every item is held for the order."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class StockReleased:
    """What was held for the order is free again."""

    reservation: Reservation


ReservationEvent = StockReserved | StockReleased
