"""Both stores of sagas, and what their suite puts into them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import pytest

from trackops_common.database import Database
from trackops_saga_orchestrator.adapters.postgres import (
    PostgresNewSagas,
    PostgresSagaReader,
    PostgresSagaStore,
)
from trackops_saga_orchestrator.adapters.postgres_clock import PostgresClock
from trackops_saga_orchestrator.application.ports import (
    QueueState,
    SagaReader,
    SagaStore,
    SagaView,
    SagaWrite,
)
from trackops_saga_orchestrator.domain.commands import Phase
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import Done, SagaSnapshot
from trackops_saga_orchestrator.domain.steps import Json

from .saga_fakes import START, FakeClock, FakeSagaStore, altered

ACTION = Phase.ACTION
HASHES = [PLACE_ORDER.hash]


class World(Protocol):
    @property
    def store(self) -> SagaStore: ...
    @property
    def reader(self) -> SagaReader: ...

    def insert(
        self, snapshots: Sequence[SagaSnapshot], lease_seconds: float = 10
    ) -> Collection[uuid.UUID]: ...

    def queue(self, saga_ids: Sequence[uuid.UUID], subjects: Sequence[str]) -> QueueState: ...

    def note(self, events: Sequence[tuple[str, str]], hashes: Sequence[str]) -> None: ...

    def pass_time(self, seconds: float) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = self.reader = FakeSagaStore(self.clock)

    def insert(
        self, snapshots: Sequence[SagaSnapshot], lease_seconds: float = 10
    ) -> Collection[uuid.UUID]:
        self.clock.advance(0.001)
        return self.store.insert(snapshots, lease_seconds=lease_seconds)

    def queue(self, saga_ids: Sequence[uuid.UUID], subjects: Sequence[str]) -> QueueState:
        return self.store.queue(saga_ids, subjects)

    def note(self, events: Sequence[tuple[str, str]], hashes: Sequence[str]) -> None:
        self.store.note_events(events, hashes)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


class PostgresWorld:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = PostgresSagaStore(database, PostgresClock(database))
        self.reader = PostgresSagaReader(database)

    def insert(
        self, snapshots: Sequence[SagaSnapshot], lease_seconds: float = 10
    ) -> Collection[uuid.UUID]:
        with self.database.transaction() as transaction:
            inserted = PostgresNewSagas(transaction).insert(snapshots, lease_seconds=lease_seconds)
            transaction.commit()
        return inserted

    def queue(self, saga_ids: Sequence[uuid.UUID], subjects: Sequence[str]) -> QueueState:
        with self.database.transaction() as transaction:
            return PostgresNewSagas(transaction).queue(saga_ids, subjects)

    def note(self, events: Sequence[tuple[str, str]], hashes: Sequence[str]) -> None:
        with self.database.transaction() as transaction:
            PostgresNewSagas(transaction).note_events(events, hashes)
            transaction.commit()

    def pass_time(self, seconds: float) -> None:
        """Instead of waiting, everything that was to come comes so much sooner."""
        for table, column in (("sagas", "wake_at"), ("saga_events", "create_time")):
            self.database.execute(
                f"UPDATE {table} SET {column} = {column} - make_interval(secs => %(seconds)s)",
                {"seconds": seconds},
            )


STORES = ("fake", "postgres")


def store_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """For a fixture with STORES as its parameters."""
    if request.param == "fake":
        yield FakeWorld()
        return
    made: Any = request.getfixturevalue("database")
    role = "trackops_saga_orchestrator"
    database = Database(made.url(role), application_name="test")
    yield PostgresWorld(database)
    database.close()


def new_saga(subject: str = "order-1") -> SagaInstance:
    payload: Mapping[str, Json] = {"items": [["TEA-1", 2]], "token": 'quo"te \\ {x,y} ü'}
    saga = SagaInstance.start(
        PLACE_ORDER, subject, payload, now=START, traceparent=f"trace of {subject}"
    )
    saga.due_commands(START)
    return saga


def write(saga: SagaInstance, epoch: int = 1, wake_in: float | None = None) -> SagaWrite:
    return SagaWrite(saga.snapshot(), epoch, wake_in)


def found(world: World, saga: SagaInstance) -> SagaView:
    view = world.reader.find(saga.saga_id)
    assert view is not None
    return view


def as_stored(snapshot: SagaSnapshot) -> SagaSnapshot:
    """As it comes back: attempts that are over stand in the books, sequences are lists."""
    return altered(snapshot, steps=[replace(step, over=()) for step in snapshot.steps])


def claim(world: World, limit: int = 100) -> dict[uuid.UUID, int]:
    claimed = world.store.claim(HASHES, limit=limit, lease_seconds=10)
    return {one.snapshot.saga_id: one.epoch for one in claimed}


def end(saga: SagaInstance) -> SagaInstance:
    for step in PLACE_ORDER.steps:
        saga.record(step.name, ACTION, Done(), now=START, jitter=half)
        saga.due_commands(START)
    return saga


def half() -> float:
    return 0.5
