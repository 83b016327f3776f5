"""Facts arrive at a service with the transaction that acts on them.

A consumer reads committed messages only and keeps its position in its own
schema, moved in the transaction of the effect, so that each message has its
effect once whatever crashes where. Kafka's group decides who reads which
partition; the position decides whose effect counts.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from trackops_common import envelope, kafka
from trackops_common.assignment import Assignment, PositionLost
from trackops_common.database import Database, Transaction
from trackops_common.errors import TransientError
from trackops_common.outbox import OutboxEvent
from trackops_common.positions import Move, PartitionId, PositionStore

__all__ = ["Handled", "Handler", "Inbox", "InboxSettings", "InvalidMessage", "Message"]

_log = structlog.get_logger(__name__)

_TOOLING_COMMIT_SECONDS = 5.0

_Raw = Any
"""confluent_kafka.Message, whose stubs have every field optional."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it was read (see `trackops_common.envelope` for its attributes)."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    attributes: envelope.Attributes

    @property
    def id(self) -> str:
        """The event's id."""
        return self.attributes.id

    @property
    def type(self) -> str:
        """Full name of the protobuf message in `value`."""
        return self.attributes.type

    @property
    def time(self) -> datetime:
        """When the fact became true."""
        return self.attributes.time


@dataclass(frozen=True, slots=True)
class Handled:
    """What a handler leaves to the inbox."""

    events: Sequence[OutboxEvent] = ()
    """Facts for the service's own outbox, committed with the handler's work."""
    after_commit: Callable[[], None] | None = None
    """Called in the consumer's thread once the work is committed.

    A hint only: it is not called if the process, or the connection during the
    commit, dies. To reach an event loop, let it use `call_soon_threadsafe`.
    """


Handler = Callable[[Transaction, Sequence[Message]], Handled]
"""Acts on messages in the given transaction, which it does not commit.

The messages of one partition are in order. A `TransientError` runs the same
messages again later; any other error stops the consumer, nothing being done.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxSettings:
    """What a consumer reads, and how."""

    bootstrap_servers: str
    consumer: str
    """Its group in Kafka, and the key of its positions."""
    topics: Sequence[str]
    max_batch: int = 500
    """Messages in one transaction, at most."""
    poll_seconds: float = 0.5
    """How long one wait for messages may last, and so how long it takes to stop."""
    session_seconds: float = 6.0
    """After this time without a sign of life the partitions go to another replica."""
    first_pause_seconds: float = 0.05
    longest_pause_seconds: float = 5.0
    """Pauses between attempts grow from the first to the longest."""


class InvalidMessage(Exception):
    """A message that is no event of ours; the consumer stops before it."""

    def __init__(self, topic: str, partition: int, offset: int, problem: str) -> None:
        super().__init__(f"message {topic}[{partition}]@{offset}: {problem}")
        self.topic = topic
        self.partition = partition
        self.offset = offset


class _Stale(Exception):
    """Positions are not where this consumer left them."""

    def __init__(self, partitions: set[PartitionId]) -> None:
        self.partitions = partitions


class Inbox:
    """One consumer of one service: `Inbox(…).run` is a loop for `trackops_common.background`."""

    def __init__(self, settings: InboxSettings, database: Database, handler: Handler) -> None:
        """Connects when it runs."""
        self._settings = settings
        self._database = database
        self._handler = handler
        self._positions = PositionStore(database, settings.consumer)

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop` is set.

        Raises:
            TopicReplaced: a topic is not the one that the stored positions belong to.
            PositionLost: the log does not hold the next message any more.
            InvalidMessage: a message cannot be read.
            Exception: what the handler raised, unless it was transient.
        """
        consumer = Consumer(_consumer_settings(self._settings))
        assignment = Assignment(consumer, self._positions, self._settings.bootstrap_servers)
        try:
            _Run(self._settings, self._database, self._handler, consumer, assignment, stop).loop()
        finally:
            consumer.close()


