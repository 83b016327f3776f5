"""The relay's numbers, as Prometheus gets them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from trackops_common.vitals import SECONDS, Reading, Sampled, Vitals, one
from trackops_outbox_relay.application.measure_sources import SourceNumbers
from trackops_outbox_relay.application.progress import OnPublished

__all__ = ["publish_meter", "show_sources"]


def publish_meter(vitals: Vitals) -> OnPublished:
    """What is to be told of each transaction."""
    seconds = vitals.histogram(
        "trackops_relay_publish_seconds",
        "What a Kafka transaction of a source took, from begin to commit.",
        buckets=SECONDS,
        labels=("source",),
    )
    if seconds is None:
        return lambda _source, _took: None
    return lambda source, took: seconds.labels(source).observe(took)


def show_sources(
    vitals: Vitals, sampled: Sampled[Sequence[SourceNumbers]], sources: Collection[str]
) -> None:
    """Show `sources`, which the replicas share out, and the numbers of those leased here."""
    vitals.gauge(
        "trackops_relay_sources",
        "Sources that the replicas share out. One of them without numbers is leased by nobody.",
        lambda: one(len(sources)),
    )

    def show(name: str, text: str, number: Callable[[SourceNumbers], float]) -> None:
        def read() -> Reading:
            return [((it.source,), number(it)) for it in sampled.value or ()]

        vitals.gauge(name, text, read, labels=("source",))

    show(
        "trackops_outbox_rows_behind",
        "Rows of a source's outbox that are not published.",
        lambda it: it.rows_behind,
    )
    show(
        "trackops_outbox_oldest_seconds",
        "The age of the oldest of them; 0 where there is none.",
        lambda it: it.oldest_seconds,
    )
    show(
        "trackops_relay_quarantined_keys",
        "Keys of a source whose rows wait for an operator.",
        lambda it: it.quarantined_keys,
    )
    show(
        "trackops_relay_source_refused",
        "1 where a source stands still until an operator has decided.",
        lambda it: it.refused,
    )
