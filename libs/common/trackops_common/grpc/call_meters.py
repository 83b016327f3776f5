"""Rate, errors, duration and bytes of every RPC.

The names are those that gRPC's Prometheus exporters share, where they have one.

A call pays for two clock readings, four counters and one histogram, whose label
values were looked up when the service started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor
from prometheus_client import CollectorRegistry, Counter, Histogram

from trackops_common.traces.spans import exemplar
from trackops_common.vitals import SECONDS

__all__ = ["Call", "CallMeters"]

R = TypeVar("R")

Call = Callable[[Any, Any], Awaitable[R]]

_LABELS = ("grpc_type", "grpc_service", "grpc_method")

_FAULTS = ("INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN")
"""Statuses by which a service fails its callers. They are shown as 0 before the first, since a
counter that begins above 0 hides its first step from `rate`."""


class CallMeters:
    """The meters of one server; make it once for a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "grpc_server_started_total", "RPCs that reached a handler.", _LABELS, registry=registry
        )
        self._handled = Counter(
            "grpc_server_handled_total",
            "RPCs that ended, by the status that the caller got.",
            (*_LABELS, "grpc_code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "From a handler's begin to its end; of a stream, as long as it was open.",
            _LABELS,
            buckets=SECONDS,
            registry=registry,
        )
        self._received = Counter(
            "grpc_server_received_bytes_total",
            "Bytes of request messages, as they came, without gRPC's framing.",
            _LABELS,
            registry=registry,
        )
        self._sent = Counter(
            "grpc_server_sent_bytes_total",
            "Bytes of response messages, as they left, without gRPC's framing.",
            _LABELS,
            registry=registry,
        )

    def metered(self, method: MethodDescriptor, call: Call[R]) -> Call[R]:
        """`call`, the handler of `method`, counted and timed.

        It sets its status with `abort`, as `trackops_common.grpc.endpoints` does.
        """
        labels = _labels(method)
        for code in _FAULTS:
            self._handled.labels(*labels, code)
        started = self._started.labels(*labels).inc
        observe = self._seconds.labels(*labels).observe
        succeeded = self._handled.labels(*labels, "OK").inc

        async def metered_call(request: Any, context: Any) -> R:
            started()
            began = perf_counter()
            try:
                result = await call(request, context)
            except BaseException as error:
                observe(perf_counter() - began, exemplar())
                self._handled.labels(*labels, _code(error, context)).inc()
                raise
            observe(perf_counter() - began, exemplar())
            succeeded()
            return result

        return metered_call

    def reading(
        self, method: MethodDescriptor, parse: Callable[[bytes], R]
    ) -> Callable[[bytes], R]:
        """`parse`, which reads the requests of `method`, with their bytes counted."""
        received = self._received.labels(*_labels(method)).inc

        def metered_parse(request: bytes) -> R:
            received(len(request))
            return parse(request)

        return metered_parse

    def writing(
        self, method: MethodDescriptor, encode: Callable[[R], bytes]
    ) -> Callable[[R], bytes]:
        """`encode`, which writes the responses of `method`, with their bytes counted."""
        sent = self._sent.labels(*_labels(method)).inc

        def metered_encode(response: R) -> bytes:
            encoded = encode(response)
            sent(len(encoded))
            return encoded

        return metered_encode


def _labels(method: MethodDescriptor) -> tuple[str, str, str]:
    kind = "server_stream" if method.server_streaming else "unary"
    return (kind, method.containing_service.full_name, method.name)


def _code(error: BaseException, context: Any) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
