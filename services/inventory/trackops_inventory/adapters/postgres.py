"""Stock and reservations in Postgres, read and written as sets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Database, Rows, Transaction
from trackops_common.request_store import PostgresRequestStore
from trackops_inventory.adapters.encoding import outbox_event
from trackops_inventory.domain.events import ReservationEvent
from trackops_inventory.domain.reservation import Reservation
from trackops_inventory.domain.stock import StockItem, StockLevel

__all__ = ["PostgresStockReader", "PostgresUnitOfWork", "PostgresUnitOfWorkFactory"]

_INSERT_STOCK = """
INSERT INTO stock (sku, on_hand, reserved)
SELECT sku, 0, 0 FROM unnest(%(skus)s::text[]) AS new(sku)
 ORDER BY sku
    ON CONFLICT (sku) DO NOTHING
RETURNING sku
"""

_SELECT_STOCK = "SELECT sku, on_hand, reserved FROM stock WHERE sku = ANY(%(skus)s::text[])"

_LOCK_STOCK = f"{_SELECT_STOCK} ORDER BY sku FOR UPDATE"

_SAVE_STOCK = """
UPDATE stock
   SET on_hand = changed.on_hand, reserved = changed.reserved
  FROM unnest(%(skus)s::text[], %(on_hands)s::bigint[], %(reserveds)s::bigint[])
       AS changed(sku, on_hand, reserved)
 WHERE stock.sku = changed.sku
"""

_INSERT_RESERVATIONS = """
INSERT INTO reservations (order_id, state, items, version, create_time, update_time)
SELECT order_id, state, items::jsonb, version, create_time, create_time
  FROM unnest(%(order_ids)s::uuid[], %(states)s::text[], %(items)s::text[],
              %(versions)s::bigint[], %(create_times)s::timestamptz[])
       AS new(order_id, state, items, version, create_time)
 ORDER BY order_id
    ON CONFLICT (order_id) DO NOTHING
RETURNING order_id
"""

_LOCK_RESERVATIONS = """
SELECT order_id, state, items, version, create_time, update_time
  FROM reservations
 WHERE order_id = ANY(%(order_ids)s::uuid[])
 ORDER BY order_id
   FOR UPDATE
"""

_SAVE_RESERVATIONS = """
UPDATE reservations
   SET state = changed.state, items = changed.items::jsonb, version = changed.version,
       update_time = changed.update_time
  FROM unnest(%(order_ids)s::uuid[], %(states)s::text[], %(items)s::text[],
              %(versions)s::bigint[], %(update_times)s::timestamptz[])
       AS changed(order_id, state, items, version, update_time)
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
        return ours | self._lock(others) if others else ours

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

    def _lock(self, order_ids: Sequence[UUID]) -> dict[UUID, Reservation]:
        rows = self._transaction.execute(_LOCK_RESERVATIONS, {"order_ids": arrays.uuids(order_ids)})
        return {row[0]: _reservation(*row) for row in rows}


class PostgresUnitOfWork:
    """One transaction on the inventory service's schema."""

    def __init__(self, transaction: Transaction, *, events_topic: str) -> None:
        self.reservations = PostgresReservationRepository(transaction)
        self.stock = PostgresStockRepository(transaction)
        self.requests = PostgresRequestStore(transaction)
        self._transaction = transaction
        self._events_topic = events_topic

    def commit(self, events: Sequence[ReservationEvent] = ()) -> None:
        self._transaction.commit(
            [outbox_event(event, topic=self._events_topic) for event in events]
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
    }


def _encode_items(items: Sequence[StockItem]) -> str:
    return json.dumps([[item.sku, item.quantity] for item in items])


def _reservation(
    order_id: UUID,
    state: str,
    items: Sequence[tuple[str, int]],
    version: int,
    create_time: Any,
    update_time: Any,
) -> Reservation:
    return Reservation.rehydrate(
        order_id=order_id,
        state=state,
        items=tuple(StockItem(*item) for item in items),
        version=version,
        create_time=create_time,
        update_time=update_time,
    )
