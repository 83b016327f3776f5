"""What participants are asked to do for a saga."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from trackops_saga_orchestrator.domain.progress import Failure
from trackops_saga_orchestrator.domain.steps import Action, Json

__all__ = ["Phase", "StepCommand"]


class Phase(Enum):
    """Which half of a step a command belongs to."""

    ACTION = "action"
    COMPENSATION = "compensation"


@dataclass(frozen=True, slots=True)
class StepCommand:
    """What a participant is asked to do."""

    saga_id: uuid.UUID
    subject: str
    input: Mapping[str, Json]
    step: str
    phase: Phase
    action: Action
    deadline_seconds: float
    failure: Failure | None
    """Why the saga turned back, where it did."""
    traceparent: str = ""
    """The trace that the saga began in; empty where there was none."""

    @property
    def request_id(self) -> str:
        """The same at every attempt: UUIDv5 of saga, step and phase."""
        return str(uuid.uuid5(self.saga_id, f"{self.step}\n{self.phase.value}"))
