"""What a service shows of itself: numbers, and whether it turns and is whole.

A bootstrap makes one `Vitals` and its parts enter what they know. Numbers that
stand in a part already are read with each scrape; only what has a distribution
is recorded as it happens. Without an endpoint to show them there is no registry,
and nothing is recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from trackops_common.circuit_breaker import CircuitState
from trackops_common.errors import TransientError
from trackops_common.settings import ServiceSettings

__all__ = ["SECONDS", "Reading", "Sampled", "Vitals", "one"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds of a histogram of waits and calls."""

T = TypeVar("T")

Reading = Iterable[tuple[Sequence[str], float]]
"""Numbers by the values of their labels; none where there is nothing to tell."""


def one(number: float) -> Reading:
    """A reading without labels."""
    return (((), number),)


class Vitals:
    """The numbers and states of one process. Reads happen in any thread and must not wait."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Without a registry nobody reads the numbers, and there are no histograms."""
        self.registry = registry
        self.workers: dict[str, Callable[[], float]] = {}
        """By name, for how many seconds a worker has been at the same piece of work."""
        self.optional: dict[str, Callable[[], bool]] = {}
        """By name, whether a dependency is there that the service can do without for a while."""

    @classmethod
    def of(cls, settings: ServiceSettings) -> Vitals:
        """With a registry, and the process's own numbers in it, where there is an endpoint."""
        if not settings.http_listen:
            return cls()
        # They are a series more for each counter and histogram, and tell nothing new.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        return cls(registry)

    def gauge(
        self, name: str, text: str, read: Callable[[], Reading], *, labels: Sequence[str] = ()
    ) -> None:
        """Show a number that goes up and down."""
        self._read(GaugeMetricFamily, name, text, read, labels)

    def counter(
        self, name: str, text: str, read: Callable[[], Reading], *, labels: Sequence[str] = ()
    ) -> None:
        """Show a number that only grows; `name` ends in `_total`."""
        self._read(CounterMetricFamily, name, text, read, labels)

    def histogram(
        self, name: str, text: str, *, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> Histogram | None:
        """Where to record what has a distribution; None where nobody reads it."""
        if self.registry is None:
            return None
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def circuits(self, read: Callable[[], Mapping[str, CircuitState]]) -> None:
        """Show the circuits of this process, by dependency. Call it once."""
        self.gauge(
            "trackops_circuit_state",
            "1 for the state that a dependency's circuit is in, 0 for the others.",
            lambda: [
                ((dependency, state.value), float(state is current))
                for dependency, current in read().items()
                for state in CircuitState
            ],
            labels=("dependency", "state"),
        )

    def _read(
        self,
        family: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        text: str,
        read: Callable[[], Reading],
        labels: Sequence[str],
    ) -> None:
        if self.registry is not None:
            self.registry.register(_Read(family, name, text, read, labels))


class _Read(Collector):
    """A metric whose numbers stand elsewhere."""

    def __init__(
        self,
        family: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        text: str,
        read: Callable[[], Reading],
        labels: Sequence[str],
    ) -> None:
        self._family = family
        self._name = name
        self._text = text
        self._reading = read
        self._labels = labels

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        family = self._family(self._name, self._text, labels=self._labels)
        for values, number in self._reading():
            family.add_metric(values, number)
        return (family,)


class Sampled(Generic[T]):
    """A value that takes a query: asked for at intervals, however often it is read."""

    def __init__(self, ask: Callable[[], T], *, every_seconds: float = 15.0) -> None:
        """`ask` blocks."""
        self._ask = ask
        self._every_seconds = every_seconds
        self.value: T | None = None
        """None before the first answer and after one that failed: no number is better than an
        old one."""

    def run(self, stop: threading.Event) -> None:
        """Ask until `stop` is set: a loop for `trackops_common.background`."""
        while True:
            try:
                self.value = self._ask()
            except TransientError:
                self.value = None
            if stop.wait(self._every_seconds):
                return
