"""The events of the demo's orders, read back from Kafka as any consumer sees them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from trackops_cli.local.errors import StackError
from trackops_common.envelope import Attributes, parse
from trackops_common.kafka_settings import KafkaAccess
from trackops_common.topics import INVENTORY_EVENTS, ORDER_EVENTS, PAYMENT_EVENTS

__all__ = ["EventLog", "LoggedEvent"]

_TOPICS = (ORDER_EVENTS.name, INVENTORY_EVENTS.name, PAYMENT_EVENTS.name)
_REQUEST_SECONDS = 10


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event and where it lies."""

    topic: str
    partition: int
    offset: int
    attributes: Attributes

    @property
    def name(self) -> str:
        """The message's name without its package, such as "OrderPlaced"."""
        return self.attributes.type.rpartition(".")[2]

    @property
    def place(self) -> str:
        """Topic, partition and offset, for people: `order.events[3]@44`."""
        topic = self.topic.removeprefix("trackops.").removesuffix(".v1")
        return f"{topic}[{self.partition}]@{self.offset}"


class EventLog:
    """The topics of the mesh from now on, read committed, without a group."""

    def __init__(self, access: KafkaAccess) -> None:
        self._consumer = Consumer(
            {
                **access.connection,
                "group.id": f"trackops-demo-{uuid.uuid4()}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "log_level": 2,
            }
        )
        try:
            self._consumer.assign(self._ends())
        except KafkaException as error:
            raise StackError(f"Kafka does not answer: {error.args[0].str()}") from error

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def read(
        self,
        order_ids: Collection[str],
        *,
        enough: Callable[[Mapping[str, Sequence[LoggedEvent]]], bool],
        timeout_seconds: float,
    ) -> dict[str, list[LoggedEvent]]:
        """The events of each order, in the order of their arrival.

        Returns once `enough` says so of what was read and nothing more has
        arrived for a second; or after `timeout_seconds`, with what there is.
        """
        events: dict[str, list[LoggedEvent]] = {order_id: [] for order_id in order_ids}
        give_up = time.monotonic() + timeout_seconds
        while time.monotonic() < give_up:
            batch = self._consumer.consume(1000, timeout=1.0)
            for message in batch:
                _add(events, message)
            if not batch and enough(events):
                break
        return events

    def _ends(self) -> list[TopicPartition]:
        topics = self._consumer.list_topics(timeout=_REQUEST_SECONDS).topics
        partitions = [
            TopicPartition(topic, number)
            for topic in _TOPICS
            for number in topics[topic].partitions
        ]
        for partition in partitions:
            _, end = self._consumer.get_watermark_offsets(partition, timeout=_REQUEST_SECONDS)
            partition.offset = end
        return partitions


def _add(events: dict[str, list[LoggedEvent]], message: Message) -> None:
    if (problem := message.error()) is not None:
        raise StackError(f"reading Kafka failed: {problem.str()}")
    key = (message.key() or b"").decode()
    if key in events:
        events[key].append(
            LoggedEvent(
                str(message.topic()),
                int(message.partition() or 0),
                int(message.offset() or 0),
                parse(cast("list[tuple[str, bytes]]", message.headers())),
            )
        )
