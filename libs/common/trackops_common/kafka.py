"""What every Kafka client of the mesh shares: its settings, its log lines, its start-up check."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from trackops_common.errors import DependencyUnavailable, TransientError
from trackops_common.kafka_settings import KafkaAccess

__all__ = ["check_topics", "client_settings", "gathered", "topic_ids"]

_log = structlog.get_logger(__name__)

_librdkafka_log = logging.getLogger("librdkafka")

_LOG_EVERY_SECONDS = 5.0
_REQUEST_SECONDS = 5.0


def client_settings(access: KafkaAccess, client_id: str) -> dict[str, Any]:
    """The settings that any client starts from.

    A broker that is away is a log line each few seconds, for as long as it
    lasts; librdkafka's own lines, one for each attempt to connect, are off.
    """
    return {
        **access.connection,
        "client.id": client_id,
        "error_cb": _error_logger(client_id),
        "log_level": 2,
        "logger": _librdkafka_log,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        "topic.metadata.refresh.interval.ms": 60_000,
        "topic.metadata.propagation.max.ms": 1_000,
    }


def check_topics(access: KafkaAccess, topics: Iterable[str]) -> Mapping[str, int]:
    """The number of partitions of each topic.

    Raises:
        DependencyUnavailable: no broker answers, or one of the topics is not there.
    """
    admin = AdminClient(client_settings(access, "trackops-check"))
    try:
        found = admin.list_topics(timeout=_REQUEST_SECONDS).topics
    except KafkaException as error:
        raise DependencyUnavailable("Kafka") from error
    for topic in topics:
        if topic not in found:
            raise DependencyUnavailable(f"Kafka's topic {topic}")
    return {topic: len(found[topic].partitions) for topic in topics}


def topic_ids(admin: AdminClient, topics: Iterable[str]) -> Mapping[str, str]:
    """The id of each topic: a topic that is deleted and made again has another one.

    Raises:
        TransientError: no broker answers, or one of the topics is not there.
    """
    collection = TopicCollection(sorted(set(topics)))
    answers = admin.describe_topics(collection, request_timeout=_REQUEST_SECONDS)
    try:
        return {topic: str(answer.result().topic_id) for topic, answer in answers.items()}
    except KafkaException as error:
        raise TransientError(f"Kafka does not describe its topics: {error}") from error


def gathered(consumer: Consumer, *, at_most: int, seconds: float) -> Sequence[Any]:
    """The messages (confluent_kafka.Message) that have gathered, once there is one.

    None after `seconds`. Asked for many at once, the client waits until it has
    them all, or until the time is over.
    """
    messages = consumer.consume(1, timeout=seconds)
    if messages:
        messages += consumer.consume(at_most - 1, timeout=0)
    return messages


def _error_logger(client_id: str) -> Callable[[KafkaError], None]:
    last = -_LOG_EVERY_SECONDS

    def log(error: KafkaError) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_EVERY_SECONDS:
            last = time.monotonic()
            _log.warning("Kafka is away or in trouble", client=client_id, error=error.str())

    return log
