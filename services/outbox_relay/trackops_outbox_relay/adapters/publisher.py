"""Rows and their checkpoint, in one Kafka transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from trackops_common import kafka
from trackops_common.envelope import HeaderWriter
from trackops_common.errors import TransientError
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.traces import Kind, Span, installed, joint_span
from trackops_outbox_relay.adapters.records import records_of
from trackops_outbox_relay.adapters.topic_limits import MissingTopics, TopicLimits
from trackops_outbox_relay.application.ports import Fenced, RowsRefused
from trackops_outbox_relay.domain.checkpoint import OutboxRow
from trackops_outbox_relay.domain.quarantine import Fault
from trackops_outbox_relay.domain.sources import partition_of
from trackops_outbox_relay.domain.standing import Step

__all__ = ["KafkaPublisher", "KafkaPublishers"]

_REQUEST_SECONDS = 5.0
_BATCH_BYTES = 1_000_000
_REFUSED_CODES = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    }
)
"""A topic that is unknown is not among them: the next publisher asks whether it exists."""
_FENCED_CODES = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
)


class KafkaPublisher:
    """A transactional producer of one source."""

    def __init__(
        self,
        producer: Producer,
        source: str,
        *,
        limits: TopicLimits,
        deliveries: Deliveries,
        checkpoint_topic: str,
        partition: int,
    ) -> None:
        """`partition` of the checkpoint topic is the source's."""
        self._producer = producer
        self._source = source
        self._limits = limits
        self._deliveries = deliveries
        self._checkpoint_topic = checkpoint_topic
        self._partition = partition
        self._headers = HeaderWriter(source)
        self._span: Span | None = None
        """Of the transaction that is open."""

    def faults(self, rows: Sequence[OutboxRow]) -> Mapping[int, Fault]:
        return self._limits.faults(rows)

    def begin(self, step: Step) -> None:
        headers = self._headers.headers
        produce = self._producer.produce
        self._span = _span(self._source, step.rows)
        with self._spanned(), self._translated_errors():
            self._producer.begin_transaction()
            for row in step.rows:
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
            for key, value in records_of(self._source, step):
                produce(self._checkpoint_topic, value, key, partition=self._partition)

    def commit(self) -> None:
        with self._spanned(), self._translated_errors():
            self._producer.commit_transaction(_REQUEST_SECONDS)
        if self._span is not None:
            self._span.finish()

    @contextmanager
    def _spanned(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._span is not None:
                self._span.fail(error)
            raise

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            with _translated_errors(self._source):
                yield
        except Fenced:
            raise
        except TransientError as error:
            refusal = self._deliveries.refusal
            if refusal is None:
                raise
            # So that the next publisher need not wait for the broker to end it.
            with suppress(KafkaException):
                self._producer.abort_transaction(_REQUEST_SECONDS)
            raise RowsRefused(refusal) from error


def _span(source: str, rows: Sequence[OutboxRow]) -> Span | None:
    """Of the transaction, linked to what caused each row; the messages carry that as it is."""
    topics = {row.topic for row in rows} if installed() else set()
    return joint_span(
        f"send {topics.pop() if len(topics) == 1 else source}",
        Kind.CLIENT,
        (row.traceparent for row in rows),
        {
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.batch.message_count": len(rows),
            "trackops.outbox.source": source,
        },
    )


class Deliveries:
    """What the broker said about messages that it did not take."""

    def __init__(self, checkpoint_topic: str) -> None:
        self._checkpoint_topic = checkpoint_topic
        self.refusal: str | None = None
        """Why the broker will never take one of the rows."""

    def __call__(self, error: KafkaError | None, message: Any) -> None:
        """Of each message that failed."""
        of_a_row = message.topic() != self._checkpoint_topic
        if error is not None and of_a_row and error.code() in _REFUSED_CODES:
            self.refusal = f"{error.name()}: {error.str()} (topic {message.topic()})"


class KafkaPublishers:
    """Opens publishers: the transactional id, made from the source, is the fence."""

    def __init__(
        self,
        access: KafkaAccess,
        *,
        checkpoint_topic: str,
        partitions: int,
        unknown_topic_seconds: float,
    ) -> None:
        """A topic is missing once the broker has said so for `unknown_topic_seconds`."""
        self._access = access
        self._checkpoint_topic = checkpoint_topic
        self._partitions = partitions
        self._admin = AdminClient(kafka.client_settings(access, "trackops-relay-topics"))
        self._missing = MissingTopics(believe_after_seconds=unknown_topic_seconds)
        self._batch_bytes: dict[str, int] = {}

    @contextmanager
    def open(self, source: str) -> Iterator[KafkaPublisher]:
        deliveries = Deliveries(self._checkpoint_topic)
        batch_bytes = self._batch_bytes.get(source, _BATCH_BYTES)
        producer = Producer(self._settings(source, batch_bytes) | {"on_delivery": deliveries})
        limits = TopicLimits(
            self._admin,
            missing=self._missing,
            batch_bytes=batch_bytes,
            needs_smaller_batches=partial(self._batch_bytes.__setitem__, source),
        )
        try:
            with _translated_errors(source):
                producer.init_transactions(_REQUEST_SECONDS)
            yield KafkaPublisher(
                producer,
                source,
                limits=limits,
                deliveries=deliveries,
                checkpoint_topic=self._checkpoint_topic,
                partition=partition_of(source, self._partitions),
            )
        finally:
            # What is unsent belongs to a transaction that the next publisher ends.
            producer.purge(blocking=False)

    def _settings(self, source: str, batch_bytes: int) -> dict[str, Any]:
        return kafka.client_settings(self._access, f"trackops-relay-{source}") | {
            "transactional.id": f"{self._checkpoint_topic}.{source}",
            "transaction.timeout.ms": 10_000,
            "linger.ms": 1,
            # A broker measures batches, not messages; the size of a row is checked beforehand.
            "batch.size": batch_bytes,
            "message.max.bytes": 1_000_000_000,
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
