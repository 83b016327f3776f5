"""How far each step of an instance got, and how that is noted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from trackops_saga_orchestrator.domain.progress import (
    StepProgress,
    StepState,
)
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.steps import Json, WaitFor

__all__ = ["PASSED", "StepBook"]

PASSED = (StepState.DONE, StepState.SKIPPED)


class StepBook:
    """The steps of one instance; knows how to note things, not what follows from them."""

    def __init__(self, definition: Saga, steps: Iterable[StepProgress]) -> None:
        self.definition = definition
        self._steps = {step.name: step for step in steps}

    @property
    def steps(self) -> Mapping[str, StepProgress]:
        """By name, in the order of the definition."""
        return self._steps

    def _any(self, states: Sequence[StepState]) -> bool:
        return any(step.state in states for step in self._steps.values())

    def _all_passed(self, names: Iterable[str]) -> bool:
        return all(self._steps[name].state in PASSED for name in names)

    def _put(
        self,
        step: StepProgress,
        state: StepState,
        now: datetime,
        *,
        attempts: int | None = None,
        error: str | None = None,
        due: datetime | None = None,
        output: Mapping[str, Json] | None = None,
        parked: bool = False,
        sent: datetime | None = None,
    ) -> None:
        self._steps[step.name] = StepProgress(
            step.name,
            state,
            now,
            step.attempts if attempts is None else attempts,
            step.error if error is None else error,
            due,
            step.output if output is None else output,
            parked,
            sent,
            step.over,
        )

    def _park(self, name: str, message: str, until: datetime) -> None:
        step = self._steps[name]
        attempts = max(0, step.attempts - 1)
        self._put(
            step,
            step.state,
            step.update_time,
            attempts=attempts,
            error=message,
            due=until,
            parked=True,
        )

    def _end_attempt(
        self, name: str, now: datetime, error: str, retry: datetime | None = None
    ) -> None:
        """Note that the step's last attempt is over, in vain unless it had succeeded before."""
        step = self._steps[name]
        last = step.last_attempt
        if last is None:
            return
        if last.ended is None:
            last = replace(last, ended=now, error=error, retry=retry)
        self._steps[name] = replace(step, sent=None, over=(*step.over, last))

    def _participant(self, step: StepProgress) -> str | None:
        definition = self.definition.all_steps[step.name]
        undoing = step.state is StepState.COMPENSATING
        action = definition.compensate if undoing else definition.does
        return action.participant if action else None

    @property
    def parked_on(self) -> str | None:
        """A participant that is away and keeps a step."""
        parked = (self._participant(step) for step in self._steps.values() if step.parked)
        return next(parked, None)

    def _awaits(self) -> Collection[str]:
        if not self.definition.awaited:
            return ()
        actions = (
            self.definition.all_steps[step.name].action
            for step in self._steps.values()
            if step.state is StepState.AWAITING
        )
        return [one.event for one in actions if isinstance(one, WaitFor)]
