"""For tests: spans that are kept here, and a collector that takes those of processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from trackops_common.traces import Span, Tracer, installing

__all__ = ["Collector", "SpansHere", "TakenSpan", "as_tree", "collecting", "recording"]


class SpansHere:
    """The spans that have ended, in their order."""

    def __init__(self) -> None:
        self.ended: list[Span] = []

    def named(self, name: str) -> Sequence[Span]:
        return [span for span in self.ended if span.name == name]

    def one(self, name: str) -> Span:
        (span,) = self.named(name)
        return span


@contextmanager
def recording(*, sampled: bool = True) -> Iterator[SpansHere]:
    """Records whatever a caller does not forbid; where not `sampled`, only what one asks for."""
    spans = SpansHere()

    def samples(caller: str, _trace_id: int, _name: str) -> bool:
        return caller.endswith("1") if caller else sampled

    with installing(Tracer(samples, spans.ended.append)):
        yield spans


@dataclass(frozen=True)
class TakenSpan:
    """A span as it reached the collector; ids in hexadecimal."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty: it began its trace."""
    links: frozenset[tuple[str, str]]
    """Trace and span each."""
    attributes: dict[str, Any]
    failed: bool
    begin: int
    """In nanoseconds since 1970."""

    def under(self, other: TakenSpan) -> bool:
        """Whether it stands right under the other."""
        return (self.trace_id, self.parent_id) == (other.trace_id, other.span_id)

    def linked_to(self, other: TakenSpan) -> bool:
        return (other.trace_id, other.span_id) in self.links


def as_tree(spans: Iterable[TakenSpan]) -> str:
    """The spans of one trace as people read them, each under its parent, in the order of begin."""
    ordered = sorted(spans, key=lambda one: one.begin)
    known = {one.span_id for one in ordered}

    def lines(parent: str | None, indent: str) -> Iterator[str]:
        for one in ordered:
            top = one.parent_id not in known
            if top if parent is None else one.parent_id == parent:
                label = f"{indent}{one.name}"
                yield f"{label:<68} {one.service.removeprefix('trackops_'):<18} {one.kind.lower()}"
                yield from lines(one.span_id, f"{indent}  ")

    return "\n".join(lines(None, ""))


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans by OTLP over gRPC."""

    def __init__(self) -> None:
        self.target = ""
        self.spans: list[TakenSpan] = []

    @property
    def endpoint(self) -> str:
        """As `OTEL_EXPORTER_OTLP_ENDPOINT` has it."""
        return f"http://{self.target}"

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, _: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            service = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [_taken(service["service.name"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def collecting(address: str = "127.0.0.1:0") -> Iterator[Collector]:
    """A collector on loopback."""
    collector = Collector()
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(collector, server)
        host = address.rpartition(":")[0]
        collector.target = f"{host}:{server.add_insecure_port(address)}"
        server.start()
        try:
            yield collector
        finally:
            server.stop(None).wait()


def _taken(service: str, span: SpanMessage) -> TakenSpan:
    return TakenSpan(
        service,
        span.name,
        SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        {
            one.key: getattr(one.value, str(one.value.WhichOneof("value")))
            for one in span.attributes
        },
        span.status.code == 2,
        span.start_time_unix_nano,
    )
