"""The engine among fakes: waves, retries, crashes, and what it holds in memory."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from trackops_saga_orchestrator.application.check_definitions import (
    OrphanedSagas,
    check_definitions,
)
from trackops_saga_orchestrator.application.engine import Engine, EngineLimits, UnboundActions
from trackops_saga_orchestrator.application.start_sagas import StartedSaga, StartSaga, StartSagas
from trackops_saga_orchestrator.domain.instance import Phase, SagaInstance, StepCommand
from trackops_saga_orchestrator.domain.participants import inventory, order, payment
from trackops_saga_orchestrator.domain.place_order import PLACE_ORDER
from trackops_saga_orchestrator.domain.progress import Outcome, Refused, SagaState, Unknown
from trackops_saga_orchestrator.domain.saga import Definitions, Saga
from trackops_saga_orchestrator.domain.steps import PIVOT, RETRIABLE, Action, Step

from .saga_fakes import (
    START,
    FakeClock,
    FakeParticipants,
    FakeSagaStore,
    InlineExecutor,
    altered,
    until,
)

PATIENCE_SECONDS = 10


class Mesh:
    """A store, participants and a clock that outlive any engine."""

    def __init__(self, *definitions: Saga) -> None:
        self.definitions = Definitions(definitions or [PLACE_ORDER])
        self.clock = FakeClock()
        self.store = FakeSagaStore(self.clock)
        self.participants = FakeParticipants()

    def engine(self, **limits: float) -> Engine:
        return Engine(
            self.definitions,
            self.store,
            self.participants.bind(self.definitions.actions),
            self.clock,
            InlineExecutor(),
            limits=EngineLimits(**({"poll_seconds": 3600} | limits)),  # type: ignore[arg-type]
            jitter=lambda: 0.5,
            sleep=lambda _: asyncio.sleep(0),
        )

    @asynccontextmanager
    async def running(self, **limits: float) -> AsyncIterator[Engine]:
        """An engine at work; its own polls are far apart, tests call `tick`."""
        engine = self.engine(**limits)
        async with asyncio.timeout(PATIENCE_SECONDS):
            task = asyncio.create_task(engine.run())
            yield engine
            engine.stop()
            await task

    def start(self, *subjects: str, definition: Saga = PLACE_ORDER) -> Sequence[StartedSaga]:
        start = StartSagas(definition, self.clock, lease_seconds=10)
        return start(self.store, [StartSaga(subject, {}) for subject in subjects])

    def states(self) -> set[SagaState]:
        return {row.snapshot.state for row in self.store.rows.values()}

    async def until_ended(self, engine: Engine, *, seconds: float = 3600) -> None:
        """Time goes by until every saga has come to its end."""
        for _ in range(int(seconds)):
            await engine.idle()
            if self.states() <= {SagaState.COMPLETED, SagaState.COMPENSATED}:
                return
            self.clock.advance(1)
            await engine.tick()
        raise AssertionError(f"still {self.states()} after {seconds} s")


def refuse(step: str, *, reason: str = "NO") -> FakeParticipants:
    participants = FakeParticipants()
    participants.answer = lambda command: (
        Refused(reason, "no") if _is_action(command, step) else None
    )
    return participants


def _is_action(command: StepCommand, step: str) -> bool:
    return command.step == step and command.phase is Phase.ACTION


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
        await until(lambda: engine.in_memory == 1)
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
        engine.stop()
        await engine.admit(mesh.start("a"))
    assert mesh.participants.calls == []


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
        await until(lambda: started.saga.next_due is not None)
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
