"""Reading every partition of a topic without a consumer group: each replica hears everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from trackops_common import kafka
from trackops_common.kafka_settings import KafkaAccess

__all__ = ["counts", "has_other_partitions", "partitions_of", "reader_settings"]

_log = structlog.get_logger(__name__)


def reader_settings(access: KafkaAccess, name: str) -> dict[str, Any]:
    """The settings of a consumer that is assigned its partitions by its owner, and stores nothing.

    It reads what is committed, and says so where its place has gone from the log.
    """
    return kafka.client_settings(access, name) | {
        "group.id": name,  # the client wants one; nothing ever joins it
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "queued.max.messages.kbytes": 4_096,
        "fetch.queue.backoff.ms": 10,
        "fetch.error.backoff.ms": 100,
    }


def partitions_of(consumer: Consumer, topic: str, *, seconds: float) -> Sequence[TopicPartition]:
    """All of them, asked of the broker within `seconds`.

    Raises:
        KafkaException: no broker answers, or the topic is not there.
    """
    found = consumer.list_topics(topic, timeout=seconds).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return [TopicPartition(topic, partition) for partition in sorted(found.partitions)]


def has_other_partitions(
    consumer: Consumer, known: Sequence[TopicPartition], *, seconds: float
) -> bool:
    """Whether the topic of `known` has more or fewer by now; no while no broker answers."""
    try:
        return len(partitions_of(consumer, known[0].topic, seconds=seconds)) != len(known)
    except KafkaException:
        return False


def counts(message: Any) -> bool:
    """Whether it (confluent_kafka.Message) is one, or the end of a partition; others are logged.

    Raises:
        KafkaException: the client has lost its place, or cannot go on.
    """
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:
        return True
    if error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise KafkaException(error)
    _log.warning("Kafka reports an error; the client goes on", error=error.str())
    return False
