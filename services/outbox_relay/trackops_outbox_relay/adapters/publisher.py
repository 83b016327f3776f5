"""Rows and their checkpoint, in one Kafka transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from trackops.relay.v1.relay_service_pb2 import CheckpointRecord

from trackops_common import kafka
from trackops_common.envelope import HeaderWriter
from trackops_common.errors import TransientError
from trackops_outbox_relay.application.ports import Fenced
from trackops_outbox_relay.domain.checkpoint import Checkpoint, OutboxRow
from trackops_outbox_relay.domain.sources import partition_of

__all__ = ["KafkaPublisher", "KafkaPublishers"]

_REQUEST_SECONDS = 5.0
_FENCED_CODES = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
)


class KafkaPublisher:
    """A transactional producer of one source."""

    def __init__(
        self, producer: Producer, source: str, *, checkpoint_topic: str, partition: int
    ) -> None:
        """`partition` of the checkpoint topic is the source's."""
        self._producer = producer
        self._source = source
        self._checkpoint_topic = checkpoint_topic
        self._partition = partition
        self._headers = HeaderWriter(source)

    def publish(self, rows: Sequence[OutboxRow]) -> None:
        headers = self._headers.headers
        produce = self._producer.produce
        with _translated_errors(self._source):
            self._producer.begin_transaction()
            for row in rows:
                seq, event_id, topic, key, type_, version, payload, at, traceparent = row
                produce(
                    topic,
                    payload,
                    key,
                    headers=headers(
                        event_id=event_id,
                        type_=type_,
                        subject=key,
                        time=at,
                        outboxseq=seq,
                        aggregateversion=version,
                        traceparent=traceparent,
                    ),
                )
            self._produce_checkpoint(rows[-1].checkpoint)

    def begin(self, checkpoint: Checkpoint) -> None:
        with _translated_errors(self._source):
            self._producer.begin_transaction()
            self._produce_checkpoint(checkpoint)

    def commit(self) -> None:
        with _translated_errors(self._source):
            self._producer.commit_transaction(_REQUEST_SECONDS)

    def _produce_checkpoint(self, checkpoint: Checkpoint) -> None:
        record = CheckpointRecord(seq=checkpoint.seq, event_id=checkpoint.event_id)
        self._producer.produce(
            self._checkpoint_topic,
            record.SerializeToString(),
            self._source,
            partition=self._partition,
        )


class KafkaPublishers:
    """Opens publishers: the transactional id, made from the source, is the fence."""

    def __init__(self, bootstrap_servers: str, *, checkpoint_topic: str, partitions: int) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._checkpoint_topic = checkpoint_topic
        self._partitions = partitions

    @contextmanager
    def open(self, source: str) -> Iterator[KafkaPublisher]:
        producer = Producer(self._settings(source))
        try:
            with _translated_errors(source):
                producer.init_transactions(_REQUEST_SECONDS)
            yield KafkaPublisher(
                producer,
                source,
                checkpoint_topic=self._checkpoint_topic,
                partition=partition_of(source, self._partitions),
            )
        finally:
            # What is unsent belongs to a transaction that the next publisher ends.
            producer.purge(blocking=False)

    def _settings(self, source: str) -> dict[str, Any]:
        return kafka.client_settings(self._bootstrap_servers, f"trackops-relay-{source}") | {
            "transactional.id": f"{self._checkpoint_topic}.{source}",
            "transaction.timeout.ms": 10_000,
            "linger.ms": 1,
            "compression.type": "lz4",
            # Java's, so that other producers put a key where we do.
            "partitioner": "murmur2_random",
            "delivery.report.only.error": True,
            "queue.buffering.max.messages": 1_000_000,
            "retry.backoff.ms": 20,
        }


@contextmanager
def _translated_errors(source: str) -> Iterator[None]:
    """Every error of the client is overcome by a new publisher, which reads the checkpoint anew."""
    try:
        yield
    except KafkaException as exception:
        error = exception.args[0]
        if error.code() in _FENCED_CODES:
            raise Fenced(source) from exception
        raise TransientError(f"Kafka: {error.str()}") from exception
    except BufferError as error:
        raise TransientError(f"Kafka: {error}") from error
