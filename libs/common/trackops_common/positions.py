"""Where a consumer stands in each partition, kept in the service's own schema.

The position moves in the transaction of the effect, by a compare-and-set: of
two owners that read the same messages, the second finds the position moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trackops_common import arrays
from trackops_common.database import Database, Transaction

__all__ = ["Move", "PartitionId", "Position", "PositionStore"]

PartitionId = tuple[str, int]
"""Topic and number."""


@dataclass(frozen=True, slots=True)
class Position:
    """A stored position."""

    topic_id: str
    """Kafka's id of the topic that the offset belongs to."""
    next_offset: int
    """Offset of the first message that was not consumed yet, or one of a marker before it."""


@dataclass(frozen=True, slots=True)
class Move:
    """A step of a position."""

    partition: PartitionId
    expected: int
    next_offset: int


_ADVANCE = """
UPDATE consumer_offsets AS stored SET next_offset = move.next_offset
  FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(expected)s::bigint[],
              %(next_offsets)s::bigint[]) AS move(topic, partition, expected, next_offset)
 WHERE stored.consumer = %(consumer)s
   AND stored.topic = move.topic
   AND stored.partition = move.partition
   AND stored.next_offset = move.expected
RETURNING stored.topic, stored.partition
"""

_LOAD = """
SELECT topic, partition, topic_id, next_offset
  FROM consumer_offsets
 WHERE consumer = %(consumer)s AND topic = ANY (%(topics)s::text[])
"""

_CREATE = """
INSERT INTO consumer_offsets (consumer, topic, partition, topic_id, next_offset)
SELECT %(consumer)s, topic, partition, topic_id, next_offset
  FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(topic_ids)s::text[],
              %(next_offsets)s::bigint[]) AS new(topic, partition, topic_id, next_offset)
    ON CONFLICT DO NOTHING
"""


class PositionStore:
    """The positions of one consumer."""

    def __init__(self, database: Database, consumer: str) -> None:
        self._database = database
        self._consumer = consumer

    def advance(self, transaction: Transaction, moves: Sequence[Move]) -> set[PartitionId]:
        """Make each step whose expected position is the stored one; the partitions that moved.

        To be the first statement of its transaction, so that another owner's
        commit is waited for before anything is done on top of it.
        """
        rows = transaction.execute(
            _ADVANCE,
            {
                "consumer": self._consumer,
                "topics": arrays.texts(move.partition[0] for move in moves),
                "partitions": arrays.integers(move.partition[1] for move in moves),
                "expected": arrays.integers(move.expected for move in moves),
                "next_offsets": arrays.integers(move.next_offset for move in moves),
            },
        )
        return {(topic, partition) for topic, partition in rows}

    def load(self, topics: Iterable[str]) -> Mapping[PartitionId, Position]:
        """Every stored position in these topics."""
        rows = self._database.fetch(
            _LOAD, {"consumer": self._consumer, "topics": arrays.texts(topics)}
        )
        return {
            (topic, partition): Position(topic_id, next_offset)
            for topic, partition, topic_id, next_offset in rows
        }

    def create(self, positions: Mapping[PartitionId, Position]) -> None:
        """Store the first position of partitions; one that exists by now stays as it is."""
        self._database.execute(
            _CREATE,
            {
                "consumer": self._consumer,
                "topics": arrays.texts(topic for topic, _ in positions),
                "partitions": arrays.integers(number for _, number in positions),
                "topic_ids": arrays.texts(position.topic_id for position in positions.values()),
                "next_offsets": arrays.integers(
                    position.next_offset for position in positions.values()
                ),
            },
        )
