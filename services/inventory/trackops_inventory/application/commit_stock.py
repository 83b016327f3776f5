"""Reserved pieces leave the house."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trackops_inventory.application.change_reservations import (
    ChangeReservations,
    ItemsCommand,
    ReservationOutcome,
)
from trackops_inventory.domain.events import StockCommitted
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockLedger

__all__ = ["CommitStock", "CommitStockForOrders"]


@dataclass(frozen=True)
class CommitStock(ItemsCommand):
    """All of `items`, which one order holds, leave the house, or none."""


@dataclass(frozen=True)
class CommitStockForOrders:
    """Commits for many orders in one transaction; each command succeeds or fails alone."""

    change_reservations: ChangeReservations

    def __call__(self, commands: Sequence[CommitStock]) -> Sequence[ReservationOutcome]:
        return self.change_reservations(commands, _commit)


def _commit(
    reservation: Reservation, stock: StockLedger, command: CommitStock, now: datetime
) -> StockCommitted:
    fact = reservation.commit(command.items, now)
    stock.commit(command.items)
    return fact
