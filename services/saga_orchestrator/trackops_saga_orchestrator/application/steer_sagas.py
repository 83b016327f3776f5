"""Operators' commands about single sagas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from uuid import UUID

from trackops_common.clock import Clock
from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import RequestLedger, fingerprint, request_key
from trackops_saga_orchestrator.application.ports import AuditEntry
from trackops_saga_orchestrator.application.steering_ports import (
    EncodeSaga,
    LockedSaga,
    SagaWorkFactory,
)
from trackops_saga_orchestrator.domain.errors import ForbiddenOperation, SagaError, SagaNotFound
from trackops_saga_orchestrator.domain.progress import SagaSnapshot
from trackops_saga_orchestrator.domain.saga import Definitions
from trackops_saga_orchestrator.domain.steering import Operation, SteeredSaga

__all__ = ["SteerOutcome", "SteerSaga", "SteerSagas", "Steering"]

SteerOutcome = bytes | SagaError | RequestIdReused


@dataclass(frozen=True)
class SteerSaga:
    """Do one thing to one saga."""

    principal: str
    request_id: str
    saga_id: UUID
    operation: Operation
    reason: str
    step: str = ""

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method=self.operation.value)

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.saga_id), self.operation.value, self.step, self.reason])


@dataclass(frozen=True)
class Steering:
    """An operator's hand on a saga that is locked."""

    definitions: Definitions
    clock: Clock

    def __call__(self, found: LockedSaga, command: SteerSaga) -> tuple[SagaSnapshot, AuditEntry]:
        """The saga as it is to be stored, and the entry for the books. Raises `SagaError`."""
        now = self.clock.now()
        before = found.view.snapshot
        if before.definition_hash not in self.definitions.hashes:
            raise ForbiddenOperation(
                before.saga_id,
                command.operation.value,
                before.state.value,
                f"{before.definition} v{before.definition_version} is unknown here",
            )
        definition = self.definitions[before.definition_hash]
        saga = SteeredSaga(definition, before)
        saga.steer(command.operation, command.step, command.reason, now)
        entry = AuditEntry(
            saga_id=before.saga_id,
            operation=command.operation.value,
            step=command.step,
            reason=command.reason,
            principal=command.principal,
            state_before=before.state,
            state_after=saga.state,
            create_time=now,
        )
        return saga.snapshot(), entry


@dataclass(frozen=True)
class SteerSagas:
    """Takes the sagas from their engines, which notice by the epoch, and writes who did it.

    The rows' locks come first: a repeat that runs at the same time waits for
    them and then finds the stored response.
    """

    work: SagaWorkFactory
    steering: Steering
    encode: EncodeSaga

    def __call__(self, commands: Sequence[SteerSaga]) -> Sequence[SteerOutcome]:
        with self.work() as work:
            sagas = dict(work.lock({command.saga_id for command in commands}))
            ledger = RequestLedger(work.requests.find(one.request_key for one in commands))
            steered: dict[UUID, tuple[SagaSnapshot, int]] = {}
            entries: list[AuditEntry] = []

            def steer_one(command: SteerSaga) -> bytes:
                found = sagas.get(command.saga_id)
                if found is None:
                    raise SagaNotFound(command.saga_id)
                snapshot, entry = self.steering(found, command)
                view = replace(found.view, snapshot=snapshot, update_time=entry.create_time)
                view = replace(view, audit=(*view.audit, entry))
                sagas[command.saga_id] = replace(found, view=view)
                steered[command.saga_id] = (snapshot, found.epoch)
                entries.append(entry)
                return self.encode(view)

            outcomes = [ledger.answer(command, steer_one, SagaError) for command in commands]
            work.save(list(steered.values()))
            work.audit(entries)
            work.requests.save(ledger.new)
            work.commit()
        return outcomes
