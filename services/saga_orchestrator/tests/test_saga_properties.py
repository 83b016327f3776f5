"""Random sagas, random outcomes, random crashes: whatever happens, an instance ends well."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.errors import SagaError
from trackops_saga_orchestrator.domain.progress import (
    Done,
    Outcome,
    Parked,
    Refused,
    SagaState,
    StepState,
    Unknown,
)
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steering import Operation, SteeredSaga
from trackops_saga_orchestrator.domain.step_book import PASSED
from trackops_saga_orchestrator.domain.steps import (
    COMPENSATABLE,
    PIVOT,
    RETRIABLE,
    Action,
    Condition,
    Kind,
    RetryPolicy,
    Step,
    WaitFor,
)

from .saga_fakes import START, FakeParticipants

FEW = RetryPolicy(attempts=3)
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    [Done(), Done(), Done(), Refused("NO", "no"), Unknown("away"), Parked("away", 60)]
)
OPERATIONS = st.sampled_from([one for one in Operation if one is not Operation.START])
EVENT = "something.came"
CONDITIONS = [None, None, Condition("yes", lambda _: True), Condition("no", lambda _: False)]


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
        steps.append(dataclasses.replace(base, after=after))
    close = Action("close", "do") if draw(st.booleans()) else None
    return Saga("random", version=1, steps=steps, on_failure=close)


def _step(draw: st.DrawFn, name: str, earlier: list[str], kind: Kind) -> Step:
    after = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
    do = Action(name, "do")
    wait = draw(st.sampled_from([None, None, None, do, "refuse"]))
    when = draw(st.sampled_from(CONDITIONS))
    delay = draw(st.sampled_from([0.0, 0.0, 90.0]))
    if kind is RETRIABLE:
        action = WaitFor(EVENT, timeout_seconds=90, otherwise=do) if wait else do
        return Step(name, action, kind=kind, after=after, when=when, delay_seconds=delay)
    if wait == "refuse":
        return Step(name, WaitFor(EVENT, timeout_seconds=90), after=after, delay_seconds=delay)
    return Step(
        name,
        WaitFor(EVENT, timeout_seconds=90, otherwise=do) if wait else do,
        compensate=Action(name, "undo"),
        after=after,
        when=when,
        delay_seconds=delay,
        retry=FEW,
        compensation_retry=FEW,
    )


class Driver:
    """Moves one instance, storing it before each sending, as the engine does."""

    def __init__(self, definition: Saga) -> None:
        self.definition = definition
        self.now = START
        self.saga = self._start()
        self.participants = FakeParticipants()
        self.seen_to: set[str] = set()
        """Steps that an operator skipped."""
        self.air: list[StepCommand] = []
        self.ever_sent: set[str] = set()
        self.pivot_done = False
        self.request_ids: dict[tuple[str, Phase], str] = {}
        self.undone_after: list[str] = []
        self.send()

    def _start(self) -> SteeredSaga:
        saga = SteeredSaga.start(self.definition, "subject", {}, now=self.now)
        return SteeredSaga(self.definition, saga.snapshot())

    def send(self) -> None:
        self.saga.wake(self.now)
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

    def answer(self, position: int, outcome: Outcome, *, arrived: bool = True) -> None:
        """`arrived`: whether a command took effect although nobody said so."""
        command = self.air.pop(position % len(self.air))
        if isinstance(outcome, Done):
            outcome = self.participants.perform(command)
        elif isinstance(outcome, Unknown) and arrived:
            self.participants.perform(command)
        awaited = self.saga.awaits(command.step, command.phase)
        self.saga.record(command.step, command.phase, outcome, now=self.now, jitter=lambda: 0.5)
        if awaited and command.step == "pivot" and isinstance(outcome, Done):
            self.pivot_done = True
        self.send()

    def pass_time(self) -> None:
        self.now += timedelta(seconds=60)
        self.send()

    def crash(self, *, arrived: bool) -> None:
        """What was in the air may or may not have arrived; the row is all that is left."""
        self._lose_the_air(arrived)
        self.saga = SteeredSaga(self.definition, self.stored)
        self.saga.unpark()
        self.send()

    def steer(self, operation: Operation, position: int, *, arrived: bool) -> None:
        """An operator's hand: what it does is stored, and the engine that had it lets go."""
        names = list(self.definition.all_steps)
        step = names[position % len(names)] if operation is Operation.SKIP else ""
        taken = SteeredSaga(self.definition, self.stored)
        try:
            taken.steer(operation, step, "why", self.now)
        except SagaError:
            return
        self.seen_to |= {step} - {""}
        self._lose_the_air(arrived)
        self.saga = taken
        self.send()

    def hear(self) -> None:
        self.saga.hear([EVENT])
        self.send()

    def _lose_the_air(self, arrived: bool) -> None:
        for command in self.air if arrived else ():
            self.participants.perform(command)
        self.air = []

    def state(self) -> SagaState:
        return self.saga.state

    def undoable(self) -> list[str]:
        return [step.name for step in self.definition.steps if step.kind is COMPENSATABLE]

    def check(self) -> None:
        steps = self.saga.steps
        sent = {name: steps[name].state for name in self.undoable() if name in self.ever_sent}
        assert set(self.participants.effects.values()) <= {0, 1}
        match self.state():
            case SagaState.COMPLETED:
                ends = {steps[step.name].state for step in self.definition.steps}
                assert ends <= {StepState.DONE, StepState.SKIPPED}
            case SagaState.COMPENSATED:
                assert not self.pivot_done
                assert set(sent.values()) <= {StepState.COMPENSATED, StepState.SKIPPED}
                last = self.definition.failure_step
                assert last is None or steps[last.name].state in PASSED
                self._check_nothing_is_left()
                assert self.saga.failure is not None
            case SagaState.NEEDS_OPERATOR:
                assert {StepState.REFUSED, StepState.EXHAUSTED} & {
                    step.state for step in steps.values()
                }
            case SagaState.RUNNING | SagaState.COMPENSATING:
                assert self.air or self.saga.next_due, "hangs"
            case SagaState.PAUSED:
                assert not self.saga.due_commands(self.now)
        self._check_order()

    def _check_nothing_is_left(self) -> None:
        """Nothing of what can be undone, except where an operator answers for it."""
        left = {step for (_, step), count in self.participants.effects.items() if count}
        assert not left & (set(self.undoable()) - self.seen_to)

    def _check_order(self) -> None:
        """A step is undone only after everything that was sent after it."""
        steps = self.saga.steps
        undoing = (StepState.COMPENSATING, StepState.COMPENSATED)
        for step in self.definition.steps:
            if step.kind is COMPENSATABLE and steps[step.name].state in undoing:
                for follower in self.definition.followers[step.name]:
                    if follower in self.undoable() and follower in self.ever_sent:
                        undone = (StepState.COMPENSATED, StepState.SKIPPED)
                        assert steps[follower].state in undone


