"""A service of a contract, bound to the object that answers it.

What an interceptor would do to each call (admit its caller, validate it, turn
errors into statuses) is composed into each handler once, at start, so that a call
pays for few coroutines and look-ups.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from trackops_common.current_call import name_call
from trackops_common.errors import MalformedRequest, Overloaded, TokenExpired
from trackops_common.grpc.admission import Access, Admission
from trackops_common.grpc.call_meters import Call, CallMeters
from trackops_common.grpc.failures import (
    DomainFailure,
    Failure,
    describe,
    failure_of,
    status_details,
)
from trackops_common.grpc.streams import OpenStreams
from trackops_common.grpc.validation import validation_failure
from trackops_common.traces import installed, traced
from trackops_common.tracing import join_trace

__all__ = [
    "Context",
    "Encoded",
    "MissingHandler",
    "RpcService",
    "handlers_of",
    "unwrap",
    "write_all",
]

R = TypeVar("R")

Context = grpc.aio.ServicerContext[Any, Any]
Encoded = bytes
"""A response message in its wire form; it leaves as it is."""

Parse = Callable[[bytes], Message]
Door = Callable[[], None]
"""Raises `Overloaded` where a call would be refused anyway."""
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Refusing = Callable[[float], "Handler"]
"""The handler that tells callers to come back in so many seconds."""
Behaviour = Callable[[Any, Context], Awaitable[Message | Encoded]]
StreamBehaviour = Callable[[Any, Context], AsyncGenerator[Message | Encoded, None]]


class MissingHandler(Exception):
    """The contract has an RPC that the servicer does not answer."""

    def __init__(self, rpc: str) -> None:
        super().__init__(f"no handler for {rpc}")


@dataclass(frozen=True, slots=True)
class RpcService:
    """One service of the contracts and what answers it."""

    descriptor: ServiceDescriptor
    servicer: object
    """Has, for each RPC, an async method of its name: (request, context) -> message or bytes.

    For an RPC that streams responses, it is an async generator of them."""
    domain_failure: DomainFailure = lambda _: None
    """Maps the errors that the methods raise."""
    doors: Mapping[str, Door] = field(default_factory=dict)
    """By RPC, what is asked before anything else is done for a call, so that the calls which a
    full server refuses cost it little. Other RPCs have none."""


def handlers_of(
    service: RpcService,
    access: Access,
    streams: OpenStreams | None = None,
    meters: CallMeters | None = None,
) -> grpc.GenericRpcHandler:
    """The service as gRPC registers it; its streams count among `streams`, its calls in `meters`.

    Raises:
        MissingHandler: the servicer lacks a method.
        RpcUnguarded: the contract does not say who may call an RPC.
    """
    open_streams = OpenStreams() if streams is None else streams
    handlers, refusing = dict[str, Handler](), dict[str, tuple[Door, Refusing]]()
    for method in service.descriptor.methods:
        path = f"/{service.descriptor.full_name}/{method.name}"
        handlers[path] = _handler(service, method, access, open_streams, meters)
        if door := service.doors.get(method.name):
            refusing[path] = (door, _refusing(method, meters))
    return _Handlers(handlers, refusing)


class _Handlers(grpc.GenericRpcHandler):
    """Finds what answers a call; that is a refusal where the call finds the door shut."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        refusing: Mapping[str, tuple[Door, Refusing]],
    ) -> None:
        self._handlers = handlers
        self._refusing = refusing

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        path = handler_call_details.method
        if shut := self._refusing.get(path):
            door, refusing = shut
            try:
                door()
            except Overloaded as error:
                return refusing(error.retry_after_seconds)
        return self._handlers.get(path)


def unwrap(result: R | Exception) -> R:
    """`result`, raised where it is an error."""
    if isinstance(result, Exception):
        raise result
    return result


def _handler(
    service: RpcService,
    method: MethodDescriptor,
    access: Access,
    streams: OpenStreams,
    meters: CallMeters | None,
) -> Handler:
    behaviour: Any = getattr(service.servicer, method.name, None)
    if behaviour is None:
        raise MissingHandler(method.full_name)
    parse = GetMessageClass(method.input_type).FromString
    read: Any = bytes
    encode: Any = _encode
    if meters is not None:
        read, encode = meters.reading(method, read), meters.writing(method, encode)
    admission = Admission(method, access)
    if method.server_streaming:
        stream = _guarded_stream(
            method, parse, behaviour, service.domain_failure, admission, streams
        )
        return grpc.unary_stream_rpc_method_handler(
            _seen(method, stream, meters),
            request_deserializer=read,
            response_serializer=encode,
        )
    call = _guarded(method, parse, behaviour, service.domain_failure, admission)
    return grpc.unary_unary_rpc_method_handler(
        _seen(method, call, meters),
        request_deserializer=read,
        response_serializer=encode,
    )


