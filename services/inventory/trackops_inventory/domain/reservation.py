"""The reservation aggregate: what is held for one order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from trackops_inventory.domain.errors import ReservationReleased, ReservedOtherwise
from trackops_inventory.domain.events import StockReleased
from trackops_inventory.domain.stock import StockItem

__all__ = ["Reservation", "ReservationState"]


class ReservationState(StrEnum):
    """Whether the pieces are held."""

    HELD = "HELD"
    RELEASED = "RELEASED"


@dataclass(slots=True)
class Reservation:
    """What is held for one order. An order has one reservation, and RELEASED is its end."""

    order_id: UUID
    state: ReservationState
    items: tuple[StockItem, ...]
    version: int
    create_time: datetime
    update_time: datetime

    @classmethod
    def hold(cls, order_id: UUID, items: tuple[StockItem, ...], *, now: datetime) -> Reservation:
        """A new reservation; its items are to be held in the stock with it."""
        return cls(order_id, ReservationState.HELD, items, 1, now, now)

    @classmethod
    def mark_released(cls, order_id: UUID, *, now: datetime) -> Reservation:
        """The mark of a release that came before its reservation."""
        return cls(order_id, ReservationState.RELEASED, (), 1, now, now)

    @classmethod
    def rehydrate(
        cls,
        *,
        order_id: UUID,
        state: str,
        items: tuple[StockItem, ...],
        version: int,
        create_time: datetime,
        update_time: datetime,
    ) -> Reservation:
        """A reservation as it was stored, unchecked. For repositories only."""
        return cls(order_id, ReservationState(state), items, version, create_time, update_time)

    @property
    def held_items(self) -> tuple[StockItem, ...]:
        """The items that count as reserved in the stock."""
        return self.items if self.state is ReservationState.HELD else ()

    def confirm_held(self, items: tuple[StockItem, ...]) -> None:
        """Check that the order holds just these items.

        Raises:
            ReservationReleased: it was released.
            ReservedOtherwise: it holds other items.
        """
        if self.state is ReservationState.RELEASED:
            raise ReservationReleased(self.order_id)
        if self.items != items:
            raise ReservedOtherwise(self.order_id)

    def release(self, now: datetime) -> StockReleased | None:
        """The items are free again; None where nothing was held any more."""
        if self.state is ReservationState.RELEASED:
            return None
        self.state = ReservationState.RELEASED
        self.version += 1
        self.update_time = max(now, self.update_time)
        return StockReleased(self)
