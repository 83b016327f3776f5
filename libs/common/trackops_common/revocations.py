"""The sessions that ended before their tokens did, as Kafka tells of them.

Each replica of each service reads all partitions of the identity service's
events, in no consumer group. It begins as far back as a token can live: what
was said before is about tokens that have expired. A consumer that loses its
place begins there again, since hearing of an end twice does no harm.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from google.protobuf.message import DecodeError
from trackops.identity.v1.identity_events_pb2 import SessionsRevoked

from trackops_common.kafka import gathered
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.topics import IDENTITY_EVENTS
from trackops_common.whole_topics import (
    counts,
    has_other_partitions,
    partitions_of,
    reader_settings,
)

__all__ = ["RevocationFeed", "RevocationSettings", "Revoke"]

_log = structlog.get_logger(__name__)

_REQUEST_SECONDS = 2.0
"""A stop waits for a request that is on its way, also where no broker answers."""
_MAX_BATCH = 1000
_TYPE = SessionsRevoked.DESCRIPTOR.full_name.encode()

_Raw = Any
"""confluent_kafka.Message, whose stubs have every field optional."""


class Revoke(Protocol):
    """`AccessTokenVerifier.revoke` is one; it must not block."""

    def __call__(self, session_id: str, /, *, until: datetime) -> None:
        """Refuse the tokens of a session; none of them is good after `until`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationSettings:
    """What the feed reads, and how."""

    kafka: KafkaAccess
    topic: str = IDENTITY_EVENTS.name
    look_back_seconds: float = 3600.0
    """How far back it begins: longer than any token lives, and shorter than the topic keeps."""
    partitions_check_seconds: float = 10.0
    """How often it looks for partitions that the topic has got."""
    poll_seconds: float = 0.5
    """How long one wait for messages may last, and so how long it takes to stop."""
    pause_seconds: float = 1.0
    """Between attempts to take up its place."""


class RevocationFeed:
    """Hands every revocation to `revoke`; `run` is its loop for `trackops_common.background`.

    While Kafka is away nothing new is heard, and what was heard stays; when it
    is back, what was missed is heard. A session may be handed over more than once.
    """

    def __init__(self, settings: RevocationSettings, revoke: Revoke) -> None:
        """Made inside the event loop in which `revoke` is to be called; connects in `run`."""
        self._settings = settings
        self._revoke = revoke
        self._loop = asyncio.get_running_loop()
        self._loaded = asyncio.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether `loaded` would return at once."""
        return self._loaded.is_set()

    async def loaded(self) -> None:
        """Return once all that Kafka held when `run` began has been handed to `revoke`.

        A service is not ready before. It never returns while no broker answers
        or the topic is not there: whoever cannot wait sets a time-out.
        """
        await self._loaded.wait()

    def run(self, stop: threading.Event) -> None:
        """Read until `stop` is set."""
        while not stop.is_set():
            try:
                self._follow(stop)
            except KafkaException as error:
                _log.warning("will follow revocations again", error=str(error))
                stop.wait(self._settings.pause_seconds)

    def _follow(self, stop: threading.Event) -> None:
        """Returns when the place must be taken anew."""
        consumer = Consumer(_consumer_settings(self._settings))
        try:
            partitions = partitions_of(consumer, self._settings.topic, seconds=_REQUEST_SECONDS)
            consumer.assign(self._beginnings(consumer, partitions))
            unread = {one.partition for one in partitions}
            check_due = time.monotonic() + self._settings.partitions_check_seconds
            while not stop.is_set():
                messages = self._next_batch(consumer)
                self._pass_on([one for one in messages if one.error() is None])
                if unread:
                    unread -= {one.partition() for one in messages if _is_end(one)}
                    if not unread:
                        self._loop.call_soon_threadsafe(self._loaded.set)
                if time.monotonic() >= check_due:
                    check_due = time.monotonic() + self._settings.partitions_check_seconds
                    if has_other_partitions(consumer, partitions, seconds=_REQUEST_SECONDS):
                        return
        finally:
            consumer.close()

    def _beginnings(
        self, consumer: Consumer, partitions: Sequence[TopicPartition]
    ) -> list[TopicPartition]:
        """Where each one is read from. A partition without anything so young is read from the end
        that it had before we asked for that: no revocation can fall in between."""
        ends = {
            one.partition: consumer.get_watermark_offsets(one, timeout=_REQUEST_SECONDS)[1]
            for one in partitions
        }
        since = int((time.time() - self._settings.look_back_seconds) * 1000)
        asked = [TopicPartition(one.topic, one.partition, since) for one in partitions]
        found = consumer.offsets_for_times(asked, timeout=_REQUEST_SECONDS)
        if error := next((one.error for one in found if one.error is not None), None):
            raise KafkaException(error)
        return [
            TopicPartition(
                one.topic, one.partition, one.offset if one.offset >= 0 else ends[one.partition]
            )
            for one in found
        ]

    def _next_batch(self, consumer: Consumer) -> list[_Raw]:
        """Messages and ends of partitions; waits for the first one only.

        Raises KafkaException where the client has lost its place, or cannot go on.
        """
        seconds = self._settings.poll_seconds
        return [
            one for one in gathered(consumer, at_most=_MAX_BATCH, seconds=seconds) if counts(one)
        ]

    def _pass_on(self, messages: Sequence[_Raw]) -> None:
        for message in messages:
            if dict(message.headers() or ()).get("ce_type") == _TYPE:
                self._pass_one_on(message)

    def _pass_one_on(self, message: _Raw) -> None:
        try:
            event = SessionsRevoked.FromString(message.value() or b"")
        except DecodeError:
            place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
            _log.error("a revocation cannot be read; its sessions go on here", place=place)
            return
        until = event.access_expire_time.ToDatetime(tzinfo=UTC)
        for session_id in event.session_ids:
            self._loop.call_soon_threadsafe(partial(self._revoke, session_id, until=until))


def _is_end(message: _Raw) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def _consumer_settings(settings: RevocationSettings) -> dict[str, Any]:
    return reader_settings(settings.kafka, "trackops.revocations") | {"enable.partition.eof": True}
