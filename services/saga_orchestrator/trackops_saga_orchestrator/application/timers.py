"""When the engine looks for sagas whose time has come."""

from __future__ import annotations

import asyncio
import heapq
from datetime import datetime, timedelta

from trackops_common.clock import Clock

__all__ = ["Timers"]

_SHORTEST = timedelta(milliseconds=50)
"""Between two looks, so that waits that end close together are looked after together."""


class Timers:
    """Every interval, and sooner for waits that end sooner."""

    def __init__(self, clock: Clock, interval: timedelta) -> None:
        self._clock = clock
        self._interval = interval
        self._due: list[datetime] = []
        self._sooner = asyncio.Event()

    def add(self, due: datetime) -> None:
        """Have `next` return about then. Waits beyond the interval need not be remembered."""
        if due - self._clock.now() < self._interval:
            heapq.heappush(self._due, due)
            self._sooner.set()

    async def next(self) -> None:
        """Return when it is time to look again."""
        start = self._clock.now()
        while (wait := self._wait_since(start)) > timedelta():
            self._sooner.clear()
            try:
                await asyncio.wait_for(self._sooner.wait(), wait.total_seconds())
            except TimeoutError:
                break
        now = self._clock.now()
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)

    def _wait_since(self, start: datetime) -> timedelta:
        end = start + self._interval
        if self._due:
            end = min(end, max(self._due[0], start + _SHORTEST))
        return end - self._clock.now()
