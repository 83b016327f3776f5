"""The sagas that are not finished, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Census", "LiveSagas", "SagasAtStep"]


@dataclass(frozen=True, slots=True)
class LiveSagas:
    """The unfinished sagas of a definition in a state."""

    definition: str
    state: str
    number: int
    oldest_seconds: float
    """Since the first of them was started."""


@dataclass(frozen=True, slots=True)
class SagasAtStep:
    """Those among them that stand at a step: it is sent, awaited, being undone or given up.

    A saga with steps in parallel stands at several, one that is queued at none.
    """

    definition: str
    state: str
    step: str
    number: int
    oldest_seconds: float
    """Since the first of them was started."""


@dataclass(frozen=True, slots=True)
class Census:
    """The sagas of all replicas."""

    live: Sequence[LiveSagas]
    steps: Sequence[SagasAtStep]
    parked: Mapping[str, int]
    """By the participant they wait for."""
