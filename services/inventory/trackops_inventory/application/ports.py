"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from trackops_common.idempotency import RequestStore
from trackops_inventory.domain.events import InventoryEvent
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockLevel

__all__ = [
    "EncodeReservation",
    "EncodeStockLevel",
    "ReservationRepository",
    "StockReader",
    "StockRepository",
    "UnitOfWork",
    "UnitOfWorkFactory",
]

EncodeReservation = Callable[[Reservation], bytes]
"""A reservation as the response message that shows it, in wire form."""
EncodeStockLevel = Callable[[StockLevel], bytes]
"""A stock level as the response message that shows it, in wire form."""


class StockRepository(Protocol):
    """The stock, within one unit of work."""

    def claim(self, skus: Iterable[str]) -> Mapping[str, StockLevel]:
        """The levels of all `skus`, locked; those of unknown skus are stored as empty ones."""
        ...

    def lock(self, skus: Iterable[str]) -> Mapping[str, StockLevel]:
        """The levels of the skus that are known, locked."""
        ...

    def save(self, levels: Sequence[StockLevel]) -> None:
        """Store locked levels."""
        ...

    def withdraw(self, skus: Iterable[str]) -> None:
        """Take back those of `skus` that `claim` stored in this unit of work."""
        ...


class ReservationRepository(Protocol):
    """The reservations, within one unit of work."""

    def claim(self, proposed: Sequence[Reservation]) -> Mapping[UUID, Reservation]:
        """What stands for each order of `proposed`, and stays ours until the unit of work ends.

        That is the very object proposed, now stored, where the order had no
        reservation, and else the one it had. `proposed` has each order once.
        Another unit of work that claims one of the orders waits for us.
        """
        ...

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Reservation]:
        """The reservations that there are of these orders, ours until the unit of work ends."""
        ...

    def lock_over(self, *, limit: int) -> Sequence[Reservation]:
        """At most `limit` of those whose time is over, the longest first; ours as by `lock`.

        It never waits: those that another unit of work has are left out.
        """
        ...

    def save(self, reservations: Sequence[Reservation]) -> None:
        """Store reservations that are ours and changed since."""
        ...

    def withdraw(self, order_ids: Iterable[UUID]) -> None:
        """Take back reservations that `claim` stored in this unit of work."""
        ...


class UnitOfWork(Protocol):
    """One transaction; rolled back unless committed.

    Whoever claims reservations and locks stock does it in this order.
    """

    @property
    def reservations(self) -> ReservationRepository: ...
    @property
    def stock(self) -> StockRepository: ...
    @property
    def requests(self) -> RequestStore: ...

    def now(self) -> datetime:
        """The time by the clock that all replicas share, which decides about expiry."""
        ...

    def commit(self, events: Sequence[InventoryEvent] = (), traces: Sequence[str] = ()) -> None:
        """End the unit of work; the events leave with it, in this order.

        `traces` has the `traceparent` of each event's command, or is empty: none has one.
        """
        ...


UnitOfWorkFactory = Callable[[], AbstractContextManager[UnitOfWork]]


class StockReader(Protocol):
    """Reads committed stock."""

    def get(self, skus: Sequence[str]) -> Mapping[str, StockLevel]:
        """The levels of the skus that are known."""
        ...
