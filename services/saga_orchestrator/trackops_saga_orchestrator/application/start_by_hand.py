"""Start a saga because an operator says so, as its trigger would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from uuid import UUID

from trackops_common.clock import Clock
from trackops_common.errors import RequestIdReused
from trackops_common.idempotency import RequestLedger, fingerprint, request_key
from trackops_saga_orchestrator.application.ports import AuditEntry
from trackops_saga_orchestrator.application.start_sagas import StartSaga, StartSagas
from trackops_saga_orchestrator.application.steering_ports import (
    EncodeSaga,
    SagaWork,
    SagaWorkFactory,
)
from trackops_saga_orchestrator.domain.steering import Operation

__all__ = ["StartByHand", "StartSagasByHand"]


@dataclass(frozen=True)
class StartByHand:
    """Start a saga unless it was started before."""

    principal: str
    request_id: str
    start: StartSaga
    reason: str

    @cached_property
    def request_key(self) -> UUID:
        return request_key(self.principal, self.request_id, method=Operation.START.value)

    @cached_property
    def request_hash(self) -> bytes:
        return fingerprint([str(self.start.saga_id), self.reason])


@dataclass(frozen=True)
class StartSagasByHand:
    """Leaves new sagas to whichever engine looks next. Those that exist are shown as they are."""

    work: SagaWorkFactory
    clock: Clock
    encode: EncodeSaga

    def __call__(self, commands: Sequence[StartByHand]) -> Sequence[bytes | RequestIdReused]:
        with self.work() as work:
            ledger = RequestLedger(work.requests.find(one.request_key for one in commands))
            outcomes: list[bytes | RequestIdReused] = []
            for command in commands:
                known = ledger.replay(command)
                outcomes.append(known or ledger.record(command, self._start(work, command)))
            work.requests.save(ledger.new)
            work.commit()
        return outcomes

    def _start(self, work: SagaWork, command: StartByHand) -> bytes:
        saga_id = command.start.saga_id
        known = work.new_sagas.queue([saga_id], []).existing
        StartSagas(self.clock, lease_seconds=0)(work.new_sagas, [command.start])
        view = work.lock([saga_id])[saga_id].view
        if saga_id in known:
            return self.encode(view)
        entry = AuditEntry(
            saga_id=saga_id,
            operation=Operation.START.value,
            step="",
            reason=command.reason,
            principal=command.principal,
            state_before=view.snapshot.state,
            state_after=view.snapshot.state,
            create_time=self.clock.now(),
        )
        work.audit([entry])
        return self.encode(replace(view, audit=(entry,)))
