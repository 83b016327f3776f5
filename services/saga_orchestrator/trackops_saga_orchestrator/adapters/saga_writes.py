"""How the new states of sagas are stored, by their engine or within an operator's transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Rows
from trackops_saga_orchestrator.adapters.attempts import KEEP_ATTEMPTS, attempt_columns
from trackops_saga_orchestrator.adapters.encoding import encode_send_times, encode_steps
from trackops_saga_orchestrator.application.ports import SagaWrite
from trackops_saga_orchestrator.domain.progress import ENDED_STATES

__all__ = ["LOCK_ENDS", "QUEUE_LOCK", "write_sagas"]

QUEUE_LOCK = "hashtextextended(current_schema() || '.sagas', 0)"

_WRITE = """
UPDATE sagas
   SET state = new.state, steps = new.steps, send_times = new.send_times::bigint[],
       update_time = now(),
       failure_reason = new.failure_reason, failure_message = new.failure_message,
       parked_on = new.parked_on,
       wake_at = CASE
           WHEN new.awaits IS NOT NULL AND EXISTS (
               SELECT FROM saga_events
                WHERE saga_events.subject = sagas.subject
                  AND saga_events.event = ANY(string_to_array(new.awaits, ',')))
           THEN now()
           ELSE coalesce(now() + make_interval(secs => new.wake_in_seconds), wake_at)
       END
  FROM unnest(%(saga_ids)s::uuid[], %(epochs)s::int[], %(states)s::text[], %(steps)s::jsonb[],
              %(send_times)s::text[], %(reasons)s::text[], %(messages)s::text[],
              %(parked_on)s::text[], %(awaits)s::text[], %(wake_in_seconds)s::float8[])
       AS new(saga_id, epoch, state, steps, send_times, failure_reason, failure_message, parked_on,
              awaits, wake_in_seconds)
 WHERE sagas.saga_id = new.saga_id AND sagas.epoch = new.epoch
RETURNING sagas.saga_id, sagas.state
"""

LOCK_ENDS = f"SELECT pg_advisory_xact_lock_shared({QUEUE_LOCK})"
"""Taken, before any row, by whatever may end sagas."""

_START_NEXT = """
    UPDATE sagas
       SET state = CASE sagas.state WHEN 'QUEUED' THEN 'RUNNING' ELSE sagas.state END,
           waits_for = NULL, wake_at = now(), update_time = now()
     WHERE waits_for IS NOT NULL AND waits_for = ANY(ARRAY(
               SELECT saga_id FROM written WHERE state IN ('COMPLETED', 'COMPENSATED')))
 RETURNING sagas.saga_id
"""
"""The sagas whose turn has come.

The array keeps the planner to the small index of sagas that wait, whatever the table's size.
"""


def write_sagas(
    run: Callable[[str, Mapping[str, Any]], Rows], writes: Sequence[SagaWrite]
) -> Collection[UUID]:
    """As `SagaStore.write`; `run` is a statement by itself, or one of a transaction."""
    failures = [write.snapshot.failure for write in writes]
    waits = [write.wake_in_seconds for write in writes]
    in_turn = any(write.snapshot.state in ENDED_STATES or write.snapshot.awaits for write in writes)
    attempts = attempt_columns(writes)
    rows = run(
        _write_statement(in_turn=in_turn, attempts=bool(attempts)),
        {
            "saga_ids": arrays.uuids(write.snapshot.saga_id for write in writes),
            "epochs": arrays.integers(write.epoch for write in writes),
            "states": arrays.texts(write.snapshot.state.value for write in writes),
            "steps": arrays.texts(encode_steps(write.snapshot.steps) for write in writes),
            "send_times": arrays.texts(encode_send_times(one.snapshot.steps) for one in writes),
            "reasons": arrays.texts(one.reason if one else None for one in failures),
            "messages": arrays.texts(one.message if one else None for one in failures),
            "parked_on": arrays.texts(write.snapshot.parked_on for write in writes),
            "awaits": arrays.texts(",".join(one.snapshot.awaits) or None for one in writes),
            "wake_in_seconds": arrays.texts(
                None if seconds is None else str(seconds) for seconds in waits
            ),
            **attempts,
        },
    )
    return {row[0] for row in rows}


@cache
def _write_statement(*, in_turn: bool, attempts: bool) -> str:
    """As little as is needed: most writes neither end a saga nor an attempt in vain.

    In turn it is two statements in one transaction, the protocol's own: the
    second sees all that the lock waited for.
    """
    parts = [f"written AS ({_WRITE})"]
    answers = ["SELECT saga_id FROM written"]
    if attempts:
        parts.append(f"kept AS ({KEEP_ATTEMPTS})")
    if in_turn:
        parts.append(f"next AS ({_START_NEXT})")
        answers.append("SELECT saga_id FROM next")
    statement = f"WITH {', '.join(parts)} {' UNION ALL '.join(answers)}"
    return f"{LOCK_ENDS}; {statement}" if in_turn else statement
