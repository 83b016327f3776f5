"""Creates the mesh's Kafka topics.

`python -m trackops_common.topic_setup` does it, told by the settings of Kafka.
"""

import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from trackops_common import settings
from trackops_common.kafka_settings import KafkaAccess, KafkaSettings
from trackops_common.topics import TOPICS

__all__ = ["TopicSpec", "ensure_topics"]

_TIMEOUT_SECONDS = 30
_AS_THE_BROKER_HAS_IT = -1


class TopicSpec(Protocol):
    """`trackops_common.topics.Topic` is one."""

    @property
    def name(self) -> str: ...
    @property
    def partitions(self) -> int: ...
    @property
    def config(self) -> Mapping[str, str]: ...


def ensure_topics(access: KafkaAccess, topics: Iterable[TopicSpec]) -> None:
    """Creates the missing ones and leaves the others as they are.

    They are replicated as the broker's `default.replication.factor` says.

    Raises:
        KafkaException: a topic is neither there nor can it be made.
    """
    admin = AdminClient({**access.connection, "log_level": 0})
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=_AS_THE_BROKER_HAS_IT,
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


def main() -> None:
    """Exits with 1 and one line where Kafka is away or refuses."""
    access = settings.load(KafkaSettings).kafka
    try:
        ensure_topics(access, TOPICS)
    except KafkaException as error:
        sys.exit(f"topics: {error.args[0].str()}")
    sys.stdout.write(f"{len(TOPICS)} topics are there\n")


if __name__ == "__main__":
    main()
