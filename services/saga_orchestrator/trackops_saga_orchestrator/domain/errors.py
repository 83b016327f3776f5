"""What can go wrong with sagas.

    SagaError
    ├── SagaNotFound         no saga has this id
    ├── StepNotFound         the saga has no step of this name
    ├── ForbiddenOperation   the saga or its step does not stand where the operation makes sense
    ├── NotATrigger          the event does not start the definition
    ├── InvalidTrigger       the event is not what it says, or breaks its contract
    └── InvalidPageToken     the page token is none of ours

Errors in a definition are in `domain.rules` and `domain.saga`; what goes wrong
within a saga is an `Outcome`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

__all__ = [
    "ForbiddenOperation",
    "InvalidPageToken",
    "InvalidTrigger",
    "NotATrigger",
    "SagaError",
    "SagaNotFound",
    "StepNotFound",
]


class SagaError(Exception):
    """Base of the above."""


class SagaNotFound(SagaError):
    """No saga has this id."""

    def __init__(self, saga_id: uuid.UUID) -> None:
        super().__init__(f"no saga has the id {saga_id}")
        self.saga_id = saga_id


class StepNotFound(SagaError):
    """The saga has no step of this name."""

    def __init__(self, saga_id: uuid.UUID, step: str) -> None:
        super().__init__(f"saga {saga_id} has no step {step!r}")
        self.saga_id = saga_id
        self.step = step


class ForbiddenOperation(SagaError):
    """The saga does not stand where the operation makes sense."""

    def __init__(self, saga_id: uuid.UUID, operation: str, state: str, why: str) -> None:
        super().__init__(f"cannot {operation} saga {saga_id}, which is {state}: {why}")
        self.saga_id = saga_id
        self.operation = operation
        self.state = state


class NotATrigger(SagaError):
    """The event does not start the definition, or there is no such definition."""

    def __init__(self, definition: str, event: str) -> None:
        super().__init__(f"{event!r} does not start {definition!r}")
        self.definition = definition
        self.event = event


class InvalidTrigger(SagaError):
    """The event cannot be read, or what it says cannot be so."""

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        """`violations`: path in the event, which may be empty, and what is wrong there."""
        super().__init__("the trigger is no event that could have happened")
        self.violations = violations


class InvalidPageToken(SagaError):
    """The page token is not the `next_page_token` of any page."""

    def __init__(self) -> None:
        super().__init__("page_token is not the next_page_token of any page")
