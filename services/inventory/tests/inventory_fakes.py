"""An inventory in memory, and the same view of it and of the one in Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from trackops.inventory.v1 import inventory_pb2, inventory_service_pb2

from trackops_common.database import Database
from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import StoredRequest
from trackops_common.partitions import maintain_outbox, maintain_requests
from trackops_common.testing import InMemoryRequestStore, ManualClock
from trackops_inventory.adapters.encoding import encode_adjusted, encode_reservation
from trackops_inventory.adapters.postgres import PostgresStockReader, PostgresUnitOfWorkFactory
from trackops_inventory.application.adjust_stock import AdjustStock, AdjustStockLevels
from trackops_inventory.application.change_reservations import ChangeReservations
from trackops_inventory.application.commit_stock import CommitStock, CommitStockForOrders
from trackops_inventory.application.expire_reservations import ExpireReservations
from trackops_inventory.application.ports import StockReader, UnitOfWorkFactory
from trackops_inventory.application.release_stock import ReleaseStock, ReleaseStockForOrders
from trackops_inventory.application.reserve_stock import ReserveStock, ReserveStockForOrders
from trackops_inventory.application.restock_items import RestockItems, RestockItemsOfOrders
from trackops_inventory.domain.errors import InventoryError
from trackops_inventory.domain.events import InventoryEvent, StockAdjusted
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockItem, StockLevel

__all__ = [
    "THREADS",
    "InMemoryTables",
    "Inventory",
    "Outcome",
    "PostgresTables",
    "events_of",
    "order",
    "reservation",
    "stock_updates",
]

THREADS = 8
"""How many do something at once in a race."""


@dataclass
class _Tables:
    stock: dict[str, StockLevel] = field(default_factory=dict)
    reservations: dict[UUID, Reservation] = field(default_factory=dict)
    requests: dict[UUID, StoredRequest] = field(default_factory=dict)
    events: list[InventoryEvent] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)


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
        """(name, order id or sku, version) of what left with the commits, in their order."""
        ...

    def let_pass(self, seconds: int) -> None:
        """Time goes by."""
        ...


class InMemoryTables:
    """Units of work run one after the other."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._lock = threading.Lock()
        self._clock = ManualClock()

    @contextmanager
    def unit_of_work(self) -> Iterator[_UnitOfWork]:
        with self._lock:
            work = _UnitOfWork(deepcopy(self._tables), self._clock)
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
        return [(type(event).__name__, _key(event), event.version) for event in self._tables.events]

    def let_pass(self, seconds: int) -> None:
        self._clock.advance(seconds=seconds)


def _key(event: InventoryEvent) -> str:
    return event.sku if isinstance(event, StockAdjusted) else str(event.order_id)


class _UnitOfWork:
    def __init__(self, tables: _Tables, clock: ManualClock) -> None:
        self.tables = tables
        self.committed = False
        self.stock = _Stock(tables.stock)
        self.reservations = _Reservations(tables.reservations, clock)
        self.requests = InMemoryRequestStore(tables.requests)
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def commit(self, events: Sequence[InventoryEvent] = (), traces: Sequence[str] = ()) -> None:
        self.tables.events.extend(deepcopy(list(events)))
        self.tables.traces.extend(traces or [""] * len(events))
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
    def __init__(self, rows: dict[UUID, Reservation], clock: ManualClock) -> None:
        self._rows = rows
        self._clock = clock

    def claim(self, proposed: Sequence[Reservation]) -> Mapping[UUID, Reservation]:
        standing = {r.order_id: replace(self._rows.get(r.order_id, r)) for r in proposed}
        ours = {r.order_id: r for r in proposed if r.order_id not in self._rows}
        self.save(list(ours.values()))
        return standing | ours

    def lock(self, order_ids: Iterable[UUID]) -> Mapping[UUID, Reservation]:
        return {id_: replace(self._rows[id_]) for id_ in order_ids if id_ in self._rows}

    def lock_over(self, *, limit: int) -> Sequence[Reservation]:
        now = self._clock.now()
        over = [(r.expire_time, r) for r in self._rows.values() if r.expire_time is not None]
        over = [one for one in over if one[0] <= now]
        return [replace(r) for _, r in sorted(over, key=lambda one: one[0])[:limit]]

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

    def let_pass(self, seconds: int) -> None:
        """Postgres's clock cannot be moved, so everything moves into the past."""
        self._database.execute(
            "WITH locked AS (SELECT order_id FROM reservations ORDER BY order_id FOR UPDATE)"
            " UPDATE reservations SET create_time = create_time - %(time)s::interval,"
            " update_time = update_time - %(time)s::interval,"
            " expire_time = expire_time - %(time)s::interval"
            " FROM locked WHERE reservations.order_id = locked.order_id",
            {"time": f"{seconds} seconds"},
        )

    def reserved_by_orders(self) -> Mapping[str, int]:
        """Pieces of each sku that HELD reservations still hold."""
        return self._by_sku("(item->>1)::bigint - coalesce((item->>2)::bigint, 0)", "HELD")

    def away_by_orders(self) -> Mapping[str, int]:
        """Pieces of each sku that left the house and are not back."""
        away = "coalesce((item->>2)::bigint - (item->>3)::bigint, 0)"
        return self._by_sku(away, "HELD", "RELEASED", "COMMITTED")

    def _by_sku(self, pieces: str, *states: str) -> Mapping[str, int]:
        rows = self._database.fetch(
            f"SELECT item->>0, sum({pieces})::bigint FROM reservations,"
            " jsonb_array_elements(items) AS item WHERE state = ANY(%(states)s::text[])"
            f" GROUP BY 1 HAVING sum({pieces}) <> 0",
            {"states": list(states)},
        )
        return {row[0]: row[1] for row in rows}


