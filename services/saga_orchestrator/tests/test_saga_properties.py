"""Random sagas, random outcomes, random crashes: whatever happens, an instance ends well."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.progress import (
    Done,
    Outcome,
    Refused,
    SagaState,
    StepState,
    Unknown,
)
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import (
    COMPENSATABLE,
    PIVOT,
    RETRIABLE,
    Action,
    Kind,
    RetryPolicy,
    Step,
)

from .saga_fakes import START

FEW = RetryPolicy(attempts=3)
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    [Done(), Done(), Done(), Refused("NO", "no"), Unknown("away")]
)


@st.composite
def sagas(draw: st.DrawFn) -> Saga:
    """A graph of undoable steps, maybe a pivot after all of them, and retriable ones after that."""
    undoable = [f"u{number}" for number in range(draw(st.integers(0, 4)))]
    steps = [_step(draw, name, undoable[:at], COMPENSATABLE) for at, name in enumerate(undoable)]
    pivot = draw(st.booleans()) or not steps
    if pivot:
        steps.append(Step("pivot", Action("pivot", "do"), kind=PIVOT, after=undoable))
    final = [f"r{number}" for number in range(draw(st.integers(0, 2)))]
    for at, name in enumerate(final):
        base = _step(draw, name, final[:at], RETRIABLE)
        after = [*base.after, *(["pivot"] if pivot else undoable)]
        steps.append(Step(name, base.action, kind=RETRIABLE, after=after))
    close = Action("close", "do") if draw(st.booleans()) else None
    return Saga("random", version=1, steps=steps, on_failure=close)


def _step(draw: st.DrawFn, name: str, earlier: list[str], kind: Kind) -> Step:
    after = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
    if kind is RETRIABLE:
        return Step(name, Action(name, "do"), kind=kind, after=after)
    return Step(
        name,
        Action(name, "do"),
        compensate=Action(name, "undo"),
        after=after,
        retry=FEW,
        compensation_retry=FEW,
    )


class Driver:
    """Moves one instance, storing it before each sending, as the engine does."""

    def __init__(self, definition: Saga) -> None:
        self.definition = definition
        self.now = START
        self.saga = SagaInstance.start(definition, "subject", {}, now=self.now)
        self.air: list[StepCommand] = []
        self.ever_sent: set[str] = set()
        self.pivot_done = False
        self.request_ids: dict[tuple[str, Phase], str] = {}
        self.undone_after: list[str] = []
        self.send()

    def send(self) -> None:
        commands = self.saga.due_commands(self.now)
        self.stored = self.saga.snapshot()
        for command in commands:
            self._check(command)
        self.air += commands

    def _check(self, command: StepCommand) -> None:
        key = (command.step, command.phase)
        assert self.request_ids.setdefault(key, command.request_id) == command.request_id
        if command.phase is Phase.ACTION:
            self.ever_sent.add(command.step)
        else:
            assert not self.pivot_done, "compensates after the pivot"

    def answer(self, position: int, outcome: Outcome) -> None:
        command = self.air.pop(position % len(self.air))
        awaited = self.saga.awaits(command.step, command.phase)
        self.saga.record(command.step, command.phase, outcome, now=self.now, jitter=lambda: 0.5)
        if awaited and command.step == "pivot" and isinstance(outcome, Done):
            self.pivot_done = True
        self.send()

    def pass_time(self) -> None:
        self.now += timedelta(seconds=60)
        self.send()

    def crash(self) -> None:
        """What was in the air may or may not have arrived; the row is all that is left."""
        self.saga = SagaInstance.rehydrate(self.definition, self.stored)
        self.air = []
        self.send()

    def state(self) -> SagaState:
        return self.saga.state

    def undoable(self) -> list[str]:
        return [step.name for step in self.definition.steps if step.kind is COMPENSATABLE]

    def check(self) -> None:
        steps = self.saga.steps
        sent = {name: steps[name].state for name in self.undoable() if name in self.ever_sent}
        match self.state():
            case SagaState.COMPLETED:
                ends = {steps[step.name].state for step in self.definition.steps}
                assert ends == {StepState.DONE}
            case SagaState.COMPENSATED:
                assert not self.pivot_done
                assert set(sent.values()) <= {StepState.COMPENSATED}
                last = self.definition.failure_step
                assert last is None or steps[last.name].state is StepState.DONE
                assert self.saga.failure is not None
            case SagaState.NEEDS_OPERATOR:
                assert {StepState.REFUSED, StepState.EXHAUSTED} & {
                    step.state for step in steps.values()
                }
            case SagaState.RUNNING | SagaState.COMPENSATING:
                assert self.air or self.saga.next_due, "hangs"
        self._check_order()

    def _check_order(self) -> None:
        """A step is undone only after everything that was sent after it."""
        steps = self.saga.steps
        undoing = (StepState.COMPENSATING, StepState.COMPENSATED)
        for step in self.definition.steps:
            if step.kind is COMPENSATABLE and steps[step.name].state in undoing:
                for follower in self.definition.followers[step.name]:
                    if follower in self.undoable() and follower in self.ever_sent:
                        assert steps[follower].state is StepState.COMPENSATED


class AnySaga(RuleBasedStateMachine):
    """Ends are checked all the way, and at last the saga is brought to one."""

    driver: Driver

    @initialize(definition=sagas())
    def start(self, definition: Saga) -> None:
        self.driver = Driver(definition)

    @precondition(lambda self: self.driver.air)
    @rule(position=st.integers(0, 9), outcome=OUTCOMES)
    def answer(self, position: int, outcome: Outcome) -> None:
        self.driver.answer(position, outcome)

    @rule()
    def pass_time(self) -> None:
        self.driver.pass_time()

    @rule()
    def crash(self) -> None:
        self.driver.crash()

    @invariant()
    def keeps_its_promises(self) -> None:
        if hasattr(self, "driver"):
            self.driver.check()

    def teardown(self) -> None:
        """With participants that answer, every saga ends."""
        if not hasattr(self, "driver"):
            return
        for _ in range(100):
            while self.driver.air:
                self.driver.answer(0, Done())
            self.driver.check()
            self.driver.pass_time()
        assert not self.driver.saga.active


TestAnySaga: Any = AnySaga.TestCase
TestAnySaga.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
