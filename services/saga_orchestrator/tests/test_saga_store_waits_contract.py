"""One suite for the fake store and the real one: what sagas wait for and what wakes them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence

import pytest

from trackops_saga_orchestrator.application.ports import QueueState
from trackops_saga_orchestrator.domain.fulfil_order import FULFIL_ORDER
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.progress import Parked, SagaState
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import Step, WaitFor

from .saga_fakes import START, altered
from .saga_stores import (
    ACTION,
    HASHES,
    STORES,
    World,
    as_stored,
    claim,
    end,
    found,
    half,
    new_saga,
    store_world,
    write,
)


@pytest.fixture(params=STORES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    yield from store_world(request)


def waiting_for(earlier: SagaInstance, subject: str = "order-1") -> SagaInstance:
    return SagaInstance.start(
        FULFIL_ORDER, subject, {}, now=START, occurrence="s", waits_for=earlier.saga_id
    )


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
        saga.record("reserve-stock", ACTION, parked, now=START, jitter=half)
    assert sagas[0].snapshot().parked_on == "inventory"
    world.store.write([write(saga, wake_in=60) for saga in sagas])
    assert as_stored(found(world, sagas[0]).snapshot).steps == list(sagas[0].snapshot().steps)
    assert world.store.unpark("payment", limit=9) == 0
    assert [world.store.unpark("inventory", limit=2) for _ in range(3)] == [2, 1, 0]
    assert len(claim(world)) == 3


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
