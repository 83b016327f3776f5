"""The engine among fakes: crashes, leases, waits, and what it holds in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from trackops_saga_orchestrator.domain.commands import StepCommand
from trackops_saga_orchestrator.domain.participants import inventory, order, payment
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import Outcome, SagaState, Unknown
from trackops_saga_orchestrator.domain.steps import Action

from .engine_mesh import PATIENCE_SECONDS, Mesh


async def test_waiting_saga_is_a_row_and_nothing_else() -> None:
    mesh = Mesh()
    mesh.participants.answer = lambda _: Unknown("away")
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a"))
        await engine.idle()
        calls = len(mesh.participants.calls)
        await engine.tick()
        assert (engine.in_memory, len(mesh.participants.calls)) == (0, calls)
        mesh.clock.advance(0.05)
        await engine.tick()
        await engine.idle()
        assert len(mesh.participants.calls) == calls + 1


async def test_participant_that_stays_away_costs_few_calls() -> None:
    mesh = Mesh()
    mesh.participants.answer = lambda command: (
        Unknown("away") if command.action in (payment.authorize, payment.void) else None
    )
    async with mesh.running() as engine:
        await engine.admit(mesh.start(*map(str, range(200))))
        for _ in range(60):
            mesh.clock.advance(1)
            await engine.tick()
            await engine.idle()
    assert len(mesh.participants.calls) < 20


async def test_lost_answer_has_one_effect() -> None:
    mesh = Mesh()
    answered: set[str] = set()

    def perform_but_lose(command: StepCommand) -> Outcome | None:
        if command.request_id in answered:
            return None
        answered.add(command.request_id)
        mesh.participants.perform(command)
        return Unknown("the answer got lost")

    mesh.participants.answer = perform_but_lose
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", "b"))
        await mesh.until_ended(engine)
    assert set(mesh.participants.effects.values()) == {1}


@pytest.mark.parametrize("action", [inventory.reserve, payment.authorize, order.confirm], ids=str)
async def test_another_engine_takes_over_after_the_lease(action: Action) -> None:
    mesh = Mesh()
    reached = asyncio.Event()

    async def hang(commands: Sequence[StepCommand]) -> None:
        if commands[0].action == action:
            reached.set()
            await asyncio.Event().wait()

    mesh.participants.before = hang
    crashed = mesh.engine()
    task = asyncio.create_task(crashed.run())
    await crashed.admit(mesh.start("a", "b"))
    await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)
    task.cancel()

    mesh.participants.before = None
    async with mesh.running() as heir:
        mesh.clock.advance(9)
        await heir.tick()
        assert heir.in_memory == 0
        mesh.clock.advance(1)
        await heir.tick()
        await heir.idle()
    assert mesh.states() == {SagaState.COMPLETED}
    assert set(mesh.participants.effects.values()) == {1}
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_saga_that_another_engine_has_is_dropped() -> None:
    mesh = Mesh()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stall(_: Sequence[StepCommand]) -> None:
        reached.set()
        await go_on.wait()

    mesh.participants.before = stall
    (started,) = mesh.start("a")
    async with mesh.running() as engine:
        await engine.admit([started])
        await reached.wait()
        mesh.clock.advance(11)
        mesh.store.claim([PLACE_ORDER.hash], limit=1, lease_seconds=10)
        go_on.set()
        await engine.idle()
    row = mesh.store.rows[started.saga.saga_id]
    assert row.epoch == 2
    assert row.snapshot.steps[0].state.value == "SENT"
    assert not mesh.participants.commands("authorize-payment")


async def test_lease_of_a_saga_that_takes_long_is_renewed() -> None:
    mesh = Mesh()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stall(_: Sequence[StepCommand]) -> None:
        reached.set()
        await go_on.wait()

    mesh.participants.before = stall
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a"))
        await reached.wait()
        for _ in range(30):
            mesh.clock.advance(1)
            await engine.tick()
            assert not mesh.store.claim([PLACE_ORDER.hash], limit=1, lease_seconds=10)
        go_on.set()
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}
    assert {row.epoch for row in mesh.store.rows.values()} == {1}
    assert len(mesh.participants.commands("reserve-stock")) == 1


async def test_write_leaves_the_lease_while_half_of_it_is_left() -> None:
    mesh = Mesh()
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a"))
        await engine.idle()
    assert {one.wake_in_seconds for writes in mesh.store.writes for one in writes} == {None}


async def test_store_that_is_away_is_asked_again() -> None:
    mesh = Mesh()
    async with mesh.running() as engine:
        await engine.tick()
        mesh.store.failures = 5
        await engine.admit(mesh.start("a"))
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}
    assert set(mesh.participants.effects.values()) == {1}


async def test_stopped_engine_gives_its_leases_back() -> None:
    mesh = Mesh()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stall(_: Sequence[StepCommand]) -> None:
        reached.set()
        await go_on.wait()

    mesh.participants.before = stall
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a"))
        await reached.wait()
        engine.stop()
        go_on.set()
    claimed = mesh.store.claim([PLACE_ORDER.hash], limit=1, lease_seconds=10)
    assert [step.state.value for step in claimed[0].snapshot.steps][:2] == ["DONE", "SENT"]


async def test_stopped_engine_takes_nothing() -> None:
    mesh = Mesh()
    async with mesh.running() as engine:
        pass
    await engine.admit(mesh.start("a"))
    assert engine.in_memory == 0


async def test_new_sagas_wait_while_memory_is_full() -> None:
    mesh = Mesh()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stall(_: Sequence[StepCommand]) -> None:
        reached.set()
        await go_on.wait()

    mesh.participants.before = stall
    async with mesh.running(max_in_memory=2) as engine:
        await engine.admit(mesh.start("a", "b"))
        await reached.wait()
        more = asyncio.create_task(engine.admit(mesh.start("c")))
        await asyncio.sleep(0)
        assert not more.done()
        go_on.set()
        await more
        await engine.idle()
    assert len(mesh.store.rows) == 3
    assert mesh.states() == {SagaState.COMPLETED}


async def test_claims_are_bounded() -> None:
    mesh = Mesh()
    mesh.start(*map(str, range(30)))
    mesh.clock.advance(11)
    mesh.participants.before = lambda _: asyncio.Event().wait()  # type: ignore[assignment, return-value]
    engine = mesh.engine(max_in_memory=5, max_claim=7)
    for _ in range(5):
        await engine.tick()
    assert engine.in_memory == 10
