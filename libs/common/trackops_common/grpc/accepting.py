"""A server of `grpc.aio` that has gRPC hand over many calls at once.

As it is, `grpc.aio` asks for one call, and for the next when that has come: each
costs a way from the event loop to gRPC's own thread and back. On a core with
more to do each way is a turn in the system's queue, and a few hundred calls a
second are all that ever reach a handler; the others wait where nothing of ours
can refuse them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server as aio_server

__all__ = ["ASKED", "server"]

ASKED = 128
"""Calls that gRPC may hand over without being asked again."""


class _ManyAtOnce(cygrpc.AioServer):  # type: ignore[misc]  # it has no types
    """Its main loop awaits `_request_call` for each call, which here has been answered before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *more: Any) -> None:
        super().__init__(loop, *more)
        self._running = loop
        self.asked: deque[asyncio.Task[Any]] = deque()

    async def _request_call(self) -> Any:
        while len(self.asked) < ASKED:
            asked = self._running.create_task(super()._request_call())
            asked.add_done_callback(_look_at)
            self.asked.append(asked)
        return await self.asked.popleft()


def _look_at(asked: asyncio.Task[Any]) -> None:
    """A server that stops answers all that was asked with an error, which nobody awaits."""
    if not asked.cancelled():
        asked.exception()


class _Server(aio_server.Server):
    """As `grpc.aio.server` makes it, but for what accepts the calls."""

    def __init__(self, interceptors: Sequence[Any], options: Sequence[tuple[str, Any]]) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = _ManyAtOnce(self._loop, None, (), interceptors, tuple(options), None)


def server(
    *, interceptors: Sequence[Any] = (), options: Sequence[tuple[str, Any]] = ()
) -> grpc.aio.Server:
    """What `grpc.aio.server` makes of these, whose calls wait for our handlers and not for gRPC."""
    return cast("grpc.aio.Server", _Server(interceptors, options))
