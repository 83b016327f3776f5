"""`operations` of the relay's own schema: orders to the owners of sources, and their audit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from trackops_common.database import Database
from trackops_common.errors import RequestIdReused
from trackops_outbox_relay.domain.errors import OperationProblem, OperationRefused
from trackops_outbox_relay.domain.operations import (
    Operation,
    OperationKind,
    OperationRecord,
    OperationState,
)

__all__ = ["OPERATIONS_CHANNEL", "PostgresOperations"]

OPERATIONS_CHANNEL = "trackops_relay_operations"
"""`NOTIFY` channel; the payload is the source that something is asked of."""

_SELECT = """
SELECT operation_id::text, source, kind, key, through_seq, digest, reason, principal,
       number, state, outcome, request_time, finish_time, problem
  FROM operations
"""

_SUBMIT = """
INSERT INTO operations (operation_id, source, kind, key, through_seq, digest, reason, principal)
VALUES (%(operation_id)s, %(source)s, %(kind)s, %(key)s, %(through_seq)s, %(digest)s, %(reason)s,
        %(principal)s)
ON CONFLICT (operation_id) DO UPDATE
   SET state = 'PENDING', problem = '', outcome = '', finish_time = NULL, request_time = now()
 WHERE operations.state = 'FAILED'
"""

_FINISH = """
UPDATE operations
   SET state = %(state)s, problem = %(problem)s, outcome = %(outcome)s, finish_time = now()
 WHERE operation_id = %(operation_id)s AND state = 'PENDING'
"""


class PostgresOperations:
    """Asked for the next operation, it looks when it was told of one, and now and then anyway."""

    def __init__(
        self, database: Database, sources: Iterable[str], *, look_every_seconds: float
    ) -> None:
        self._database = database
        self._look_every_seconds = look_every_seconds
        self._told = {source: threading.Event() for source in sources}
        self._looked_at: dict[str, float] = {}

    def tell(self, source: str) -> None:
        """Something may be asked of this source. Thread-safe."""
        self._told[source].set()

    def submit(self, operation: Operation) -> None:
        with self._database.transaction() as transaction:
            transaction.execute(_SUBMIT, _parameters(operation))
            stored = transaction.execute(
                _SELECT + " WHERE operation_id = %(id)s",
                {"id": operation.operation_id},
            )[0]
            if _operation(stored) != operation:
                raise RequestIdReused(operation.operation_id)
            transaction.commit()
        self._database.fetch(
            "SELECT pg_notify(%(channel)s, %(source)s)",
            {"channel": OPERATIONS_CHANNEL, "source": operation.source},
        )

    def find(self, operation_id: str) -> OperationRecord:
        row = self._database.fetch(
            _SELECT + " WHERE operation_id = %(id)s",
            {"id": operation_id},
        )[0]
        record = _record(row)
        if record.state is OperationState.FAILED:
            problem = OperationProblem(row[-1])
            raise OperationRefused(record.operation.source, problem, record.outcome)
        return record

    def next(self, source: str) -> Operation | None:
        told, now = self._told[source], time.monotonic()
        if not told.is_set() and now < self._looked_at.get(source, 0) + self._look_every_seconds:
            return None
        told.clear()
        self._looked_at[source] = now
        rows = self._database.fetch(
            _SELECT + " WHERE source = %(source)s AND state = 'PENDING' ORDER BY number LIMIT 1",
            {"source": source},
        )
        if not rows:
            return None
        told.set()  # there may be more behind it
        return _operation(rows[0])

    def finish(self, operation_id: str, outcome: str) -> None:
        self._end(operation_id, OperationState.DONE, "", outcome)

    def fail(self, operation_id: str, refusal: OperationRefused) -> None:
        self._end(operation_id, OperationState.FAILED, refusal.problem, str(refusal))

    def history(self, source: str, *, before: int, limit: int) -> Sequence[OperationRecord]:
        rows = self._database.fetch(
            _SELECT + " WHERE source = %(source)s AND (%(before)s = 0 OR number < %(before)s)"
            " ORDER BY number DESC LIMIT %(limit)s",
            {"source": source, "before": before, "limit": limit},
        )
        return [_record(row) for row in rows]

    def _end(self, operation_id: str, state: OperationState, problem: str, outcome: str) -> None:
        self._database.execute(
            _FINISH,
            {
                "operation_id": operation_id,
                "state": state.value,
                "problem": str(problem),
                "outcome": outcome,
            },
        )


def _parameters(operation: Operation) -> dict[str, Any]:
    return {
        "operation_id": operation.operation_id,
        "source": operation.source,
        "kind": operation.kind.value,
        "key": operation.key,
        "through_seq": operation.through_seq,
        "digest": operation.digest,
        "reason": operation.reason,
        "principal": operation.principal,
    }


def _operation(row: Any) -> Operation:
    operation_id, source, kind, key, through_seq, digest, reason, principal = row[:8]
    return Operation(
        operation_id=operation_id,
        source=source,
        kind=OperationKind(kind),
        key=key,
        through_seq=through_seq,
        digest=digest,
        reason=reason,
        principal=principal,
    )


def _record(row: Any) -> OperationRecord:
    number, state, outcome, request_time, finish_time, _ = row[8:]
    return OperationRecord(
        number, _operation(row), OperationState(state), outcome, request_time, finish_time
    )
