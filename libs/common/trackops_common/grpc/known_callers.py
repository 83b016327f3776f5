"""Lets in only peers whose certificate names one of the callers that this server knows."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import structlog
from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_common.grpc.endpoints import Context
from trackops_common.grpc.failures import Failure, status_details

__all__ = ["KnownCallers"]

_log = structlog.get_logger(__name__)

_HEALTH = "/grpc.health.v1.Health/"
"""It answers every peer with a certificate: a channel that is refused its health check takes the
server for one that is away, and never hears why."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class KnownCallers(grpc.aio.ServerInterceptor):
    """Refuses others with PERMISSION_DENIED, and logs them."""

    def __init__(self, names: Collection[str]) -> None:
        """`names` as they stand among a certificate's subject alternative names."""
        self._names = frozenset(name.encode() for name in names)
        self._guarded: dict[str, Handler] = {}
        """By method, so that a call pays for a look-up; there are as many as the server has."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """What serves the call, behind the check of its caller."""
        method: str = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_HEALTH):
            return handler
        return self._guarded.setdefault(method, self._guard(handler, method))

    def _guard(self, handler: Any, method: str) -> Handler:
        kind = next(kind for kind in _KINDS if getattr(handler, kind) is not None)
        behaviour = getattr(handler, kind)
        checked = self._checked_stream if inspect.isasyncgenfunction(behaviour) else self._checked
        guarded: Handler = handler._replace(**{kind: checked(behaviour, method)})
        return guarded

    def _checked(
        self, behaviour: Callable[[Any, Context], Awaitable[Any]], method: str
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            if not self._knows(context):
                await _refuse(context, method)
            return await behaviour(request, context)

        return call

    def _checked_stream(
        self, behaviour: Callable[[Any, Context], AsyncGenerator[Any, None]], method: str
    ) -> Callable[[Any, Context], AsyncGenerator[Any, None]]:
        async def stream(request: Any, context: Context) -> AsyncGenerator[Any, None]:
            if not self._knows(context):
                await _refuse(context, method)
            async with aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    yield response

        return stream

    def _knows(self, context: Any) -> bool:
        return not self._names.isdisjoint(context.peer_identities() or ())


_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


async def _refuse(context: Any, method: str) -> None:
    names = ", ".join(name.decode(errors="replace") for name in context.peer_identities() or ())
    _log.warning("refused a caller", names=names, method=method)
    failure = Failure(
        grpc.StatusCode.PERMISSION_DENIED,
        ErrorReason.ERROR_REASON_PERMISSION_DENIED,
        f"this server does not know the names in the caller's certificate: {names}",
        metadata={"names": names},
    )
    details = status_details(failure.to_status())
    await context.abort(failure.code, failure.message, trailing_metadata=(details,))
