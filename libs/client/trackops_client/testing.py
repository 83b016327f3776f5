"""A server for the tests of programs that call TrackOps. Needs the extra `testing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

__all__ = ["Answer", "FakeServer", "Received", "failing"]

Answer = Callable[[grpc.ServicerContext], Message | Iterable[Message] | None]
"""Makes the response of one call; None is an empty one, and the context can abort the call.

For an RPC that streams responses it makes them all; None is none.
"""

_HUNDRED_YEARS = 3e9


@dataclass(frozen=True, slots=True)
class Received:
    """A call as it arrived."""

    request: Any
    metadata: dict[str, str | bytes]
    seconds_left: float | None
    """None for a call without a deadline."""


class FakeServer:
    """Answers one service of the contracts on loopback, in this process, healthy until told."""

    def __init__(
        self, service: ServiceDescriptor, *, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.received: list[Received] = []
        """Every attempt of every call, oldest first."""
        self.answers: list[Answer] = []
        """Used up one an attempt; after them every response is empty."""
        self._health = health.HealthServicer()
        self._server = grpc.server(ThreadPoolExecutor(8))
        handlers = {method.name: self._handler(method) for method in service.methods}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service.full_name, handlers),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.target = f"127.0.0.1:{self._listen(credentials)}"
        """host:port."""
        self.set_serving(True)
        self._server.start()

    def close(self) -> None:
        """Ends the server and every call on it."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace=None).wait()

    def set_serving(self, serving: bool) -> None:
        """What the server's health says from now on."""
        kind = health_pb2.HealthCheckResponse
        self._health.set("", kind.SERVING if serving else kind.NOT_SERVING)

    def _listen(self, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None:
            return self._server.add_insecure_port("127.0.0.1:0")
        return self._server.add_secure_port("127.0.0.1:0", credentials)

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        empty = GetMessageClass(method.output_type)()

        def answer(request: Message, context: grpc.ServicerContext) -> Message:
            self.received.append(_received(request, context))
            response = self.answers.pop(0)(context) if self.answers else None
            return response if isinstance(response, Message) else empty

        def stream(request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
            self.received.append(_received(request, context))
            responses = self.answers.pop(0)(context) if self.answers else None
            yield from () if isinstance(responses, Message) else responses or ()

        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                stream,
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )


def failing(code: grpc.StatusCode, message: str = "told so") -> Answer:
    """An answer of `code` without details."""
    return lambda context: context.abort(code, message)


def _received(request: Message, context: grpc.ServicerContext) -> Received:
    left = context.time_remaining()
    endless = left is None or left > _HUNDRED_YEARS
    return Received(request, dict(context.invocation_metadata()), None if endless else left)
