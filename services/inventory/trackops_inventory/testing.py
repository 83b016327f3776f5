"""An inventory in memory, for tests of the use cases; it passes the suite that Postgres passes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from uuid import UUID

from trackops_common.idempotency import StoredRequest
from trackops_common.testing import InMemoryRequestStore

from trackops_inventory.domain.events import ReservationEvent
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockLevel

__all__ = ["InMemoryInventory"]


@dataclass
class _Tables:
    stock: dict[str, StockLevel] = field(default_factory=dict)
    reservations: dict[UUID, Reservation] = field(default_factory=dict)
    requests: dict[UUID, StoredRequest] = field(default_factory=dict)
    events: list[ReservationEvent] = field(default_factory=list)


class InMemoryInventory:
    """A `UnitOfWorkFactory` and a `StockReader`; units of work run one after the other."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[_UnitOfWork]:
        with self._lock:
            work = _UnitOfWork(deepcopy(self._tables))
            yield work
            if work.committed:
                self._tables = work.tables

    def get(self, skus: Sequence[str]) -> Mapping[str, StockLevel]:
        return _copies(self._tables.stock, skus)

    @property
    def reservations(self) -> Mapping[UUID, Reservation]:
        """What is committed."""
        return deepcopy(self._tables.reservations)

    @property
    def events(self) -> Sequence[ReservationEvent]:
        """What left with the commits, in their order."""
        return list(self._tables.events)


class _UnitOfWork:
    def __init__(self, tables: _Tables) -> None:
        self.tables = tables
        self.committed = False
        self.stock = _Stock(tables.stock)
        self.reservations = _Reservations(tables.reservations)
        self.requests = InMemoryRequestStore(tables.requests)

    def commit(self, events: Sequence[ReservationEvent] = ()) -> None:
        self.tables.events.extend(deepcopy(list(events)))
        self.committed = True


class _Stock:
    def __init__(self, rows: dict[str, StockLevel]) -> None:
        self._rows = rows
        self._new: set[str] = set()

    def claim(self, skus: Iterable[str]) -> Mapping[str, StockLevel]:
        wanted = set(skus)
        self._new |= wanted - self._rows.keys()
        self._rows.update({sku: StockLevel(sku) for sku in wanted - self._rows.keys()})
        return _copies(self._rows, wanted)

    def lock(self, skus: Iterable[str]) -> Mapping[str, StockLevel]:
        return _copies(self._rows, skus)

    def save(self, levels: Sequence[StockLevel]) -> None:
        self._rows.update({level.sku: replace(level) for level in levels})

    def withdraw(self, skus: Iterable[str]) -> None:
        for sku in self._new.intersection(skus):
            del self._rows[sku]


class _Reservations:
    def __init__(self, rows: dict[UUID, Reservation]) -> None:
        self._rows = rows

    def claim(self, proposed: Sequence[Reservation]) -> Mapping[UUID, Reservation]:
        standing = {r.order_id: replace(self._rows.get(r.order_id, r)) for r in proposed}
        ours = {r.order_id: r for r in proposed if r.order_id not in self._rows}
        self.save(list(ours.values()))
        return standing | ours

    def save(self, reservations: Sequence[Reservation]) -> None:
        self._rows.update({r.order_id: replace(r) for r in reservations})

    def withdraw(self, order_ids: Iterable[UUID]) -> None:
        for order_id in order_ids:
            del self._rows[order_id]


def _copies(rows: Mapping[str, StockLevel], skus: Iterable[str]) -> Mapping[str, StockLevel]:
    return {sku: replace(rows[sku]) for sku in skus if sku in rows}
