"""Pieces that left the house come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trackops_inventory.application.change_reservations import (
    ChangeReservations,
    ItemsCommand,
    ReservationOutcome,
)
from trackops_inventory.domain.events import StockRestocked
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockLedger

__all__ = ["RestockItems", "RestockItemsOfOrders"]


@dataclass(frozen=True)
class RestockItems(ItemsCommand):
    """All of `items`, which left for one order, come back, or none."""


@dataclass(frozen=True)
class RestockItemsOfOrders:
    """Restocks for many orders in one transaction; each command succeeds or fails alone."""

    change_reservations: ChangeReservations

    def __call__(self, commands: Sequence[RestockItems]) -> Sequence[ReservationOutcome]:
        return self.change_reservations(commands, _restock)


def _restock(
    reservation: Reservation, stock: StockLedger, command: RestockItems, now: datetime
) -> StockRestocked:
    fact = reservation.restock(command.items, now)
    stock.restock(command.items)
    return fact
