"""How far an instance of a saga got, as plain values."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from trackops_saga_orchestrator.domain.steps import Json

__all__ = [
    "ACTIVE_STATES",
    "ENDED_STATES",
    "Attempt",
    "Done",
    "Failure",
    "Json",
    "Outcome",
    "Parked",
    "Refused",
    "SagaSnapshot",
    "SagaState",
    "StepProgress",
    "StepState",
    "Unknown",
]


class SagaState(Enum):
    """Where an instance stands."""

    QUEUED = "QUEUED"
    """An earlier saga about the same subject has not ended yet."""
    RUNNING = "RUNNING"
    COMPENSATING = "COMPENSATING"
    COMPLETED = "COMPLETED"
    COMPENSATED = "COMPENSATED"
    PAUSED = "PAUSED"
    """An operator holds it; it goes on from where it stood."""
    NEEDS_OPERATOR = "NEEDS_OPERATOR"
    """A step cannot go on by itself; nothing of the instance moves until someone decides."""


ACTIVE_STATES = (SagaState.RUNNING, SagaState.COMPENSATING)
ENDED_STATES = (SagaState.COMPLETED, SagaState.COMPENSATED)


class StepState(Enum):
    """Where a step of an instance stands."""

    WAITING = "WAITING"
    AWAITING = "AWAITING"
    """Waits for an event."""
    SENT = "SENT"
    """Sent, or about to be: whether it took effect is not known."""
    DONE = "DONE"
    SKIPPED = "SKIPPED"
    """Its condition did not hold, so there was nothing to do; or an operator saw to it."""
    REFUSED = "REFUSED"
    """The participant said no, to the action or to its compensation."""
    COMPENSATING = "COMPENSATING"
    """Its compensation is sent, or about to be."""
    COMPENSATED = "COMPENSATED"
    EXHAUSTED = "EXHAUSTED"
    """Out of attempts."""


@dataclass(frozen=True, slots=True)
class Done:
    """It took effect, now or in an earlier attempt."""

    output: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The participant said no, and will say so again."""

    reason: str
    """For programs, such as "PAYMENT_DECLINED"; not empty."""
    message: str
    """The same for people."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer, or one that says nothing about the effect: the same is asked again."""

    message: str
    away: bool = False
    """Nobody was there to answer, as opposed to an answer that says nothing."""
    reached: bool = False
    """Where `away`: the participant was there, and said so of this one command. What it needs may
    be away, or just what this command needs of it."""


@dataclass(frozen=True, slots=True)
class Parked:
    """Not sent while its participant is away, or sent in vain to see whether it is back.

    Costs no attempt.
    """

    message: str
    wait_seconds: float
    """Until it is tried again, unless the participant is known to be back before."""


Outcome = Done | Refused | Unknown | Parked


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a saga turned back."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of a step's action or of its compensation."""

    compensation: bool
    number: int
    """Counted from 1, and again from 1 after an operator's retry of a step that was stuck."""
    sent: datetime
    ended: datetime | None
    """None: it is on its way."""
    error: str = ""
    """Empty: it succeeded, or is on its way."""
    retry: datetime | None = None
    """When the next was due; None: there was none, or it was due at once."""


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far one step got."""

    name: str
    state: StepState
    update_time: datetime
    attempts: int = 0
    """How often the action, or the compensation once that began, was sent."""
    error: str = ""
    """The last one."""
    due: datetime | None = None
    """Not to be sent again before."""
    output: Mapping[str, Json] | None = None
    parked: bool = False
    """Its participant is away."""
    sent: datetime | None = None
    """When the last attempt was, unless what came of it is among those that are over."""
    over: Sequence[Attempt] = ()
    """Attempts that ended and that the books do not have yet, oldest first."""

    @property
    def last_attempt(self) -> Attempt | None:
        """The one that is on its way or that succeeded."""
        if self.sent is None:
            return None
        undoing = self.state in (StepState.COMPENSATING, StepState.COMPENSATED)
        succeeded = self.state in (StepState.DONE, StepState.COMPENSATED)
        ended = self.update_time if succeeded else None
        return Attempt(undoing, self.attempts, self.sent, ended)


@dataclass(frozen=True, slots=True)
class SagaSnapshot:
    """All that has to be stored of an instance."""

    saga_id: uuid.UUID
    definition: str
    definition_version: int
    definition_hash: str
    subject: str
    occurrence: str
    """Which of the subject's sagas of this definition: a shipment's id, say; mostly empty."""
    input: Mapping[str, Json]
    state: SagaState
    steps: Sequence[StepProgress]
    """In the order of the definition, `on_failure` last."""
    failure: Failure | None
    waits_for: uuid.UUID | None = None
    """The earlier saga about the same subject that has to end first."""
    parked_on: str | None = None
    """A participant that is away and keeps a step."""
    awaits: Collection[str] = ()
    """Events that steps wait for."""
    traceparent: str = ""
    """The trace that it began in (W3C Trace Context); empty where there was none."""
