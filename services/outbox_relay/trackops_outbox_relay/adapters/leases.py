"""Sources shared out among replicas by the consumer group on the checkpoint topic.

Being assigned a partition is the lease of the sources whose checkpoints stand
in it. Nothing is consumed: the group serves to share out only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from trackops_common import kafka
from trackops_common.kafka_settings import KafkaAccess
from trackops_outbox_relay.domain.sources import partition_of

__all__ = ["GroupLeases", "SourceLease", "Work"]

_log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.25
_LET_FINISH_SECONDS = 6.0
"""Longer than a request to the broker: a worker that finishes leaves nothing to be fenced."""


class SourceLease:
    """One source, held until it is ended."""

    def __init__(self, source: str, partition: int, *, polls: Callable[[], int]) -> None:
        """`polls` tells how often the group was polled."""
        self.source = source
        self.partition = partition
        self._polls = polls
        self._ended = threading.Event()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def end(self) -> None:
        """To be called when the group has taken the partition away."""
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(seconds)

    def confirm(self, *, pause_seconds: float) -> bool:
        # A poll that was under way may have asked before; the one after it has not.
        asked = self._polls() + 2
        while not self._ended.wait(pause_seconds):
            if self._polls() >= asked:
                return True
        return False


Work = Callable[[SourceLease], None]
"""Publishes a source; returns soon after its lease was ended."""


class GroupLeases:
    """This replica's membership in the group."""

    def __init__(
        self,
        access: KafkaAccess,
        *,
        group: str,
        topic: str,
        partitions: int,
        sources: Iterable[str],
        work: Work,
        on_end: Callable[[str], None],
    ) -> None:
        """`work` is called in a thread of its own for each lease. Connects when it runs.

        `on_end` is told each source whose lease has ended, to wake up its worker.
        """
        self._settings = kafka.client_settings(access, group) | _group_settings(group)
        self._topic = topic
        self._sources: dict[int, list[str]] = {}
        for source in sources:
            self._sources.setdefault(partition_of(source, partitions), []).append(source)
        self._work = work
        self._on_end = on_end
        self._leases: dict[SourceLease, Future[None]] = {}
        self._polls = 0

    def run(self, stop: threading.Event) -> None:
        """Hold leases, and have their sources worked on, until `stop` is set.

        Raises:
            Exception: what `work` raised, or that the group cannot be a member of.
        """
        consumer = Consumer(self._settings)
        # Workers whose leases ended may still be finishing when the next ones begin.
        threads = max(1, 4 * sum(map(len, self._sources.values())))
        with ThreadPoolExecutor(threads, thread_name_prefix="source") as workers:
            try:
                self._hold(consumer, workers, stop)
            finally:
                self._end(list(self._leases))
                consumer.close()

    def _hold(self, consumer: Consumer, workers: ThreadPoolExecutor, stop: threading.Event) -> None:
        def on_assign(_: Consumer, partitions: list[TopicPartition]) -> None:
            self._take_over(consumer, workers, [p.partition for p in partitions])

        def on_gone(_: Consumer, partitions: list[TopicPartition]) -> None:
            self._end(self._leases_of({p.partition for p in partitions}))
            consumer.incremental_unassign(partitions)

        consumer.subscribe([self._topic], on_assign=on_assign, on_revoke=on_gone, on_lost=on_gone)
        while not stop.is_set():
            self._check(consumer.poll(_POLL_SECONDS))
            held = {place.partition for place in consumer.assignment()}
            self._end([lease for lease in self._leases if lease.partition not in held])
            self._polls += 1
            for work in self._leases.values():
                if work.done():
                    work.result()

    def _take_over(
        self, consumer: Consumer, workers: ThreadPoolExecutor, partitions: list[int]
    ) -> None:
        places = [TopicPartition(self._topic, number, OFFSET_END) for number in partitions]
        consumer.incremental_assign(places)
        consumer.pause(places)
        for number in partitions:
            for source in self._sources.get(number, ()):
                lease = SourceLease(source, number, polls=lambda: self._polls)
                _log.info("leased", source=source, partition=number)
                self._leases[lease] = workers.submit(self._work, lease)

    def _leases_of(self, partitions: set[int]) -> list[SourceLease]:
        return [lease for lease in self._leases if lease.partition in partitions]

    def _end(self, leases: list[SourceLease]) -> None:
        """End leases and let their workers finish; one that takes too long will be fenced."""
        for lease in leases:
            _log.info("lease ended", source=lease.source, partition=lease.partition)
            lease.end()
            self._on_end(lease.source)
        works = [self._leases.pop(lease) for lease in leases]
        for work in wait(works, timeout=_LET_FINISH_SECONDS).done:
            work.result()

    def _check(self, message: Any) -> None:
        error = message.error() if message is not None else None
        if error is not None and error.fatal():
            raise KafkaException(error)
        if error is not None:
            _log.warning("the group reports an error; it goes on", error=error.str())


def _group_settings(group: str) -> dict[str, Any]:
    return {
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 1_000,
        "enable.auto.commit": False,
        "auto.offset.reset": "latest",
    }
