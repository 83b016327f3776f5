"""Creates the mesh's Kafka topics."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from trackops_common.kafka_settings import KafkaAccess

__all__ = ["TopicSpec", "ensure_topics"]

_TIMEOUT_SECONDS = 30


class TopicSpec(Protocol):
    """`trackops_common.topics.Topic` is one."""

    @property
    def name(self) -> str: ...
    @property
    def partitions(self) -> int: ...
    @property
    def config(self) -> Mapping[str, str]: ...


def ensure_topics(access: KafkaAccess, topics: Iterable[TopicSpec]) -> None:
    """Creates the missing ones and leaves the others as they are; raises KafkaException."""
    admin = AdminClient({**access.connection, "log_level": 0})
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=1,
            config=dict(topic.config),
        )
        for topic in topics
    ]
    for created in admin.create_topics(wanted, request_timeout=_TIMEOUT_SECONDS).values():
        _accept(created)


def _accept(created: Future[None]) -> None:
    try:
        created.result(_TIMEOUT_SECONDS)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
