"""Stock and reservations in Postgres, read and written as sets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Database, Rows, Transaction
from trackops_common.request_store import PostgresRequestStore
from trackops_inventory.adapters.encoding import outbox_event
from trackops_inventory.domain.events import InventoryEvent
from trackops_inventory.domain.reservation import Reservation, ReservedItem
from trackops_inventory.domain.stock import StockLevel

__all__ = ["PostgresStockReader", "PostgresUnitOfWork", "PostgresUnitOfWorkFactory"]

_INSERT_STOCK = """
INSERT INTO stock (sku, on_hand, reserved)
SELECT sku, 0, 0 FROM unnest(%(skus)s::text[]) AS new(sku)
 ORDER BY sku
    ON CONFLICT (sku) DO NOTHING
RETURNING sku
"""

_SELECT_STOCK = """
SELECT sku, on_hand, reserved, version FROM stock WHERE sku = ANY(%(skus)s::text[])
"""

_LOCK_STOCK = f"{_SELECT_STOCK} ORDER BY sku FOR UPDATE"

_SAVE_STOCK = """
UPDATE stock
   SET on_hand = changed.on_hand, reserved = changed.reserved, version = changed.version
  FROM unnest(%(skus)s::text[], %(on_hands)s::bigint[], %(reserveds)s::bigint[],
              %(versions)s::bigint[])
       AS changed(sku, on_hand, reserved, version)
 WHERE stock.sku = changed.sku
"""

_INSERT_RESERVATIONS = """
INSERT INTO reservations
       (order_id, state, items, version, create_time, update_time, expire_time)
SELECT order_id, state, items::jsonb, version, create_time, create_time, expire_time
  FROM unnest(%(order_ids)s::uuid[], %(states)s::text[], %(items)s::text[],
              %(versions)s::bigint[], %(expire_times)s::timestamptz[],
              %(create_times)s::timestamptz[])
       AS new(order_id, state, items, version, expire_time, create_time)
 ORDER BY order_id
    ON CONFLICT (order_id) DO NOTHING
RETURNING order_id
"""

_SELECT_RESERVATIONS = """
SELECT order_id, state, items, version, create_time, update_time, expire_time
  FROM reservations
"""

_LOCK_RESERVATIONS = f"""{_SELECT_RESERVATIONS}
 WHERE order_id = ANY(%(order_ids)s::uuid[])
 ORDER BY order_id
   FOR UPDATE
"""

# The time is that of the transaction's begin, which an index can be asked with.
_LOCK_OVER = f"""{_SELECT_RESERVATIONS}
 WHERE expire_time <= now()
 ORDER BY expire_time
 LIMIT %(limit)s
   FOR UPDATE SKIP LOCKED
"""

_SAVE_RESERVATIONS = """
UPDATE reservations
   SET state = changed.state, items = changed.items::jsonb, version = changed.version,
       expire_time = changed.expire_time, update_time = changed.update_time
  FROM unnest(%(order_ids)s::uuid[], %(states)s::text[], %(items)s::text[],
              %(versions)s::bigint[], %(expire_times)s::timestamptz[],
              %(update_times)s::timestamptz[])
       AS changed(order_id, state, items, version, expire_time, update_time)
 WHERE reservations.order_id = changed.order_id
