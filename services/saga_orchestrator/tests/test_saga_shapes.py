"""Sagas whose steps run in parallel, or whose pivot has a budget."""

from __future__ import annotations

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
from trackops_saga_orchestrator.domain.steps import PIVOT, Action, RetryPolicy, Step

from .saga_fakes import START

NO = Refused("NO", "no")


def undoable(name: str, *after: str) -> Step:
    return Step(name, Action(name, "do"), compensate=Action(name, "undo"), after=after)


FORK = Saga(
    "fork",
    version=1,
    steps=[undoable("first"), undoable("left", "first"), undoable("right", "first")],
)


class Fork:
    """A saga whose two branches are in the air."""

    def __init__(self) -> None:
        self.saga = SagaInstance.start(FORK, "subject", {}, now=START)
        self.take()
        self.record("first", Done())

    def take(self) -> list[StepCommand]:
        return list(self.saga.due_commands(START))

    def record(self, step: str, outcome: Outcome) -> list[str]:
        """Records the answer to what the step is about; the steps whose commands follow."""
        state = self.saga.steps[step].state
        phase = Phase.ACTION if state is StepState.SENT else Phase.COMPENSATION
        self.saga.record(step, phase, outcome, now=START, jitter=lambda: 0.0)
        return [f"{command.action}" for command in self.take()]

    def states(self) -> list[str]:
        return [step.state.value for step in self.saga.steps.values()]


def test_refusal_undoes_the_branch_in_the_air_without_waiting_for_it() -> None:
    fork = Fork()
    assert sorted(fork.record("left", NO)) == ["left.undo", "right.undo"]


def test_what_came_before_the_branches_is_undone_after_both() -> None:
    fork = Fork()
    fork.record("left", NO)
    assert fork.record("right", Done()) == []
    assert fork.record("left", Done()) == ["first.undo"]
    fork.record("first", Done())
    assert fork.saga.state is SagaState.COMPENSATED


def test_late_refusal_of_the_other_branch_does_not_hide_the_first_reason() -> None:
    fork = Fork()
    fork.record("left", NO)
    late = Refused("LATE", "also no")
    fork.saga.record("right", Phase.ACTION, late, now=START, jitter=lambda: 0.0)
    assert fork.saga.failure is not None
    assert fork.saga.failure.reason == "NO"


def test_operator_is_called_once_nothing_is_in_the_air() -> None:
    fork = Fork()
    fork.record("left", NO)
    assert fork.record("left", NO) == []
    before = fork.saga.snapshot().state
    assert fork.record("right", Done()) == []
    assert [before, fork.saga.snapshot().state] == [
        SagaState.COMPENSATING,
        SagaState.NEEDS_OPERATOR,
    ]
    assert fork.states() == ["DONE", "REFUSED", "COMPENSATED"]


def test_pivot_out_of_attempts_may_have_taken_effect_so_nothing_is_undone() -> None:
    once = RetryPolicy(attempts=1)
    pivot = Step("pivot", Action("pivot", "do"), kind=PIVOT, after=["first"], retry=once)
    definition = Saga("budget", version=1, steps=[undoable("first"), pivot])
    saga = SagaInstance.start(definition, "subject", {}, now=START)
    for outcome in (Done(), Unknown("away")):
        (command,) = saga.due_commands(START)
        saga.record(command.step, command.phase, outcome, now=START, jitter=lambda: 0.0)
    assert saga.state is SagaState.NEEDS_OPERATOR
    assert [step.state.value for step in saga.steps.values()] == ["DONE", "EXHAUSTED"]
