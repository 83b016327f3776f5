"""Start sagas, each once however often it is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from trackops_common.clock import Clock
from trackops_common.tracing import current_traceparent
from trackops_saga_orchestrator.application.ports import NewSagas
from trackops_saga_orchestrator.domain.commands import StepCommand
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import Json

__all__ = ["StartSaga", "StartSagas", "StartedSaga"]


@dataclass(frozen=True, slots=True)
class StartSaga:
    """What a saga is about, and what its steps need to know."""

    definition: Saga
    subject: str
    input: Mapping[str, Json]
    occurrence: str = ""
    traceparent: str = field(default_factory=current_traceparent, kw_only=True, compare=False)
    """The trace of what starts it."""

    @property
    def saga_id(self) -> UUID:
        return self.definition.saga_id(self.subject, self.occurrence)


@dataclass(frozen=True, slots=True)
class StartedSaga:
    """A saga that is ours, with the commands to send once its row is committed."""

    saga: SagaInstance
    commands: Sequence[StepCommand]
    epoch: int
    lease_until: datetime


@dataclass(frozen=True)
class StartSagas:
    """Starts sagas; those about one subject run one after another."""

    clock: Clock
    lease_seconds: float

    def __call__(self, new_sagas: NewSagas, starts: Sequence[StartSaga]) -> Sequence[StartedSaga]:
        """Those that did not exist yet and are not queued, leased to the caller by their rows.

        The first steps are stored as sent, so they are covered whatever happens next.
        The order of `starts` is that in which sagas about one subject run.
        """
        now = self.clock.now()
        first = [self._start(one, now) for one in starts if one.definition.opens]
        started = self._insert(new_sagas, first)
        if later := [one for one in starts if not one.definition.opens]:
            started += self._insert(new_sagas, self._in_turn(new_sagas, later, now))
        return started

    def _in_turn(
        self, new_sagas: NewSagas, starts: Sequence[StartSaga], now: datetime
    ) -> Sequence[StartedSaga]:
        """Each waits for the one before it about the same subject, if that has not ended."""
        found = new_sagas.queue([one.saga_id for one in starts], [one.subject for one in starts])
        last = dict(found.last)
        new: dict[UUID, StartedSaga] = {}
        for one in starts:
            if one.saga_id not in found.existing and one.saga_id not in new:
                new[one.saga_id] = self._start(one, now, last.get(one.subject))
                last[one.subject] = one.saga_id
        return list(new.values())

    def _insert(self, new_sagas: NewSagas, sagas: Collection[StartedSaga]) -> list[StartedSaga]:
        """Those that wait for events are left to whoever claims them, with what has come."""
        waiting = [one for one in sagas if one.saga.definition.awaited]
        new_sagas.insert([one.saga.snapshot() for one in waiting], lease_seconds=0)
        sagas = [one for one in sagas if not one.saga.definition.awaited]
        by_id = {one.saga.saga_id: one for one in sagas}
        inserted = new_sagas.insert(
            [one.saga.snapshot() for one in by_id.values()], lease_seconds=self.lease_seconds
        )
        return [by_id[saga_id] for saga_id in inserted if by_id[saga_id].saga.active]

    def _start(self, start: StartSaga, now: datetime, waits_for: UUID | None = None) -> StartedSaga:
        saga = SagaInstance.start(
            start.definition,
            start.subject,
            start.input,
            now=now,
            occurrence=start.occurrence,
            waits_for=waits_for,
            traceparent=start.traceparent,
        )
        lease_until = now + timedelta(seconds=self.lease_seconds)
        return StartedSaga(saga, saga.due_commands(now), 1, lease_until)
