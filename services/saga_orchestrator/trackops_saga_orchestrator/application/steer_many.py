"""Operators' commands about all sagas that match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import RequestLedger, fingerprint, request_key
from trackops_saga_orchestrator.application.ports import AuditEntry
from trackops_saga_orchestrator.application.steer_sagas import Steering, SteerSaga
from trackops_saga_orchestrator.application.steering_ports import (
    SagaSelection,
    SagaWork,
    SagaWorkFactory,
)
from trackops_saga_orchestrator.domain.errors import SagaError
from trackops_saga_orchestrator.domain.progress import SagaSnapshot
from trackops_saga_orchestrator.domain.steering import Operation

__all__ = ["SteerMany", "SteerManySagas", "Steered"]

_AT_ONCE = 1000
_SAMPLES = 10


@dataclass(frozen=True)
class SteerMany:
    """Do one thing to every saga that matches; with `dry_run`, only say to which it would be."""

    principal: str
    request_id: str
    operation: Operation
    selection: SagaSelection
    reason: str
    dry_run: bool

    @cached_property
    def request_key(self) -> UUID:
        method = f"{self.operation.value} many"
        return request_key(self.principal, self.request_id, method=method)

    @cached_property
    def request_hash(self) -> bytes:
        one = self.selection
        return fingerprint(
            [one.definition, one.failure_reason, str(one.older_than_seconds), self.reason]
        )


@dataclass(frozen=True, slots=True)
class Steered:
    """What was done, or would be."""

    count: int
    samples: Sequence[UUID]
    """Some of them, the oldest first."""
    more: bool
    """More match than were looked at; ask again, with another `request_id`."""


@dataclass(frozen=True)
class SteerManySagas:
    """Up to a thousand sagas in one transaction, each with its entry in the audit.

    One that does not allow the operation is left alone and not counted.
    """

    work: SagaWorkFactory
    steering: Steering
    encode: Callable[[Steered], bytes]

    def __call__(self, commands: Sequence[SteerMany]) -> Sequence[bytes | RequestIdReused]:
        return [self._steer(command) for command in commands]

    def _steer(self, command: SteerMany) -> bytes | RequestIdReused:
        with self.work() as work:
            found = work.select(command.selection, limit=_AT_ONCE + 1)
            more = len(found) > _AT_ONCE
            if command.dry_run:
                steered, _ = self._steer_each(work, command, found[:_AT_ONCE])
                return self.encode(_summary(steered, more=more))
            ledger = RequestLedger(work.requests.find([command.request_key]))
            if (known := ledger.replay(command)) is not None:
                return known
            steered, entries = self._steer_each(work, command, found[:_AT_ONCE])
            work.save(steered)
            work.audit(entries)
            response = self.encode(_summary(steered, more=more))
            ledger.record(command, response)
            work.requests.save(ledger.new)
            work.commit()
        return response

    def _steer_each(
        self, work: SagaWork, command: SteerMany, saga_ids: Sequence[UUID]
    ) -> tuple[Sequence[tuple[SagaSnapshot, int]], Sequence[AuditEntry]]:
        """As they are to be stored, with their epochs; those that refuse are left out."""
        steered: list[tuple[SagaSnapshot, int]] = []
        entries: list[AuditEntry] = []
        locked = work.lock(saga_ids)
        for saga_id in saga_ids:
            found = locked.get(saga_id)
            if found is None or found.view.snapshot.state not in command.selection.states:
                continue
            one = SteerSaga(
                command.principal, command.request_id, saga_id, command.operation, command.reason
            )
            try:
                snapshot, entry = self.steering(found, one)
            except SagaError:
                continue
            steered.append((snapshot, found.epoch))
            entries.append(entry)
        return steered, entries


def _summary(steered: Sequence[tuple[SagaSnapshot, int]], *, more: bool) -> Steered:
    samples = [snapshot.saga_id for snapshot, _ in steered[:_SAMPLES]]
    return Steered(len(steered), samples, more)
