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
        self._open = 0
        self._waiting: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """One stream more is open meanwhile.

        Raises:
            Overloaded: there are as many as there may be.
            ServerStopping: `end` was called before.
        """
        if self._ended.is_set():
            raise ServerStopping
        if self._open >= self._limit:
            raise Overloaded(retry_after_seconds=_RETRY_AFTER_SECONDS)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @contextmanager
    def between_writes(self) -> Iterator[None]:
        """`end` may interrupt the current task meanwhile; at no other time.

        A write that is interrupted is still in gRPC's hands, which then takes no
        status after it: the caller would wait for ever.

        Raises:
            ServerStopping: `end` was called, maybe while we waited.
        """
        task = asyncio.current_task()
        if self._ended.is_set() or task is None:
            raise ServerStopping
        self._waiting.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._ended.is_set() or task.uncancel():
                raise
            raise ServerStopping from None
        finally:
            self._waiting.discard(task)

    def end(self) -> None:
        """End every stream, which would last as long as a stop waits, and each new one at once."""
        self._ended.set()
        for task in self._waiting:
            task.cancel()
