"""The sagas in Postgres, read and written as sets.

No statement here can deadlock with another: claiming skips locked rows, a row
is only ever written by the holder of its epoch, and the engine writes one
statement at a time. What ends sagas shares the queue's lock, which is taken
before any row; what queues sagas holds it alone. So whoever queues sees every
end that came before, and every end that comes later sees what is queued.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from trackops_common import arrays
from trackops_common.database import Database, Transaction
from trackops_saga_orchestrator.adapters.attempts import read_attempts
from trackops_saga_orchestrator.adapters.audit import read_audit
from trackops_saga_orchestrator.adapters.encoding import (
    decode_steps,
    encode_input,
    encode_send_times,
    encode_steps,
)
from trackops_saga_orchestrator.adapters.postgres_clock import PostgresClock
from trackops_saga_orchestrator.adapters.saga_writes import QUEUE_LOCK, write_sagas
from trackops_saga_orchestrator.application.ports import (
    ClaimedSaga,
    Lease,
    LiveDefinition,
    PagePosition,
    QueueState,
    SagaFilter,
    SagaView,
    SagaWrite,
)
from trackops_saga_orchestrator.domain.progress import (
    Failure,
    SagaSnapshot,
    SagaState,
)

__all__ = [
    "COLUMNS",
    "PostgresNewSagas",
    "PostgresSagaReader",
    "PostgresSagaStore",
    "snapshot_of",
]

_INSERT = """
INSERT INTO sagas (saga_id, definition, definition_version, definition_hash, subject, occurrence,
                   state, waits_for, input, steps, send_times, traceparent, epoch, wake_at)
SELECT saga_id, definition, definition_version, definition_hash, subject, occurrence, state,
       waits_for, input, steps, send_times::bigint[], traceparent, 1,
       now() + make_interval(secs => %(lease_seconds)s)
  FROM unnest(%(saga_ids)s::uuid[], %(definitions)s::text[], %(versions)s::int[],
              %(hashes)s::text[], %(subjects)s::text[], %(occurrences)s::text[],
              %(states)s::text[], %(waits_for)s::uuid[], %(inputs)s::jsonb[], %(steps)s::jsonb[],
              %(send_times)s::text[], %(traceparents)s::text[])
       AS new(saga_id, definition, definition_version, definition_hash, subject, occurrence,
              state, waits_for, input, steps, send_times, traceparent)
 ORDER BY saga_id
    ON CONFLICT (saga_id) DO NOTHING
RETURNING saga_id
"""

_LOCK_QUEUE = f"SELECT pg_advisory_xact_lock({QUEUE_LOCK})"

_EXISTING = "SELECT saga_id FROM sagas WHERE saga_id = ANY(%(saga_ids)s::uuid[])"

_LAST = """
SELECT subject, saga_id
  FROM sagas
 WHERE subject = ANY(%(subjects)s::text[]) AND state NOT IN ('COMPLETED', 'COMPENSATED')
   AND NOT EXISTS (SELECT FROM sagas AS next WHERE next.waits_for = sagas.saga_id)
"""

COLUMNS = """sagas.saga_id, definition, definition_version, definition_hash, subject, occurrence,
       state, sagas.waits_for, input, steps, send_times, failure_reason, failure_message,
       traceparent"""

_CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT saga_id FROM sagas
     WHERE state IN ('RUNNING', 'COMPENSATING') AND wake_at <= now()
       AND definition_hash = ANY(%(hashes)s::text[])
     ORDER BY wake_at LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED
)
UPDATE sagas
   SET epoch = epoch + 1, wake_at = now() + make_interval(secs => %(lease_seconds)s)
  FROM due
 WHERE sagas.saga_id = due.saga_id
RETURNING {COLUMNS}, epoch,
          ARRAY(SELECT event FROM saga_events WHERE saga_events.subject = sagas.subject)
"""  # noqa: S608 - fixed texts

_RENEW = """
UPDATE sagas
   SET wake_at = now() + make_interval(secs => %(seconds)s)
  FROM unnest(%(saga_ids)s::uuid[], %(epochs)s::int[]) AS lease(saga_id, epoch)
 WHERE sagas.saga_id = lease.saga_id AND sagas.epoch = lease.epoch
RETURNING sagas.saga_id
"""