class AnySaga(RuleBasedStateMachine):
    """Ends are checked all the way, and at last the saga is brought to one."""

    driver: Driver

    @initialize(definition=sagas())
    def start(self, definition: Saga) -> None:
        self.driver = Driver(definition)

    @precondition(lambda self: self.driver.air)
    @rule(position=st.integers(0, 9), outcome=OUTCOMES, arrived=st.booleans())
    def answer(self, position: int, outcome: Outcome, arrived: bool) -> None:
        self.driver.answer(position, outcome, arrived=arrived)

    @rule(operation=OPERATIONS, position=st.integers(0, 9), arrived=st.booleans())
    def steer(self, operation: Operation, position: int, arrived: bool) -> None:
        self.driver.steer(operation, position, arrived=arrived)

    @rule()
    def hear(self) -> None:
        self.driver.hear()

    @rule()
    def pass_time(self) -> None:
        self.driver.pass_time()

    @rule(arrived=st.booleans())
    def crash(self, arrived: bool) -> None:
        self.driver.crash(arrived=arrived)

    @invariant()
    def keeps_its_promises(self) -> None:
        if hasattr(self, "driver"):
            self.driver.check()

    def teardown(self) -> None:
        """With participants that answer, and an operator who does, every saga ends."""
        if not hasattr(self, "driver"):
            return
        for _ in range(100):
            while self.driver.air:
                self.driver.answer(0, Done())
            self.driver.check()
            self.driver.pass_time()
            self.driver.steer(Operation.RESUME, 0, arrived=False)
            if self.driver.state() is SagaState.NEEDS_OPERATOR:
                self.driver.steer(Operation.RETRY, 0, arrived=False)
        assert self.driver.saga.ended


TestAnySaga: Any = AnySaga.TestCase
TestAnySaga.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