"""


class PostgresStockRepository:
    """A `StockRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._new: set[str] = set()

    def claim(self, skus: Iterable[str]) -> Mapping[str, StockLevel]:
        bound = {"skus": arrays.texts(skus)}
        self._new |= {row[0] for row in self._transaction.execute(_INSERT_STOCK, bound)}
        return _levels(self._transaction.execute(_LOCK_STOCK, bound))

    def lock(self, skus: Iterable[str]) -> Mapping[str, StockLevel]:
        wanted = list(skus)
        if not wanted:
            return {}
        return _levels(self._transaction.execute(_LOCK_STOCK, {"skus": arrays.texts(wanted)}))

    def save(self, levels: Sequence[StockLevel]) -> None:
        if not levels:
            return
        self._transaction.execute(
            _SAVE_STOCK,
            {
                "skus": arrays.texts(level.sku for level in levels),
                "on_hands": arrays.integers(level.on_hand for level in levels),
                "reserveds": arrays.integers(level.reserved for level in levels),
                "versions": arrays.integers(level.version for level in levels),
            },
        )

    def withdraw(self, skus: Iterable[str]) -> None:
        if unwanted := self._new.intersection(skus):
            self._transaction.execute(
                "DELETE FROM stock WHERE sku = ANY(%(skus)s::text[])",
                {"skus": arrays.texts(unwanted)},
            )


class PostgresReservationRepository:
    """A `ReservationRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def claim(self, proposed: Sequence[Reservation]) -> Mapping[UUID, Reservation]:
        rows = self._transaction.execute(
            _INSERT_RESERVATIONS,
            {
                **_state_columns(proposed),
                "create_times": arrays.timestamps(r.create_time for r in proposed),
            },
        )
        new = {row[0] for row in rows}
        ours = {r.order_id: r for r in proposed if r.order_id in new}
        others = [r.order_id for r in proposed if r.order_id not in new]
        return ours | self.lock(others)

    def lock(self, order_ids: Iterable[UUID]) -> dict[UUID, Reservation]:
        wanted = list(order_ids)
        if not wanted:
            return {}
        rows = self._transaction.execute(_LOCK_RESERVATIONS, {"order_ids": arrays.uuids(wanted)})
        return {row[0]: _reservation(*row) for row in rows}

    def lock_over(self, *, limit: int) -> Sequence[Reservation]:
        rows = self._transaction.execute(_LOCK_OVER, {"limit": limit})
        return [_reservation(*row) for row in rows]

    def save(self, reservations: Sequence[Reservation]) -> None:
        if not reservations:
            return
        self._transaction.execute(
            _SAVE_RESERVATIONS,
            {
                **_state_columns(reservations),
                "update_times": arrays.timestamps(r.update_time for r in reservations),
            },
        )

    def withdraw(self, order_ids: Iterable[UUID]) -> None:
        if unwanted := list(order_ids):
            self._transaction.execute(
                "DELETE FROM reservations WHERE order_id = ANY(%(order_ids)s::uuid[])",
                {"order_ids": arrays.uuids(unwanted)},
            )


class PostgresUnitOfWork:
    """One transaction on the inventory service's schema."""

    def __init__(self, transaction: Transaction, *, events_topic: str) -> None:
        self.reservations = PostgresReservationRepository(transaction)
        self.stock = PostgresStockRepository(transaction)
        self.requests = PostgresRequestStore(transaction)
        self._transaction = transaction
        self._events_topic = events_topic

    def now(self) -> datetime:
        time: datetime = self._transaction.execute("SELECT clock_timestamp()")[0][0]
        return time

    def commit(self, events: Sequence[InventoryEvent] = (), traces: Sequence[str] = ()) -> None:
        self._transaction.commit(
            [
                outbox_event(event, topic=self._events_topic, traceparent=trace)
                for event, trace in zip(events, traces or [""] * len(events), strict=True)
            ]
        )


class PostgresUnitOfWorkFactory:
    """Opens units of work on `database`; events go to `events_topic`."""

    def __init__(self, database: Database, *, events_topic: str) -> None:
        self._database = database
        self._events_topic = events_topic

    @contextmanager
    def __call__(self) -> Iterator[PostgresUnitOfWork]:
        with self._database.transaction() as transaction:
            yield PostgresUnitOfWork(transaction, events_topic=self._events_topic)


class PostgresStockReader:
    """A `StockReader` on committed rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, skus: Sequence[str]) -> Mapping[str, StockLevel]:
        return _levels(self._database.fetch(_SELECT_STOCK, {"skus": arrays.texts(skus)}))


def _levels(rows: Rows) -> Mapping[str, StockLevel]:
    return {row[0]: StockLevel(*row) for row in rows}


def _state_columns(reservations: Sequence[Reservation]) -> Mapping[str, Any]:
    return {
        "order_ids": arrays.uuids(r.order_id for r in reservations),
        "states": arrays.texts(r.state for r in reservations),
        "items": arrays.texts(_encode_items(r.items) for r in reservations),
        "versions": arrays.integers(r.version for r in reservations),
        "expire_times": arrays.timestamps(r.expire_time for r in reservations),
    }


def _encode_items(items: Sequence[ReservedItem]) -> str:
    return json.dumps([_encode_item(item) for item in items])


def _encode_item(item: ReservedItem) -> list[str | int]:
    """What never left the house, which is most, says so by being short."""
    moved = [item.committed, item.restocked] if item.committed else []
    return [item.sku, item.quantity, *moved]


def _reservation(
    order_id: UUID,
    state: str,
    items: Sequence[tuple[str, int]],
    version: int,
    create_time: datetime,
    update_time: datetime,
    expire_time: datetime | None,
) -> Reservation:
    return Reservation.rehydrate(
        order_id=order_id,
        state=state,
        items=tuple(ReservedItem(*item) for item in items),
        version=version,
        create_time=create_time,
        update_time=update_time,
        expire_time=expire_time,
    )
