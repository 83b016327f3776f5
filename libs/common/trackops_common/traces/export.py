"""Spans on their way to a collector, by OpenTelemetry's SDK: its sampler, resource and exporter.

Nobody waits for a collector: above what may wait for it, spans are dropped, and counted.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
    OTEL_TRACES_SAMPLER,
    OTEL_TRACES_SAMPLER_ARG,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from trackops_common.traces.spans import Samples, Span, Tracer, is_sampled

__all__ = ["SpanQueue", "exporting", "ratio_bound", "samples_of"]

_CLOSE_SECONDS = 3.0
_SCOPE = InstrumentationScope("trackops")
_KINDS = {kind.name: kind for kind in SpanKind}


@contextmanager
def exporting(service: str) -> Iterator[tuple[Tracer, SpanQueue]]:
    """A tracer whose spans go where the environment says, and what they wait in."""
    provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
    queue = SpanQueue(
        OTLPSpanExporter(),
        lambda span: _readable(span, provider.resource),
        waiting=_number(OTEL_BSP_MAX_QUEUE_SIZE, 2048),
        batch=_number(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, 512),
        pause_seconds=_number(OTEL_BSP_SCHEDULE_DELAY, 5000) / 1000,
    )
    try:
        yield Tracer(samples_of(provider.sampler, ratio_bound()), queue.take), queue
    finally:
        queue.close()


def samples_of(sampler: Sampler, bound: int | None = None) -> Samples:
    """What a tracer asks; a caller's decision holds where the sampler is based on the parent.

    `bound` is that of `ratio_bound`, by which `sampler` decides; with it, deciding is a comparison.
    """
    by_parent = isinstance(sampler, ParentBased)

    def samples(caller: str, trace_id: int, name: str) -> bool:
        if caller and by_parent:
            return is_sampled(caller)
        if bound is not None:
            return trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < bound
        decision = sampler.should_sample(None, trace_id, name).decision
        return decision is Decision.RECORD_AND_SAMPLE

    return samples


def ratio_bound(environment: Mapping[str, str] = os.environ) -> int | None:
    """Below which number of 64 bits the end of a trace's id lies if the trace is sampled.

    None where the environment's sampler is not one by ratio. It is read as the SDK reads it, whose
    own way to the same answer is through two samplers and a context.
    """
    if environment.get(OTEL_TRACES_SAMPLER, "").lower() not in _BY_RATIO:
        return None
    try:
        rate = float(environment.get(OTEL_TRACES_SAMPLER_ARG, ""))
    except ValueError:
        rate = 1.0
    return TraceIdRatioBased.get_bound_for_rate(rate if 0 <= rate <= 1 else 1.0)


_BY_RATIO = frozenset({"traceidratio", "parentbased_traceidratio"})


class SpanQueue:
    """What waits for the collector, sent from a thread of its own."""

    def __init__(
        self,
        exporter: SpanExporter,
        convert: Callable[[Span], ReadableSpan],
        *,
        waiting: int,
        batch: int,
        pause_seconds: float,
    ) -> None:
        """At most `waiting` spans wait, `batch` go out at once, `pause_seconds` apart where there
        are fewer."""
        self._exporter = exporter
        self._convert = convert
        self._waiting: deque[Span] = deque()
        self._most = waiting
        self._batch = batch
        self._pause_seconds = pause_seconds
        self._full = threading.Event()
        self._closing = False
        self.dropped = 0
        """Spans since the start that did not reach the collector."""
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def take(self, span: Span) -> None:
        """Have a span sent, or drop it."""
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append(span)
        if len(self._waiting) >= self._batch:
            self._full.set()

    def close(self) -> None:
        """Send what waits; give up after some seconds where the collector is away."""
        self._closing = True
        self._full.set()
        self._thread.join(_CLOSE_SECONDS)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._closing:
            self._full.wait(self._pause_seconds)
            self._full.clear()
            self._send_waiting()
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            count = min(self._batch, len(self._waiting))
            spans = [self._waiting.popleft() for _ in range(count)]
            result = self._exporter.export([self._convert(one) for one in spans])
            if result is not SpanExportResult.SUCCESS:
                self.dropped += len(spans)


def _resource(service: str) -> Resource:
    """What the environment says goes first."""
    detected = Resource.create()
    if str(detected.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return detected.merge(Resource({SERVICE_NAME: service}))
    return detected


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    return ReadableSpan(
        span.name,
        context=_context(span.traceparent, remote=False),
        parent=_context(span.parent, remote=True) if span.parent else None,
        resource=resource,
        attributes=span.attributes,
        links=_links(span.links),
        kind=_KINDS[span.kind.name],
        status=Status(StatusCode.ERROR, span.failure) if span.failure else Status(),
        start_time=span.begin,
        end_time=span.end,
        instrumentation_scope=_SCOPE,
    )


def _links(traceparents: Sequence[str]) -> Sequence[Link]:
    return [Link(_context(one, remote=True)) for one in traceparents]


def _context(traceparent: str, *, remote: bool) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(int(flags, 16)))


def _number(name: str, default: int) -> int:
    """As the SDK reads it, which has no public way to ask."""
    return int(os.environ.get(name) or default)
