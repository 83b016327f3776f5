"""Spans of calls: those that are answered, and those that are made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor

from trackops_common.traces.spans import Kind, Span, Tracer, installed, span
from trackops_common.tracing import current_traceparent, trace_in

__all__ = ["client_interceptors", "traced"]

R = TypeVar("R")
Call = Callable[[Any, Any], Awaitable[R]]

_SERVER_FAULTS = frozenset(
    {
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    }
)
"""What the semantic conventions count as a server's failure; the others are its callers'."""
_CLIENT_FAULTS = frozenset(code.name for code in grpc.StatusCode) - {"OK"}


def traced(method: MethodDescriptor, call: Call[R], tracer: Tracer) -> Call[R]:
    """`call`, the handler of `method`, each of its runs with a span.

    It sets its status with `abort`, as `trackops_common.grpc.endpoints` does.
    """
    name = f"{method.containing_service.full_name}/{method.name}"

    async def traced_call(request: Any, context: Any) -> R:
        own = tracer.enter(name, Kind.SERVER, trace_in(context.invocation_metadata()))
        if own is None:
            return await call(request, context)
        with own:
            own.attributes.update(_rpc(name))
            try:
                result = await call(request, context)
            except BaseException as error:
                _end(own, _code(error, context), _SERVER_FAULTS)
                raise
            _end(own, "OK", _SERVER_FAULTS)
            return result

    return traced_call


def client_interceptors() -> list[grpc.aio.ClientInterceptor]:
    """Hand the current trace on with each call of a channel, with a span where it is recorded.

    A call that has a `traceparent` of its own stays as it is. None where tracing is off.
    """
    return [] if installed() is None else [_UnaryUnary(), _UnaryStream()]


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await _call(continuation, client_call_details, request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await _call(continuation, client_call_details, request)


async def _call(continuation: Any, details: grpc.aio.ClientCallDetails, request: Any) -> Any:
    if not current_traceparent() or trace_in(details.metadata):
        return await continuation(details, request)
    name = _name(details.method)
    with span(name, Kind.CLIENT) as own:
        call = await continuation(_with_trace(details), request)
        if own is None:
            return call
        own.attributes.update(_rpc(name))
        if isinstance(call, grpc.aio.UnaryUnaryCall):
            _end(own, (await _code_of(call)).name, _CLIENT_FAULTS)
        return call


async def _code_of(call: grpc.aio.UnaryUnaryCall[Any, Any]) -> grpc.StatusCode:
    try:
        return await call.code()
    except asyncio.CancelledError:
        call.cancel()
        raise


def _with_trace(own: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(own.metadata or ()), ("traceparent", current_traceparent()))
    return grpc.aio.ClientCallDetails(
        own.method, own.timeout, metadata, own.credentials, own.wait_for_ready
    )


def _name(method: str | bytes) -> str:
    return (method.decode() if isinstance(method, bytes) else method).removeprefix("/")


def _rpc(name: str) -> dict[str, str | int | float | bool]:
    return {"rpc.system.name": "grpc", "rpc.method": name}


def _end(own: Span, code: str, faults: frozenset[str]) -> None:
    own.attributes["rpc.response.status_code"] = code
    if code in faults:
        own.attributes["error.type"] = code
        own.failure = code


def _code(error: BaseException, context: Any) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
