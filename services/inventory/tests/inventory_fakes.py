"""An inventory in memory, and the same view of it and of the one in Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID, uuid4

from trackops_common.database import Database
from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import StoredRequest
from trackops_common.partitions import maintain_outbox, maintain_requests
from trackops_common.testing import InMemoryRequestStore, ManualClock
from trackops_inventory.adapters.encoding import encode_adjusted, encode_reservation
from trackops_inventory.adapters.postgres import PostgresStockReader, PostgresUnitOfWorkFactory
from trackops_inventory.application.adjust_stock import AdjustStock, AdjustStockLevels
from trackops_inventory.application.ports import StockReader, UnitOfWorkFactory
from trackops_inventory.application.release_stock import ReleaseStock, ReleaseStockForOrders
from trackops_inventory.application.reserve_stock import ReserveStock, ReserveStockForOrders
from trackops_inventory.domain.errors import InventoryError
from trackops_inventory.domain.events import ReservationEvent
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockItem, StockLevel

__all__ = ["InMemoryTables", "Inventory", "Outcome", "PostgresTables"]


@dataclass
class _Tables:
    stock: dict[str, StockLevel] = field(default_factory=dict)
    reservations: dict[UUID, Reservation] = field(default_factory=dict)
    requests: dict[UUID, StoredRequest] = field(default_factory=dict)
    events: list[ReservationEvent] = field(default_factory=list)


class Tables(Protocol):
    """Where an inventory keeps everything, and what tests look at there."""

    @property
    def unit_of_work(self) -> UnitOfWorkFactory: ...
    @property
    def reader(self) -> StockReader: ...

    def count(self) -> Mapping[str, int]:
        """Rows of each table."""
        ...

    def events(self) -> Sequence[tuple[str, str, int]]:
        """(name, order id, version) of what left with the commits, in their order."""
        ...


class InMemoryTables:
    """Units of work run one after the other."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._lock = threading.Lock()

    @contextmanager
    def unit_of_work(self) -> Iterator[_UnitOfWork]:
        with self._lock:
            work = _UnitOfWork(deepcopy(self._tables))
            yield work
            if work.committed:
                self._tables = work.tables

    @property
    def reader(self) -> InMemoryTables:
        return self

    def get(self, skus: Sequence[str]) -> Mapping[str, StockLevel]:
        return _copies(self._tables.stock, skus)

    def count(self) -> Mapping[str, int]:
        return {
            "stock": len(self._tables.stock),
            "reservations": len(self._tables.reservations),
            "requests": len(self._tables.requests),
            "outbox": len(self._tables.events),
        }

    def events(self) -> Sequence[tuple[str, str, int]]:
        return [
            (type(event).__name__, str(event.reservation.order_id), event.reservation.version)
            for event in self._tables.events
        ]


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


class PostgresTables:
    """The service's own schema."""

    def __init__(self, database: Database) -> None:
        maintain_outbox(database)
        maintain_requests(database)
        self._database = database
        self.unit_of_work = PostgresUnitOfWorkFactory(database, events_topic="events")
        self.reader = PostgresStockReader(database)

    def count(self) -> Mapping[str, int]:
        return {
            table: self._database.fetch(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("stock", "reservations", "requests", "outbox")
        }

    def events(self) -> Sequence[tuple[str, str, int]]:
        rows = self._database.fetch("SELECT type, key, aggregate_version FROM outbox ORDER BY seq")
        return [(row[0].rpartition(".")[2], row[1], row[2]) for row in rows]

    def reserved_by_orders(self) -> Mapping[str, int]:
        """Pieces of each sku that HELD reservations name."""
        rows = self._database.fetch(
            "SELECT item->>0, sum((item->>1)::bigint)::bigint FROM reservations,"
            " jsonb_array_elements(items) AS item WHERE state = 'HELD' GROUP BY 1"
        )
        return {row[0]: row[1] for row in rows}


Outcome = bytes | InventoryError | RequestIdReused


class Inventory:
    """The use cases on some tables, one command at a time or a batch.

    Every command gets a request id of its own unless it is told one.
    """

    def __init__(self, tables: Tables) -> None:
        clock = ManualClock()
        self.tables = tables
        self.clock = clock
        self.adjust_all = AdjustStockLevels(tables.unit_of_work, encode_adjusted)
        self.reserve_all = ReserveStockForOrders(tables.unit_of_work, encode_reservation, clock)
        self.release_all = ReleaseStockForOrders(tables.unit_of_work, encode_reservation, clock)

    def adjust(self, sku: str, delta: int, *, request_id: str = "") -> Outcome:
        return self.adjust_all([AdjustStock("me", request_id or str(uuid4()), sku, delta)])[0]

    def reserve(self, order_id: UUID, *, request_id: str = "", **items: int) -> Outcome:
        return self.reserve_all([self.reservation(order_id, request_id=request_id, **items)])[0]

    def release(self, order_id: UUID, *, request_id: str = "") -> Outcome:
        return self.release_all([ReleaseStock("me", request_id or str(uuid4()), order_id)])[0]

    @staticmethod
    def reservation(order_id: UUID, *, request_id: str = "", **items: int) -> ReserveStock:
        wanted = tuple(StockItem(sku, quantity) for sku, quantity in items.items())
        return ReserveStock("me", request_id or str(uuid4()), order_id, wanted)

    def level(self, sku: str) -> tuple[int, int]:
        """(on hand, reserved)"""
        level = self.tables.reader.get([sku])[sku]
        return level.on_hand, level.reserved
