"""Spans of the trace that `trackops_common.tracing` hands on: what took how long, and for whom.

Nothing is recorded, and OpenTelemetry is not even imported, unless the environment names a
collector (`OTEL_EXPORTER_OTLP_ENDPOINT`).
"""

from trackops_common.traces.calls import client_interceptors, traced
from trackops_common.traces.setup import tracing
from trackops_common.traces.spans import (
    Kind,
    Span,
    Tracer,
    exemplar,
    installed,
    installing,
    is_sampled,
    joint,
    joint_of,
    joint_span,
    mark,
    recorded,
    span,
)

__all__ = [
    "Kind",
    "Span",
    "Tracer",
    "client_interceptors",
    "exemplar",
    "installed",
    "installing",
    "is_sampled",
    "joint",
    "joint_of",
    "joint_span",
    "mark",
    "recorded",
    "span",
    "traced",
    "tracing",
]
