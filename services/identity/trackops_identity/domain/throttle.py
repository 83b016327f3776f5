"""Slows down whoever guesses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trackops_identity.domain.errors import TooManyAttempts

__all__ = ["Throttle", "ThrottlePolicy"]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlePolicy:
    """How many failures are forgiven, and what each further one costs."""

    free_attempts: int
    """Failures in a row without a delay."""
    first_delay: timedelta = timedelta(seconds=1)
    """After the first failure beyond the free ones; doubles with each further one."""
    max_delay: timedelta = timedelta(minutes=15)
    forget_after: timedelta = timedelta(hours=24)
    """A pause this long wipes the slate."""

    def delay(self, failures: int) -> timedelta:
        """How long to wait after so many failures in a row."""
        beyond = failures - self.free_attempts
        if beyond <= 0:
            return timedelta()
        doubled: timedelta = self.first_delay * 2 ** min(beyond - 1, 30)
        return min(self.max_delay, doubled)


@dataclass(slots=True)
class Throttle:
    """The failures of one account or one address.

    An attempt counts as failed until it has succeeded, so that a hundred at
    once are not a hundred free ones.
    """

    key: str
    failures: int = 0
    last_attempt: datetime = _LONG_AGO

    def attempt(self, policy: ThrottlePolicy, now: datetime) -> None:
        """Count an attempt that is about to be made.

        Raises:
            TooManyAttempts: it must not be made yet, and was not counted.
        """
        if now - self.last_attempt >= policy.forget_after:
            self.failures = 0
        wait = self.last_attempt + policy.delay(self.failures) - now
        if wait > timedelta():
            raise TooManyAttempts(retry_after_seconds=wait.total_seconds())
        self.failures += 1
        self.last_attempt = now

    def succeeded(self) -> None:
        """The attempt counted last was none of a guesser; what went before is forgiven."""
        self.failures = 0

    def take_back(self) -> None:
        """The attempt counted last does not count; those before do."""
        self.failures = max(0, self.failures - 1)
