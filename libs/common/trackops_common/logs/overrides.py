"""Levels that hold for a while."""

from __future__ import annotations

import asyncio

import structlog

from trackops_common.logs.levels import LogLevels

__all__ = ["LevelOverrides"]

_log = structlog.get_logger(__name__)


class LevelOverrides:
    """Changes levels and puts them back; of one event loop."""

    def __init__(self, levels: LogLevels) -> None:
        self._levels = levels
        self._ends: dict[str, tuple[str, asyncio.TimerHandle]] = {}

    def set(self, logger: str, level: str, *, seconds: float) -> str:
        """As `LogLevels.set`, for so long; the level that comes back then, empty for the parent's.

        A logger whose level was changed before keeps the way back to what it was at first.
        """
        before, timer = self._ends.get(logger, (self._levels.of(logger), None))
        self._levels.set(logger, level)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._ends[logger] = before, loop.call_later(seconds, self._put_back, logger)
        return before

    def _put_back(self, logger: str) -> None:
        before, _ = self._ends.pop(logger)
        self._levels.set(logger, before)
        _log.warning("log level is back", changed=logger or "all", to=before or "the parent's")
