"""Blocking loops in threads of their own, started and stopped from asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

__all__ = ["Loop", "running"]

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
