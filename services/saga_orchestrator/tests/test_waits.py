"""Conditions, delays and waits for events, on a clock that stands still."""

from __future__ import annotations

from trackops_saga_orchestrator.domain.progress import SagaState, StepState
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import PIVOT, Action, Condition, Step, WaitFor

from .engine_mesh import Mesh, refuse

EVENT = "parcel.arrived"
ASK = Action("somebody", "ask")


def undoable(name: str, *after: str, when: Condition | None = None, delay: float = 0) -> Step:
    undo = Action(name, "undo")
    return Step(
        name, Action(name, "do"), compensate=undo, after=after, when=when, delay_seconds=delay
    )


def last(*after: str) -> Step:
    return Step("last", Action("last", "do"), kind=PIVOT, after=after)


DELAYED = Saga(
    "delayed", version=1, steps=[undoable("first"), undoable("slow", "first", delay=3600)]
)
REFUSING = Saga(
    "refusing",
    version=1,
    steps=[
        undoable("first"),
        Step("wait", WaitFor(EVENT, timeout_seconds=60), after=["first"]),
        last("wait"),
    ],
)
FAILING_OVER = Saga(
    "failing-over",
    version=1,
    steps=[
        undoable("first"),
        Step(
            "wait",
            WaitFor(EVENT, timeout_seconds=60, otherwise=ASK),
            compensate=Action("somebody", "forget"),
            after=["first"],
        ),
        last("wait"),
    ],
)


async def test_delay_is_a_row_that_any_engine_takes_up() -> None:
    mesh = Mesh(DELAYED)
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", definition=DELAYED))
        await engine.idle()
        mesh.clock.advance(3599)
        await engine.tick()
        await engine.idle()
        assert not mesh.participants.commands("slow")
    async with mesh.running() as heir:
        mesh.clock.advance(1)
        await heir.tick()
        await heir.idle()
    assert len(mesh.participants.commands("slow")) == 1
    assert mesh.states() == {SagaState.COMPLETED}


async def test_failure_beside_a_delay_does_not_wait_for_it() -> None:
    beside = Saga("beside", version=1, steps=[undoable("first"), undoable("slow", delay=3600)])
    mesh = Mesh(beside)
    mesh.participants = refuse("first")
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", definition=beside))
        await engine.idle()
    assert mesh.states() == {SagaState.COMPENSATED}


async def test_event_in_time_lets_the_saga_go_on() -> None:
    mesh = Mesh(REFUSING)
    async with mesh.running() as engine:
        mesh.start("a", definition=REFUSING)
        await engine.tick()
        await engine.idle()
        assert steps(mesh)["wait"] is StepState.AWAITING
        mesh.store.note_events([("a", EVENT)], [REFUSING.hash])
        await engine.tick()
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}


async def test_event_that_came_before_the_wait_counts() -> None:
    mesh = Mesh(REFUSING)
    mesh.store.note_events([("a", EVENT)], [REFUSING.hash])
    async with mesh.running() as engine:
        mesh.start("a", definition=REFUSING)
        await engine.tick()
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}


async def test_event_about_another_subject_does_not_count() -> None:
    mesh = Mesh(REFUSING)
    mesh.store.note_events([("b", EVENT), ("a", "parcel.lost")], [REFUSING.hash])
    async with mesh.running() as engine:
        mesh.start("a", definition=REFUSING)
        await engine.tick()
        await engine.idle()
    assert steps(mesh)["wait"] is StepState.AWAITING


async def test_event_during_the_step_before_is_found_at_rest() -> None:
    mesh = Mesh(REFUSING)

    async def meanwhile(_: object) -> None:
        mesh.store.events["a", EVENT] = mesh.clock.now()

    mesh.participants.before = meanwhile
    async with mesh.running() as engine:
        mesh.start("a", definition=REFUSING)
        await engine.tick()
        await engine.idle()
        await engine.tick()
        await engine.idle()
    assert mesh.states() == {SagaState.COMPLETED}


async def test_timeout_refuses_and_undoes_what_was_done() -> None:
    mesh = Mesh(REFUSING)
    async with mesh.running() as engine:
        mesh.start("a", definition=REFUSING)
        await engine.tick()
        await mesh.until_ended(engine)
    (row,) = mesh.store.rows.values()
    assert row.snapshot.state is SagaState.COMPENSATED
    assert row.snapshot.failure is not None
    assert row.snapshot.failure.reason == "TIMED_OUT"
    assert steps(mesh)["wait"] is StepState.COMPENSATED
    assert not any(mesh.participants.effects.values())


async def test_step_whose_turn_comes_with_the_timeout_is_not_begun() -> None:
    steps_at_once = [
        Step("wait", WaitFor(EVENT, timeout_seconds=60)),
        undoable("late", delay=60),
    ]
    saga = Saga("at-once", version=1, steps=steps_at_once)
    mesh = Mesh(saga)
    async with mesh.running() as engine:
        mesh.start("a", definition=saga)
        await engine.tick()
        await mesh.until_ended(engine)
    assert mesh.states() == {SagaState.COMPENSATED}
    assert not mesh.participants.calls


async def test_timeout_fails_over_to_an_action() -> None:
    mesh = Mesh(FAILING_OVER)
    async with mesh.running() as engine:
        mesh.start("a", definition=FAILING_OVER)
        await engine.tick()
        await mesh.until_ended(engine)
    assert [command.action for command in mesh.participants.commands("wait")] == [ASK]
    assert mesh.states() == {SagaState.COMPLETED}


async def test_failed_over_wait_is_undone_as_any_step() -> None:
    mesh = Mesh(FAILING_OVER)
    mesh.participants = refuse("last")
    async with mesh.running() as engine:
        mesh.start("a", definition=FAILING_OVER)
        await engine.tick()
        await mesh.until_ended(engine)
    assert mesh.states() == {SagaState.COMPENSATED}
    assert not any(mesh.participants.effects.values())


async def test_condition_is_asked_once_and_its_answer_is_kept() -> None:
    answers = iter([False])
    once = Condition("once", lambda _: next(answers))
    chain = [undoable("first"), undoable("maybe", "first", when=once), undoable("then", "maybe")]
    saga = Saga("chain", version=1, steps=[*chain, last("then")])
    mesh = Mesh(saga)
    mesh.participants = refuse("last")
    async with mesh.running() as engine:
        await engine.admit(mesh.start("a", definition=saga))
        await engine.idle()
    assert steps(mesh)["maybe"] is StepState.SKIPPED
    undone = [
        one.step for call in mesh.participants.calls for one in call if one.phase.value != "action"
    ]
    assert undone == ["then", "first"]
    assert not any(mesh.participants.effects.values())


def steps(mesh: Mesh) -> dict[str, StepState]:
    (row,) = mesh.store.rows.values()
    return {step.name: step.state for step in row.snapshot.steps}
