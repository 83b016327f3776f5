"""The checkpoint topic, read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from trackops.relay.v1.relay_service_pb2 import CheckpointRecord

from trackops_common import kafka
from trackops_common.errors import TransientError
from trackops_outbox_relay.domain.checkpoint import Checkpoint
from trackops_outbox_relay.domain.sources import partition_of

__all__ = ["KafkaCheckpoints"]

_REQUEST_SECONDS = 5.0
_SCAN_SECONDS = 30.0
"""An open transaction may hide the end for `transaction.timeout.ms` and the broker's interval
of looking for such (10 s each)."""
_FIRST_STEP = 500


class KafkaCheckpoints:
    """Reads each source's last record from the end of its partition backwards."""

    def __init__(self, bootstrap_servers: str, *, topic: str, partitions: int) -> None:
        settings = kafka.client_settings(bootstrap_servers, "trackops-relay-checkpoints")
        self._admin = AdminClient(settings)
        self._settings: dict[str, Any] = settings | {
            "group.id": "trackops-relay-checkpoints",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
        self._topic = topic
        self._partitions = partitions

    def topic_id(self) -> str:
        return kafka.topic_ids(self._admin, [self._topic])[self._topic]

    def last(self, source: str) -> Checkpoint | None:
        partition = partition_of(source, self._partitions)
        low, end = self._watermarks(partition)
        step = _FIRST_STEP
        with self._consumer("read_committed") as consumer:
            while low < end:
                start = max(low, end - step)
                value = self._scan(consumer, source.encode(), partition, start, end)
                if value is not None:
                    record = CheckpointRecord.FromString(value)
                    return Checkpoint(record.seq, record.event_id)
                if start == low:
                    break
                step *= 8
        return None

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
        self, consumer: Consumer, key: bytes, partition: int, start: int, end: int
    ) -> bytes | None:
        """The last committed value of `key` from `start` on; reads at least up to `end`."""
        consumer.assign([TopicPartition(self._topic, partition, start)])
        give_up = time.monotonic() + _SCAN_SECONDS
        value: bytes | None = None
        while time.monotonic() < give_up:
            message: Any = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                value = message.value() if message.key() == key else value
            elif error.code() != error._PARTITION_EOF:
                raise TransientError(f"checkpoints cannot be read: {error.str()}")
            elif message.offset() >= end:
                return value
        raise TransientError("the end of the checkpoint topic was not reached in time")
