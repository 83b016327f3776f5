"""The streams that a server has open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trackops_common.errors import Overloaded, ServerStopping

__all__ = ["OpenStreams"]

_RETRY_AFTER_SECONDS = 1.0


class OpenStreams:
    """No more of them than the server may have, and none once it stops."""

    def __init__(self, *, limit: int = 10_000) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The current task counts as a stream meanwhile.

        Raises:
            Overloaded: there are as many as there may be.
            ServerStopping: `end` was called, maybe while the stream was at work.
        """
        task = asyncio.current_task()
        if self._ended.is_set() or task is None:
            raise ServerStopping
        if len(self._tasks) >= self._limit:
            raise Overloaded(retry_after_seconds=_RETRY_AFTER_SECONDS)
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._ended.is_set():
                raise
            task.uncancel()
            raise ServerStopping from None
        finally:
            self._tasks.discard(task)

    def end(self) -> None:
        """End every stream, which would last as long as a stop waits, and each new one at once."""
        self._ended.set()
        for task in self._tasks:
            task.cancel()
