"""The engine among fakes: how sagas move."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import pytest

from trackops_common.testing import eventually
from trackops_saga_orchestrator.application.check_definitions import (
    OrphanedSagas,
    check_definitions,
)
from trackops_saga_orchestrator.application.engine import Engine, UnboundActions
from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.participants import inventory, order, payment
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import Refused, SagaState, Unknown
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import PIVOT, RETRIABLE, Action, Step

from .engine_mesh import Mesh, refuse
from .saga_fakes import (
    START,
    InlineExecutor,
    altered,
)


async def test_many_sagas_move_in_few_calls_and_few_writes() -> None:
    mesh = Mesh()
    async with mesh.running() as engine:
        await engine.admit(mesh.start(*map(str, range(500))))
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}
    assert set(mesh.participants.effects.values()) == {1}
    assert len(mesh.participants.calls) == 6
    assert len(mesh.store.writes) <= 6


async def test_slow_call_does_not_hold_the_others_up() -> None:
    mesh = Mesh()
    held = asyncio.Event()
    holding = asyncio.Event()

    async def hold_the_slow_one(commands: Sequence[StepCommand]) -> None:
        if commands[0].subject == "slow":
            holding.set()
            await held.wait()

    mesh.participants.before = hold_the_slow_one
    async with mesh.running() as engine:
        await engine.admit(mesh.start("slow"))
        await holding.wait()
        (fast,) = mesh.start("fast")
        await engine.admit([fast])
        await eventually(lambda: engine.in_memory == 1)
        assert mesh.store.state(fast.saga.saga_id) is SagaState.COMPLETED
        held.set()
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}


async def test_every_command_was_stored_as_sent_before_it_left() -> None:
    mesh = Mesh()

    async def look(commands: Sequence[StepCommand]) -> None:
        for command in commands:
            steps = mesh.store.rows[command.saga_id].snapshot.steps
            (stored,) = [step for step in steps if step.name == command.step]
            expected = "SENT" if command.phase is Phase.ACTION else "COMPENSATING"
            assert stored.state.value == expected

    mesh.participants = refuse("confirm-order")
    mesh.participants.before = look
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", "b"))
        await engine.idle()
    assert mesh.states() == {SagaState.COMPENSATED}


@pytest.mark.parametrize("step", [step.name for step in PLACE_ORDER.steps])
async def test_refused_step_leaves_no_effect_but_the_close(step: str) -> None:
    mesh = Mesh()
    mesh.participants = refuse(step)
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a"))
        await engine.idle()
    assert mesh.states() == {SagaState.COMPENSATED}
    left = {name for (_, name), count in mesh.participants.effects.items() if count}
    assert left == {"on-failure"}


@pytest.mark.parametrize("step", [step.name for step in PLACE_ORDER.steps])
async def test_silent_participant_is_asked_again_with_the_same_request_id(step: str) -> None:
    mesh = Mesh()
    silences = iter([Unknown("away")] * 3)
    mesh.participants.answer = lambda command: (
        next(silences, None) if command.step == step else None
    )
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a"))
        await mesh.until_ended(engine)
    commands = mesh.participants.commands(step)
    assert len(commands) == 4
    assert len({command.request_id for command in commands}) == 1
    assert mesh.states() == {SagaState.COMPLETED}


async def test_saga_that_cannot_be_undone_needs_an_operator() -> None:
    mesh = Mesh()
    mesh.participants.answer = lambda command: (
        Refused("NO", "no") if command.step == "authorize-payment" else None
    )
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a"))
        await engine.idle()
        mesh.clock.advance(3600)
        await engine.tick()
        assert engine.in_memory == 0
        assert engine.operator_calls == {PLACE_ORDER.name: 1}
        assert not engine.finished  # it is neither COMPLETED nor COMPENSATED
    assert mesh.states() == {SagaState.NEEDS_OPERATOR}


def undoable(name: str, *after: str) -> Step:
    return Step(name, Action(name, "do"), compensate=Action(name, "undo"), after=after)


DIAMOND = Saga(
    "diamond",
    version=1,
    steps=[
        undoable("first"),
        undoable("left", "first"),
        undoable("right", "first"),
        Step("pivot", Action("pivot", "do"), kind=PIVOT, after=["left", "right"]),
        Step("last", Action("last", "do"), kind=RETRIABLE, after=["pivot"]),
    ],
)


async def test_steps_without_a_path_between_them_run_in_parallel() -> None:
    mesh = Mesh(DIAMOND)
    together = asyncio.Barrier(2)

    async def meet(commands: Sequence[StepCommand]) -> None:
        if commands[0].step in ("left", "right"):
            await together.wait()

    mesh.participants.before = meet
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", definition=DIAMOND))
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}
    assert [command.step for call in mesh.participants.calls for command in call][3:] == [
        "pivot",
        "last",
    ]


async def test_step_that_waits_beside_one_in_the_air_is_sent_when_due() -> None:
    mesh = Mesh(DIAMOND)
    sent_again, go_on = asyncio.Event(), asyncio.Event()
    silences = iter([Unknown("away")])

    async def stall_right(commands: Sequence[StepCommand]) -> None:
        if commands[0].step == "right":
            await go_on.wait()
        if len(mesh.participants.commands("left")) == 2:
            sent_again.set()

    mesh.participants.before = stall_right
    mesh.participants.answer = lambda command: (
        next(silences, None) if command.step == "left" else None
    )
    async with mesh.running() as engine:
        (started,) = mesh.start("a", definition=DIAMOND)
        await engine.admit([started])
        await eventually(lambda: started.saga.next_due is not None)
        mesh.clock.advance(1)
        await engine.tick()
        await sent_again.wait()
        go_on.set()
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}


async def test_parallel_steps_are_undone_in_parallel_then_what_came_before() -> None:
    mesh = Mesh(DIAMOND)
    mesh.participants = refuse("pivot")
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", definition=DIAMOND))
        await engine.idle()
    undone = [
        command.step
        for call in mesh.participants.calls
        for command in call
        if command.phase is Phase.COMPENSATION
    ]
    assert sorted(undone[:2]) == ["left", "right"]
    assert undone[2:] == ["first"]
    assert mesh.states() == {SagaState.COMPENSATED}


def test_action_that_nobody_performs_is_refused_at_start() -> None:
    mesh = Mesh()
    participants = mesh.participants.bind([inventory.reserve, payment.authorize, order.confirm])
    with pytest.raises(UnboundActions, match=r"inventory\.release, order\.close, payment\.void"):
        Engine(mesh.definitions, mesh.store, participants, mesh.clock, InlineExecutor())


def test_sagas_without_a_definition_are_named_at_start() -> None:
    mesh = Mesh()
    mesh.start("a")
    check_definitions(mesh.definitions, mesh.store)
    snapshot = SagaInstance.start(PLACE_ORDER, "b", {}, now=START).snapshot()
    old = altered(
        snapshot, saga_id=uuid.uuid4(), definition_version=7, definition_hash="0123456789abcdef"
    )
    mesh.store.insert([old], lease_seconds=0)
    with pytest.raises(OrphanedSagas, match=r"place-order v7 \(0123456789abcdef\): 1 unfinished"):
        check_definitions(mesh.definitions, mesh.store)


def test_starting_again_starts_nothing() -> None:
    mesh = Mesh()
    assert len(mesh.start("a", "a", "b")) == 2
    assert mesh.start("a", "b") == []
