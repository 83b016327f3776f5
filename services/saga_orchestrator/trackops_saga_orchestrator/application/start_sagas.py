"""Start sagas, each once however often it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trackops_common.clock import Clock
from trackops_saga_orchestrator.application.ports import NewSagas
from trackops_saga_orchestrator.domain.instance import SagaInstance, StepCommand
from trackops_saga_orchestrator.domain.progress import Json
from trackops_saga_orchestrator.domain.saga import Saga

__all__ = ["StartSaga", "StartSagas", "StartedSaga"]


@dataclass(frozen=True, slots=True)
class StartSaga:
    """What a saga is about, and what its steps need to know."""

    subject: str
    input: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class StartedSaga:
    """A saga that is ours, with the commands to send once its row is committed."""

    saga: SagaInstance
    commands: Sequence[StepCommand]
    epoch: int
    lease_until: datetime


@dataclass(frozen=True)
class StartSagas:
    """Starts sagas of one definition."""

    definition: Saga
    clock: Clock
    lease_seconds: float

    def __call__(self, new_sagas: NewSagas, starts: Sequence[StartSaga]) -> Sequence[StartedSaga]:
        """Those that did not exist yet, leased to the caller by the rows it inserts.

        The first steps are stored as sent, so they are covered whatever happens next.
        """
        now = self.clock.now()
        started = {saga.saga.saga_id: saga for saga in (self._start(one, now) for one in starts)}
        inserted = new_sagas.insert(
            [one.saga.snapshot() for one in started.values()], lease_seconds=self.lease_seconds
        )
        return [started[saga_id] for saga_id in inserted]

    def _start(self, start: StartSaga, now: datetime) -> StartedSaga:
        saga = SagaInstance.start(self.definition, start.subject, start.input, now=now)
        lease_until = now + timedelta(seconds=self.lease_seconds)
        return StartedSaga(saga, saga.due_commands(now), 1, lease_until)
