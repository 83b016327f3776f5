"""Bodies on their way to a service, as somebody sends them who has no stubs."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from trackops_cli.testing import Mesh

from .rest import Request

__all__ = ["Answer", "Caller", "owner_of"]

_SECONDS = 30.0
_STREAM_SECONDS = 0.3
_DEFECTS = {code.value[0] for code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)}
_OWNERS = {
    "trackops.identity.v1.IdentityService": ["identity"],
    "trackops.inventory.v1.InventoryService": ["inventory"],
    "trackops.order.v1.OrderService": ["order"],
    "trackops.order.v1.OrderSagaService": ["order"],
    "trackops.payment.v1.PaymentService": ["payment"],
    "trackops.relay.v1.RelayService": ["outbox_relay"],
    "trackops.saga.v1.SagaService": ["saga_orchestrator"],
}
SERVICES = sorted({name for names in _OWNERS.values() for name in names})


@dataclass(frozen=True)
class Answer:
    """What came back."""

    code: str
    """A gRPC status, or HTTP's as three digits; OPEN for a stream on which nothing happened."""
    text: str = ""
    """An error's message, or body."""
    details: status_pb2.Status | None = None
    content_type: str = ""
    body: bytes = b""

    @property
    def violations(self) -> dict[str, str]:
        """Why, by the field at fault."""
        bad = error_details_pb2.BadRequest()
        for detail in self.details.details if self.details else ():
            if detail.Unpack(bad):
                return {one.field: one.description for one in bad.field_violations}
        return {}


def owner_of(method: MethodDescriptor, mesh: Mesh, choice: int = 0) -> str:
    """The service that answers it; one of all where each does."""
    owners = _OWNERS.get(method.containing_service.full_name, SERVICES)
    return mesh.target(owners[choice % len(owners)])


class Caller:
    """An administrator who sends whatever bytes there are. One for each thread."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._edge = mesh.stack.edge
        self._authority = self._edge.certificate.authority.read_bytes()
        self._channels: dict[str, grpc.Channel] = {}
        self._https: HTTPSConnection | None = None

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        if self._https is not None:
            self._https.close()

    def direct(self, method: MethodDescriptor, body: bytes, choice: int = 0) -> Answer:
        """A body to the service itself."""
        return self._grpc(owner_of(method, self._mesh, choice), method, body)

    def through_edge(self, method: MethodDescriptor, body: bytes) -> Answer:
        """The same as gRPC to the edge."""
        return self._grpc(self._edge.url.removeprefix("https://"), method, body)

    def rest(self, request: Request) -> Answer:
        """JSON to the edge."""
        headers = {"content-type": "application/json", **dict(self._metadata())}
        try:
            response = self._sent(request, headers)
        except (OSError, HTTPException) as error:
            self._hang_up()
            return Answer(f"no answer: {type(error).__name__}", str(error))
        return self._read(response)

    def _sent(self, request: Request, headers: dict[str, str]) -> HTTPResponse:
        """Once more on a fresh connection where the edge closed this one meanwhile."""
        with suppress(OSError, HTTPException):
            return self._send_once(request, headers)
        self._hang_up()
        return self._send_once(request, headers)

    def _send_once(self, request: Request, headers: dict[str, str]) -> HTTPResponse:
        if self._https is None:
            trust = ssl.create_default_context(cadata=self._authority.decode())
            host, _, port = self._edge.url.removeprefix("https://").rpartition(":")
            self._https = HTTPSConnection(host, int(port), timeout=_SECONDS, context=trust)
        self._https.request(request.verb, request.path, request.body, headers)
        return self._https.getresponse()

    def _hang_up(self) -> None:
        if self._https is not None:
            self._https.close()
        self._https = None

    def _read(self, response: HTTPResponse) -> Answer:
        content_type = response.headers.get("content-type", "")
        if content_type == "application/x-ndjson":  # a stream: that it began is enough
            self._hang_up()
            return Answer("200", content_type=content_type)
        body = response.read()
        text = body.decode(errors="replace") if response.status >= 400 else ""
        return Answer(str(response.status), text, content_type=content_type, body=body)

    def _grpc(self, target: str, method: MethodDescriptor, body: bytes) -> Answer:
        path = f"/{method.containing_service.full_name}/{method.name}"
        channel = self._channel(target)
        try:
            if method.server_streaming:
                return _first(channel.unary_stream(path), body, self._metadata())
            call: Any = channel.unary_unary(path)
            answer: bytes = call(body, timeout=_SECONDS, metadata=self._metadata())
            return _of_response(method, answer)
        except grpc.RpcError as error:
            return _of_error(error)

    def _channel(self, target: str) -> grpc.Channel:
        if target not in self._channels:
            options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
            if target in self._edge.url:
                trust = grpc.ssl_channel_credentials(self._authority)
                self._channels[target] = grpc.secure_channel(target, trust, options)
            else:
                self._channels[target] = grpc.insecure_channel(target, options)
        return self._channels[target]

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        with _TOKEN:
            return (("authorization", f"Bearer {self._mesh.token()}"),)


_TOKEN = threading.Lock()
"""The mesh gets one token for all, and another before it expires."""


def _first(call: Any, body: bytes, metadata: tuple[tuple[str, str], ...]) -> Answer:
    """A stream up to its first response."""
    stream = call(body, timeout=_STREAM_SECONDS, metadata=metadata)
    try:
        first = next(stream, None)
    except grpc.RpcError as error:
        answer = _of_error(error)
        return Answer("OPEN") if answer.code == "DEADLINE_EXCEEDED" else answer
    stream.cancel()
    return Answer("OK", body=first or b"")


def _of_response(method: MethodDescriptor, body: bytes) -> Answer:
    """OK, or of a batch the worst that one of its commands got, if that is a defect."""
    response = GetMessageClass(method.output_type).FromString(body)
    for result in getattr(response, "results", ()):
        if result.error.code in (
            grpc.StatusCode.INTERNAL.value[0],
            grpc.StatusCode.UNKNOWN.value[0],
        ):
            return Answer("INTERNAL", f"in a batch: {result.error.message}", result.error)
    return Answer("OK", body=body)


def _of_error(error: grpc.RpcError) -> Answer:
    details = None
    trailing: Any = error.trailing_metadata()
    for name, value in trailing or ():
        if name == "grpc-status-details-bin":
            details = status_pb2.Status.FromString(value)
    return Answer(error.code().name, error.details() or "", details)
