"""The checkpoint topic, read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from trackops_common import kafka
from trackops_common.errors import DependencyUnavailable, TransientError
from trackops_common.kafka_settings import KafkaAccess
from trackops_outbox_relay.adapters.records import (
    belongs_to,
    is_complete,
    remains_of,
    standing_of,
)
from trackops_outbox_relay.domain.sources import partition_of
from trackops_outbox_relay.domain.standing import Standing

__all__ = ["KafkaCheckpoints"]

_REQUEST_SECONDS = 5.0
_SCAN_SECONDS = 30.0
"""An open transaction may hide the end for `transaction.timeout.ms` and the broker's interval
of looking for such (10 s each)."""
_FIRST_STEP = 500
_SCAN_MESSAGES = 1_000


class KafkaCheckpoints:
    """Reads each source's last records from the end of its partition backwards."""

    def __init__(self, access: KafkaAccess, *, topic: str, partitions: int) -> None:
        settings = kafka.client_settings(access, "trackops-relay-checkpoints")
        self._admin = AdminClient(settings)
        self._settings: dict[str, Any] = settings | {
            "group.id": "trackops-relay-checkpoints",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
        }
        self._topic = topic
        self._partitions = partitions

    def topic_id(self) -> str:
        return kafka.topic_ids(self._admin, [self._topic])[self._topic]

    def check(self) -> None:
        """Raise `DependencyUnavailable` unless the broker answers and has the topic."""
        try:
            self.topic_id()
        except TransientError as error:
            raise DependencyUnavailable("Kafka") from error

    def last(self, source: str) -> Standing | None:
        return standing_of(source, self._records(source, enough=is_complete))

    def found(self, source: str) -> Standing:
        return remains_of(source, self._records(source, enough=lambda *_: False))

    def _records(
        self, source: str, *, enough: Callable[[str, Mapping[bytes, bytes | None]], bool]
    ) -> Mapping[bytes, bytes | None]:
        """The source's last committed records by key, as far back as it takes."""
        partition = partition_of(source, self._partitions)
        low, end = self._watermarks(partition)
        step = _FIRST_STEP
        records: Mapping[bytes, bytes | None] = {}
        with self._consumer("read_committed") as consumer:
            start = end
            while start > low and not enough(source, records):
                start = max(low, end - step)
                records = self._scan(consumer, source, partition, start, end)
                step *= 8
        return records

    def _watermarks(self, partition: int) -> tuple[int, int]:
        """Begin and end of the log, open transactions included.

        Where sources share a partition, a committed checkpoint of one may
        stand behind an open transaction of the other.
        """
        place = TopicPartition(self._topic, partition)
        with self._consumer("read_uncommitted") as consumer:
            try:
                marks = consumer.get_watermark_offsets(place, timeout=_REQUEST_SECONDS)
            except KafkaException as error:
                raise TransientError(f"no offsets of the checkpoint topic: {error}") from error
        if marks is None:
            raise TransientError("no offsets of the checkpoint topic in time")
        return marks

    @contextmanager
    def _consumer(self, isolation: str) -> Iterator[Consumer]:
        consumer = Consumer(self._settings | {"isolation.level": isolation})
        try:
            yield consumer
        finally:
            consumer.close()

    def _scan(
        self, consumer: Consumer, source: str, partition: int, start: int, end: int
    ) -> Mapping[bytes, bytes | None]:
        """The source's last committed records from `start` on, by key; reads at least up to `end`.

        A tombstone is None.
        """
        consumer.assign([TopicPartition(self._topic, partition, start)])
        give_up = time.monotonic() + _SCAN_SECONDS
        records: dict[bytes, bytes | None] = {}
        reached = start
        while time.monotonic() < give_up:
            for message in kafka.gathered(consumer, at_most=_SCAN_MESSAGES, seconds=0.5):
                error = message.error()
                if error is None:
                    if belongs_to(source, message.key()):
                        records[message.key()] = message.value()
                elif error.code() != error._PARTITION_EOF:
                    raise TransientError(f"checkpoints cannot be read: {error.str()}")
                else:
                    reached = message.offset()
                    if reached >= end:
                        return records
        raise TransientError(
            "the end of the checkpoint topic was not reached in time: nothing of"
            f" {self._topic}-{partition} can be read from {reached} on, up to {end};"
            " a transaction may stand open there"
        )
