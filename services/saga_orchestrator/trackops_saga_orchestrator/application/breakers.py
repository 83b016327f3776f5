"""Whether a participant is there, as its calls tell."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from trackops_common.clock import Clock

__all__ = ["Breaker", "BreakerLimits", "ParticipantHealth"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """When a participant counts as away, and what becomes of its steps."""

    failures: int = 3
    """So many calls in a row that nobody answered, or sagas in a row that got no answer."""
    probe_seconds: float = 5.0
    """Pause between two tries to reach one that is away."""
    parked_seconds: float = 60.0
    """After this time a parked saga is looked at again, should nobody have made it due."""


@dataclass(frozen=True, slots=True)
class ParticipantHealth:
    """A participant as this process knows it."""

    name: str
    away_since: datetime | None
    """None: it is there."""
    error: str
    """Of the last call that nobody answered; empty while it is there."""
    next_probe: datetime | None


class Breaker:
    """Opens after calls that nobody answered; one call at intervals finds out when to close."""

    def __init__(
        self,
        participant: str,
        clock: Clock,
        limits: BreakerLimits,
        recovered: Callable[[str], None],
    ) -> None:
        """`recovered` is told the participant's name each time it is back."""
        self._participant = participant
        self._clock = clock
        self._limits = limits
        self._recovered = recovered
        self._calls = 0
        self._silent: set[UUID] = set()
        self._error = ""
        self._since: datetime | None = None
        self._next_probe: datetime | None = None

    @property
    def open(self) -> bool:
        """Whether the participant is away."""
        return self._since is not None

    @property
    def parked_seconds(self) -> float:
        return self._limits.parked_seconds

    @property
    def health(self) -> ParticipantHealth:
        return ParticipantHealth(self._participant, self._since, self._error, self._next_probe)

    @property
    def message(self) -> str:
        """What a parked step says of itself."""
        return f"{self._participant} is away: {self._error}"

    @property
    def may_probe(self) -> bool:
        """Whether it is time to try again."""
        return self._next_probe is not None and self._next_probe <= self._clock.now()

    def probing(self) -> None:
        """A try is on its way, so the next is an interval from now."""
        self._next_probe = self._clock.now() + timedelta(seconds=self._limits.probe_seconds)

    def answered(self) -> None:
        """Somebody was there."""
        self._calls = 0
        self._silent.clear()
        if self._since is None:
            return
        away = self._clock.now() - self._since
        self._since, self._next_probe, self._error = None, None, ""
        _log.info("participant is back", participant=self._participant, away=str(away))
        self._recovered(self._participant)

    def unanswered(self, error: str, *, reached_for: Collection[UUID] = ()) -> None:
        """Nobody was there, or, for these sagas alone, not what the participant needs.

        The latter counts once for each saga: one that never gets an answer,
        whatever becomes of the others, must not hold them up.
        """
        if reached_for:
            self._silent |= set(reached_for)
        else:
            self._calls += 1
        self._error = error
        if self._since is None and self._calls + len(self._silent) >= self._limits.failures:
            self._since = self._clock.now()
            self.probing()
            _log.error(
                "participant is away; its steps are parked",
                participant=self._participant,
                error=error,
                calls=self._calls,
                sagas=len(self._silent),
            )
