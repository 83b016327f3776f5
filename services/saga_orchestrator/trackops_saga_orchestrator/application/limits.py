"""Bounds of an engine, as settings give them."""

from __future__ import annotations

from dataclasses import dataclass, field

from trackops_saga_orchestrator.application.breakers import BreakerLimits

__all__ = ["EngineLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Bounds of an engine."""

    lease_seconds: float = 10.0
    """How long a saga stays ours without a sign of life."""
    poll_seconds: float = 1.0
    """Pause between two looks for sagas whose time has come."""
    max_batch: int = 256
    """Commands in one call to a participant."""
    calls_per_action: int = 2
    """Calls of one action that are in the air at a time."""
    max_in_memory: int = 2000
    """New sagas are held back above it; claimed ones only above twice as many, so that
    a flood of new ones does not keep the waiting ones waiting."""
    max_claim: int = 500
    """Sagas claimed at once."""
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
