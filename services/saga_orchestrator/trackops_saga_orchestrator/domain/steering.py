"""What an operator may do to an instance, and when it makes sense."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from trackops_saga_orchestrator.domain.errors import ForbiddenOperation, StepNotFound
from trackops_saga_orchestrator.domain.instance import SagaInstance
from trackops_saga_orchestrator.domain.progress import (
    Failure,
    SagaState,
    StepProgress,
    StepState,
)
from trackops_saga_orchestrator.domain.steps import COMPENSATABLE, PIVOT, RETRIABLE

__all__ = ["Operation", "SteeredSaga"]

_BY_OPERATOR = "COMPENSATED_BY_OPERATOR"
_SKIPPED = "its answer was not waited for: an operator skipped the step"
_STUCK = (StepState.REFUSED, StepState.EXHAUSTED)
_UNDER_WAY = (StepState.SENT, StepState.COMPENSATING)


class Operation(Enum):
    """What operators do; the values stand in the audit."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SKIP = "skip"
    COMPENSATE = "compensate"


class SteeredSaga(SagaInstance):
    """An instance under an operator's hand. Whoever stores it takes it from its engine.

    Every method raises `ForbiddenOperation` where it makes no sense, and those
    that take a step `StepNotFound`.
    """

    def steer(self, operation: Operation, step: str, reason: str, now: datetime) -> None:
        """The one method that `operation` names; `step` is empty where it takes none.

        RETRY without a step means all that are stuck.
        """
        match operation:
            case Operation.PAUSE:
                self.pause()
            case Operation.RESUME:
                self.resume(now)
            case Operation.RETRY:
                self.retry(step, now)
            case Operation.SKIP:
                self.skip(step, now)
            case _:
                self.compensate(reason, now)

    def pause(self) -> None:
        """Hold it: nothing more is sent, and later sagas of its subject go on waiting."""
        if not (self.active or self.state is SagaState.QUEUED):
            raise self._forbidden(Operation.PAUSE, "only what is on its way can be paused")
        self.state = SagaState.PAUSED

    def resume(self, now: datetime) -> None:
        """Let it go on from where it stood."""
        if self.state is not SagaState.PAUSED:
            raise self._forbidden(Operation.RESUME, "it is not paused")
        self.state = SagaState.QUEUED if self.waits_for else self._direction()
        self.wake(now)

    def retry(self, name: str, now: datetime) -> None:
        """Send a step that is stuck once more, with a fresh budget; or one that waits, at once."""
        chosen = [self._step(name)] if name else list(self._steps.values())
        again = [step for step in chosen if self._can_retry(step)]
        if not again:
            raise self._forbidden(Operation.RETRY, "no such step is stuck or waits")
        for step in again:
            self._steps[step.name] = StepProgress(
                step.name, self._sent_state(step), now, error=step.error, over=step.over
            )
        self._go_on(now)

    def skip(self, name: str, now: datetime) -> None:
        """Count a step as done, or as undone, because an operator has seen to it."""
        step = self._step(name)
        if self.ended or not self._can_skip(step):
            raise self._forbidden(
                Operation.SKIP,
                f"step {name!r} is {step.state.value}; only a step that is stuck or not sent yet,"
                " or a retriable one, can be skipped",
            )
        self._in_the_air.discard(name)
        self._end_attempt(name, now, _SKIPPED)
        self._put(self._steps[name], StepState.SKIPPED, now)
        self._go_on(now)

    def compensate(self, reason: str, now: datetime) -> None:
        """Turn it back, as a refusal would."""
        if self.ended or self.failure is not None or self.state is SagaState.QUEUED:
            raise self._forbidden(Operation.COMPENSATE, "it is not on its way forward")
        if not self.definition.undoable or self._past_return():
            raise self._forbidden(Operation.COMPENSATE, "it is past the point of no return")
        self.state = SagaState.COMPENSATING
        self.failure = Failure(_BY_OPERATOR, reason)
        self.wake(now)

    def _step(self, name: str) -> StepProgress:
        if name not in self._steps:
            raise StepNotFound(self.saga_id, name)
        return self._steps[name]

    def _can_retry(self, step: StepProgress) -> bool:
        if step.state in _STUCK:
            return not (self.failure and self._is_refused_pivot(step.name))
        waits = step.state in _UNDER_WAY and step.due is not None
        return waits and self.active

    def _sent_state(self, step: StepProgress) -> StepState:
        """A compensatable step is stuck in its compensation only: refused, it turns back."""
        if step.state in _STUCK:
            undoing = self.definition.all_steps[step.name].kind is COMPENSATABLE
            return StepState.COMPENSATING if undoing else StepState.SENT
        return step.state

    def _can_skip(self, step: StepProgress) -> bool:
        kind = self.definition.all_steps[step.name].kind
        if step.state is StepState.WAITING:
            return kind is not PIVOT
        if step.state is StepState.SENT:
            return kind is RETRIABLE
        return step.state in _STUCK or step.state is StepState.AWAITING

    def _past_return(self) -> bool:
        kinds = {step.name: step.kind for step in self.definition.steps}
        return any(
            kind is not COMPENSATABLE
            and self._steps[name].state not in (StepState.WAITING, StepState.REFUSED)
            for name, kind in kinds.items()
        )

    def _direction(self) -> SagaState:
        return SagaState.COMPENSATING if self.failure else SagaState.RUNNING

    def _go_on(self, now: datetime) -> None:
        if self.state is SagaState.NEEDS_OPERATOR:
            self.state = self._direction()
        self.wake(now)

    def _forbidden(self, operation: Operation, why: str) -> ForbiddenOperation:
        return ForbiddenOperation(self.saga_id, operation.value, self.state.value, why)
