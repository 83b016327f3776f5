"""A world for engines to run in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from trackops_common.clock import SystemClock
from trackops_saga_orchestrator.application.engine import Engine
from trackops_saga_orchestrator.application.limits import EngineLimits
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSaga, StartSagas
from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import ENDED_STATES, Refused, SagaState
from trackops_saga_orchestrator.domain.saga import Definitions, Saga
from trackops_saga_orchestrator.domain.steps import Json

from .saga_fakes import (
    FakeClock,
    FakeParticipants,
    FakeSagaStore,
    InlineExecutor,
)

PATIENCE_SECONDS = 10


class Mesh:
    """A store, participants and a clock that outlive any engine."""

    def __init__(self, *definitions: Saga) -> None:
        self.definitions = Definitions(definitions or [PLACE_ORDER])
        self.clock = FakeClock()
        self.store = FakeSagaStore(self.clock)
        self.participants = FakeParticipants()
        self.input: Mapping[str, Json] = {}
        """Of the sagas that `start` starts."""

    def engine(self, **limits: float) -> Engine:
        return Engine(
            self.definitions,
            self.store,
            self.participants.bind(self.definitions.actions),
            self.clock,
            InlineExecutor(),
            limits=EngineLimits(**({"poll_seconds": 3600} | limits)),  # type: ignore[arg-type]
            jitter=lambda: 0.5,
            sleep=lambda _: asyncio.sleep(0),
        )

    def real_clock(self) -> SystemClock:
        """From here on time goes by itself, for the store too."""
        clock = SystemClock()
        self.store.clock = clock
        return clock

    @asynccontextmanager
    async def running(self, **limits: float) -> AsyncIterator[Engine]:
        """An engine at work; its own polls are far apart, tests call `tick`."""
        engine = self.engine(**limits)
        async with asyncio.timeout(PATIENCE_SECONDS):
            task = asyncio.create_task(engine.run())
            yield engine
            engine.stop()
            await task

    def start(
        self, *subjects: str, definition: Saga = PLACE_ORDER, occurrence: str = ""
    ) -> Sequence[StartedSaga]:
        return self.start_all(
            StartSaga(definition, one, self.input, occurrence) for one in subjects
        )

    def start_all(self, starts: Iterable[StartSaga]) -> Sequence[StartedSaga]:
        return StartSagas(self.clock, lease_seconds=10)(self.store, list(starts))

    def states(self) -> set[SagaState]:
        return {row.snapshot.state for row in self.store.rows.values()}

    async def until_ended(self, engine: Engine, *, seconds: float = 3600) -> None:
        """Time goes by until every saga has come to its end."""
        for _ in range(int(seconds)):
            await engine.idle()
            if self.states() <= set(ENDED_STATES):
                return
            self.clock.advance(1)
            await engine.tick()
        raise AssertionError(f"still {self.states()} after {seconds} s")


def refuse(step: str, *, reason: str = "NO") -> FakeParticipants:
    participants = FakeParticipants()
    participants.answer = lambda command: (
        Refused(reason, "no") if is_action(command, step) else None
    )
    return participants


def is_action(command: StepCommand, step: str) -> bool:
    return command.step == step and command.phase is Phase.ACTION
