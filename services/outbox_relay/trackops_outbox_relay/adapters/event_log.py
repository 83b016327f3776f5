"""The events of a source, as consumers find them in Kafka."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from trackops_common import kafka
from trackops_common.errors import TransientError
from trackops_common.kafka_settings import KafkaAccess
from trackops_outbox_relay.application.ports import LogPlace
from trackops_outbox_relay.domain.rebase import LogSpan

__all__ = ["KafkaEventLog"]

_REQUEST_SECONDS = 5.0
_SILENCE_SECONDS = 15.0
_BATCH = 5_000
_LOOK_BACK = timedelta(seconds=1)
"""Clocks of services and relays differ a little."""
_LOOK_BATCH = 100
_LOOK_SECONDS = 5.0
_LOOK_AT_MOST = 5_000
"""Messages that are looked at for one event."""


class KafkaEventLog:
    """Reads topics from a time to their end."""

    def __init__(self, access: KafkaAccess) -> None:
        self._settings = kafka.client_settings(access, "trackops-relay-log") | {
            "group.id": "trackops-relay-log",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }

    def events(self, source: str, topics: Sequence[str], *, since: datetime) -> LogSpan:
        with self._consumer() as consumer:
            starts = _starts(consumer, topics, since)
            trimmed = {
                (place.topic, place.partition)
                for place in starts
                if 0 < place.offset == _watermarks(consumer, place)[0]
            }
            reading = _Reading(source, since, trimmed)
            consumer.assign(starts)
            reading.read(consumer, {(place.topic, place.partition) for place in starts})
        return LogSpan(reading.seqs, reading.complete_since)

    def find(self, topic: str, times: Mapping[str, datetime]) -> Mapping[str, LogPlace]:
        found: dict[str, LogPlace] = {}
        with self._consumer() as consumer:
            for event_id, time in times.items():
                if event_id not in found:
                    starts = _starts(consumer, [topic], time - _LOOK_BACK)
                    consumer.assign(starts)
                    _look(consumer, len(starts), times.keys(), found, until=event_id)
        return found

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(self._settings)
        try:
            yield consumer
        except KafkaException as error:
            raise TransientError(f"the log cannot be read: {error}") from error
        finally:
            consumer.close()


class _Reading:
    """What was found so far."""

    def __init__(self, source: str, since: datetime, trimmed: set[tuple[str, int]]) -> None:
        """`trimmed` partitions may have lost events since that time."""
        self.seqs: dict[str, int] = {}
        self.complete_since = since
        self._ce_source = f"/trackops/{source}".encode()
        self._trimmed = trimmed

    def read(self, consumer: Consumer, unfinished: set[tuple[str, int]]) -> None:
        """Read to the end of every partition.

        Raises:
            TransientError: the broker does not answer, or reports an error.
        """
        while unfinished:
            messages = kafka.gathered(consumer, at_most=_BATCH, seconds=_SILENCE_SECONDS)
            if not messages:
                raise TransientError("the log's end was not reached in time")
            for message in messages:
                error = message.error()
                if error is None:
                    self._take(message)
                elif error.code() == error._PARTITION_EOF:
                    place = (message.topic(), message.partition())
                    unfinished.discard(place)
                    self._note_age(place, datetime.now(UTC))
                else:
                    raise TransientError(f"the log cannot be read: {error.str()}")

    def _take(self, message: Any) -> None:
        place = (message.topic(), message.partition())
        if place in self._trimmed:
            self._note_age(place, datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC))
        headers: Mapping[str, bytes] = dict(message.headers() or ())
        if headers.get("ce_source") == self._ce_source:
            self.seqs[headers["ce_id"].decode()] = int(headers["ce_outboxseq"])

    def _note_age(self, place: tuple[str, int], oldest: datetime) -> None:
        """The first message of a trimmed partition (or, where there is none, now) is its age."""
        if place in self._trimmed:
            self._trimmed.discard(place)
            self.complete_since = max(self.complete_since, oldest)


def _look(
    consumer: Consumer,
    partitions: int,
    wanted: Collection[str],
    found: dict[str, LogPlace],
    *,
    until: str,
) -> None:
    """Note the wanted events that come by, until that one does, or it was looked for long enough.

    Raises:
        TransientError: the broker does not answer, or reports an error.
    """
    looked_at = 0
    while until not in found and partitions and looked_at < _LOOK_AT_MOST:
        messages = kafka.gathered(consumer, at_most=_LOOK_BATCH, seconds=_LOOK_SECONDS)
        if not messages:
            raise TransientError("the log does not answer in time")
        looked_at += len(messages)
        for message in messages:
            error = message.error()
            if error is None:
                event_id = dict(message.headers() or ()).get("ce_id", b"").decode()
                if event_id in wanted:
                    found[event_id] = LogPlace(message.partition(), message.offset())
            elif error.code() == error._PARTITION_EOF:
                partitions -= 1
            else:
                raise TransientError(f"the log cannot be read: {error.str()}")


def _starts(consumer: Consumer, topics: Sequence[str], since: datetime) -> list[TopicPartition]:
    """Where the messages since that time begin; the end where there are none."""
    places = []
    for topic in topics:
        found = consumer.list_topics(topic, timeout=_REQUEST_SECONDS).topics[topic]
        if found.error is None:
            at = int(since.timestamp() * 1000)
            places += [TopicPartition(topic, number, at) for number in found.partitions]
    starts = consumer.offsets_for_times(places, timeout=_REQUEST_SECONDS) if places else []
    return [_begin(consumer, start) for start in starts]


def _begin(consumer: Consumer, start: TopicPartition) -> TopicPartition:
    if start.error is not None:
        raise TransientError(f"the log cannot be read: {start.error}")
    if start.offset >= 0:
        return start
    return TopicPartition(start.topic, start.partition, _watermarks(consumer, start)[1])


def _watermarks(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    marks = consumer.get_watermark_offsets(
        TopicPartition(place.topic, place.partition), timeout=_REQUEST_SECONDS
    )
    if marks is None:
        raise TransientError("no offsets of the log in time")
    return marks
