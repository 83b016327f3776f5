"""One suite for the fake store and the real one."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
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
    Lease,
    PagePosition,
    QueueState,
    SagaFilter,
    SagaReader,
    SagaStore,
    SagaView,
    SagaWrite,
)
from trackops_saga_orchestrator.domain.commands import Phase
from trackops_saga_orchestrator.domain.fulfil_order import FULFIL_ORDER
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import (
    Attempt,
    Done,
    Failure,
    Parked,
    Refused,
    SagaSnapshot,
    SagaState,
    Unknown,
)
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import Json, Step, WaitFor

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


@pytest.fixture(params=["fake", "postgres"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
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


def test_what_is_inserted_is_found(world: World) -> None:
    saga = new_saga()
    assert set(world.insert([saga.snapshot()])) == {saga.saga_id}
    assert as_stored(found(world, saga).snapshot) == as_stored(saga.snapshot())


def test_insert_is_once(world: World) -> None:
    saga, other = new_saga("a"), new_saga("b")
    world.insert([saga.snapshot()])
    again = world.insert([saga.snapshot(), other.snapshot()])
    assert set(again) == {other.saga_id}


def test_insert_of_nothing(world: World) -> None:
    assert not world.insert([])


def test_inserted_saga_is_leased(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    world.pass_time(9)
    assert claim(world) == {}
    world.pass_time(2)
    assert claim(world) == {saga.saga_id: 2}
    assert claim(world) == {}


def test_claim_returns_the_whole_instance(world: World) -> None:
    saga = new_saga()
    saga.record("reserve-stock", ACTION, Done({"reservation": "r"}), now=START, jitter=_half)
    saga.due_commands(START)
    saga.record("authorize-payment", ACTION, Unknown("away"), now=START, jitter=_half)
    world.insert([saga.snapshot()], lease_seconds=0)
    (claimed,) = world.store.claim(HASHES, limit=1, lease_seconds=10)
    assert as_stored(claimed.snapshot) == as_stored(saga.snapshot())
    assert claimed.snapshot.steps[1].due == START + timedelta(seconds=0.05)


def test_claim_takes_the_most_overdue_first(world: World) -> None:
    leases = (0.5, 0, 1, 0.2, 0.8, 0.1)
    for number, lease in enumerate(leases):
        world.insert([new_saga(str(number)).snapshot()], lease_seconds=lease)
    world.pass_time(5)
    order = [saga_id for _ in leases for saga_id in claim(world, limit=1)]
    overdue = sorted(range(len(leases)), key=leases.__getitem__)
    assert order == [new_saga(str(number)).saga_id for number in overdue]


def test_claim_leaves_what_it_cannot_run_and_what_has_ended(world: World) -> None:
    foreign = altered(new_saga("a").snapshot(), definition_hash="else")
    ended = altered(new_saga("b").snapshot(), state=SagaState.COMPLETED)
    stuck = altered(new_saga("c").snapshot(), state=SagaState.NEEDS_OPERATOR)
    back = altered(new_saga("d").snapshot(), state=SagaState.COMPENSATING)
    world.insert([foreign, ended, stuck, back], lease_seconds=0)
    assert set(claim(world)) == {back.saga_id}


def test_write_changes_state_steps_and_failure(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    refusal = Refused("INSUFFICIENT_STOCK", "no 'tea', \"none\" {at} all\\")
    saga.record("reserve-stock", ACTION, refusal, now=START, jitter=_half)
    assert set(world.store.write([write(saga)])) == {saga.saga_id}
    view = found(world, saga)
    assert view.snapshot.state is SagaState.COMPENSATING
    assert view.snapshot.failure == Failure(refusal.reason, refusal.message)
    assert as_stored(view.snapshot) == as_stored(saga.snapshot())


def test_write_leaves_the_lease_unless_told(world: World) -> None:
    kept, longer = new_saga("a"), new_saga("b")
    world.insert([kept.snapshot(), longer.snapshot()])
    world.store.write([write(kept), write(longer, wake_in=20)])
    world.pass_time(11)
    assert set(claim(world)) == {kept.saga_id}
    world.pass_time(10)
    assert longer.saga_id in claim(world)


def test_write_of_an_old_epoch_is_ignored(world: World) -> None:
    lost, ours = new_saga("a"), new_saga("b")
    world.insert([lost.snapshot()], lease_seconds=0)
    world.insert([ours.snapshot()])
    claim(world)
    for saga in (lost, ours):
        saga.record("reserve-stock", ACTION, Done(), now=START, jitter=_half)
    assert set(world.store.write([write(lost), write(ours)])) == {ours.saga_id}
    assert found(world, lost).snapshot.steps[0].state.value == "SENT"


def test_renew_needs_the_epoch(world: World) -> None:
    lost, ours = new_saga("a"), new_saga("b")
    world.insert([lost.snapshot()], lease_seconds=0)
    world.insert([ours.snapshot()])
    claim(world)
    leases = [Lease(lost.saga_id, 1), Lease(ours.saga_id, 1)]
    assert set(world.store.renew(leases, seconds=30)) == {ours.saga_id}
    world.pass_time(11)
    assert set(claim(world)) == {lost.saga_id}


def test_lease_given_back_is_free_at_once(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    world.store.renew([Lease(saga.saga_id, 1)], seconds=0)
    assert set(claim(world)) == {saga.saga_id}


def test_live_definitions_are_those_of_unfinished_sagas(world: World) -> None:
    running, stuck, ended, other = (new_saga(subject).snapshot() for subject in "abcd")
    world.insert(
        [
            running,
            altered(stuck, state=SagaState.NEEDS_OPERATOR),
            altered(ended, state=SagaState.COMPLETED, definition_hash="old"),
            altered(other, definition_version=2, definition_hash="new"),
        ]
    )
    live = world.store.live_definitions()
    assert [(one.version, one.hash, one.instances) for one in live] == [
        (1, PLACE_ORDER.hash, 2),
        (2, "new", 1),
    ]


def waiting_for(earlier: SagaInstance, subject: str = "order-1") -> SagaInstance:
    return SagaInstance.start(
        FULFIL_ORDER, subject, {}, now=START, occurrence="s", waits_for=earlier.saga_id
    )


def end(saga: SagaInstance) -> SagaInstance:
    for step in PLACE_ORDER.steps:
        saga.record(step.name, ACTION, Done(), now=START, jitter=_half)
        saga.due_commands(START)
    return saga


def test_queue_tells_what_exists_and_who_is_last(world: World) -> None:
    first, other = new_saga(), new_saga("order-2")
    second = waiting_for(first)
    world.insert([first.snapshot(), end(other).snapshot()])
    unknown = uuid.uuid4()
    assert world.queue([first.saga_id, unknown], ["order-1", "order-2"]) == QueueState(
        {first.saga_id}, {"order-1": first.saga_id}
    )
    world.insert([second.snapshot()])
    assert world.queue([], ["order-1"]).last == {"order-1": second.saga_id}


def test_queued_saga_is_shown_and_not_claimed(world: World) -> None:
    first = new_saga()
    second = waiting_for(first)
    world.insert([first.snapshot(), second.snapshot()], lease_seconds=0)
    assert as_stored(found(world, second).snapshot) == as_stored(second.snapshot())
    assert found(world, second).snapshot.state is SagaState.QUEUED
    assert (second.occurrence, second.waits_for) == ("s", first.saga_id)
    world.pass_time(3600)
    claimed = world.store.claim([*HASHES, FULFIL_ORDER.hash], limit=9, lease_seconds=10)
    assert [one.snapshot.saga_id for one in claimed] == [first.saga_id]


def test_end_of_the_earlier_saga_makes_the_next_due(world: World) -> None:
    first = new_saga()
    second = waiting_for(first)
    world.insert([first.snapshot(), second.snapshot()])
    assert set(world.store.write([write(first)])) == {first.saga_id}
    assert set(world.store.write([write(end(first))])) == {first.saga_id, second.saga_id}
    (claimed,) = world.store.claim([FULFIL_ORDER.hash], limit=9, lease_seconds=10)
    assert claimed.snapshot.saga_id == second.saga_id
    assert (claimed.snapshot.state, claimed.snapshot.waits_for) == (SagaState.RUNNING, None)


def test_paused_saga_whose_turn_has_come_stays_paused(world: World) -> None:
    first = new_saga()
    second = waiting_for(first)
    paused = altered(second.snapshot(), state=SagaState.PAUSED)
    world.insert([first.snapshot(), paused])
    world.store.write([write(end(first))])
    now = found(world, second).snapshot
    assert (now.state, now.waits_for) == (SagaState.PAUSED, None)
    assert not world.store.claim([FULFIL_ORDER.hash], limit=9, lease_seconds=10)


def test_end_that_is_not_ours_to_write_wakes_nobody(world: World) -> None:
    first = new_saga()
    second = waiting_for(first)
    world.insert([first.snapshot(), second.snapshot()])
    assert not world.store.write([write(end(first), epoch=7)])
    assert found(world, second).snapshot.state is SagaState.QUEUED


def test_parked_saga_can_be_made_due_by_its_participant(world: World) -> None:
    sagas = [new_saga(subject) for subject in "abc"]
    world.insert([saga.snapshot() for saga in sagas])
    for saga in sagas:
        parked = Parked("inventory is away: no answer", 60)
        saga.record("reserve-stock", ACTION, parked, now=START, jitter=_half)
    assert sagas[0].snapshot().parked_on == "inventory"
    world.store.write([write(saga, wake_in=60) for saga in sagas])
    assert as_stored(found(world, sagas[0]).snapshot).steps == list(sagas[0].snapshot().steps)
    assert world.store.unpark("payment", limit=9) == 0
    assert [world.store.unpark("inventory", limit=2) for _ in range(3)] == [2, 1, 0]
    assert len(claim(world)) == 3


def test_attempts_that_are_over_come_back_once_and_as_they_were(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    saga.record("reserve-stock", ACTION, Unknown("away"), now=START, jitter=_half)
    for _ in range(2):
        world.store.write([write(saga)])
    retry = START + timedelta(seconds=0.05)
    away = Attempt(False, 1, START, START, "away", retry)
    assert attempts(world, saga) == {"reserve-stock": [away]}
    heir = SagaInstance.rehydrate(PLACE_ORDER, found(world, saga).snapshot)
    heir.due_commands(retry)
    heir.record("reserve-stock", ACTION, Refused("NO", "no"), now=retry, jitter=_half)
    world.store.write([write(heir)])
    refused = Attempt(False, 2, retry, retry, "no")
    assert attempts(world, saga) == {"reserve-stock": [away, refused]}


def test_attempts_of_a_saga_that_is_not_ours_to_write_are_not_kept(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    saga.record("reserve-stock", ACTION, Unknown("away"), now=START, jitter=_half)
    world.store.write([write(saga, epoch=7)])
    assert not attempts(world, saga)


def test_last_attempt_comes_back_with_the_saga(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    later = START + timedelta(seconds=1)
    saga.record("reserve-stock", ACTION, Done(), now=later, jitter=_half)
    world.store.write([write(saga)])
    step = found(world, saga).snapshot.steps[0]
    assert step.last_attempt == Attempt(False, 1, START, later)


def attempts(world: World, saga: SagaInstance) -> Mapping[str, Sequence[Attempt]]:
    found_attempts = found(world, saga).attempts
    assert found_attempts is not None
    return found_attempts


WAIT = Saga(
    "wait",
    version=1,
    steps=[Step("wait", WaitFor("parcel.arrived", timeout_seconds=60))],
)


def waiting(world: World, wake_in: float | None = 60, subject: str = "order-1") -> SagaInstance:
    saga = SagaInstance.start(WAIT, subject, {}, now=START)
    world.insert([saga.snapshot()])
    world.store.write([write(saga, wake_in=wake_in)])
    return saga


def claim_waiting(world: World) -> Sequence[Collection[str]]:
    return [one.events for one in world.store.claim([WAIT.hash], limit=9, lease_seconds=60)]


def test_event_makes_the_saga_due_that_waits_for_it(world: World) -> None:
    waiting(world)
    world.note([("order-1", "something.else")], [WAIT.hash])
    world.note([("order-2", "parcel.arrived")], [WAIT.hash])
    claim_waiting(world)
    world.note([("order-1", "parcel.arrived"), ("order-1", "parcel.arrived")], [WAIT.hash])
    ((*events,),) = claim_waiting(world)
    assert "parcel.arrived" in events


def test_saga_goes_to_rest_on_an_event_that_has_come_already(world: World) -> None:
    world.note([("order-1", "parcel.arrived")], [WAIT.hash])
    waiting(world)
    assert [list(events) for events in claim_waiting(world)] == [["parcel.arrived"]]


def test_old_events_are_forgotten_unless_a_saga_about_their_subject_goes_on(world: World) -> None:
    for number in range(4):
        world.pass_time(36 * 3600)
        world.note([(f"order-{number}", "parcel.arrived")], [WAIT.hash])
    saga = new_saga("order-1")
    world.insert([saga.snapshot()])
    assert world.store.forget_events(older_than_days=1, limit=1) == 1
    assert world.store.forget_events(older_than_days=1, limit=9) == 1
    world.store.write([write(end(saga))])
    assert world.store.forget_events(older_than_days=1, limit=9) == 1
    waiting(world, subject="order-3")
    assert [list(events) for events in claim_waiting(world)] == [["parcel.arrived"]]


def test_unknown_saga_is_none(world: World) -> None:
    assert world.reader.find(uuid.UUID(int=0)) is None


def test_pages_go_from_the_newest_to_the_oldest(world: World) -> None:
    world.insert([new_saga("a").snapshot(), new_saga("b").snapshot()])
    world.insert([new_saga("c").snapshot()])
    seen: list[SagaView] = []
    after = None
    while page := world.reader.page(SagaFilter(), size=1, after=after):
        seen += page
        after = PagePosition(page[0].create_time, page[0].snapshot.saga_id)
    assert seen[0].snapshot.subject == "c"
    assert {view.snapshot.subject for view in seen[1:]} == {"a", "b"}
    assert seen == list(world.reader.page(SagaFilter(), size=10, after=None))


def test_pages_can_be_filtered(world: World) -> None:
    ended = altered(new_saga("a").snapshot(), state=SagaState.COMPLETED)
    world.insert([ended, new_saga("b").snapshot()])

    def subjects(wanted: SagaFilter) -> set[str]:
        page = world.reader.page(wanted, size=10, after=None)
        return {view.snapshot.subject for view in page}

    assert subjects(SagaFilter(subject="b")) == {"b"}
    assert subjects(SagaFilter(states=[SagaState.COMPLETED])) == {"a"}
    assert subjects(SagaFilter(subject="b", states=[SagaState.COMPLETED])) == set()


def _half() -> float:
    return 0.5
