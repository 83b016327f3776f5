"""Moves many sagas at once, in waves.

Each action has a lane to its participant. What the participants answered while
the last wave was being written makes the next wave: one transaction that holds
every outcome together with the steps that follow from it, marked as sent. Only
then are these sent. So rows tell all that matters, and a crash loses memory only.

A saga is in memory while a command of it is on its way. One that has to wait
is given back: its row's `wake_at` is the timer, and whoever is alive claims it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from trackops_common.clock import Clock
from trackops_common.errors import TransientError
from trackops_saga_orchestrator.application.breakers import (
    Breaker,
    ParticipantHealth,
)
from trackops_saga_orchestrator.application.lanes import Lane
from trackops_saga_orchestrator.application.limits import EngineLimits
from trackops_saga_orchestrator.application.ports import Lease, Participants, SagaStore, SagaWrite
from trackops_saga_orchestrator.application.start_sagas import StartedSaga
from trackops_saga_orchestrator.application.timers import Timers
from trackops_saga_orchestrator.domain.commands import StepCommand
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.progress import Outcome, SagaState, Unknown
from trackops_saga_orchestrator.domain.saga import Definitions
from trackops_saga_orchestrator.domain.steps import Action

__all__ = ["Engine", "UnboundActions"]

_log = structlog.get_logger(__name__)

_T = TypeVar("_T")


class UnboundActions(Exception):
    """No participant does what a definition wants done."""

    def __init__(self, actions: Iterable[Action]) -> None:
        super().__init__(f"no participant is bound to: {', '.join(sorted(map(str, actions)))}")


@dataclass(slots=True)
class _Resident:
    """A saga in memory."""

    saga: SagaInstance
    epoch: int
    lease_until: datetime


class Engine:
    """Sagas in, commands out, outcomes in. Lives in one event loop; `run` is its life."""

    def __init__(
        self,
        definitions: Definitions,
        store: SagaStore,
        participants: Participants,
        clock: Clock,
        threads: Executor,
        *,
        limits: EngineLimits | None = None,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` agrees with the store's; `threads` run the store's methods.

        Raises:
            UnboundActions: `participants` lack an action of `definitions`.
        """
        if unbound := definitions.actions - participants.keys():
            raise UnboundActions(unbound)
        self._definitions = definitions
        self._store = store
        self._clock = clock
        self._threads = threads
        self._limits = limits or EngineLimits()
        self._lease = timedelta(seconds=self._limits.lease_seconds)
        self._jitter = jitter
        self._sleep = sleep
        self._residents: dict[UUID, _Resident] = {}
        self._reports: list[tuple[StepCommand, Outcome]] = []
        self._nudged: set[UUID] = set()
        self._work_for_wave = asyncio.Event()
        self._writing = asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = asyncio.Event()
        self._timers = Timers(clock, timedelta(seconds=self._limits.poll_seconds))
        self._operator_calls: Counter[str] = Counter()
        self._finished: Counter[tuple[str, SagaState]] = Counter()
        self._breakers = {
            name: Breaker(name, clock, self._limits.breaker, self._recover)
            for name in sorted({action.participant for action in definitions.actions})
        }
        self._recovered = set(self._breakers)
        """Whose steps may still be parked: at first everybody's, by engines before this one."""
        self._lanes = {action: self._lane(participants, action) for action in definitions.actions}

    @property
    def participants(self) -> Sequence[ParticipantHealth]:
        """What this process knows of those that do the work."""
        return [breaker.health for breaker in self._breakers.values()]

    @property
    def operator_calls(self) -> Counter[str]:
        """How often a saga of this process came to need an operator, by definition."""
        return self._operator_calls

    @property
    def finished(self) -> Counter[tuple[str, SagaState]]:
        """How many sagas ended in this process, by definition and state."""
        return self._finished

    @property
    def in_memory(self) -> int:
        """How many sagas are on their way just now."""
        return len(self._residents)

    async def idle(self) -> None:
        """Return once no saga is in memory."""
        await self._empty.wait()

    async def admit(self, started: Sequence[StartedSaga]) -> None:
        """Take over sagas whose rows are committed, as soon as there is room for more.

        An engine that has stopped takes none; another one finds their rows.
        """
        await self._room.wait()
        if self._stopping.is_set():
            return
        for one in started:
            self._take_in(one.saga, one.epoch, one.lease_until)
            self._send(one.commands)

    async def run(self) -> None:
        """Work until `stop`; then let the calls in the air come back and give up all leases."""
        try:
            async with asyncio.TaskGroup() as group:
                workers = [
                    group.create_task(lane.work())
                    for lane in self._lanes.values()
                    for _ in range(self._limits.calls_per_action)
                ]
                writer = group.create_task(self._write_waves())
                poller = group.create_task(self._poll())
                await asyncio.gather(poller, *workers)
                async with self._writing:
                    writer.cancel()
            await self._wave()
            await self._give_back()
        finally:
            self.stop()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping.set()
        self._room.set()
        self._timers.add(self._clock.now())
        for lane in self._lanes.values():
            lane.close()

    async def tick(self) -> None:
        """Keep our leases and take in sagas whose time has come."""
        now = self._clock.now()
        for saga_id, resident in self._residents.items():
            due = resident.saga.next_due
            if due is not None and due <= now:
                self._nudge(saga_id)
        for lane in self._lanes.values():
            lane.look()
        await self._renew()
        await self._unpark()
        await self._claim()

    async def _unpark(self) -> None:
        """Everything that waits for participants that are back goes on, a part at each look."""
        for name in sorted(self._recovered):
            limit = self._limits.max_claim
            freed = await self._persist(lambda: [self._store.unpark(name, limit=limit)])  # noqa: B023 - awaited here
            if sum(freed) < limit:
                self._recovered.discard(name)
            else:
                self._timers.add(self._clock.now())
        for saga_id, resident in self._residents.items():
            if resident.saga.parked_on and self._is_back(resident.saga.parked_on):
                resident.saga.unpark()
                self._nudge(saga_id)

    def _is_back(self, participant: str) -> bool:
        return not self._breakers[participant].open

    def _lane(self, participants: Participants, action: Action) -> Lane:
        return Lane(
            participants[action],
            self._breakers[action.participant],
            self._report,
            self._wanted,
            max_batch=self._limits.max_batch,
        )

    def _recover(self, participant: str) -> None:
        self._recovered.add(participant)
        self._timers.add(self._clock.now())

    def _send(self, commands: Iterable[StepCommand]) -> None:
        for command in commands:
            self._lanes[command.action].put(command)

    def _wanted(self, command: StepCommand) -> bool:
        resident = self._residents.get(command.saga_id)
        return resident is not None and resident.saga.awaits(command.step, command.phase)

    def _report(self, commands: Sequence[StepCommand], outcomes: Sequence[Outcome]) -> None:
        self._reports += zip(commands, outcomes, strict=True)
        self._work_for_wave.set()
        silent = [outcome.message for outcome in outcomes if isinstance(outcome, Unknown)]
        if silent:
            _log.warning(
                "steps will be sent again",
                action=str(commands[0].action),
                steps=len(silent),
                error=silent[0],
            )

    def _nudge(self, saga_id: UUID) -> None:
        self._nudged.add(saga_id)
        self._work_for_wave.set()

    async def _write_waves(self) -> None:
        while True:
            await self._work_for_wave.wait()
            self._work_for_wave.clear()
            await self._wave()

    async def _wave(self) -> None:
        """Record everything that came in, store it, and send what follows from it."""
        async with self._writing:
            now = self._clock.now()
            moved = self._record(now)
            if not moved:
                return
            commands = [resident.saga.due_commands(now) for resident in moved]
            writes = [self._write(resident, now) for resident in moved]
            stored = await self._persist(lambda: self._store.write(writes))
            if set(stored).difference(resident.saga.saga_id for resident in moved):
                self._timers.add(now)
            for resident, follow_ups in zip(moved, commands, strict=True):
                if resident.saga.saga_id not in stored:
                    self._let_go(resident)
                elif resident.saga.resting:
                    self._put_to_rest(resident)
                else:
                    self._send(follow_ups)

    def _record(self, now: datetime) -> Sequence[_Resident]:
        """The residents that have changed, or that may have become due."""
        reports, self._reports = self._reports, []
        moved, self._nudged = dict.fromkeys(self._nudged), set()
        for saga_id in moved:
            if resident := self._residents.get(saga_id):
                resident.saga.wake(now)
        for command, outcome in reports:
            if resident := self._residents.get(command.saga_id):
                resident.saga.record(
                    command.step, command.phase, outcome, now=now, jitter=self._jitter
                )
                moved[command.saga_id] = None
        return [self._residents[saga_id] for saga_id in moved if saga_id in self._residents]

    def _write(self, resident: _Resident, now: datetime) -> SagaWrite:
        """Leaves `wake_at` alone where it can, since it is indexed and the rest is not."""
        saga = resident.saga
        wake_in: float | None = None
        if saga.active and saga.resting and saga.next_due is not None:
            wake_in = max(0.0, (saga.next_due - now).total_seconds())
        elif saga.active and resident.lease_until - now < self._lease / 2:
            wake_in = self._limits.lease_seconds
            resident.lease_until = now + self._lease
        return SagaWrite(saga.snapshot(), resident.epoch, wake_in)

    def _put_to_rest(self, resident: _Resident) -> None:
        saga = resident.saga
        self._let_go(resident)
        if saga.ended:
            self._finished[saga.definition.name, saga.state] += 1
        if saga.parked_on and self._is_back(saga.parked_on):
            self._recover(saga.parked_on)
        elif saga.active and saga.next_due is not None:
            self._timers.add(saga.next_due)
        elif saga.state is SagaState.NEEDS_OPERATOR:
            self._operator_calls[saga.definition.name] += 1
            _log.error(
                "saga needs an operator",
                saga_id=str(saga.saga_id),
                definition=saga.definition.name,
                subject=saga.subject,
                calls_so_far=self._operator_calls.total(),
                errors={step.name: step.error for step in saga.steps.values() if step.error},
            )

    def _take_in(self, saga: SagaInstance, epoch: int, lease_until: datetime) -> None:
        self._residents[saga.saga_id] = _Resident(saga, epoch, lease_until)
        self._empty.clear()
        if len(self._residents) >= self._limits.max_in_memory:
            self._room.clear()

    def _let_go(self, resident: _Resident) -> None:
        if self._residents.get(resident.saga.saga_id) is resident:
            del self._residents[resident.saga.saga_id]
        if len(self._residents) < self._limits.max_in_memory:
            self._room.set()
        if not self._residents:
            self._empty.set()

    async def _poll(self) -> None:
        while not self._stopping.is_set():
            await self.tick()
            await self._timers.next()

    async def _renew(self) -> None:
        async with self._writing:
            now = self._clock.now()
            expiring = [
                resident
                for resident in self._residents.values()
                if resident.lease_until - now < self._lease / 2
            ]
            if not expiring:
                return
            leases = [Lease(one.saga.saga_id, one.epoch) for one in expiring]
            seconds = self._limits.lease_seconds
            kept = await self._persist(lambda: self._store.renew(leases, seconds=seconds))
            for resident in expiring:
                resident.lease_until = now + self._lease
                if resident.saga.saga_id not in kept:
                    self._let_go(resident)

    async def _claim(self) -> None:
        now = self._clock.now()
        room = 2 * self._limits.max_in_memory - len(self._residents)
        limit = min(room, self._limits.max_claim)
        if limit <= 0:
            return
        claimed = await self._persist(
            lambda: self._store.claim(
                self._definitions.hashes, limit=limit, lease_seconds=self._limits.lease_seconds
            )
        )
        for one in claimed:
            definition = self._definitions[one.snapshot.definition_hash]
            saga = SagaInstance.rehydrate(definition, one.snapshot)
            saga.hear(one.events)
            saga.unpark()
            self._take_in(saga, one.epoch, now + self._lease)
            self._nudge(saga.saga_id)
        if len(claimed) == limit:
            self._timers.add(now)

    async def _give_back(self) -> None:
        leases = [Lease(one.saga.saga_id, one.epoch) for one in self._residents.values()]
        if leases:
            await self._persist(lambda: self._store.renew(leases, seconds=0))
        for resident in list(self._residents.values()):
            self._let_go(resident)

    async def _persist(self, call: Callable[[], Collection[_T]]) -> Collection[_T]:
        """What `call` returns, tried again until it does; nothing if we stop before."""
        for attempt in range(1_000_000):
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
            except TransientError as error:
                _log.warning("the store will be asked again", error=str(error))
                if self._stopping.is_set():
                    break
                await self._sleep(min(2.0, 0.05 * 2 ** min(attempt, 10)))
        return ()
