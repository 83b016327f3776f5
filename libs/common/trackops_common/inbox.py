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
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from trackops.common.v1.dead_letter_pb2 import DeadLetterReason

from trackops_common.assignment import Assignment, PositionLost
from trackops_common.database import Database, Transaction
from trackops_common.dead_letters import DeadLetterPolicy, DeadLetters
from trackops_common.errors import BatchRefused, TransientError
from trackops_common.inbox_lag import InboxLag
from trackops_common.inbox_settings import InboxSettings, consumer_settings
from trackops_common.kafka import gathered
from trackops_common.messages import Arrival, InvalidMessage, Message
from trackops_common.outbox import OutboxEvent
from trackops_common.positions import Move, PartitionId, PositionStore
from trackops_common.traces import Kind, Span, joint

__all__ = [
    "DeadLetterPolicy",
    "Handled",
    "Handler",
    "Inbox",
    "InboxSettings",
    "InvalidMessage",
    "Message",
]

_log = structlog.get_logger(__name__)

_TOOLING_COMMIT_SECONDS = 5.0

_Raw = Any
"""confluent_kafka.Message, whose stubs have every field optional."""


@dataclass(frozen=True, slots=True)
class Handled:
    """What a handler leaves to the inbox."""

    events: Sequence[OutboxEvent] = ()
    """Facts for the service's own outbox, committed with the handler's work."""
    after_commit: Callable[[], Future[None] | None] | None = None
    """Called in the consumer's thread once the work is committed, and not to block it.

    A hint only: it is not called if the process, or the connection during the
    commit, dies. If it returns a future, no further messages are handled
    before that is done, and the consumer stays in its group meanwhile.
    """


Handler = Callable[[Transaction, Sequence[Message]], Handled]
"""Acts on messages in the given transaction, which it does not commit.

The messages of one partition are in order, but for replays, which come late.
Types it does not know it leaves alone: a topic holds all facts of its
aggregates, those that newer producers add included.

A `TransientError` runs the same messages again later. An `InvalidMessage`
makes that message a dead letter and runs the others again; a `BatchRefused`
splits the batch until the message at fault is alone, and makes that one a dead
letter. Any other error stops the consumer, nothing being done.
"""


class _Stale(Exception):
    """Positions are not where this consumer left them."""

    def __init__(self, partitions: set[PartitionId]) -> None:
        self.partitions = partitions


