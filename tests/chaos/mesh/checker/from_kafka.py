"""What a reader of committed records finds in Kafka, from the beginning of every topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from trackops.relay.v1.relay_service_pb2 import CheckpointRecord

from trackops_common import envelope
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.topics import RELAY_CHECKPOINTS, SAGA_DEAD_LETTERS, TOPICS

from .facts import Record

__all__ = ["Topics", "read_topics"]

_BATCH = 5_000
_SILENCE_SECONDS = 15.0


@dataclass
class Topics:
    """What was read."""

    records: list[Record] = field(default_factory=list)
    """Events, partition by partition in the order of the log."""
    checkpoints: dict[str, int] = field(default_factory=dict)
    """The relay's last `seq` by source."""
    last_offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    dead_letters: int = 0


def read_topics(access: KafkaAccess) -> Topics:
    """Everything that is committed now.

    Raises TimeoutError when Kafka falls silent before the ends are reached.
    """
    found = Topics()
    places = [(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]
    settings = {
        **access.connection,
        "group.id": "chaos-checker",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "log_level": 0,
    }
    with closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
        for message in _until_ends(consumer, set(places)):
            _take(found, message)
    return found


def _until_ends(consumer: Consumer, open_ends: set[tuple[str, int]]) -> Iterator[Any]:
    while open_ends:
        messages: Sequence[Any] = consumer.consume(_BATCH, timeout=_SILENCE_SECONDS)
        if not messages:
            raise TimeoutError(f"Kafka says no more of {sorted(open_ends)}")
        for message in messages:
            if (error := message.error()) is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                open_ends.discard((message.topic(), message.partition()))


def _take(found: Topics, message: Any) -> None:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    found.last_offsets[topic, partition] = offset
    if topic == RELAY_CHECKPOINTS.name:
        _note_checkpoint(found.checkpoints, message.key().decode(), message.value())
        return
    event = envelope.parse(message.headers())
    found.dead_letters += topic == SAGA_DEAD_LETTERS.name
    found.records.append(
        Record(
            topic,
            partition,
            offset,
            event.source.removeprefix("/trackops/"),
            event.outboxseq,
            event.id,
            (message.key() or b"").decode(),
            event.type.rpartition(".")[2],
            event.aggregateversion,
        )
    )


def _note_checkpoint(checkpoints: dict[str, int], key: str, value: bytes | None) -> None:
    """A key with a slash is of a quarantine."""
    if "/" not in key and value is not None:
        checkpoints[key] = CheckpointRecord.FromString(value).seq
