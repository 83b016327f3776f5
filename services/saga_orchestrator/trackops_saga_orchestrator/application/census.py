"""The sagas that are not finished, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Census", "LiveSagas"]


@dataclass(frozen=True, slots=True)
class LiveSagas:
    """The unfinished sagas of a definition in a state."""

    definition: str
    state: str
    number: int
    oldest_seconds: float
    """Since the first of them was started."""


@dataclass(frozen=True, slots=True)
class Census:
    """The sagas of all replicas."""

    live: Sequence[LiveSagas]
    parked: Mapping[str, int]
    """By the participant they wait for."""
