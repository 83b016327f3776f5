"""Blocking loops in threads of their own, started and stopped from asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import structlog

from trackops_common.errors import TransientError

__all__ = ["Loop", "in_batches", "running"]

_log = structlog.get_logger(__name__)

Loop = Callable[[threading.Event], None]
"""Works until the event is set and then returns soon; an error it raises ends the service."""


@asynccontextmanager
async def running(loops: Mapping[str, Loop]) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """Runs each loop in a thread of its own, by name; on leaving, stops them and waits.

    The tasks are for `Application.background`, which reports their errors.
    """
    tasks = [asyncio.create_task(_run(name, loop), name=name) for name, loop in loops.items()]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def in_batches(work: Callable[[], int], *, what: str, interval_seconds: float) -> Loop:
    """A loop that calls `work`, which says how much it did, until there is nothing; then it pauses.

    A pass that meets a transient error is left to the next. `what` is done, for the log.
    """

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                done = work()
            except TransientError as error:
                _log.warning("background work failed; will try again", what=what, error=str(error))
                done = 0
            if done:
                _log.info("background work done", what=what, count=done)
            else:
                stop.wait(interval_seconds)

    return run


async def _run(name: str, loop: Loop) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix=name) as executor:
        work = asyncio.get_running_loop().run_in_executor(executor, loop, stop)
        try:
            await asyncio.shield(work)
        finally:
            stop.set()
            if not work.done():
                await work