class _Run:
    """The inbox while it runs: everything here happens in its thread."""

    def __init__(
        self,
        settings: InboxSettings,
        database: Database,
        handler: Handler,
        consumer: Consumer,
        assignment: Assignment,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._database = database
        self._handler = handler
        self._consumer = consumer
        self._assignment = assignment
        self._stop = stop
        self._tooling_commit_due = 0.0

    def loop(self) -> None:
        self._assignment.subscribe(self._settings.topics)
        failures = 0
        while not self._stop.is_set():
            self._process(self._next_batch())
            if self._assignment.incomplete:
                failures += 1
                self._rejoin(failures)
            elif self._assignment.positions:
                failures = 0
                self._commit_for_tooling()

    def _next_batch(self) -> list[Message]:
        """Waits for the first message only: a batch is what has gathered meanwhile."""
        raw = self._consumer.consume(1, self._settings.poll_seconds)
        if raw:
            raw += self._consumer.consume(self._settings.max_batch - 1, 0)
        self._assignment.raise_failure()
        return self._expected(map(_message, _without_errors(raw)))

    def _process(self, batch: list[Message]) -> None:
        failures = 0
        while batch and not self._stop.is_set():
            try:
                self._attempt(batch)
                batch = []
            except TransientError as error:
                failures += 1
                batch = self._expected([*batch, *self._pause(failures, error)])
            except _Stale as stale:
                batch = [m for m in batch if (m.topic, m.partition) not in stale.partitions]

    def _attempt(self, batch: Sequence[Message]) -> None:
        try:
            handled = self._commit(batch)
        except _Stale as stale:
            self._assignment.return_to_stored(stale.partitions)
            raise
        if handled.after_commit is not None:
            handled.after_commit()

    def _commit(self, batch: Sequence[Message]) -> Handled:
        """One transaction: positions first, then the work, then its facts."""
        ends = {(message.topic, message.partition): message.offset + 1 for message in batch}
        expected = self._assignment.positions
        moves = [Move(partition, expected[partition], end) for partition, end in ends.items()]
        with self._database.transaction() as transaction:
            moved = self._assignment.store.advance(transaction, moves)
            if len(moved) < len(moves):
                raise _Stale(ends.keys() - moved)
            handled = self._handler(transaction, batch)
            transaction.commit(handled.events)
        expected.update(ends)
        return handled

    def _expected(self, messages: Iterable[Message]) -> list[Message]:
        """Those of partitions that are still ours, from the position on.

        A rebalance during a poll may leave messages of before it in the same batch.
        """
        positions = self._assignment.positions
        return [
            message
            for message in messages
            if message.offset >= positions.get((message.topic, message.partition), 1 << 63)
        ]

    def _pause(self, failures: int, error: TransientError) -> list[Message]:
        """Stay in the group for a while, reading nothing; messages that come all the same."""
        seconds = self._pause_seconds(failures)
        _log.warning(
            "will handle messages again",
            consumer=self._settings.consumer,
            failures=failures,
            pause_seconds=round(seconds, 3),
            error=str(error),
        )
        with self._assignment.paused():
            raw = self._poll_for(seconds)
        self._assignment.raise_failure()
        return [_message(message) for message in _without_errors(raw)]

    def _rejoin(self, failures: int) -> None:
        seconds = self._pause_seconds(failures)
        _log.warning(
            "will join the group again",
            consumer=self._settings.consumer,
            failures=failures,
            pause_seconds=round(seconds, 3),
            error=str(self._assignment.incomplete),
        )
        self._consumer.unsubscribe()
        self._poll_for(seconds)
        while self._assignment.positions and not self._stop.is_set():
            self._poll_for(self._settings.first_pause_seconds)
        self._assignment.raise_failure()
        self._assignment.subscribe(self._settings.topics)

    def _poll_for(self, seconds: float) -> list[_Raw]:
        until = time.monotonic() + seconds
        messages: list[_Raw] = []
        while (left := until - time.monotonic()) > 0 and not self._stop.is_set():
            wait = min(left, self._settings.poll_seconds)
            messages += self._consumer.consume(self._settings.max_batch, wait)
        return messages

    def _pause_seconds(self, failures: int) -> float:
        longest = self._settings.longest_pause_seconds
        pause = min(longest, self._settings.first_pause_seconds * 2 ** min(failures - 1, 16))
        return float(pause * random.uniform(0.5, 1))

    def _commit_for_tooling(self) -> None:
        """Tell Kafka the positions, so that its tools can show them. Nothing depends on it."""
        if time.monotonic() < self._tooling_commit_due:
            return
        self._tooling_commit_due = time.monotonic() + _TOOLING_COMMIT_SECONDS
        offsets = [TopicPartition(*key, at) for key, at in self._assignment.positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            _log.info("positions not shown in Kafka", error=str(error))


def _message(raw: _Raw) -> Message:
    topic, partition, offset = raw.topic(), raw.partition(), raw.offset()
    try:
        attributes = envelope.parse(raw.headers())
        return Message(
            topic, partition, offset, (raw.key() or b"").decode(), raw.value() or b"", attributes
        )
    except (envelope.InvalidEnvelope, UnicodeDecodeError) as error:
        raise InvalidMessage(topic, partition, offset, str(error)) from error


def _without_errors(messages: Iterable[_Raw]) -> list[_Raw]:
    """The messages proper. Errors of the client come among them.

    Raises:
        PositionLost: the log does not hold the next message any more.
        KafkaException: the client cannot go on.
    """
    return [message for message in messages if not _is_error(message)]


def _is_error(message: _Raw) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == error._AUTO_OFFSET_RESET:
        raise PositionLost(message.topic(), message.partition(), error.str())
    if error.fatal():
        raise KafkaException(error)
    _log.warning("Kafka reports an error; the client goes on", error=error.str())
    return True


def _consumer_settings(settings: InboxSettings) -> dict[str, Any]:
    return kafka.client_settings(settings.bootstrap_servers, settings.consumer) | {
        "group.id": settings.consumer,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(settings.session_seconds * 1000),
        "heartbeat.interval.ms": 1_000,
        # A full local queue stops fetching for the back-off, by default a whole second.
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.queue.backoff.ms": 10,
        "fetch.error.backoff.ms": 100,
    }
