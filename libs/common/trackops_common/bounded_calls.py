"""Calls that gain nothing from running together, kept from crowding out those that do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

from trackops_common.errors import DependencyUnavailable, Overloaded, TransientError

__all__ = ["BoundedCalls", "CallLimits", "Places"]

C = TypeVar("C")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Bounds of calls that each take a thread."""

    max_running: int = 2
    """Threads taken at once, at most."""
    max_waiting: int = 256
    """Calls that may wait for a thread; above it `submit` raises `Overloaded`."""
    retry_after_seconds: float = 0.1
    """What an overloaded caller is told."""


class Places:
    """Room for a few calls at a time; whoever shares it shares the bounds. Of one event loop."""

    def __init__(self, limits: CallLimits | None = None) -> None:
        self._limits = limits or CallLimits()
        self._free = asyncio.Semaphore(self._limits.max_running)
        self._waiting = 0

    async def take(self) -> None:
        """Wait for a place, which is the caller's until `release`. Raises Overloaded."""
        if self._waiting >= self._limits.max_waiting:
            raise Overloaded(retry_after_seconds=self._limits.retry_after_seconds)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def release(self) -> None:
        """Give a place back."""
        self._free.release()


class BoundedCalls(Generic[C, R]):
    """Runs each command by itself in a thread, a few at a time.

    A caller that goes away while it waits costs nothing; what runs for it
    already keeps its place until it ends.
    """

    def __init__(
        self, threads: Executor, run: Callable[[C], R], *, places: Places | None = None
    ) -> None:
        """`run` blocks, and may be run a second time after a `TransientError`.

        `places` may be those of other calls too; by default it has its own.
        """
        self._threads = threads
        self._run = run
        self._places = places or Places()

    async def submit(self, command: C) -> R:
        """The result of `command`.

        Raises:
            Overloaded: too many calls are waiting already; nothing was done.
            DependencyUnavailable: it ended in a transient error twice.
        """
        try:
            return await self._once(command)
        except TransientError:
            pass
        try:
            return await self._once(command)
        except TransientError as error:
            raise DependencyUnavailable("the database") from error

    async def _once(self, command: C) -> R:
        await self._places.take()
        run_here = copy_context().run
        call = asyncio.get_running_loop().run_in_executor(
            self._threads, run_here, self._run, command
        )
        call.add_done_callback(self._end)
        return await asyncio.shield(call)

    def _end(self, call: asyncio.Future[R]) -> None:
        """Looks at the outcome: whoever wanted it may be gone, and asyncio would call that a
        defect."""
        self._places.release()
        if not call.cancelled():
            call.exception()
