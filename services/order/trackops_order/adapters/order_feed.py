"""The order events of Kafka, as news for those who watch orders; what changes here is told at once.

Each replica reads all partitions, in no consumer group, from their end on, and
only while somebody watches. Whenever it takes up its place, whatever was said
before is lost to it, so everybody is told that any order may have changed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from trackops_common.kafka import gathered
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.whole_topics import (
    counts,
    has_other_partitions,
    partitions_of,
    reader_settings,
)
from trackops_order.adapters.subscriptions import Subscription, Subscriptions

__all__ = ["FeedSettings", "KafkaOrderFeed"]

_log = structlog.get_logger(__name__)

_REQUEST_SECONDS = 5.0
_MAX_BATCH = 1000

_Raw = Any
"""confluent_kafka.Message, whose stubs have every field optional."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    """What the feed reads, and how."""

    kafka: KafkaAccess
    topic: str
    linger_seconds: float = 5.0
    """How long it goes on reading after the last watcher has left."""
    partitions_check_seconds: float = 10.0
    """How often it looks for partitions that the topic has got; their events wait for it."""
    poll_seconds: float = 0.5
    """How long one wait for messages may last, and so how long it takes to stop."""
    pause_seconds: float = 1.0
    """Between attempts to take up its place."""


class KafkaOrderFeed:
    """An `OrderFeed` in one event loop; `run` is its loop for `trackops_common.background`.

    While Kafka is away only what changes here is heard; afterwards, everything that was missed.
    """

    def __init__(self, settings: FeedSettings) -> None:
        """Connects when it runs and somebody subscribes."""
        self._settings = settings
        self._subscriptions = Subscriptions()
        self._wanted = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def subscribe(self, order_id: UUID) -> Iterator[Subscription]:
        self._loop = loop = asyncio.get_running_loop()
        try:
            with self._subscriptions.subscribe(order_id) as subscription:
                self._wanted.set()
                yield subscription
        finally:
            if not self._subscriptions:
                loop.call_later(self._settings.linger_seconds, self._release)

    def tell(self, versions: Mapping[UUID, int]) -> None:
        keys = ((str(order_id).encode(), version) for order_id, version in versions.items())
        self._hear({key: version for key, version in keys if key in self._subscriptions})

    def _release(self) -> None:
        if not self._subscriptions:
            self._wanted.clear()

    def run(self, stop: threading.Event) -> None:
        """Read while there are watchers, until `stop` is set."""
        while not stop.is_set():
            if not self._wanted.wait(self._settings.poll_seconds):
                continue
            try:
                self._follow(stop)
            except KafkaException as error:
                _log.warning("will follow order events again", error=str(error))
                stop.wait(self._settings.pause_seconds)

    def _follow(self, stop: threading.Event) -> None:
        """Returns when nobody watches any more, or when the place must be taken anew."""
        consumer = Consumer(reader_settings(self._settings.kafka, "trackops_order.feed"))
        try:
            partitions = partitions_of(consumer, self._settings.topic, seconds=_REQUEST_SECONDS)
            consumer.assign([_end_of(consumer, partition) for partition in partitions])
            _log.info("following order events", partitions=len(partitions))
            self._tell_all()
            check_due = time.monotonic() + self._settings.partitions_check_seconds
            while self._wanted.is_set() and not stop.is_set():
                self._pass_on(self._next_batch(consumer))
                if time.monotonic() >= check_due:
                    check_due = time.monotonic() + self._settings.partitions_check_seconds
                    if has_other_partitions(consumer, partitions, seconds=_REQUEST_SECONDS):
                        return
        finally:
            consumer.close()
            _log.info("not following order events")

    def _next_batch(self, consumer: Consumer) -> list[_Raw]:
        """Waits for the first message only: a batch is what has gathered meanwhile."""
        seconds = self._settings.poll_seconds
        return [
            one for one in gathered(consumer, at_most=_MAX_BATCH, seconds=seconds) if counts(one)
        ]

    def _pass_on(self, messages: Sequence[_Raw]) -> None:
        """What nobody watches costs no more than the look at its key."""
        versions: dict[bytes, int] = {}
        for message in messages:
            key = message.key()
            if key in self._subscriptions:
                versions[key] = max(versions.get(key, 0), _version(message))
        self._hear(versions)

    def _hear(self, versions: Mapping[bytes, int]) -> None:
        if versions and self._loop:
            self._loop.call_soon_threadsafe(self._subscriptions.hear, versions)

    def _tell_all(self) -> None:
        if self._loop:
            self._loop.call_soon_threadsafe(self._subscriptions.doubt_all)


def _end_of(consumer: Consumer, partition: TopicPartition) -> TopicPartition:
    """Its present end, asked of the broker: what a commit before now wrote lies below it, or will
    be seen by whoever reads the database after now."""
    _, end = consumer.get_watermark_offsets(partition, timeout=_REQUEST_SECONDS)
    return TopicPartition(partition.topic, partition.partition, end)


def _version(message: _Raw) -> int:
    """The order's version after the event; 0, and logged, for what is no event of ours."""
    try:
        return int(dict(message.headers() or ())["ce_aggregateversion"])
    except (KeyError, ValueError):
        _log.warning(
            "not an order event",
            partition=message.partition(),
            offset=message.offset(),
        )
        return 0
