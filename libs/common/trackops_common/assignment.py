"""The partitions that a consumer holds, started where its own schema says.

Nothing raises in the callbacks of a rebalance: the client would then assign
the partitions by itself and skip messages. What goes wrong there is kept and
shown to the consumer's loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec  # not exported for type checkers

from trackops_common import kafka
from trackops_common.errors import StartRefused, TransientError
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.positions import PartitionId, Position, PositionStore

__all__ = ["Assignment", "PositionLost", "TopicReplaced"]

_log = structlog.get_logger(__name__)

_REQUEST_SECONDS = 5.0
_LOOK_SECONDS = 1.0


class TopicReplaced(StartRefused):
    """The topic was deleted and made again: stored positions mean nothing in it."""

    def __init__(self, topic: str, *, expected_id: str, found_id: str) -> None:
        super().__init__(
            f"topic {topic} has the id {found_id}, but the stored positions belong to"
            f" {expected_id}: it was deleted and made again. Nothing is consumed until the"
            " positions in consumer_offsets are set or removed by hand"
        )
        self.topic = topic


class PositionLost(StartRefused):
    """The next message is not in the log any more, or there is no stored position."""

    def __init__(self, topic: str, partition: int, problem: str) -> None:
        super().__init__(f"cannot go on in {topic}[{partition}]: {problem}")
        self.topic = topic
        self.partition = partition


class Assignment:
    """What the group gave to this consumer. Belongs to the consumer's thread."""

    def __init__(
        self,
        consumer: Consumer,
        store: PositionStore,
        access: KafkaAccess,
        positions: dict[PartitionId, int],
    ) -> None:
        """`positions` is empty, and becomes what the attribute of this name holds."""
        self._consumer = consumer
        self._admin = AdminClient(kafka.client_settings(access, "trackops-inbox"))
        self._paused = False
        self._failure: Exception | None = None
        self._missing: set[PartitionId] = set()
        self.store = store
        self.positions = positions
        """For each partition held, the stored position as this consumer knows it."""
        self.incomplete: TransientError | None = None
        """Why partitions that are ours were not taken over yet (see `complete`)."""

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group."""
        self._consumer.subscribe(
            list(topics),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def raise_failure(self) -> None:
        """Raise what went wrong in a rebalance, unless another attempt may help."""
        if self._failure is not None:
            raise self._failure

    def complete(self) -> None:
        """Try once more to take over what the group gave us, without a rebalance.

        Raises:
            TopicReplaced: a topic is not the one that the stored positions belong to.
        """
        self.incomplete = None
        self._take_over(sorted(self._missing))

    def return_to_stored(self, partitions: Iterable[PartitionId]) -> None:
        """Go where the schema says; another owner has moved the positions.

        Raises:
            TransientError: the positions cannot be read now.
            PositionLost: there is none.
        """
        stored = self.store.load({topic for topic, _ in partitions})
        for topic, number in partitions:
            position = stored.get((topic, number))
            if position is None:
                raise PositionLost(topic, number, "no stored position")
            _log.warning(
                "another consumer moved the position",
                topic=topic,
                partition=number,
                expected=self.positions[topic, number],
                stored=position.next_offset,
            )
            self._seek(topic, number, position.next_offset)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Polls within bring no messages, also of partitions that are assigned meanwhile."""
        self._paused = True
        self._consumer.pause(self._held())
        try:
            yield
        finally:
            self._paused = False
            self._consumer.resume(self._held())

    def ends(self) -> Mapping[PartitionId, int]:
        """The offset behind the last message that may be read, of each partition held.

        Raises:
            TransientError: the broker does not say.
        """
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        try:
            asked = self._admin.list_offsets(
                dict.fromkeys(self._held(), latest),
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=_LOOK_SECONDS,
            )
            return {
                (place.topic, place.partition): answer.result().offset
                for place, answer in asked.items()
            }
        except KafkaException as error:
            raise TransientError(f"no ends of the log: {error}") from error

    def _held(self) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic, number in self.positions]

    def _seek(self, topic: str, number: int, offset: int) -> None:
        self.positions[topic, number] = offset
        try:
            self._consumer.seek(TopicPartition(topic, number, offset))
        except KafkaException as error:
            self.incomplete = TransientError(str(error))
            self._missing.add((topic, number))
            del self.positions[topic, number]
            self._consumer.incremental_unassign([TopicPartition(topic, number)])

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._guarded(lambda: self._take_over([(p.topic, p.partition) for p in partitions]))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._guarded(lambda: self._give_up([(p.topic, p.partition) for p in partitions]))

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - raised in the loop, see the module's docstring
            self._failure = error

    def _take_over(self, partitions: Sequence[PartitionId]) -> None:
        starts: Mapping[PartitionId, int] = {}
        try:
            starts = self._starts(partitions) if partitions else {}
        except TransientError as error:
            self.incomplete = error
            self._missing.update(partitions)
        finally:
            # Also when nothing can be taken over: without this call the client assigns by itself.
            taken = [TopicPartition(*partition, at) for partition, at in starts.items()]
            self._consumer.incremental_assign(taken)
        self.positions.update(starts)
        self._missing.difference_update(starts)
        if starts:
            _log.info("partitions taken over", partitions=_named(starts))
        if self._paused:
            self._consumer.pause(self._held())
        else:
            # The client keeps a partition paused that was lost during a pause and comes back.
            self._consumer.resume(taken)

    def _give_up(self, partitions: Sequence[PartitionId]) -> None:
        self._missing.difference_update(partitions)
        held = [partition for partition in partitions if partition in self.positions]
        for partition in held:
            del self.positions[partition]
        self._consumer.incremental_unassign([TopicPartition(*partition) for partition in held])
        if held:
            _log.info("partitions given up", partitions=_named(held))

    def _starts(self, partitions: Sequence[PartitionId]) -> dict[PartitionId, int]:
        topics = {topic for topic, _ in partitions}
        ids = kafka.topic_ids(self._admin, topics)
        stored = self.store.load(topics)
        if new := [partition for partition in partitions if partition not in stored]:
            self.store.create({p: Position(ids[p[0]], self._low_watermark(p)) for p in new})
            stored = self.store.load(topics)
        for topic, number in partitions:
            expected = stored[topic, number].topic_id
            if expected != ids[topic]:
                raise TopicReplaced(topic, expected_id=expected, found_id=ids[topic])
        return {partition: stored[partition].next_offset for partition in partitions}

    def _low_watermark(self, partition: PartitionId) -> int:
        try:
            marks = self._consumer.get_watermark_offsets(
                TopicPartition(*partition), timeout=_REQUEST_SECONDS
            )
        except KafkaException as error:
            raise TransientError(f"no offsets of {partition}: {error}") from error
        if marks is None:
            raise TransientError(f"no offsets of {partition} in time")
        return int(marks[0])


def _named(partitions: Iterable[PartitionId]) -> list[str]:
    return [f"{topic}[{number}]" for topic, number in sorted(partitions)]
