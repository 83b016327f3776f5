"""The span of a Kafka transaction, linked to what caused each of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from trackops_common.errors import TransientError
from trackops_common.testing_traces import recording
from trackops_outbox_relay.adapters.publisher import Deliveries, KafkaPublisher
from trackops_outbox_relay.domain.checkpoint import Checkpoint, OutboxRow
from trackops_outbox_relay.domain.standing import Standing, Step

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-0bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
UNSAMPLED = f"{TRACE[:-2]}00"


class FakeProducer:
    """Keeps what it is given; its commits fail with `failure`, if there is one."""

    def __init__(self) -> None:
        self.failure: KafkaError | None = None
        self.traces: list[str] = []

    def begin_transaction(self) -> None:
        """Nothing to begin."""

    def produce(self, *_: object, headers: Sequence[tuple[str, str]] = (), **__: object) -> None:
        self.traces += [value for name, value in headers if name == "traceparent"]

    def commit_transaction(self, _: float) -> None:
        if self.failure is not None:
            raise KafkaException(self.failure)


def publisher(producer: FakeProducer) -> KafkaPublisher:
    return KafkaPublisher(
        cast("Any", producer),
        "trackops_order",
        limits=cast("Any", None),
        deliveries=Deliveries("checkpoints"),
        checkpoint_topic="checkpoints",
        partition=0,
    )


def step(*traces: str) -> Step:
    rows = [
        OutboxRow(seq, f"event-{seq}", "orders", "o", "t", 1, b"", "2026-01-01T00:00:00Z", trace)
        for seq, trace in enumerate(traces, 1)
    ]
    return Step(Standing(Checkpoint(len(rows), f"event-{len(rows)}")), rows)


def test_a_transaction_has_links_to_what_caused_its_rows_and_messages_keep_their_trace() -> None:
    producer = FakeProducer()
    with recording() as spans:
        publishing = publisher(producer)
        publishing.begin(step(TRACE, UNSAMPLED, "", OTHER, TRACE))
        assert not spans.ended
        publishing.commit()
    span = spans.one("send orders")
    assert span.links == [TRACE, OTHER]
    assert span.attributes["messaging.batch.message_count"] == 5
    assert span.attributes["trackops.outbox.source"] == "trackops_order"
    assert producer.traces == [TRACE, UNSAMPLED, OTHER, TRACE]


def test_a_transaction_that_fails_fails_its_span() -> None:
    producer = FakeProducer()
    producer.failure = KafkaError(KafkaError._TIMED_OUT)
    with recording() as spans:
        publishing = publisher(producer)
        publishing.begin(step(TRACE))
        with pytest.raises(TransientError):
            publishing.commit()
    assert spans.one("send orders").failure.startswith("TransientError: Kafka: ")


def test_a_transaction_for_nobody_has_no_span() -> None:
    with recording() as spans:
        publishing = publisher(FakeProducer())
        publishing.begin(step(UNSAMPLED, ""))
        publishing.commit()
    assert not spans.ended