_UNPARK = """
WITH parked AS MATERIALIZED (
    SELECT saga_id FROM sagas
     WHERE parked_on = %(participant)s AND wake_at > now()
     ORDER BY wake_at LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED
)
UPDATE sagas SET wake_at = now() FROM parked WHERE sagas.saga_id = parked.saga_id
RETURNING sagas.saga_id
"""

_NOTE_EVENTS = """
INSERT INTO saga_events (subject, event)
SELECT * FROM unnest(%(subjects)s::text[], %(events)s::text[])
    ON CONFLICT DO NOTHING
"""

_WAKE_FOR_EVENTS = """
UPDATE sagas SET wake_at = now()
 WHERE subject = ANY(%(subjects)s::text[]) AND definition_hash = ANY(%(hashes)s::text[])
   AND state IN ('RUNNING', 'COMPENSATING')
"""

_FORGET_EVENTS = """
WITH old AS MATERIALIZED (
    SELECT subject, event FROM saga_events
     WHERE create_time < now() - make_interval(days => %(days)s)
       AND NOT EXISTS (
           SELECT FROM sagas
            WHERE sagas.subject = saga_events.subject
              AND state NOT IN ('COMPLETED', 'COMPENSATED'))
     ORDER BY create_time LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED
)
DELETE FROM saga_events USING old
 WHERE saga_events.subject = old.subject AND saga_events.event = old.event
RETURNING saga_events.event
"""

_LIVE_DEFINITIONS = """
SELECT definition, definition_version, definition_hash, count(*)
  FROM sagas
 WHERE state NOT IN ('COMPLETED', 'COMPENSATED')
 GROUP BY definition, definition_version, definition_hash
 ORDER BY definition, definition_version
"""

_SELECT = f"SELECT {COLUMNS}, create_time, update_time FROM sagas"  # noqa: S608 - fixed texts

_FIND = f"{_SELECT} WHERE saga_id = %(saga_id)s::uuid"


