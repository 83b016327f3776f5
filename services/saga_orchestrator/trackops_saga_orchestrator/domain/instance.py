"""One run of a saga: a state machine without clock, network or database.

An instance says which commands are due and is told what came of each. It never
assumes: a command whose outcome is unknown is due again with the same request
id. Whoever drives it stores it after `due_commands` and sends only then, so
that no crash can forget that a step may have been sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from trackops_saga_orchestrator.domain.commands import Phase, StepCommand
from trackops_saga_orchestrator.domain.progress import (
    ACTIVE_STATES,
    ENDED_STATES,
    Done,
    Failure,
    Outcome,
    Parked,
    Refused,
    SagaSnapshot,
    SagaState,
    StepProgress,
    StepState,
    Unknown,
)
from trackops_saga_orchestrator.domain.saga import Saga
from trackops_saga_orchestrator.domain.step_book import PASSED, StepBook
from trackops_saga_orchestrator.domain.steps import (
    COMPENSATABLE,
    PIVOT,
    Json,
    RetryPolicy,
    Step,
    WaitFor,
)

__all__ = ["SagaInstance"]

_TIMED_OUT = "TIMED_OUT"
"""Failure reason of a saga that turns back because an event did not come in time."""

_OUT_OF_ATTEMPTS = "DEPENDENCY_UNAVAILABLE"
"""Failure reason of a saga that turns back because a participant stayed away."""

_UNHEARD = "no answer was heard: whoever sent it stopped before, or had to let the saga go"
_TURNED_BACK = "its answer was not waited for: the saga turned back"

_UNDER_WAY = (StepState.SENT, StepState.COMPENSATING)
_STUCK = (StepState.REFUSED, StepState.EXHAUSTED)


class SagaInstance(StepBook):
    """The aggregate. Made by `start`, or by `rehydrate` from what was stored."""

    def __init__(self, definition: Saga, snapshot: SagaSnapshot) -> None:
        """For the two constructors below."""
        super().__init__(definition, snapshot.steps)
        self.saga_id = snapshot.saga_id
        self.subject = snapshot.subject
        self.occurrence = snapshot.occurrence
        self.waits_for = snapshot.waits_for
        self.traceparent = snapshot.traceparent
        self.input = snapshot.input
        self.state = snapshot.state
        self.failure = snapshot.failure
        self._in_the_air: set[str] = set()
        """Steps whose command is on its way."""
        self._heard: set[str] = set()

    @classmethod
    def start(
        cls,
        definition: Saga,
        subject: str,
        payload: Mapping[str, Json],
        *,
        now: datetime,
        occurrence: str = "",
        waits_for: uuid.UUID | None = None,
        traceparent: str = "",
    ) -> SagaInstance:
        """A new instance, its first steps due unless it has to wait for an earlier saga."""
        waiting = [StepProgress(name, StepState.WAITING, now) for name in definition.all_steps]
        snapshot = SagaSnapshot(
            saga_id=definition.saga_id(subject, occurrence),
            definition=definition.name,
            definition_version=definition.version,
            definition_hash=definition.hash,
            subject=subject,
            occurrence=occurrence,
            input=payload,
            state=SagaState.QUEUED if waits_for else SagaState.RUNNING,
            steps=waiting,
            failure=None,
            waits_for=waits_for,
            traceparent=traceparent,
        )
        instance = cls(definition, snapshot)
        instance.wake(now)
        return instance

    @classmethod
    def rehydrate(cls, definition: Saga, snapshot: SagaSnapshot) -> SagaInstance:
        """For adapters and the engine: an instance as it was stored; checks nothing."""
        return cls(definition, snapshot)

    def snapshot(self) -> SagaSnapshot:
        """What has to be stored."""
        return SagaSnapshot(
            saga_id=self.saga_id,
            definition=self.definition.name,
            definition_version=self.definition.version,
            definition_hash=self.definition.hash,
            subject=self.subject,
            occurrence=self.occurrence,
            input=self.input,
            state=self.state,
            steps=tuple(self._steps.values()),
            failure=self.failure,
            waits_for=self.waits_for,
            parked_on=self.parked_on,
            awaits=self._awaits(),
            traceparent=self.traceparent,
        )

    @property
    def active(self) -> bool:
        """Whether anything is still to happen without an operator."""
        return self.state in ACTIVE_STATES

    @property
    def ended(self) -> bool:
        """Whether nothing will ever happen any more."""
        return self.state in ENDED_STATES

    @property
    def resting(self) -> bool:
        """Whether no command is in the air."""
        return not self._in_the_air

    @property
    def next_due(self) -> datetime | None:
        """When the first of the commands that have to wait becomes due."""
        timed = _UNDER_WAY if self.state is SagaState.COMPENSATING else _TIMED
        return min(
            (step.due for step in self._steps.values() if step.due and step.state in timed),
            default=None,
        )

    def awaits(self, step: str, phase: Phase) -> bool:
        """Whether an outcome of this command would change anything."""
        expected = StepState.SENT if phase is Phase.ACTION else StepState.COMPENSATING
        return self.active and self._steps[step].state is expected

    def wake(self, now: datetime) -> None:
        """Take note of the time, and of a turn that has come; commands may be due then."""
        if self.active:
            self._advance(now)

    def hear(self, events: Iterable[str]) -> None:
        """Events about the subject that have come so far; `wake` acts on them."""
        self._heard.update(events)

    def unpark(self) -> None:
        """Try parked steps again."""
        for step in [step for step in self._steps.values() if step.parked]:
            self._put(step, step.state, step.update_time)

    def due_commands(self, now: datetime) -> Sequence[StepCommand]:
        """Commands to send once the instance is stored; each counts as an attempt from here on."""
        if not self.active:
            return ()
        due = [
            step
            for step in self._steps.values()
            if step.state in _UNDER_WAY
            and step.name not in self._in_the_air
            and (step.due is None or step.due <= now)
        ]
        return [self._issue(step, now) for step in due]

    def record(
        self,
        step: str,
        phase: Phase,
        outcome: Outcome,
        *,
        now: datetime,
        jitter: Callable[[], float],
    ) -> None:
        """Take in what came of a command. One that is not awaited any more changes nothing.

        `jitter` gives numbers in [0, 1) and picks the wait before the next attempt.
        """
        if not self.awaits(step, phase):
            return
        self._in_the_air.discard(step)
        match outcome:
            case Done(output):
                self._done(step, phase, output, now)
            case Refused(reason, message):
                self._end_attempt(step, now, message)
                self._failed(step, phase, StepState.REFUSED, Failure(reason, message), now)
            case Unknown(message):
                self._unknown(step, phase, message, now, jitter)
            case Parked(message, wait_seconds):
                self._park(step, message, now + timedelta(seconds=wait_seconds))
        self._advance(now)

    def _issue(self, step: StepProgress, now: datetime) -> StepCommand:
        self._in_the_air.add(step.name)
        self._end_attempt(step.name, now, _UNHEARD)
        step = self._steps[step.name]
        self._put(step, step.state, step.update_time, attempts=step.attempts + 1, sent=now)
        definition = self.definition.all_steps[step.name]
        undoing = step.state is StepState.COMPENSATING
        action = definition.compensate if undoing else definition.does
        if action is None:
            raise AssertionError(f"{step.name} is {step.state} and has nothing to send")
        return StepCommand(
            saga_id=self.saga_id,
            subject=self.subject,
            input=self.input,
            step=step.name,
            phase=Phase.COMPENSATION if undoing else Phase.ACTION,
            action=action,
            deadline_seconds=definition.deadline_seconds,
            failure=self.failure,
            traceparent=self.traceparent,
        )

    def _done(
        self, name: str, phase: Phase, output: Mapping[str, Json] | None, now: datetime
    ) -> None:
        state = StepState.DONE if phase is Phase.ACTION else StepState.COMPENSATED
        step = self._steps[name]
        self._put(step, state, now, output=output, sent=step.sent)

    def _unknown(
        self,
        name: str,
        phase: Phase,
        message: str,
        now: datetime,
        jitter: Callable[[], float],
    ) -> None:
        step = self._steps[name]
        policy = _policy(self.definition.all_steps[name], phase)
        if policy.exhausted(step.attempts):
            failure = Failure(_OUT_OF_ATTEMPTS, message)
            self._end_attempt(name, now, message)
            self._failed(name, phase, StepState.EXHAUSTED, failure, now)
            return
        retry = now + timedelta(seconds=policy.wait_seconds(step.attempts, jitter()))
        self._end_attempt(name, now, message, retry)
        self._put(self._steps[name], step.state, now, error=message, due=retry)

    def _failed(
        self, name: str, phase: Phase, state: StepState, failure: Failure, now: datetime
    ) -> None:
        """A step will not be done. Turns the saga back where that is safe, else the step is stuck.

        A pivot out of attempts may have taken effect, so neither way is safe.
        """
        self._put(self._steps[name], state, now, error=failure.message)
        definition = self.definition.all_steps[name]
        undoable = definition.kind is COMPENSATABLE and phase is Phase.ACTION
        if undoable or (definition.kind is PIVOT and state is StepState.REFUSED):
            self.state = SagaState.COMPENSATING
            self.failure = failure
        if undoable:
            self._begin_compensation(name, now)

    def _advance(self, now: datetime) -> None:
        """Move whatever can move after a change."""
        if self._stuck():
            if not self._any(_UNDER_WAY):
                self.state = SagaState.NEEDS_OPERATOR
        elif self.state is SagaState.RUNNING:
            self._go_forward(now)
        else:
            self._go_back(now)

    def _go_forward(self, now: datetime) -> None:
        for name in self.definition.in_order:
            if self.state is not SagaState.RUNNING:
                break
            progress = self._steps[name]
            if progress.state is StepState.WAITING and self._all_passed(
                self.definition.all_steps[name].after
            ):
                self._begin(progress, now)
            if self._steps[name].state is StepState.AWAITING:
                self._look_for_event(self._steps[name], now)
        if self.state is SagaState.COMPENSATING:
            self._go_back(now)
        elif self._all_passed(self.definition.in_order):
            self.state = SagaState.COMPLETED

    def _begin(self, progress: StepProgress, now: datetime) -> None:
        """The step's turn has come."""
        step = self.definition.all_steps[progress.name]
        if progress.due is None:
            if step.when is not None and not step.when.holds(self.input):
                self._put(progress, StepState.SKIPPED, now)
                return
            if step.delay_seconds:
                due = now + timedelta(seconds=step.delay_seconds)
                self._put(progress, StepState.WAITING, now, due=due)
                return
        elif progress.due > now:
            return
        if isinstance(step.action, WaitFor):
            self._put(
                progress,
                StepState.AWAITING,
                now,
                due=now + timedelta(seconds=step.action.timeout_seconds),
            )
        else:
            self._put(progress, StepState.SENT, now)

    def _look_for_event(self, progress: StepProgress, now: datetime) -> None:
        """Ends a wait whose event has come, or whose time is over."""
        step = self.definition.all_steps[progress.name]
        if not isinstance(step.action, WaitFor):
            raise AssertionError(f"{step.name} waits for nothing")
        if step.action.event in self._heard:
            self._put(progress, StepState.DONE, now)
        elif progress.due is not None and progress.due <= now:
            if step.action.otherwise is not None:
                self._put(progress, StepState.SENT, now)
            else:
                failure = Failure(_TIMED_OUT, f"{step.action.event} did not come in time")
                self._failed(step.name, Phase.ACTION, StepState.REFUSED, failure, now)

    def _go_back(self, now: datetime) -> None:
        """Undo in reverse: a step once all that was sent after it is undone."""
        undoable = self.definition.undoable
        for name in reversed(undoable):
            if self._to_undo(name):
                self._begin_compensation(name, now)
        if any(self._steps[name].state not in _UNDONE for name in undoable):
            return
        last = self.definition.failure_step
        if last is None or self._steps[last.name].state in PASSED:
            self.state = SagaState.COMPENSATED
        elif self._steps[last.name].state is StepState.WAITING:
            self._put(self._steps[last.name], StepState.SENT, now)

    def _to_undo(self, name: str) -> bool:
        followers = self.definition.followers[name]
        return self._steps[name].state in _TO_UNDO and all(
            self._steps[follower].state in _UNDONE or self._is_refused_pivot(follower)
            for follower in followers
        )

    def _begin_compensation(self, name: str, now: datetime) -> None:
        # Its action may still be in the air; that answer is not awaited any more.
        self._in_the_air.discard(name)
        self._end_attempt(name, now, _TURNED_BACK)
        step = self._steps[name]
        nothing_to_undo = self.definition.all_steps[name].compensate is None
        state = StepState.COMPENSATED if nothing_to_undo else StepState.COMPENSATING
        self._steps[name] = StepProgress(name, state, now, error=step.error, over=step.over)

    def _is_refused_pivot(self, name: str) -> bool:
        pivot = self.definition.all_steps[name].kind is PIVOT
        return pivot and self._steps[name].state is StepState.REFUSED

    def _stuck(self) -> bool:
        return any(
            step.state in _STUCK and not self._is_refused_pivot(step.name)
            for step in self._steps.values()
        )


_TIMED = (*_UNDER_WAY, StepState.WAITING, StepState.AWAITING)
_TO_UNDO = (StepState.SENT, StepState.DONE, StepState.AWAITING)
_UNDONE = (StepState.WAITING, StepState.COMPENSATED, StepState.SKIPPED)


def _policy(step: Step, phase: Phase) -> RetryPolicy:
    return step.retry_policy if phase is Phase.ACTION else step.compensation_retry