class Inbox:
    """One consumer of one service: `Inbox(…).run` is a loop for `trackops_common.background`."""

    def __init__(
        self,
        settings: InboxSettings,
        database: Database,
        handler: Handler,
        *,
        lag: InboxLag | None = None,
    ) -> None:
        """Connects when it runs. `lag` is kept up to date meanwhile, where somebody reads it."""
        self._lag = lag
        self._settings = settings
        self._database = database
        self._handler = handler
        self._positions = PositionStore(database, settings.consumer)

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop` is set.

        Raises:
            TopicReplaced: a topic is not the one that the stored positions belong to.
            PositionLost: the log does not hold the next message any more.
            DeadLetterBudgetExceeded: too many messages cannot be handled.
            Exception: what the handler raised, unless it was transient.
        """
        positions: dict[PartitionId, int] = {}
        statistics = {} if self._lag is None else self._lag.client_settings(positions)
        consumer = Consumer(consumer_settings(self._settings) | statistics)
        assignment = Assignment(consumer, self._positions, self._settings.kafka, positions)
        try:
            run = _Run(self._settings, self._database, self._handler, consumer, assignment, stop)
            run.lag = self._lag
            run.loop()
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
        self.lag: InboxLag | None = None
        self._settings = settings
        self._database = database
        self._handler = handler
        self._consumer = consumer
        self._assignment = assignment
        self._stop = stop
        self._dead_letters = DeadLetters(settings.consumer, settings.dead_letters)
        self._tooling_commit_due = 0.0
        self._look_due = 0.0

    def loop(self) -> None:
        self._subscribe()
        failures = 0
        while not self._stop.is_set():
            self._process(self._next_batch())
            if self._assignment.incomplete:
                failures += 1
                self._complete(failures)
            elif self._assignment.positions:
                failures = 0
                self._commit_for_tooling()

    def _next_batch(self) -> list[Arrival]:
        """Waits for the first message only: a batch is what has gathered meanwhile."""
        settings = self._settings
        return self._arrived(
            gathered(self._consumer, at_most=settings.max_batch, seconds=settings.poll_seconds)
        )

    def _process(self, batch: list[Arrival]) -> None:
        failures, size = 0, len(batch)
        while batch and not self._stop.is_set():
            part = batch[:size]
            try:
                done = self._attempt(part)
            except TransientError as error:
                failures += 1
                batch = self._expected([*batch, *self._pause(failures, error)])
            except _Stale as stale:
                batch = [one for one in batch if (one.topic, one.partition) not in stale.partitions]
            except InvalidMessage as error:
                _give_up_invalid(part, error)
            except BatchRefused as error:
                size = _split(part, error)
            else:
                batch, failures, size = batch[len(part) :], 0, size * 2
                if done is not None:
                    batch = self._expected([*batch, *self._hold_back(done)])

    def _attempt(self, batch: Sequence[Arrival]) -> Future[None] | None:
        try:
            handled = self._commit(batch)
        except _Stale as stale:
            self._assignment.return_to_stored(stale.partitions)
            raise
        return handled.after_commit() if handled.after_commit is not None else None

    def _commit(self, batch: Sequence[Arrival]) -> Handled:
        """One transaction: positions first, then the work, then its facts and dead letters."""
        last = {(one.topic, one.partition): one for one in batch}
        ends = {partition: one.offset + 1 for partition, one in last.items()}
        expected = self._assignment.positions
        moves = [Move(partition, expected[partition], end) for partition, end in ends.items()]
        with self._span(batch), self._database.transaction() as transaction:
            moved = self._assignment.store.advance(transaction, moves)
            if len(moved) < len(moves):
                raise _Stale(ends.keys() - moved)
            batch = self._dead_letters.claim(transaction, batch)
            messages = [one.message for one in batch if one.message is not None]
            handled = self._handler(transaction, messages) if messages else Handled()
            dead = [one for one in batch if one.message is None]
            given_up = self._dead_letters.give_up(transaction, dead)
            transaction.commit([*handled.events, *given_up])
        expected.update(ends)
        if self.lag is not None:
            self.lag.handled({key: one.written_at for key, one in last.items()}, expected)
        return handled

    def _span(self, batch: Sequence[Arrival]) -> AbstractContextManager[Span | None]:
        """Of the batch, linked to what caused each of its messages."""
        return joint(
            f"process {batch[0].topic}",
            Kind.CONSUMER,
            (one.message.traceparent for one in batch if one.message is not None),
            {
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": batch[0].topic,
                "messaging.consumer.group.name": self._settings.consumer,
                "messaging.batch.message_count": len(batch),
            },
        )

    def _arrived(self, raw: Iterable[_Raw]) -> list[Arrival]:
        """What a poll brought, read.

        Raises what went wrong in the rebalance that may have been part of the poll.
        """
        self._assignment.raise_failure()
        retries = self._settings.dead_letters.retries_topic
        read = (Arrival(one, retries_topic=retries) for one in _without_errors(raw))
        arrived = self._expected(read)
        if self.lag is not None:
            self.lag.taken({(one.topic, one.partition): one.offset + 1 for one in arrived})
        return arrived

    def _expected(self, messages: Iterable[Arrival]) -> list[Arrival]:
        """Those of partitions that are still ours, from the position on.

        A rebalance during a poll may leave messages of before it in the same batch.
        """
        positions = self._assignment.positions
        return [
            message
            for message in messages
            if message.offset >= positions.get((message.topic, message.partition), 1 << 63)
        ]

    def _hold_back(self, done: Future[None]) -> list[Arrival]:
        """Stay in the group until `done`, reading nothing; messages that come all the same."""
        wait([done], self._settings.poll_seconds)
        if done.done():
            done.result()
            return []
        raw: list[_Raw] = []
        with self._assignment.paused():
            while not (done.done() or self._stop.is_set()):
                raw += self._poll_for(self._settings.poll_seconds)
        if done.done():
            done.result()
        return self._arrived(raw)

    def _pause(self, failures: int, error: TransientError) -> list[Arrival]:
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
        return self._arrived(raw)

    def _complete(self, failures: int) -> None:
        """Take over what could not be taken over in the rebalance, after a pause."""
        seconds = self._pause_seconds(failures)
        _log.warning(
            "will take partitions over again",
            consumer=self._settings.consumer,
            failures=failures,
            pause_seconds=round(seconds, 3),
            error=str(self._assignment.incomplete),
        )
        with self._assignment.paused():
            raw = self._poll_for(seconds)
        self._process(self._arrived(raw))
        self._assignment.complete()

    def _subscribe(self) -> None:
        retries = self._settings.dead_letters.retries_topic
        self._assignment.subscribe([*self._settings.topics, retries])

    def _poll_for(self, seconds: float) -> list[_Raw]:
        until = time.monotonic() + seconds
        messages: list[_Raw] = []
        while (left := until - time.monotonic()) > 0 and not self._stop.is_set():
            self._look_at_the_ends()
            wait = min(left, self._settings.poll_seconds)
            messages += self._consumer.consume(self._settings.max_batch, wait)
        return messages

    def _look_at_the_ends(self) -> None:
        """For the lag, which the client does not tell of partitions that are paused."""
        if self.lag is None or time.monotonic() < self._look_due:
            return
        self._look_due = time.monotonic() + self.lag.every_seconds
        try:
            self.lag.looked(self._assignment.ends(), self._assignment.positions)
        except TransientError as error:
            _log.info("lag not measured while holding back", error=str(error))

    def _pause_seconds(self, failures: int) -> float:
        longest = self._settings.longest_pause_seconds
        pause = min(longest, self._settings.first_pause_seconds * 2 ** min(failures - 1, 16))
        return float(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter

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


def _give_up_invalid(batch: Sequence[Arrival], error: InvalidMessage) -> None:
    for one in batch:
        if one.message is error.message:
            one.give_up(DeadLetterReason.DEAD_LETTER_REASON_INVALID, error.problem)
            return
    raise error  # of another batch: the handler's defect


def _split(batch: Sequence[Arrival], error: BatchRefused) -> int:
    """How many of a refused batch to try next; a message that is refused alone is given up."""
    if len(batch) == 1:
        if batch[0].message is None:
            raise error
        batch[0].give_up(DeadLetterReason.DEAD_LETTER_REASON_REFUSED, str(error))
    return max(1, len(batch) // 2)


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
