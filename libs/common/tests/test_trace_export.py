"""Spans on their way to a collector, and a collector that is away."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from trackops_cli.testing import wait_for
from trackops_common.testing_traces import collecting
from trackops_common.traces import Kind, Span, installed, joint, tracing
from trackops_common.traces.export import SpanQueue, ratio_bound, samples_of

from .inbox_world import TRACE

UNSAMPLED = f"{TRACE[:-2]}00"


class ScriptedExporter(SpanExporter):
    """Takes spans while `open`, each time with the result that `result` holds."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked = threading.Event()
        self.result = SpanExportResult.SUCCESS
        self.batches: list[Sequence[ReadableSpan]] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        assert self.open.wait(30)
        self.batches.append(spans)
        return self.result

    def shutdown(self) -> None:
        """Nothing to close."""


def ended(queue: SpanQueue, number: int) -> None:
    Span(f"span {number}", Kind.INTERNAL, "", 1, number, queue.take).finish()


def queue_of(exporter: SpanExporter, *, waiting: int = 100, batch: int = 2) -> SpanQueue:
    return SpanQueue(
        exporter,
        lambda span: ReadableSpan(span.name),
        waiting=waiting,
        batch=batch,
        pause_seconds=0.01,
    )


def test_what_ends_is_sent_in_batches_and_the_rest_at_the_end() -> None:
    exporter = ScriptedExporter()
    exporter.open.set()
    queue = queue_of(exporter)
    for number in range(1, 6):
        ended(queue, number)
    queue.close()
    names = [span.name for batch in exporter.batches for span in batch]
    assert names == [f"span {number}" for number in range(1, 6)]
    assert max(map(len, exporter.batches)) <= 2
    assert queue.dropped == 0


def test_above_what_may_wait_spans_are_dropped_and_counted() -> None:
    exporter = ScriptedExporter()
    queue = queue_of(exporter, waiting=4)
    ended(queue, 1)
    assert exporter.asked.wait(30)  # one is with the collector, which keeps us waiting
    for number in range(2, 9):
        ended(queue, number)
    assert queue.dropped == 3
    exporter.open.set()
    queue.close()
    assert sum(map(len, exporter.batches)) == 5


def test_what_a_collector_does_not_take_counts_as_dropped() -> None:
    exporter = ScriptedExporter()
    exporter.open.set()
    exporter.result = SpanExportResult.FAILURE
    queue = queue_of(exporter)
    ended(queue, 1)
    wait_for(lambda: queue.dropped == 1)
    queue.close()


@pytest.mark.parametrize(
    ("sampler", "caller", "sampled"),
    [
        (sampling.ALWAYS_ON, UNSAMPLED, True),
        (sampling.ALWAYS_OFF, TRACE, False),
        (sampling.DEFAULT_ON, "", True),
        (sampling.DEFAULT_ON, UNSAMPLED, False),
        (sampling.DEFAULT_OFF, "", False),
        (sampling.DEFAULT_OFF, TRACE, True),
        (sampling.ParentBasedTraceIdRatio(0.0), "", False),
        (sampling.ParentBasedTraceIdRatio(0.0), TRACE, True),
        (sampling.ParentBasedTraceIdRatio(1.0), "", True),
        (sampling.TraceIdRatioBased(0.0), TRACE, False),
    ],
)
def test_the_callers_decision_holds_where_the_sampler_is_based_on_it(
    sampler: sampling.Sampler, caller: str, sampled: bool
) -> None:
    assert samples_of(sampler)(caller, 1 << 63, "name") is sampled


@pytest.mark.parametrize(
    "name", ["traceidratio", "parentbased_traceidratio", "ParentBased_TraceIdRatio"]
)
@pytest.mark.parametrize("rate", ["0", "0.01", "0.5", "1", "2", "-1", "much", ""])
def test_a_ratio_is_decided_as_the_sdk_decides_it(
    name: str, rate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", rate)
    sampler, bound = TracerProvider(shutdown_on_exit=False).sampler, ratio_bound()
    assert bound is not None
    low_ids = [0, 1, *(part * (1 << 64) // 100 + one for part in (1, 50, 99) for one in (-1, 0, 1))]

    for trace_id in (1 << 96 | low for low in low_ids):
        for caller in ("", TRACE, UNSAMPLED):
            decided = samples_of(sampler)(caller, trace_id, "name")
            assert samples_of(sampler, bound)(caller, trace_id, "name") is decided


@pytest.mark.parametrize("name", ["", "always_on", "parentbased_always_off", "unheard_of"])
def test_a_sampler_that_is_not_by_ratio_has_no_bound(name: str) -> None:
    assert ratio_bound({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": "0.5"}) is None


def test_a_collector_gets_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with (
            tracing("order") as dropped,
            joint("work", Kind.CONSUMER, [TRACE], {"n": 2}),
            pytest.raises(KeyError),
            joint("part", Kind.CLIENT, [TRACE]),
        ):
            raise KeyError
        assert dropped() == 0
    part, work = collector.spans
    assert (work.service, work.name, work.kind, work.failed) == ("order", "work", "CONSUMER", False)
    _, trace_id, span_id, _ = TRACE.split("-")
    assert (work.trace_id, work.parent_id) == (trace_id, span_id)
    assert work.links == {(trace_id, span_id)}
    assert work.attributes == {"n": 2}
    assert (part.kind, part.failed) == ("CLIENT", True)


def test_the_environment_may_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        with tracing("order"), joint("work", Kind.CONSUMER, [TRACE]):
            pass
    assert [one.service for one in collector.spans] == ["mine"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_a_collector_there_is_no_tracer(environment: dict[str, str]) -> None:
    with tracing("order", environment) as dropped:
        assert installed() is None
        assert dropped() == 0


def test_without_a_collector_opentelemetry_is_not_imported() -> None:
    program = """
import sys
import trackops_common.grpc.server, trackops_common.hosting, trackops_common.inbox
from trackops_common.traces import tracing
with tracing("order", {}):
    print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
