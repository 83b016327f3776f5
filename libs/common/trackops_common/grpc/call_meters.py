"""Rate, errors and duration of every RPC, under the names that gRPC's Prometheus exporters share.

A call pays for two clock readings, two counters and one histogram, whose label
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

from trackops_common.vitals import SECONDS

__all__ = ["CallMeters"]

R = TypeVar("R")

Call = Callable[[Any, Any], Awaitable[R]]

_LABELS = ("grpc_type", "grpc_service", "grpc_method")


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

    def metered(self, method: MethodDescriptor, call: Call[R]) -> Call[R]:
        """`call`, the handler of `method`, counted and timed.

        It sets its status with `abort`, as `trackops_common.grpc.endpoints` does.
        """
        kind = "server_stream" if method.server_streaming else "unary"
        labels = (kind, method.containing_service.full_name, method.name)
        started = self._started.labels(*labels).inc
        observe = self._seconds.labels(*labels).observe
        succeeded = self._handled.labels(*labels, "OK").inc

        async def metered_call(request: Any, context: Any) -> R:
            started()
            began = perf_counter()
            try:
                result = await call(request, context)
            except BaseException as error:
                observe(perf_counter() - began)
                self._handled.labels(*labels, _code(error, context)).inc()
                raise
            observe(perf_counter() - began)
            succeeded()
            return result

        return metered_call


def _code(error: BaseException, context: Any) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
