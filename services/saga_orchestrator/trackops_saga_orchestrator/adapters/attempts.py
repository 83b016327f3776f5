"""The books on attempts that are over: a row each, written with the saga that they belong to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Rows
from trackops_saga_orchestrator.application.ports import SagaWrite
from trackops_saga_orchestrator.domain.progress import Attempt

__all__ = ["KEEP_ATTEMPTS", "attempt_columns", "read_attempts"]

MOST_SHOWN = 10_000

KEEP_ATTEMPTS = """
INSERT INTO saga_attempts (saga_id, step, compensation, number, send_time, end_time, error,
                           retry_time)
SELECT new.*
  FROM unnest(%(attempt_saga_ids)s::uuid[], %(attempt_steps)s::text[],
              %(attempt_compensations)s::bool[], %(attempt_numbers)s::int[],
              %(attempt_sent)s::timestamptz[], %(attempt_ended)s::timestamptz[],
              %(attempt_errors)s::text[], %(attempt_retries)s::timestamptz[])
       AS new(saga_id, step, compensation, number, send_time, end_time, error, retry_time)
  JOIN written USING (saga_id)
    ON CONFLICT DO NOTHING
"""
"""Of the sagas that `written`, a part of the same statement, names."""

_READ = """
SELECT step, compensation, number, send_time, end_time, error, retry_time FROM (
    SELECT * FROM saga_attempts WHERE saga_id = %(saga_id)s::uuid
     ORDER BY end_time DESC, send_time DESC LIMIT %(limit)s) AS newest
 ORDER BY end_time, send_time, number
"""


def attempt_columns(writes: Sequence[SagaWrite]) -> Mapping[str, str]:
    """What `KEEP_ATTEMPTS` binds; empty where no attempt has ended."""
    over = [
        (write.snapshot.saga_id, step.name, attempt)
        for write in writes
        for step in write.snapshot.steps
        for attempt in step.over
    ]
    if not over:
        return {}
    attempts = [attempt for _, _, attempt in over]
    return {
        "attempt_saga_ids": arrays.uuids(saga_id for saga_id, _, _ in over),
        "attempt_steps": arrays.texts(step for _, step, _ in over),
        "attempt_compensations": arrays.texts(str(one.compensation) for one in attempts),
        "attempt_numbers": arrays.integers(one.number for one in attempts),
        "attempt_sent": arrays.timestamps(one.sent for one in attempts),
        "attempt_ended": arrays.timestamps(one.ended for one in attempts),
        "attempt_errors": arrays.texts(one.error for one in attempts),
        "attempt_retries": arrays.timestamps(one.retry for one in attempts),
    }


def read_attempts(
    run: Callable[[str, Mapping[str, Any]], Rows], saga_id: UUID
) -> Mapping[str, Sequence[Attempt]]:
    """By step, oldest first; of more than `MOST_SHOWN` the newest."""
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    for step, *values in run(_READ, {"saga_id": str(saga_id), "limit": MOST_SHOWN}):
        attempts[step].append(Attempt(*values))
    return attempts
