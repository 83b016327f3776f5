"""A dependency that does not answer is left alone for a while.

After a number of failures in a row the circuit opens: calls are refused at once
and cost neither time nor a connection. After a while it is half-open: one call
is let through, and its outcome closes the circuit or opens it for another while.

    CLOSED ──failures in a row──> OPEN ──reset_seconds──> HALF_OPEN
       ^                           ^                       │    │
       └───────── success ─────────┼───────────────────────┘    │
                                   └────────── failure ─────────┘
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from trackops_common.errors import DependencyUnavailable

__all__ = ["CircuitBreaker", "CircuitOpen", "CircuitState"]


class CircuitState(StrEnum):
    """Whether calls pass: all, none, or one to see."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class CircuitOpen(DependencyUnavailable):
    """The call was refused at once, and nothing was sent."""


class CircuitBreaker:
    """Counts how calls of one dependency end, and refuses them while it seems away.

    Thread-safe, and good for asyncio alike, since nothing in it waits.
    """

    def __init__(
        self,
        dependency: str,
        *,
        failures: int,
        reset_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[CircuitState], None] = lambda _: None,
    ) -> None:
        """`dependency` is how errors call it, say "the payment provider".

        Args:
            dependency: its name.
            failures: so many in a row open the circuit.
            reset_seconds: how long it stays open before one call is let through.
            clock: seconds that only grow.
            on_change: told each new state, under the lock: it must not call back.
        """
        self._dependency = dependency
        self._failures_to_open = failures
        self._reset_seconds = reset_seconds
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._state = CircuitState.CLOSED
        self._period = 0
        self._failures = 0
        self._opened_at = 0.0
        self._trying = False

    @property
    def state(self) -> CircuitState:
        """OPEN until a call is let through, also when the time for it has come."""
        return self._state

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call of the dependency.

        An `Exception` that leaves the block is a failure, the end of the block a
        success. A cancellation (or any other `BaseException`) is neither; it
        only makes room for the next call. What a call that began before the
        last change of state has to say is not counted.

        Raises:
            CircuitOpen: the circuit is open, or half-open and being tried.
        """
        period = self._enter()
        try:
            yield
        except Exception:
            self._end(period, failed=True)
            raise
        except BaseException:
            self._abandon(period)
            raise
        self._end(period, failed=False)

    def _enter(self) -> int:
        with self._lock:
            if self._state is CircuitState.OPEN:
                if self._clock() - self._opened_at < self._reset_seconds:
                    raise CircuitOpen(self._dependency)
                self._change(CircuitState.HALF_OPEN)
            if self._state is CircuitState.HALF_OPEN:
                if self._trying:
                    raise CircuitOpen(self._dependency)
                self._trying = True
            return self._period

    def _end(self, period: int, *, failed: bool) -> None:
        with self._lock:
            if period != self._period:
                return
            self._trying = False
            self._failures = self._failures + 1 if failed else 0
            if failed and self._opens():
                self._opened_at = self._clock()
                self._change(CircuitState.OPEN)
            elif not failed and self._state is CircuitState.HALF_OPEN:
                self._change(CircuitState.CLOSED)

    def _opens(self) -> bool:
        return self._state is CircuitState.HALF_OPEN or self._failures >= self._failures_to_open

    def _abandon(self, period: int) -> None:
        with self._lock:
            if period == self._period:
                self._trying = False

    def _change(self, state: CircuitState) -> None:
        self._state = state
        self._period += 1
        self._failures = 0
        self._on_change(state)
