"""The books on what operators did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Rows, Transaction
from trackops_saga_orchestrator.application.ports import AuditEntry
from trackops_saga_orchestrator.domain.progress import SagaState

__all__ = ["read_audit", "write_audit"]

_WRITE = """
INSERT INTO saga_audit (saga_id, operation, step, reason, principal, state_before, state_after,
                        create_time)
SELECT * FROM unnest(%(saga_ids)s::uuid[], %(operations)s::text[], %(steps)s::text[],
                     %(reasons)s::text[], %(principals)s::text[], %(befores)s::text[],
                     %(afters)s::text[], %(times)s::timestamptz[])
"""

_READ = """
SELECT saga_id, operation, step, reason, principal, state_before, state_after, create_time
  FROM saga_audit WHERE saga_id = ANY(%(saga_ids)s::uuid[]) ORDER BY audit_id
"""


def write_audit(transaction: Transaction, entries: Sequence[AuditEntry]) -> None:
    """Add entries, in their order, if the transaction commits."""
    if not entries:
        return
    transaction.execute(
        _WRITE,
        {
            "saga_ids": arrays.uuids(one.saga_id for one in entries),
            "operations": arrays.texts(one.operation for one in entries),
            "steps": arrays.texts(one.step for one in entries),
            "reasons": arrays.texts(one.reason for one in entries),
            "principals": arrays.texts(one.principal for one in entries),
            "befores": arrays.texts(one.state_before.value for one in entries),
            "afters": arrays.texts(one.state_after.value for one in entries),
            "times": arrays.timestamps(one.create_time for one in entries),
        },
    )


def read_audit(
    run: Callable[[str, Mapping[str, Any]], Rows], saga_ids: Iterable[UUID]
) -> Mapping[UUID, Sequence[AuditEntry]]:
    """The entries of sagas, oldest first; sagas without any are left out."""
    entries: dict[UUID, list[AuditEntry]] = defaultdict(list)
    for row in run(_READ, {"saga_ids": arrays.uuids(saga_ids)}):
        saga_id, operation, step, reason, principal, before, after, time = row
        entries[saga_id].append(
            AuditEntry(
                saga_id,
                operation,
                step,
                reason,
                principal,
                SagaState(before),
                SagaState(after),
                time,
            )
        )
    return entries
