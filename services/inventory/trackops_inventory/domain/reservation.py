"""The reservation aggregate: what is held for one order, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from trackops_inventory.domain.errors import (
    ReservationReleased,
    ReservedOtherwise,
    TooManyPieces,
)
from trackops_inventory.domain.events import (
    StockCommitted,
    StockReleased,
    StockReserved,
    StockRestocked,
)
from trackops_inventory.domain.stock import StockItem, require_distinct

__all__ = ["Reservation", "ReservationState", "ReservedItem"]


class ReservationState(StrEnum):
    """Whether pieces are held; of the three, only HELD is no end."""

    HELD = "HELD"
    RELEASED = "RELEASED"
    COMMITTED = "COMMITTED"


@dataclass(frozen=True, slots=True)
class ReservedItem:
    """So much of one sku; `0 <= restocked <= committed <= quantity`."""

    sku: str
    quantity: int
    """Pieces reserved in the beginning."""
    committed: int = 0
    """Of them, those that left the house."""
    restocked: int = 0
    """Of the latter, those that came back."""

    @property
    def uncommitted(self) -> int:
        return self.quantity - self.committed

    @property
    def away(self) -> int:
        """Pieces that left and are not back."""
        return self.committed - self.restocked


@dataclass(slots=True)
class Reservation:
    """What is held for one order. An order has one reservation.

    HELD until every piece left (COMMITTED) or what was left of it was freed
    (RELEASED). Pieces that left may come back in any state.
    """

    order_id: UUID
    state: ReservationState
    items: tuple[ReservedItem, ...]
    version: int
    create_time: datetime
    update_time: datetime
    expire_time: datetime | None = None
    """When what is still held is released by itself; None where it never is."""

    @classmethod
    def hold(
        cls,
        order_id: UUID,
        items: Sequence[StockItem],
        *,
        now: datetime,
        expire_after_seconds: int = 0,
    ) -> Reservation:
        """A new reservation, for ever where `expire_after_seconds` is 0.

        Its items are to be held in the stock with it.
        """
        end = now + timedelta(seconds=expire_after_seconds) if expire_after_seconds else None
        reserved = tuple(ReservedItem(item.sku, item.quantity) for item in items)
        return cls(order_id, ReservationState.HELD, reserved, 1, now, now, end)

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
        items: tuple[ReservedItem, ...],
        version: int,
        create_time: datetime,
        update_time: datetime,
        expire_time: datetime | None,
    ) -> Reservation:
        """A reservation as it was stored, unchecked. For repositories only."""
        return cls(
            order_id,
            ReservationState(state),
            items,
            version,
            create_time,
            update_time,
            expire_time,
        )

    @property
    def held_items(self) -> tuple[StockItem, ...]:
        """The pieces that count as reserved in the stock."""
        if self.state is not ReservationState.HELD:
            return ()
        return tuple(StockItem(i.sku, i.uncommitted) for i in self.items if i.uncommitted)

    def reserved(self) -> StockReserved:
        """The fact of a new reservation."""
        return StockReserved(self.order_id, self.version, self.update_time, self.held_items)

    def confirm_held(self, items: Sequence[StockItem], now: datetime) -> None:
        """Check that the order has a reservation of just these items, which is not at its end.

        Raises:
            ReservationReleased: it was released, or its time is over.
            ReservedOtherwise: it is one of other items, or every piece left the house.
        """
        self._refuse_released(now)
        same = [(i.sku, i.quantity) for i in self.items] == [(i.sku, i.quantity) for i in items]
        if not same or self.state is not ReservationState.HELD:
            raise ReservedOtherwise(self.order_id, state=self.state)

    def commit(self, items: Sequence[StockItem], now: datetime) -> StockCommitted:
        """Held pieces leave the house; all of `items`, or none.

        Raises:
            InvalidReservation: a sku stands in two items.
            ReservationReleased: it was released, or its time is over.
            TooManyPieces: fewer are held.
        """
        require_distinct(items)
        self._refuse_released(now)
        wanted = self._wanted(items, {i.sku: i.uncommitted for i in self.items})
        self.items = tuple(
            replace(i, committed=i.committed + wanted.get(i.sku, 0)) for i in self.items
        )
        if not any(i.uncommitted for i in self.items):
            self._end(ReservationState.COMMITTED)
        self._touch(now)
        return StockCommitted(self.order_id, self.version, self.update_time, tuple(items))

    def restock(self, items: Sequence[StockItem], now: datetime) -> StockRestocked:
        """Pieces that left come back; all of `items`, or none.

        Raises:
            InvalidReservation: a sku stands in two items.
            TooManyPieces: fewer left and are not back.
        """
        require_distinct(items)
        wanted = self._wanted(items, {i.sku: i.away for i in self.items})
        self.items = tuple(
            replace(i, restocked=i.restocked + wanted.get(i.sku, 0)) for i in self.items
        )
        self._touch(now)
        return StockRestocked(self.order_id, self.version, self.update_time, tuple(items))

    def release(self, now: datetime) -> StockReleased | None:
        """What is still held is free again; None where nothing was held any more."""
        return self._release(now, expired=False)

    def expire(self, now: datetime) -> StockReleased | None:
        """What is still held is free again if the time is over; None where it is not."""
        return self._release(now, expired=True) if self._is_over(now) else None

    def _release(self, now: datetime, *, expired: bool) -> StockReleased | None:
        freed = self.held_items
        if not freed:
            return None
        self._end(ReservationState.RELEASED)
        self._touch(now)
        return StockReleased(self.order_id, self.version, self.update_time, freed, expired)

    def _is_over(self, now: datetime) -> bool:
        return self.expire_time is not None and self.expire_time <= now

    def _refuse_released(self, now: datetime) -> None:
        """One whose time is over counts as released also before anybody has written that down."""
        if self.state is ReservationState.RELEASED or self._is_over(now):
            raise ReservationReleased(self.order_id)

    def _wanted(self, items: Sequence[StockItem], available: dict[str, int]) -> dict[str, int]:
        """Pieces by sku, checked against what there is."""
        for item in items:
            there = available.get(item.sku, 0)
            if item.quantity > there:
                raise TooManyPieces(
                    self.order_id, item.sku, requested=item.quantity, available=there
                )
        return {item.sku: item.quantity for item in items}

    def _end(self, state: ReservationState) -> None:
        self.state = state
        self.expire_time = None

    def _touch(self, now: datetime) -> None:
        self.version += 1
        self.update_time = max(now, self.update_time)