Outcome = bytes | InventoryError | RequestIdReused


class Inventory:
    """The use cases on some tables, one command at a time or a batch.

    Every command gets a request id of its own unless it is told one.
    """

    def __init__(self, tables: Tables) -> None:
        work = tables.unit_of_work
        change_reservations = ChangeReservations(work, encode_reservation)
        self.tables = tables
        self.adjust_all = AdjustStockLevels(work, encode_adjusted)
        self.reserve_all = ReserveStockForOrders(work, encode_reservation)
        self.release_all = ReleaseStockForOrders(work, encode_reservation)
        self.commit_all = CommitStockForOrders(change_reservations)
        self.restock_all = RestockItemsOfOrders(change_reservations)
        self.expire = ExpireReservations(work)

    def adjust(self, sku: str, delta: int, *, request_id: str = "") -> Outcome:
        return self.adjust_all([AdjustStock("me", request_id or str(uuid4()), sku, delta)])[0]

    def reserve(
        self, order_id: UUID, *, request_id: str = "", expires: int = 0, **items: int
    ) -> Outcome:
        command = self.reservation(order_id, request_id=request_id, expires=expires, **items)
        return self.reserve_all([command])[0]

    def release(self, order_id: UUID, *, request_id: str = "") -> Outcome:
        return self.release_all([ReleaseStock("me", request_id or str(uuid4()), order_id)])[0]

    def commit(self, order_id: UUID, *, request_id: str = "", **items: int) -> Outcome:
        return self.commit_all([self.going(order_id, request_id=request_id, **items)])[0]

    def restock(self, order_id: UUID, *, request_id: str = "", **items: int) -> Outcome:
        return self.restock_all([self.coming(order_id, request_id=request_id, **items)])[0]

    @staticmethod
    def reservation(
        order_id: UUID, *, request_id: str = "", expires: int = 0, **items: int
    ) -> ReserveStock:
        return ReserveStock("me", request_id or str(uuid4()), order_id, _items(items), expires)

    @staticmethod
    def going(order_id: UUID, *, request_id: str = "", **items: int) -> CommitStock:
        return CommitStock("me", request_id or str(uuid4()), order_id, _items(items))

    @staticmethod
    def coming(order_id: UUID, *, request_id: str = "", **items: int) -> RestockItems:
        return RestockItems("me", request_id or str(uuid4()), order_id, _items(items))

    def level(self, sku: str) -> tuple[int, int]:
        """(on hand, reserved)"""
        level = self.tables.reader.get([sku])[sku]
        return level.on_hand, level.reserved


def _items(quantities: Mapping[str, int]) -> tuple[StockItem, ...]:
    return tuple(StockItem(sku, quantity) for sku, quantity in quantities.items())


def reservation(outcome: Outcome) -> inventory_pb2.Reservation:
    """The one that a command was answered with."""
    assert isinstance(outcome, bytes), outcome
    return inventory_service_pb2.ReserveStockResponse.FromString(outcome).reservation


def order() -> UUID:
    """A new one's id."""
    return uuid4()


def events_of(inventory: Inventory, key: UUID | str) -> Sequence[tuple[str, int]]:
    """(name, version) of what happened to an order or a sku."""
    return [(event[0], event[2]) for event in inventory.tables.events() if event[1] == str(key)]


def stock_updates(database: Database) -> int:
    """How many times a row of the stock was updated, as far as Postgres has counted."""
    rows = database.fetch(
        "SELECT pg_stat_force_next_flush(),"
        " (SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'stock')"
    )
    return int(rows[0][1])
