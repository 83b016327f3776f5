"""How far a consumer is behind, as its client's own statistics and its positions tell.

Kafka gives the marker at the end of a transaction an offset too, so a consumer
that has handled everything stands one below the log's end, or further where
transactions were aborted. That nothing is left is therefore known from the
client: it has fetched up to the end and has nothing in its queue, and whatever it
handed out was handled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trackops_common.positions import PartitionId

__all__ = ["STATISTICS_SECONDS", "InboxLag", "PartitionLag"]

STATISTICS_SECONDS = 5.0
"""Between two statistics of the client."""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """What is left to do in a partition."""

    messages: int
    """At most: markers of transactions count while there is anything else."""
    seconds: float
    """The age of the oldest message that is left, or more by one interval between statistics."""


@dataclass(slots=True)
class _Log:
    """A partition as the client saw it last."""

    end: int
    """Offset behind the last message that may be read."""
    fetched: int
    """The client goes on fetching here."""
    queued: int
    """Messages that it has fetched and not handed out."""


class InboxLag:
    """The partitions that one consumer holds. Written in its thread, read in any."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        every_seconds: float = STATISTICS_SECONDS,
    ) -> None:
        """`clock` is seconds since 1970, as Kafka's timestamps are.

        Every `every_seconds` the client tells where it is.
        """
        self._clock = clock
        self.every_seconds = every_seconds
        self._logs: dict[PartitionId, _Log] = {}
        self._positions: dict[PartitionId, int] = {}
        self._reached: dict[PartitionId, float] = {}
        self._taken: dict[PartitionId, int] = {}

    @property
    def partitions(self) -> Mapping[PartitionId, PartitionLag]:
        """By topic and number."""
        now = self._clock()
        found = {}
        for partition, position in self._positions.copy().items():
            log = self._logs.get(partition)
            if log is None:
                continue
            left = self._left(partition, log, position)
            seconds = max(0.0, now - self._reached.get(partition, now)) if left else 0.0
            found[partition] = PartitionLag(left, seconds)
        return found

    def client_settings(self, positions: Mapping[PartitionId, int]) -> dict[str, Any]:
        """Settings that make a client tell; `positions` are those of its consumer at any time."""
        return {
            "stats_cb": lambda statistics: self.told(statistics, positions),
            "statistics.interval.ms": int(self.every_seconds * 1000),
        }

    def taken(self, ends: Mapping[PartitionId, int]) -> None:
        """The client handed out messages up to these offsets."""
        self._taken.update(ends)

    def handled(
        self, written: Mapping[PartitionId, float], positions: Mapping[PartitionId, int]
    ) -> None:
        """The last messages handled were `written` at these times; the positions after them."""
        for partition, at in written.items():
            self._reached[partition] = max(at, self._reached.get(partition, 0.0))
        self._positions = dict(positions)

    def told(self, statistics: str, positions: Mapping[PartitionId, int]) -> None:
        """What the client said of itself (librdkafka's STATISTICS.md), and the positions then."""
        self._logs = {
            partition: self._no_shorter(partition, log)
            for partition, log in _logs(statistics).items()
        }
        self._note(positions)

    def looked(self, ends: Mapping[PartitionId, int], positions: Mapping[PartitionId, int]) -> None:
        """Where the logs end now, by the broker, and the positions.

        To be told while the consumer holds back: its client fetches nothing then, and
        its statistics stay as they are.
        """
        for partition, end in ends.items():
            log = self._logs.get(partition)
            if log is not None:
                log.end = max(log.end, end)
        self._note(positions)

    def _no_shorter(self, partition: PartitionId, log: _Log) -> _Log:
        before = self._logs.get(partition)
        if before is not None:
            log.end = max(log.end, before.end)
        return log

    def _note(self, positions: Mapping[PartitionId, int]) -> None:
        self._positions = dict(positions)
        now = self._clock()
        for partition, position in positions.items():
            log = self._logs.get(partition)
            if log is not None and not self._left(partition, log, position):
                self._reached[partition] = now
            else:
                self._reached.setdefault(partition, now)

    def _left(self, partition: PartitionId, log: _Log, position: int) -> int:
        if log.fetched >= log.end and not log.queued and self._taken.get(partition, 0) <= position:
            return 0
        return max(0, log.end - position)


def _logs(statistics: str) -> dict[PartitionId, _Log]:
    return {
        (topic, part["partition"]): _Log(part["ls_offset"], part["next_offset"], part["fetchq_cnt"])
        for topic, told in json.loads(statistics)["topics"].items()
        for part in told["partitions"].values()
        if part["partition"] >= 0 and part["ls_offset"] >= 0
    }
