"""Health that follows what a service cannot do without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping

import structlog

from trackops_common.errors import DependencyUnavailable

__all__ = ["DependencyCheck", "watch_dependencies"]

_log = structlog.get_logger(__name__)

_ANSWER_SECONDS = 6.0

DependencyCheck = Callable[[], None]
"""Blocks, and raises `DependencyUnavailable` where the dependency does not answer."""


async def watch_dependencies(
    checks: Mapping[str, DependencyCheck],
    set_ready: Callable[[bool], Awaitable[None]],
    *,
    away: MutableMapping[str, str] | None = None,
    every_seconds: float = 5.0,
    answer_seconds: float = _ANSWER_SECONDS,
) -> None:
    """Check each dependency, by name, again and again, until it is cancelled.

    `set_ready` is told False with the first that goes away and True when all
    are there again; a log line names each that goes or comes. A check that
    hangs counts as gone after `answer_seconds`, and is not started twice. `away`
    holds, before `set_ready` is told, each that is gone with what went wrong.

    Raises:
        ExceptionGroup: a check raised something else, which is a defect.
    """
    if not checks:
        await asyncio.Event().wait()
    roll = _Roll(set_ready, {} if away is None else away)
    async with asyncio.TaskGroup() as watchers:
        for name, check in checks.items():
            watching = _watch(name, check, roll, every_seconds, answer_seconds)
            watchers.create_task(watching, name=f"watch {name}")


class _Roll:
    """Who is away."""

    def __init__(
        self, set_ready: Callable[[bool], Awaitable[None]], away: MutableMapping[str, str]
    ) -> None:
        self._set_ready = set_ready
        self._away = away

    async def gone(self, name: str, error: str) -> None:
        if name not in self._away:
            _log.error("not ready: a dependency is away", dependency=name, error=error)
            self._away[name] = error
            if len(self._away) == 1:
                await self._set_ready(False)

    async def there(self, name: str) -> None:
        if name in self._away:
            del self._away[name]
            _log.info("dependency is back", dependency=name, still_away=sorted(self._away))
            if not self._away:
                await self._set_ready(True)


async def _watch(
    name: str, check: DependencyCheck, roll: _Roll, every_seconds: float, answer_seconds: float
) -> None:
    while True:
        work = asyncio.create_task(asyncio.to_thread(check))
        done, _ = await asyncio.wait([work], timeout=answer_seconds)
        if not done:
            await roll.gone(name, f"no answer within {answer_seconds:g} s")
        try:
            await work
            await roll.there(name)
        except DependencyUnavailable as error:
            await roll.gone(name, str(error))
        await asyncio.sleep(every_seconds)
