"""The movements of payments in Postgres, read and written as sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trackops_common import arrays
from trackops_common.database import Transaction
from trackops_payment.domain.movement import Movement, MovementKey, MovementKind, MovementState

__all__ = ["MOVEMENT_COLUMNS", "PostgresMovementRepository", "movement_of"]

MOVEMENT_COLUMNS = """
       movement.order_id, movement.kind, movement.movement_id, movement.state,
       movement.amount_minor, movement.provider_id, movement.decline_code, movement.create_time,
       movement.update_time"""
"""What `movement_of` takes, of a table called `movement`."""

_KEYS = """unnest(%(order_ids)s::uuid[], %(kinds)s::text[], %(movement_ids)s::uuid[])
       AS wanted(order_id, kind, movement_id)"""

_FIND = f"""
SELECT {MOVEMENT_COLUMNS}
  FROM payment_movements AS movement
  JOIN {_KEYS} USING (order_id, kind, movement_id)
"""  # noqa: S608 - of constants alone

_ADD = """
INSERT INTO payment_movements (order_id, kind, movement_id, state, amount_minor, create_time,
                               update_time)
SELECT order_id, kind, movement_id, state, amount_minor, create_time, create_time
  FROM unnest(%(order_ids)s::uuid[], %(kinds)s::text[], %(movement_ids)s::uuid[],
              %(states)s::text[], %(amounts)s::bigint[], %(create_times)s::timestamptz[])
       AS new(order_id, kind, movement_id, state, amount_minor, create_time)
"""

_SAVE = """
UPDATE payment_movements AS movement
   SET state = changed.state, provider_id = changed.provider_id,
       decline_code = changed.decline_code, update_time = changed.update_time
  FROM unnest(%(order_ids)s::uuid[], %(kinds)s::text[], %(movement_ids)s::uuid[],
              %(states)s::text[], %(provider_ids)s::text[], %(decline_codes)s::text[],
              %(update_times)s::timestamptz[])
       AS changed(order_id, kind, movement_id, state, provider_id, decline_code, update_time)
 WHERE movement.order_id = changed.order_id AND movement.kind = changed.kind
   AND movement.movement_id = changed.movement_id
"""


class PostgresMovementRepository:
    """A `MovementRepository` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def find(self, keys: Iterable[MovementKey]) -> Mapping[MovementKey, Movement]:
        if not (wanted := list(keys)):
            return {}
        found = [movement_of(*row) for row in self._transaction.execute(_FIND, _keys(wanted))]
        return {movement.key: movement for movement in found}

    def add(self, movements: Sequence[Movement]) -> None:
        if not movements:
            return
        columns = {
            "states": arrays.texts(m.state for m in movements),
            "amounts": arrays.integers(m.amount_minor for m in movements),
            "create_times": arrays.timestamps(m.create_time for m in movements),
        }
        self._transaction.execute(_ADD, _keys([m.key for m in movements]) | columns)

    def save(self, movements: Sequence[Movement]) -> None:
        if not movements:
            return
        columns = {
            "states": arrays.texts(m.state for m in movements),
            "provider_ids": arrays.texts(m.provider_id for m in movements),
            "decline_codes": arrays.texts(m.decline_code for m in movements),
            "update_times": arrays.timestamps(m.update_time for m in movements),
        }
        self._transaction.execute(_SAVE, _keys([m.key for m in movements]) | columns)


def movement_of(order_id: Any, kind: str, movement_id: Any, state: str, *rest: Any) -> Movement:
    """The movement of a row of `MOVEMENT_COLUMNS`."""
    key = MovementKey(order_id, MovementKind(kind), movement_id)
    return Movement(key, MovementState(state), *rest)


def _keys(keys: Sequence[MovementKey]) -> dict[str, Any]:
    return {
        "order_ids": arrays.uuids(key.order_id for key in keys),
        "kinds": arrays.texts(key.kind for key in keys),
        "movement_ids": arrays.uuids(key.movement_id for key in keys),
    }
