"""Sagas about one order run one after another, whoever runs them."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from trackops_cli.testing import wait_for
from trackops_common.clock import SystemClock
from trackops_common.database import Database
from trackops_common.testing import eventually
from trackops_saga_orchestrator.adapters.postgres import PostgresNewSagas, PostgresSagaStore
from trackops_saga_orchestrator.adapters.postgres_clock import PostgresClock
from trackops_saga_orchestrator.application.ports import SagaWrite
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSaga, StartSagas
from trackops_saga_orchestrator.domain.cancel_order import CANCEL_ORDER
from trackops_saga_orchestrator.domain.commands import Phase
from trackops_saga_orchestrator.domain.definitions import DEFINITIONS
from trackops_saga_orchestrator.domain.fulfil_order import FULFIL_ORDER
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import Done, SagaState, Unknown
from trackops_saga_orchestrator.domain.return_order import RETURN_ORDER
from trackops_saga_orchestrator.domain.saga import Saga

from .engine_mesh import Mesh, refuse
from .saga_fakes import START

ROUNDS = 300


def start(definition: Saga, subject: str = "a", occurrence: str = "") -> StartSaga:
    return StartSaga(definition, subject, {"items": [], "amount_minor": 1}, occurrence)


def mesh_of_all() -> Mesh:
    return Mesh(*DEFINITIONS)


async def test_sagas_of_one_subject_run_in_the_order_of_their_triggers() -> None:
    mesh = mesh_of_all()
    async with mesh.running() as engine:
        await engine.admit(
            mesh.start_all(
                [
                    start(RETURN_ORDER, "b", "r"),
                    start(FULFIL_ORDER, "a", "1"),
                    start(PLACE_ORDER, "a"),
                    start(FULFIL_ORDER, "a", "2"),
                    start(RETURN_ORDER, "a", "r"),
                ]
            )
        )
        await mesh.until_ended(engine)
    steps = [
        command.step
        for call in mesh.participants.calls
        for command in call
        if command.subject == "a"
    ]
    assert steps[:3] == ["reserve-stock", "authorize-payment", "confirm-order"]
    assert [set(steps[at : at + 2]) for at in (3, 5, 7)] == [
        {"commit-stock", "capture-payment"},
        {"commit-stock", "capture-payment"},
        {"refund-payment", "restock-items"},
    ]
    captures = mesh.participants.commands("capture-payment")
    assert [one.saga_id for one in captures] == [
        FULFIL_ORDER.saga_id("a", "1"),
        FULFIL_ORDER.saga_id("a", "2"),
    ]


async def test_next_saga_starts_without_a_poll_in_between() -> None:
    mesh = mesh_of_all()
    async with mesh.running() as engine:
        await engine.admit(mesh.start_all([start(PLACE_ORDER), start(FULFIL_ORDER)]))
        await eventually(lambda: mesh.states() == {SagaState.COMPLETED})


async def test_saga_behind_one_that_needs_an_operator_waits() -> None:
    mesh = mesh_of_all()
    mesh.participants = refuse("commit-stock")
    first, second = FULFIL_ORDER.saga_id("a", "1"), FULFIL_ORDER.saga_id("a", "2")
    async with mesh.running() as engine:
        await engine.admit(
            mesh.start_all([start(FULFIL_ORDER, "a", "1"), start(FULFIL_ORDER, "a", "2")])
        )
        for _ in range(10):
            await engine.idle()
            mesh.clock.advance(60)
            await engine.tick()
    assert mesh.store.state(first) is SagaState.NEEDS_OPERATOR
    assert mesh.store.state(second) is SagaState.QUEUED
    assert mesh.store.rows[second].snapshot.waits_for == first


def test_trigger_that_comes_again_starts_and_queues_nothing() -> None:
    mesh = mesh_of_all()
    once = [start(FULFIL_ORDER, "a", "1"), start(FULFIL_ORDER, "a", "2")]
    assert len(mesh.start_all([*once, *once])) == 1
    assert mesh.start_all(once) == []
    third = mesh.start_all([*once, start(RETURN_ORDER, "a", "r")])
    assert third == []
    waits = {row.snapshot.occurrence: row.snapshot.waits_for for row in mesh.store.rows.values()}
    assert waits == {
        "1": None,
        "2": FULFIL_ORDER.saga_id("a", "1"),
        "r": FULFIL_ORDER.saga_id("a", "2"),
    }


def test_saga_after_one_that_has_ended_does_not_wait() -> None:
    mesh = mesh_of_all()
    (first,) = mesh.start_all([start(CANCEL_ORDER)])
    mesh.store.write([SagaWrite(ended(first.saga).snapshot(), 1, None)])
    (second,) = mesh.start_all([start(RETURN_ORDER, "a", "r")])
    assert second.saga.state is SagaState.RUNNING


@pytest.fixture
def databases(database: Any) -> Iterator[tuple[Database, Database]]:
    url = database.url("trackops_saga_orchestrator")
    pair = (Database(url, application_name="one"), Database(url, application_name="other"))
    yield pair
    for one in pair:
        one.close()


def ended(saga: SagaInstance) -> SagaInstance:
    while commands := [*saga.due_commands(START), *_under_way(saga)]:
        saga.record(commands[0].step, Phase.ACTION, Done(), now=START, jitter=lambda: 0)
    return saga


def _under_way(saga: SagaInstance) -> list[Any]:
    fresh = SagaInstance.rehydrate(saga.definition, saga.snapshot())
    return list(fresh.due_commands(START))


def begin(database: Database, *starts: StartSaga) -> list[StartedSaga]:
    with database.transaction() as transaction:
        started = StartSagas(SystemClock(), 10)(PostgresNewSagas(transaction), starts)
        transaction.commit()
    return list(started)


def test_end_and_next_trigger_in_the_same_instant_lose_no_wake_up(
    databases: tuple[Database, Database],
) -> None:
    """Whichever comes first, the later saga is runnable once both are through."""
    one, other = databases
    store = PostgresSagaStore(one, PostgresClock(one))
    both = threading.Barrier(2)
    outcomes: set[str] = set()
    wobble = random.Random(4)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            order_id = str(uuid.uuid4())
            (earlier,) = begin(one, start(FULFIL_ORDER, order_id, "1"))
            write = SagaWrite(ended(earlier.saga).snapshot(), earlier.epoch, None)
            spins = wobble.choice([0, 0, 1000, 5000, 20_000])

            def end_it(write: SagaWrite = write, spins: int = spins) -> None:
                both.wait()
                for _ in range(spins):
                    pass
                store.write([write])

            def queue_it(order_id: str = order_id) -> None:
                both.wait()
                begin(other, start(RETURN_ORDER, order_id, "r"))

            for done in [pool.submit(end_it), pool.submit(queue_it)]:
                done.result(10)
            ((state,),) = one.fetch(
                "SELECT state FROM sagas WHERE definition = 'return-order' AND subject = %(s)s",
                {"s": order_id},
            )
            outcomes.add(state)
    assert outcomes == {"RUNNING"}


def test_end_waits_for_the_one_that_queues(databases: tuple[Database, Database]) -> None:
    """The very interleaving that would lose a wake-up: queued, not committed, then the end."""
    one, other = databases
    store = PostgresSagaStore(one, PostgresClock(one))
    (earlier,) = begin(one, start(FULFIL_ORDER, "a", "1"))
    with ThreadPoolExecutor(1) as pool, other.transaction() as transaction:
        new_sagas = PostgresNewSagas(transaction)
        assert StartSagas(SystemClock(), 10)(new_sagas, [start(RETURN_ORDER, "a", "r")]) == []
        writing = pool.submit(
            store.write, [SagaWrite(ended(earlier.saga).snapshot(), earlier.epoch, None)]
        )
        wait_until_blocked(other)
        transaction.commit()
        assert set(writing.result(10)) == {
            earlier.saga.saga_id,
            RETURN_ORDER.saga_id("a", "r"),
        }


def wait_until_blocked(database: Database) -> None:
    """Until somebody waits for a lock; asked of Postgres, which knows."""
    blocked = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    wait_for(lambda: database.fetch(blocked), seconds=5, what="the end to wait for the lock")


async def test_wait_of_the_earlier_one_holds_the_later_one_back() -> None:
    mesh = mesh_of_all()
    silences = iter([Unknown("away")] * 5)
    mesh.participants.answer = lambda command: (
        next(silences, None) if command.step == "capture-payment" else None
    )
    async with mesh.running() as engine:
        await engine.admit(
            mesh.start_all([start(FULFIL_ORDER, "a", "1"), start(RETURN_ORDER, "a", "r")])
        )
        await mesh.until_ended(engine)
    order = [command.step for call in mesh.participants.calls for command in call]
    assert order.index("refund-payment") > max(
        at for at, step in enumerate(order) if step == "capture-payment"
    )
