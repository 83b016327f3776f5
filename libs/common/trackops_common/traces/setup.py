"""Whether traces are recorded, as OpenTelemetry's own variables of the environment say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from trackops_common.traces.spans import installing

__all__ = ["tracing"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@contextmanager
def tracing(
    service: str, environment: Mapping[str, str] = os.environ
) -> Iterator[Callable[[], int]]:
    """Record traces meanwhile, where there is a collector; how many spans were dropped so far.

    `service` is the process's name in them, unless `OTEL_SERVICE_NAME` or
    `OTEL_RESOURCE_ATTRIBUTES` has another. On leaving, what waits is sent, for some seconds.
    """
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if off or exporter != "otlp" or not any(environment.get(name) for name in _ENDPOINTS):
        yield lambda: 0
        return
    # Only now: it takes time and memory that a process without a collector need not spend.
    from trackops_common.traces.export import exporting

    with exporting(service) as (tracer, queue), installing(tracer):
        yield lambda: queue.dropped
