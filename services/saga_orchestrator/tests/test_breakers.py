"""A participant that is away costs no attempts, and everything goes on when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from trackops_common.grpc.channels import open_channel
from trackops_common.testing import eventually
from trackops_saga_orchestrator.adapters.participants import grpc_participants
from trackops_saga_orchestrator.application.breakers import BreakerLimits
from trackops_saga_orchestrator.application.engine import Engine
from trackops_saga_orchestrator.application.limits import EngineLimits
from trackops_saga_orchestrator.domain.commands import StepCommand
from trackops_saga_orchestrator.domain.place_order import OrderToPlace
from trackops_saga_orchestrator.domain.progress import (
    ENDED_STATES,
    Outcome,
    SagaState,
    StepState,
    Unknown,
)

from .engine_mesh import Mesh, is_action
from .participant_server import Participant, serving_on
from .saga_fakes import InlineExecutor

SAGAS = 200


class Outage:
    """A mesh whose payment is away until told otherwise."""

    def __init__(self) -> None:
        self.mesh = Mesh()
        self.away = True
        self.mesh.participants.answer = self.answer

    def answer(self, command: StepCommand) -> Outcome | None:
        gone = self.away and command.action.participant == "payment"
        return Unknown("UNAVAILABLE: nobody", away=True) if gone else None

    async def let_pass(self, engine: Engine, seconds: int, *, step: int = 1) -> None:
        for _ in range(0, seconds, step):
            self.mesh.clock.advance(step)
            await engine.tick()
            await settle()

    async def end(self, engine: Engine) -> None:
        """Payment is back, and every saga comes to its end."""
        self.away = False
        while self.mesh.states() != {SagaState.COMPLETED}:
            await self.let_pass(engine, 1)


async def settle() -> None:
    """Whatever can happen without time going by has happened."""
    for _ in range(60):
        await asyncio.sleep(0)


def payment_calls(mesh: Mesh) -> list[Sequence[StepCommand]]:
    return [call for call in mesh.participants.calls if call[0].action.participant == "payment"]


async def test_orders_survive_an_hour_without_payment() -> None:
    outage = Outage()
    mesh = outage.mesh
    async with mesh.running() as engine:
        await engine.admit(mesh.start(*map(str, range(SAGAS))))
        await outage.let_pass(engine, 3600, step=5)
        assert mesh.states() == {SagaState.RUNNING}
        attempts = {row.snapshot.steps[1].attempts for row in mesh.store.rows.values()}
        assert max(attempts) <= 4
        await outage.end(engine)
    assert mesh.states() == {SagaState.COMPLETED}
    assert set(mesh.participants.effects.values()) == {1}


async def test_one_command_at_intervals_is_all_that_is_sent() -> None:
    outage = Outage()
    async with outage.mesh.running() as engine:
        await engine.admit(outage.mesh.start(*map(str, range(SAGAS))))
        await outage.let_pass(engine, 60)
        before = len(payment_calls(outage.mesh))
        await outage.let_pass(engine, 100)
        probes = payment_calls(outage.mesh)[before:]
        await outage.end(engine)
    assert [len(call) for call in probes] == [1] * 20


async def test_all_go_on_within_one_interval_of_the_return() -> None:
    outage = Outage()
    async with outage.mesh.running() as engine:
        await engine.admit(outage.mesh.start(*map(str, range(SAGAS))))
        await outage.let_pass(engine, 120)
        outage.away = False
        await outage.let_pass(engine, 7)
        assert outage.mesh.states() == {SagaState.COMPLETED}


async def test_saga_says_what_it_waits_for_and_the_engine_who_is_away() -> None:
    outage = Outage()
    mesh = outage.mesh
    async with mesh.running() as engine:
        await engine.admit(mesh.start(*map(str, range(5))))
        await outage.let_pass(engine, 60)
        health = {one.name: one for one in engine.participants}
        assert health["payment"].away_since is not None
        assert health["payment"].error == "UNAVAILABLE: nobody"
        assert health["inventory"].away_since is None
        parked = [row.snapshot for row in mesh.store.rows.values() if row.snapshot.parked_on]
        assert len(parked) >= 4
        assert parked[0].steps[1].state is StepState.SENT
        assert parked[0].steps[1].error == "payment is away: UNAVAILABLE: nobody"
        await outage.end(engine)
        assert {one.away_since for one in engine.participants} == {None}


async def test_other_participants_steps_are_not_held_up() -> None:
    outage = Outage()
    mesh = outage.mesh
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", "b", "c", "d"))
        await outage.let_pass(engine, 60)
        await engine.admit(mesh.start("late"))
        await settle()
        assert "late" in {one.subject for one in mesh.participants.commands("reserve-stock")}
        await outage.end(engine)


async def test_answer_to_one_of_many_is_an_answer() -> None:
    """A participant that fails single orders is there; those burn their attempts."""
    mesh = Mesh()
    mesh.participants.answer = lambda command: (
        Unknown("UNAVAILABLE: this one", away=True)
        if command.step == "authorize-payment" and command.subject == "bad"
        else None
    )
    async with mesh.running() as engine:
        for number in range(5):
            await engine.admit(mesh.start(f"good-{number}", f"better-{number}"))
            if not number:
                await engine.admit(mesh.start("bad"))
            await settle()
            mesh.clock.advance(30)
            await engine.tick()
            await settle()
        assert {one.away_since for one in engine.participants} == {None}


def poisoned(*subjects: str) -> Mesh:
    """A mesh whose payment is there, and never answers for these."""
    mesh = Mesh()
    mesh.participants.answer = lambda command: (
        Unknown("UNAVAILABLE: this one", away=True, reached=True)
        if is_action(command, "authorize-payment") and command.subject in subjects
        else None
    )
    return mesh


async def test_one_order_that_never_gets_an_answer_burns_its_own_attempts_alone() -> None:
    mesh = poisoned("bad")
    async with mesh.running() as engine:
        await engine.admit(mesh.start("bad"))
        for _ in range(600):
            mesh.clock.advance(1)
            await engine.tick()
            await settle()
            assert {one.away_since for one in engine.participants} == {None}
    assert mesh.states() == {SagaState.COMPENSATED}


async def test_orders_that_never_get_an_answer_do_not_hold_up_the_next_one() -> None:
    bad = [f"bad-{number}" for number in range(5)]
    mesh = poisoned(*bad)
    async with mesh.running() as engine:
        await engine.admit(mesh.start(*bad))
        for _ in range(30):
            mesh.clock.advance(1)
            await engine.tick()
            await settle()
        assert {one.away_since for one in engine.participants} != {None}
        await engine.admit(mesh.start("good"))
        for _ in range(10):
            mesh.clock.advance(1)
            await engine.tick()
            await settle()
    ended = {
        row.snapshot.subject
        for row in mesh.store.rows.values()
        if row.snapshot.state in ENDED_STATES
    }
    assert ended == {"good"}


async def test_what_an_engine_parked_goes_on_when_the_next_one_starts() -> None:
    outage = Outage()
    mesh = outage.mesh
    async with mesh.running() as engine:
        await engine.admit(mesh.start(*map(str, range(SAGAS))))
        await outage.let_pass(engine, 30)
    outage.away = False
    async with mesh.running() as heir:
        await outage.let_pass(heir, 3)
        assert mesh.states() == {SagaState.COMPLETED}


async def test_real_participant_stopped_and_started() -> None:
    """Over gRPC, on a clock that goes: no order is rejected and none needs a second effect."""
    mesh = Mesh()
    mesh.input = OrderToPlace([("TEA-1", 1)], 100, "EUR", "tok").to_input()
    participant = Participant()
    async with serving_on(participant, port=0) as target:
        pass  # the port is known and nobody listens on it
    quick = BreakerLimits(probe_seconds=0.2, parked_seconds=60)
    async with open_channel(target) as channel:
        engine = Engine(
            mesh.definitions,
            mesh.store,
            grpc_participants(
                inventory_channel=channel, payment_channel=channel, order_channel=channel
            ),
            mesh.real_clock(),
            InlineExecutor(),
            limits=EngineLimits(poll_seconds=0.05, breaker=quick),
        )
        task = asyncio.create_task(engine.run())
        await engine.admit(mesh.start(*map(str, range(SAGAS))))
        await eventually(lambda: any(one.away_since for one in engine.participants))
        assert mesh.states() == {SagaState.RUNNING}
        async with serving_on(participant, port=int(target.rpartition(":")[2])):
            await eventually(lambda: mesh.states() == {SagaState.COMPLETED})
        engine.stop()
        await task
    assert {one.away_since for one in engine.participants} == {None}
