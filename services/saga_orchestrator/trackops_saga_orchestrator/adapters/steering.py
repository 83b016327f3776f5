"""Operators' transactions in Postgres."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from trackops_common import arrays
from trackops_common.database import Database, Transaction
from trackops_common.request_store import PostgresRequestStore
from trackops_saga_orchestrator.adapters.audit import read_audit, write_audit
from trackops_saga_orchestrator.adapters.postgres import (
    COLUMNS,
    PostgresNewSagas,
    snapshot_of,
)
from trackops_saga_orchestrator.adapters.saga_writes import LOCK_ENDS, write_sagas
from trackops_saga_orchestrator.application.ports import AuditEntry, SagaView, SagaWrite
from trackops_saga_orchestrator.application.steering_ports import (
    LockedSaga,
    SagaSelection,
    SagaWorkFactory,
)
from trackops_saga_orchestrator.domain.progress import SagaSnapshot

__all__ = ["PostgresSagaWork", "postgres_saga_work"]

_LOCK = f"""
SELECT {COLUMNS}, epoch, create_time, update_time
  FROM sagas WHERE saga_id = ANY(%(saga_ids)s::uuid[])
 ORDER BY saga_id FOR UPDATE
"""  # noqa: S608 - fixed texts

_SELECT = """
SELECT saga_id FROM sagas
 WHERE state = ANY(%(states)s::text[])
   AND (%(definition)s = '' OR definition = %(definition)s)
   AND (%(failure_reason)s = '' OR failure_reason = %(failure_reason)s)
   AND update_time <= now() - make_interval(secs => %(older_than_seconds)s)
 ORDER BY update_time, saga_id LIMIT %(limit)s
"""

_TAKE = "UPDATE sagas SET epoch = epoch + 1 WHERE saga_id = ANY(%(saga_ids)s::uuid[])"


class PostgresSagaWork:
    """`SagaWork` on one transaction. Whatever may end a saga takes the queue's lock first."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.requests = PostgresRequestStore(transaction)
        self.new_sagas = PostgresNewSagas(transaction)

    def lock(self, saga_ids: Collection[UUID]) -> Mapping[UUID, LockedSaga]:
        self._transaction.execute(LOCK_ENDS)
        wanted = {"saga_ids": arrays.uuids(saga_ids)}
        rows = self._transaction.execute(_LOCK, wanted)
        audits = read_audit(self._transaction.execute, saga_ids)
        return {
            row[0]: LockedSaga(
                SagaView(snapshot_of(row), row[15], row[16], audits.get(row[0], ())), row[14]
            )
            for row in rows
        }

    def select(self, wanted: SagaSelection, *, limit: int) -> Sequence[UUID]:
        rows = self._transaction.execute(
            _SELECT,
            {
                "states": arrays.texts(state.value for state in wanted.states),
                "definition": wanted.definition,
                "failure_reason": wanted.failure_reason,
                "older_than_seconds": wanted.older_than_seconds,
                "limit": limit,
            },
        )
        return [row[0] for row in rows]

    def save(self, steered: Sequence[tuple[SagaSnapshot, int]]) -> None:
        if not steered:
            return
        saga_ids = arrays.uuids(snapshot.saga_id for snapshot, _ in steered)
        self._transaction.execute(_TAKE, {"saga_ids": saga_ids})
        writes = [SagaWrite(snapshot, epoch + 1, 0.0) for snapshot, epoch in steered]
        write_sagas(self._transaction.execute, writes)

    def audit(self, entries: Sequence[AuditEntry]) -> None:
        write_audit(self._transaction, entries)

    def commit(self) -> None:
        self._transaction.commit()


def postgres_saga_work(database: Database) -> SagaWorkFactory:
    """Transactions of `database`."""

    @contextmanager
    def work() -> Iterator[PostgresSagaWork]:
        with database.transaction() as transaction:
            yield PostgresSagaWork(transaction)

    return work
