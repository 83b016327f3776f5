"""Stand-ins for the world around the engine; the store passes the real one's suite."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from trackops_common.clock import Clock
from trackops_common.errors import TransientError
from trackops_saga_orchestrator.application.ports import (
    BatchAction,
    ClaimedSaga,
    Lease,
    LiveDefinition,
    PagePosition,
    Participants,
    QueueState,
    SagaFilter,
    SagaView,
    SagaWrite,
)
from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.progress import (
    ACTIVE_STATES,
    ENDED_STATES,
    Attempt,
    Done,
    Outcome,
    Refused,
    SagaSnapshot,
    SagaState,
)
from trackops_saga_orchestrator.domain.steps import Action

P = ParamSpec("P")
T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Stands still until it is told to advance."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class InlineExecutor(Executor):
    """Runs what it is given at once, in the caller's thread."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)
        return future


@dataclass(slots=True)
class FakeRow:
    snapshot: SagaSnapshot
    epoch: int
    wake_at: datetime
    create_time: datetime
    update_time: datetime


class FakeSagaStore:
    """`NewSagas`, `SagaStore` and `SagaReader` in memory."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rows: dict[uuid.UUID, FakeRow] = {}
        self.writes: list[Sequence[SagaWrite]] = []
        self.events: dict[tuple[str, str], datetime] = {}
        self.attempts: dict[uuid.UUID, dict[str, list[Attempt]]] = {}
        self.failures = 0
        """How many of the next calls end with a transient error."""

    def insert(
        self, snapshots: Sequence[SagaSnapshot], *, lease_seconds: float
    ) -> Collection[uuid.UUID]:
        now = self.clock.now()
        wake_at = now + timedelta(seconds=lease_seconds)
        new = {one.saga_id: one for one in snapshots if one.saga_id not in self.rows}
        for saga_id, snapshot in new.items():
            self.rows[saga_id] = FakeRow(snapshot, 1, wake_at, now, now)
        return set(new)

    def queue(self, saga_ids: Sequence[uuid.UUID], subjects: Sequence[str]) -> QueueState:
        live = [
            row.snapshot for row in self.rows.values() if row.snapshot.state not in ENDED_STATES
        ]
        waited_for = {one.waits_for for one in live}
        return QueueState(
            existing={saga_id for saga_id in saga_ids if saga_id in self.rows},
            last={
                one.subject: one.saga_id
                for one in live
                if one.subject in subjects and one.saga_id not in waited_for
            },
        )

    def note_events(self, events: Sequence[tuple[str, str]], hashes: Collection[str]) -> None:
        self.events = dict.fromkeys(events, self.clock.now()) | self.events
        subjects = {subject for subject, _ in events}
        for row in self.rows.values():
            one = row.snapshot
            if one.subject in subjects and one.definition_hash in hashes:
                row.wake_at = self.clock.now()

    def forget_events(self, *, older_than_days: int, limit: int) -> int:
        self._fail_if_told()
        end = self.clock.now() - timedelta(days=older_than_days)
        rows = [row.snapshot for row in self.rows.values()]
        live = {one.subject for one in rows if one.state not in ENDED_STATES}
        old = [
            (noted, key) for key, noted in self.events.items() if noted < end and key[0] not in live
        ]
        forgotten = sorted(old)[:limit]
        for _, key in forgotten:
            del self.events[key]
        return len(forgotten)

    def unpark(self, participant: str, *, limit: int) -> int:
        self._fail_if_told()
        now = self.clock.now()
        parked = [
            row
            for row in self.rows.values()
            if row.snapshot.parked_on == participant and row.wake_at > now
        ][:limit]
        for row in parked:
            row.wake_at = now
        return len(parked)

    def claim(
        self, hashes: Collection[str], *, limit: int, lease_seconds: float
    ) -> Sequence[ClaimedSaga]:
        self._fail_if_told()
        now = self.clock.now()
        due = [
            row
            for row in sorted(self.rows.values(), key=lambda row: row.wake_at)
            if row.snapshot.state in ACTIVE_STATES
            and row.snapshot.definition_hash in hashes
            and row.wake_at <= now
        ][:limit]
        for row in due:
            row.epoch += 1
            row.wake_at = now + timedelta(seconds=lease_seconds)
        return [ClaimedSaga(row.snapshot, row.epoch, self._events(row)) for row in due]

    def _events(self, row: FakeRow) -> set[str]:
        return {event for subject, event in self.events if subject == row.snapshot.subject}

    def write(self, writes: Sequence[SagaWrite]) -> Collection[uuid.UUID]:
        self._fail_if_told()
        self.writes.append(writes)
        now = self.clock.now()
        stored = set()
        for write in writes:
            row = self.rows.get(write.snapshot.saga_id)
            if row is not None and row.epoch == write.epoch:
                row.snapshot, row.update_time = self._without_attempts(write.snapshot), now
                if write.wake_in_seconds is not None:
                    row.wake_at = now + timedelta(seconds=write.wake_in_seconds)
                if self._events(row) & set(write.snapshot.awaits):
                    row.wake_at = now
                stored.add(write.snapshot.saga_id)
        ended = {
            one.snapshot.saga_id
            for one in writes
            if one.snapshot.saga_id in stored and one.snapshot.state in ENDED_STATES
        }
        return stored | self._next_of(ended)

    def _without_attempts(self, snapshot: SagaSnapshot) -> SagaSnapshot:
        """As a row holds it; the attempts that are over go into the books."""
        books = self.attempts.setdefault(snapshot.saga_id, {})
        for step in snapshot.steps:
            kept = books.setdefault(step.name, [])
            kept += [attempt for attempt in step.over if attempt not in kept]
        steps = [dataclasses.replace(step, over=()) for step in snapshot.steps]
        return altered(snapshot, steps=steps)

    def _next_of(self, ended: Collection[uuid.UUID]) -> set[uuid.UUID]:
        woken = {one for one, row in self.rows.items() if row.snapshot.waits_for in ended}
        for saga_id in woken:
            row = self.rows[saga_id]
            state = row.snapshot.state
            turn = SagaState.RUNNING if state is SagaState.QUEUED else state
            row.snapshot = altered(row.snapshot, state=turn, waits_for=None)
            row.wake_at = self.clock.now()
        return woken

    def renew(self, leases: Sequence[Lease], *, seconds: float) -> Collection[uuid.UUID]:
        self._fail_if_told()
        kept = {
            lease.saga_id
            for lease in leases
            if lease.saga_id in self.rows and self.rows[lease.saga_id].epoch == lease.epoch
        }
        for saga_id in kept:
            self.rows[saga_id].wake_at = self.clock.now() + timedelta(seconds=seconds)
        return kept

    def live_definitions(self) -> Sequence[LiveDefinition]:
        live: dict[tuple[str, int, str], int] = {}
        for row in self.rows.values():
            one = row.snapshot
            if one.state not in ENDED_STATES:
                key = (one.definition, one.definition_version, one.definition_hash)
                live[key] = live.get(key, 0) + 1
        return [LiveDefinition(*key, count) for key, count in sorted(live.items())]

    def find(self, saga_id: uuid.UUID) -> SagaView | None:
        row = self.rows.get(saga_id)
        if row is None:
            return None
        attempts = {step: kept for step, kept in self.attempts.get(saga_id, {}).items() if kept}
        return SagaView(row.snapshot, row.create_time, row.update_time, attempts=attempts)

    def page(
        self, wanted: SagaFilter, *, size: int, after: PagePosition | None
    ) -> Sequence[SagaView]:
        def key(row: FakeRow) -> tuple[datetime, uuid.UUID]:
            return (row.create_time, row.snapshot.saga_id)

        rows = [
            row
            for row in sorted(self.rows.values(), key=key, reverse=True)
            if (not wanted.subject or row.snapshot.subject == wanted.subject)
            and (not wanted.states or row.snapshot.state in wanted.states)
            and (after is None or key(row) < (after.create_time, after.saga_id))
        ]
        return [SagaView(row.snapshot, row.create_time, row.update_time) for row in rows[:size]]

    def state(self, saga_id: uuid.UUID) -> SagaState:
        """For tests: where a saga stands."""
        return self.rows[saga_id].snapshot.state

    def _fail_if_told(self) -> None:
        if self.failures:
            self.failures -= 1
            raise TransientError("told to fail")


Answer = Callable[[StepCommand], Outcome | None]
"""What to say to a command; None: what a well-behaved participant says."""


class FakeParticipants:
    """Participants that keep the rules: an effect once, and none after its compensation."""

    def __init__(self) -> None:
        self.calls: list[Sequence[StepCommand]] = []
        self.effects: dict[tuple[uuid.UUID, str], int] = {}
        """How often each step took effect; a compensation takes it back."""
        self.undone: set[tuple[uuid.UUID, str]] = set()
        self.answer: Answer = lambda _: None
        self.before: Callable[[Sequence[StepCommand]], Awaitable[None]] | None = None
        """Awaited before a batch is looked at."""

    def bind(self, actions: Collection[Action]) -> Participants:
        """Every one of `actions`, as the engine takes them."""
        one: BatchAction = self._call
        return dict.fromkeys(actions, one)

    def commands(self, step: str, phase: Phase = Phase.ACTION) -> list[StepCommand]:
        """What was asked for, in its order."""
        return [
            command
            for call in self.calls
            for command in call
            if command.step == step and command.phase is phase
        ]

    async def _call(self, commands: Sequence[StepCommand]) -> Sequence[Outcome]:
        self.calls.append(commands)
        if self.before is not None:
            await self.before(commands)
        return [self.answer(command) or self.perform(command) for command in commands]

    def perform(self, command: StepCommand) -> Outcome:
        """The effect, once."""
        key = (command.saga_id, command.step)
        if command.phase is Phase.COMPENSATION:
            self.undone.add(key)
            self.effects[key] = 0
        elif key in self.undone:
            return Refused("UNDONE", "its compensation came first")
        else:
            self.effects[key] = 1
        return Done()


def altered(snapshot: SagaSnapshot, **changes: Any) -> SagaSnapshot:
    """A copy of `snapshot` with other values."""
    return dataclasses.replace(snapshot, **changes)
