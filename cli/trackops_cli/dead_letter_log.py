"""Dead letters as the topics hold them, and the way back to the consumer that gave them up."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from trackops.common.v1.dead_letter_pb2 import DeadLetter, Replay

from trackops_cli.local.errors import StackError
from trackops_common import kafka
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.messages import REPLAY_HEADER

__all__ = ["BrokerTrouble", "DeadLetterLog", "Found"]

_TOPIC_SUFFIX = ".deadletters.v1"
_REQUEST_SECONDS = 10.0
_LARGEST_BYTES = 2 * 1024 * 1024


class BrokerTrouble(StackError):
    """Kafka does not answer, or not as it should."""

    def __init__(self, bootstrap: str, problem: str) -> None:
        super().__init__(f"Kafka at {bootstrap}: {problem}")


@dataclass(frozen=True)
class Found:
    """A dead letter, and whether it was sent back already."""

    letter: DeadLetter
    replayed: bool


class DeadLetterLog:
    """The dead letters of every service on one cluster."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access

    def read(self) -> list[Found]:
        """All that the topics hold now, oldest first.

        Raises:
            BrokerTrouble: they cannot be read.
        """
        with closing(Consumer(self._reader_settings())) as consumer:
            try:
                letters = [
                    DeadLetter.FromString(message.value())
                    for message in _to_the_end(consumer, _named(consumer, _TOPIC_SUFFIX))
                ]
                retries = sorted({letter.retries_topic for letter in letters})
                sent = {_replayed_id(message) for message in _to_the_end(consumer, retries)}
            except KafkaException as error:
                raise self._trouble(error) from error
        letters.sort(key=lambda letter: letter.dead_time.ToNanoseconds())
        return [Found(letter, letter.dead_letter_id in sent) for letter in letters]

    def send_back(self, letters: Sequence[DeadLetter], *, reason: str) -> None:
        """Send each to its consumer, and to no other one, just as it was.

        The consumer acts once on each, however often it is sent.

        Raises:
            BrokerTrouble: not all of them were sent.
        """
        producer = Producer(self._writer_settings())
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Any) -> None:
            if error is not None:
                failures.append(error)

        for letter in letters:
            producer.produce(
                letter.retries_topic,
                letter.value if letter.HasField("value") else None,
                letter.key if letter.HasField("key") else None,
                headers=[*_headers(letter), (REPLAY_HEADER, _replay(letter, reason))],
                on_delivery=delivered,
            )
            producer.poll(0)
        left = producer.flush(_REQUEST_SECONDS)
        if failures or left:
            problem = failures[0].str() if failures else "no answer in time"
            unsent = len(failures) + left
            raise BrokerTrouble(
                self._access.bootstrap_servers,
                f"{unsent} of {len(letters)} were not sent ({problem}); repeating the command"
                " is safe",
            )

    def _reader_settings(self) -> dict[str, Any]:
        return kafka.client_settings(self._access, "trackops-cli") | {
            "group.id": f"trackops-cli-{uuid4()}",  # asked for, and never joined
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }

    def _writer_settings(self) -> dict[str, Any]:
        return kafka.client_settings(self._access, "trackops-cli") | {
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "message.max.bytes": _LARGEST_BYTES,
            "message.timeout.ms": int(_REQUEST_SECONDS * 1000),
        }

    def _trouble(self, error: KafkaException) -> BrokerTrouble:
        return BrokerTrouble(self._access.bootstrap_servers, error.args[0].str())


def _named(consumer: Consumer, suffix: str) -> list[str]:
    topics = consumer.list_topics(timeout=_REQUEST_SECONDS).topics
    return sorted(name for name in topics if name.endswith(suffix))


def _to_the_end(consumer: Consumer, topics: Sequence[str]) -> Iterator[Any]:
    """Every committed message of these topics, up to where they end when that is reached."""
    known = consumer.list_topics(timeout=_REQUEST_SECONDS).topics
    waiting = {
        (topic, number) for topic in topics if topic in known for number in known[topic].partitions
    }
    consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in waiting])
    while waiting:
        message = consumer.poll(_REQUEST_SECONDS)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if (error := message.error()) is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            waiting.discard((message.topic(), message.partition()))
        else:
            raise KafkaException(error)


def _replayed_id(message: Any) -> str:
    value = dict(message.headers() or ()).get(REPLAY_HEADER)
    return Replay.FromString(value).dead_letter_id if value else ""


def _headers(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    return [
        (header.name, header.value if header.HasField("value") else None)
        for header in letter.headers
    ]


def _replay(letter: DeadLetter, reason: str) -> bytes:
    return Replay(
        dead_letter_id=letter.dead_letter_id,
        consumer=letter.consumer,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        reason=reason,
    ).SerializeToString()
