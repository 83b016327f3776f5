"""One suite for the fake store and the real one: sagas, leases, attempts, pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import pytest

from trackops_saga_orchestrator.application.ports import (
    Lease,
    PagePosition,
    SagaFilter,
    SagaView,
)
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import (
    Attempt,
    Done,
    Failure,
    Refused,
    SagaState,
    Unknown,
)

from .saga_fakes import START, altered
from .saga_stores import (
    ACTION,
    HASHES,
    STORES,
    World,
    as_stored,
    claim,
    found,
    half,
    new_saga,
    store_world,
    write,
)


@pytest.fixture(params=STORES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    yield from store_world(request)


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
    saga.record("reserve-stock", ACTION, Done({"reservation": "r"}), now=START, jitter=half)
    saga.due_commands(START)
    saga.record("authorize-payment", ACTION, Unknown("away"), now=START, jitter=half)
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
    saga.record("reserve-stock", ACTION, refusal, now=START, jitter=half)
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
        saga.record("reserve-stock", ACTION, Done(), now=START, jitter=half)
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


def test_attempts_that_are_over_come_back_once_and_as_they_were(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    saga.record("reserve-stock", ACTION, Unknown("away"), now=START, jitter=half)
    for _ in range(2):
        world.store.write([write(saga)])
    retry = START + timedelta(seconds=0.05)
    away = Attempt(False, 1, START, START, "away", retry)
    assert attempts(world, saga) == {"reserve-stock": [away]}
    heir = SagaInstance.rehydrate(PLACE_ORDER, found(world, saga).snapshot)
    heir.due_commands(retry)
    heir.record("reserve-stock", ACTION, Refused("NO", "no"), now=retry, jitter=half)
    world.store.write([write(heir)])
    refused = Attempt(False, 2, retry, retry, "no")
    assert attempts(world, saga) == {"reserve-stock": [away, refused]}


def test_attempts_of_a_saga_that_is_not_ours_to_write_are_not_kept(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    saga.record("reserve-stock", ACTION, Unknown("away"), now=START, jitter=half)
    world.store.write([write(saga, epoch=7)])
    assert not attempts(world, saga)


def test_last_attempt_comes_back_with_the_saga(world: World) -> None:
    saga = new_saga()
    world.insert([saga.snapshot()])
    later = START + timedelta(seconds=1)
    saga.record("reserve-stock", ACTION, Done(), now=later, jitter=half)
    world.store.write([write(saga)])
    step = found(world, saga).snapshot.steps[0]
    assert step.last_attempt == Attempt(False, 1, START, later)


def attempts(world: World, saga: SagaInstance) -> Mapping[str, Sequence[Attempt]]:
    found_attempts = found(world, saga).attempts
    assert found_attempts is not None
    return found_attempts


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
