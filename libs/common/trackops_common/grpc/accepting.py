"""A server of `grpc.aio` that has gRPC hand over many calls at once.

As it is, `grpc.aio` asks for one call, and for the next when that has come: each
costs a way from the event loop to gRPC's own thread and back. On a core with
more to do each way is a turn in the system's queue, and a few hundred calls a
second are all that ever reach a handler; the others wait where nothing of ours
can refuse them.

There is no setting for it, so this reaches into the pinned grpcio; its tests
show whether another version still does what is relied on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NoReturn

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server as aio_server

__all__ = ["ASKED", "Server"]

ASKED = 128
"""Calls that gRPC may hand over without being asked again."""


class Server(aio_server.Server):
    """What `grpc.aio.server` makes of the same, but for how calls are accepted."""

    def __init__(
        self, *, interceptors: Sequence[Any] = (), options: Sequence[tuple[str, Any]] = ()
    ) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = _ManyAtOnce(self._loop, None, (), interceptors, tuple(options), None)

    def wind_down(self) -> None:
        """Calls are from now on accepted one by one, so that a stop finds none that waits."""
        self._server.most = 1


class _ManyAtOnce(cygrpc.AioServer):  # type: ignore[misc]  # it has no types
    """Its main loop awaits `_request_call` for each call, which here has been answered before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *more: Any) -> None:
        super().__init__(loop, *more)
        self._running = loop
        self.most = ASKED
        self.asked: deque[asyncio.Task[Any]] = deque()

    async def _request_call(self) -> Any:
        while len(self.asked) < self.most:
            asked = self._running.create_task(super()._request_call())
            asked.add_done_callback(_look_at)
            self.asked.append(asked)
        return await self.asked.popleft()

    async def _start_shutting_down(self) -> None:
        """When the main loop has ended, calls that it did not get to are told to go elsewhere."""
        await super()._start_shutting_down()
        handed = await asyncio.gather(*self.asked, return_exceptions=True)
        calls = [one for one in handed if isinstance(one, cygrpc.RPCState)]
        await asyncio.gather(*(_sent_away(call, self._running) for call in calls))


def _look_at(asked: asyncio.Task[Any]) -> None:
    """A server that stops answers all that was asked with an error, which nobody awaits."""
    if not asked.cancelled():
        asked.exception()


class _Elsewhere(grpc.GenericRpcHandler):
    """Answers each call so that its client repeats it: nothing was done for it."""

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        return grpc.stream_unary_rpc_method_handler(self._refuse)

    async def _refuse(self, _: object, context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops; nothing was done")


async def _sent_away(call: Any, loop: asyncio.AbstractEventLoop) -> None:
    resolver = cygrpc._MethodResolver([_Elsewhere()], {})
    handled = cygrpc._handle_rpc("", resolver, (), call, loop, False)
    await cygrpc._schedule_rpc_coro(handled, call, loop, "")
