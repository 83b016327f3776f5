"""The rows of a saga's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import Enum

__all__ = [
    "COMPENSATABLE",
    "PIVOT",
    "RETRIABLE",
    "Action",
    "Condition",
    "Json",
    "Kind",
    "RetryPolicy",
    "Step",
    "WaitFor",
]


Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a participant does for a saga. A value: adapters bind it to a call."""

    participant: str
    command: str

    def __str__(self) -> str:
        return f"{self.participant}.{self.command}"


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Instead of an action: the step is done once an event about the subject has come.

    An event that came before the wait began counts too; one that came while its
    subject had no unfinished saga, for `SagaSettings.event_retention_days`.
    """

    event: str
    """Full name of the event's message, such as `trackops.order.v1.OrderDelivered`."""
    _: KW_ONLY
    timeout_seconds: float
    otherwise: Action | None = None
    """Done at the timeout in the event's place; None: the step counts as refused (TIMED_OUT)."""

    def __str__(self) -> str:
        return f"wait for {self.event}" + (f", else {self.otherwise}" if self.otherwise else "")


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a step is to be done, as a pure function of the saga's input."""

    name: str
    """Stands for `holds` in the definition's hash: another rule needs another name."""
    holds: Callable[[Mapping[str, Json]], bool]


class Kind(Enum):
    """What a step's failure means to its saga."""

    COMPENSATABLE = "compensatable"
    """Can be undone; its failure undoes the steps before it."""
    PIVOT = "pivot"
    """Cannot be undone; once it is done, the saga only goes forward."""
    RETRIABLE = "retriable"
    """Cannot fail for good; it is tried until it is done."""


COMPENSATABLE = Kind.COMPENSATABLE
PIVOT = Kind.PIVOT
RETRIABLE = Kind.RETRIABLE


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with a cap and full jitter, for outcomes that are not known."""

    attempts: int | None = 20
    """How often it is sent, at most; None: for ever."""
    first_wait_seconds: float = 0.1
    """Upper bound of the wait after the first attempt; it doubles with each one."""
    longest_wait_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ValueError("attempts must be 1 or more, or None")
        if not 0 < self.first_wait_seconds <= self.longest_wait_seconds:
            raise ValueError("waits must be positive, the first not above the longest")

    def exhausted(self, attempts: int) -> bool:
        """Whether `attempts` have used up the budget."""
        return self.attempts is not None and attempts >= self.attempts

    def wait_seconds(self, attempts: int, jitter: float) -> float:
        """The wait after so many attempts; `jitter`, in [0, 1), picks from the full range."""
        doubled: float = self.first_wait_seconds * 2 ** min(attempts - 1, 30)
        return jitter * min(doubled, self.longest_wait_seconds)


FOR_EVER = RetryPolicy(attempts=None)
COMPENSATION = RetryPolicy(attempts=50, longest_wait_seconds=60.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One row: what is done, how it is undone, and what comes before it."""

    name: str
    action: Action | WaitFor
    _: KW_ONLY
    compensate: Action | None = None
    kind: Kind = COMPENSATABLE
    after: Sequence[str] = ()
    """Steps that must be done before; two steps without a path between them run in parallel."""
    when: Condition | None = None
    """Asked once, when the step's turn has come; the step is skipped unless it holds."""
    delay_seconds: float = 0.0
    """Between the end of all that comes before and this step. A row, so it survives restarts."""
    deadline_seconds: float = 5.0
    """Of one attempt."""
    retry: RetryPolicy | None = None
    """Default: 20 attempts where the step is compensatable, for ever elsewhere."""
    compensation_retry: RetryPolicy = COMPENSATION

    @property
    def does(self) -> Action | None:
        """What is sent for it, at once or at the timeout of a wait."""
        return self.action.otherwise if isinstance(self.action, WaitFor) else self.action

    @property
    def retry_policy(self) -> RetryPolicy:
        """`retry`, or its kind's default."""
        if self.retry is not None:
            return self.retry
        return RetryPolicy() if self.kind is COMPENSATABLE else FOR_EVER