class PostgresNewSagas:
    """`NewSagas` within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def insert(
        self, snapshots: Sequence[SagaSnapshot], *, lease_seconds: float
    ) -> Collection[UUID]:
        if not snapshots:
            return ()
        rows = self._transaction.execute(
            _INSERT,
            {
                "lease_seconds": lease_seconds,
                "saga_ids": arrays.uuids(one.saga_id for one in snapshots),
                "definitions": arrays.texts(one.definition for one in snapshots),
                "versions": arrays.integers(one.definition_version for one in snapshots),
                "hashes": arrays.texts(one.definition_hash for one in snapshots),
                "subjects": arrays.texts(one.subject for one in snapshots),
                "occurrences": arrays.texts(one.occurrence for one in snapshots),
                "waits_for": arrays.texts(
                    str(one.waits_for) if one.waits_for else None for one in snapshots
                ),
                "states": arrays.texts(one.state.value for one in snapshots),
                "inputs": arrays.texts(encode_input(one.input) for one in snapshots),
                "steps": arrays.texts(encode_steps(one.steps) for one in snapshots),
                "send_times": arrays.texts(encode_send_times(one.steps) for one in snapshots),
                "traceparents": arrays.texts(one.traceparent or None for one in snapshots),
            },
        )
        return {row[0] for row in rows}

    def queue(self, saga_ids: Sequence[UUID], subjects: Sequence[str]) -> QueueState:
        self._transaction.execute(_LOCK_QUEUE)
        existing = self._transaction.execute(_EXISTING, {"saga_ids": arrays.uuids(saga_ids)})
        last = self._transaction.execute(_LAST, {"subjects": arrays.texts(subjects)})
        return QueueState(
            existing={row[0] for row in existing}, last={row[0]: row[1] for row in last}
        )

    def note_events(self, events: Sequence[tuple[str, str]], hashes: Collection[str]) -> None:
        self._transaction.execute(_LOCK_QUEUE)
        subjects = arrays.texts(subject for subject, _ in events)
        named = arrays.texts(event for _, event in events)
        self._transaction.execute(_NOTE_EVENTS, {"subjects": subjects, "events": named})
        self._transaction.execute(
            _WAKE_FOR_EVENTS, {"subjects": subjects, "hashes": arrays.texts(hashes)}
        )


class PostgresSagaStore:
    """`SagaStore` on the `sagas` table; each method is one statement that commits by itself."""

    def __init__(self, database: Database, clock: PostgresClock) -> None:
        """Keeps `clock` synchronised while it claims."""
        self._database = database
        self._clock = clock

    def claim(
        self, hashes: Collection[str], *, limit: int, lease_seconds: float
    ) -> Sequence[ClaimedSaga]:
        self._clock.synchronise()
        rows = self._database.fetch(
            _CLAIM,
            {"hashes": arrays.texts(hashes), "limit": limit, "lease_seconds": lease_seconds},
        )
        return [ClaimedSaga(snapshot_of(row), row[14], row[15]) for row in rows]

    def write(self, writes: Sequence[SagaWrite]) -> Collection[UUID]:
        return write_sagas(self._database.fetch, writes)

    def renew(self, leases: Sequence[Lease], *, seconds: float) -> Collection[UUID]:
        rows = self._database.fetch(
            _RENEW,
            {
                "seconds": seconds,
                "saga_ids": arrays.uuids(lease.saga_id for lease in leases),
                "epochs": arrays.integers(lease.epoch for lease in leases),
            },
        )
        return {row[0] for row in rows}

    def unpark(self, participant: str, *, limit: int) -> int:
        return len(self._database.fetch(_UNPARK, {"participant": participant, "limit": limit}))

    def forget_events(self, *, older_than_days: int, limit: int) -> int:
        wanted = {"days": older_than_days, "limit": limit}
        return len(self._database.fetch(_FORGET_EVENTS, wanted))

    def live_definitions(self) -> Sequence[LiveDefinition]:
        return [LiveDefinition(*row) for row in self._database.fetch(_LIVE_DEFINITIONS)]


class PostgresSagaReader:
    """`SagaReader` on the `sagas` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, saga_id: UUID) -> SagaView | None:
        rows = self._database.fetch(_FIND, {"saga_id": str(saga_id)})
        if not rows:
            return None
        audit = read_audit(self._database.fetch, [saga_id])
        attempts = read_attempts(self._database.fetch, saga_id)
        return replace(_view(rows[0]), audit=audit.get(saga_id, ()), attempts=attempts)

    def page(
        self, wanted: SagaFilter, *, size: int, after: PagePosition | None
    ) -> Sequence[SagaView]:
        conditions = ["true"]
        if wanted.subject:
            conditions.append("subject = %(subject)s")
        if wanted.states:
            conditions.append("state = ANY(%(states)s::text[])")
        if after:
            conditions.append("(create_time, saga_id) < (%(time)s::timestamptz, %(saga_id)s::uuid)")
        rows = self._database.fetch(
            f"{_SELECT} WHERE {' AND '.join(conditions)}"
            " ORDER BY create_time DESC, saga_id DESC LIMIT %(size)s",
            {
                "subject": wanted.subject,
                "states": arrays.texts(state.value for state in wanted.states),
                "time": after and after.create_time.isoformat(),
                "saga_id": after and str(after.saga_id),
                "size": size,
            },
        )
        return [_view(row) for row in rows]


def snapshot_of(row: Row[*tuple[Any, ...]]) -> SagaSnapshot:
    """From a row that begins with `COLUMNS`."""
    saga_id, name, version, definition_hash, subject, occurrence, *rest = row[:14]
    state, waits_for, payload, steps, send_times, reason, message, traceparent = rest
    return SagaSnapshot(
        saga_id=saga_id,
        definition=name,
        definition_version=version,
        definition_hash=definition_hash,
        subject=subject,
        occurrence=occurrence,
        input=payload,
        state=SagaState(state),
        steps=decode_steps(steps, send_times),
        failure=None if reason is None else Failure(reason, message or ""),
        waits_for=waits_for,
        traceparent=traceparent or "",
    )


def _view(row: Row[*tuple[Any, ...]]) -> SagaView:
    return SagaView(snapshot_of(row), create_time=row[14], update_time=row[15])