def _refusing(method: MethodDescriptor, meters: CallMeters | None) -> Refusing:
    """Takes a stream of requests, of which it reads none: the body of a call that is refused costs
    nothing."""

    @lru_cache(maxsize=8)
    def refusing(seconds: float) -> Handler:
        failure = failure_of(Overloaded(retry_after_seconds=seconds))
        details = (status_details(failure.to_status()),)

        async def refuse(_: object, context: Context) -> NoReturn:
            await context.abort(failure.code, failure.message, trailing_metadata=details)

        return grpc.stream_unary_rpc_method_handler(_seen(method, refuse, meters))

    return refusing


def _seen(method: MethodDescriptor, call: Call[R], meters: CallMeters | None) -> Call[R]:
    """`call`, with its numbers and its span as far as somebody looks at them."""
    metered = call if meters is None else meters.metered(method, call)
    tracer = installed()
    return _releasing(metered if tracer is None else traced(method, metered, tracer))


def _releasing(call: Call[R]) -> Call[R]:
    """`call`, of which nothing is kept when it ends in `abort`.

    gRPC ties the error into a cycle with the call's state. By its traceback the request would stay
    in memory, some megabytes maybe, until a garbage collection that may be thousands of calls away.
    """

    async def released_call(body: Any, context: Any) -> R:
        try:
            return await call(body, context)
        except grpc.aio.AbortError as error:
            del body
            raise error.with_traceback(None)  # noqa: B904 - it is the same error

    return released_call


def _guarded(
    method: MethodDescriptor,
    parse: Parse,
    behaviour: Behaviour,
    domain_failure: DomainFailure,
    admission: Admission,
) -> Behaviour:
    async def call(body: bytes, context: Context) -> Message | Encoded:  # noqa: RET503 - abort
        metadata = context.invocation_metadata()
        try:
            await admission.admit(metadata)
            request = _parsed(parse, body)
            failure = validation_failure(request)
            if failure is None:
                join_trace(metadata)
                name_call(method, request)
                return await behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - each becomes the status it stands for
            failure = describe(error, domain_failure)
        await _abort(context, failure)

    return call


def _guarded_stream(
    method: MethodDescriptor,
    parse: Parse,
    behaviour: StreamBehaviour,
    domain_failure: DomainFailure,
    admission: Admission,
    streams: OpenStreams,
) -> Callable[[Any, Context], Awaitable[None]]:
    async def call(body: bytes, context: Context) -> None:
        metadata = context.invocation_metadata()
        try:
            await admission.admit(metadata)
            request = _parsed(parse, body)
            failure = validation_failure(request)
            if failure is None:
                join_trace(metadata)
                name_call(method, request)
                with streams.entered():
                    responses = behaviour(request, context)
                    await write_all(responses, context, streams, admission.seconds_left())
                    return
        except grpc.aio.InternalError:  # the caller left while it was being written to
            return
        except Exception as error:  # noqa: BLE001 - each becomes the status it stands for
            failure = describe(error, domain_failure)
        await _abort(context, failure)

    return call


async def write_all(
    responses: AsyncGenerator[Message | Encoded, None],
    context: Context,
    streams: OpenStreams,
    seconds: float | None = None,
) -> None:
    """Takes the next response when the one before has left; closes them, however it ends.

    Raises:
        TokenExpired: `seconds` have passed.
    """
    until = None if seconds is None else asyncio.get_running_loop().time() + seconds
    async with aclosing(responses):
        while True:
            with streams.between_writes():
                response = await _next(responses, until)
            if response is None:
                return
            await context.write(response)


async def _next(
    responses: AsyncGenerator[Message | Encoded, None], until: float | None
) -> Message | Encoded | None:
    """The next response, None after the last; `until` is a time of the event loop."""
    if until is not None and asyncio.get_running_loop().time() >= until:
        raise TokenExpired
    try:
        async with asyncio.timeout_at(until) as timeout:
            return await anext(responses, None)
    except TimeoutError:
        if timeout.expired():
            raise TokenExpired from None
        raise


async def _abort(context: Context, failure: Failure) -> NoReturn:
    status = failure.to_status()
    await context.abort(failure.code, status.message, trailing_metadata=(status_details(status),))


def _parsed(parse: Parse, body: bytes) -> Message:
    """The request in `body`; not gRPC's to read, which answers UNKNOWN for what it cannot.

    Raises:
        MalformedRequest: there is none.
    """
    try:
        return parse(body)
    except DecodeError as error:
        raise MalformedRequest from error


def _encode(response: Message | Encoded) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
